"""What the hub carries: a message, unchanged from the moment it arrived.

Values only. Everything that may hold a citizen's data is ``repr=False``, so that it reaches no log by accident.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Literal, NewType

import uuid_utils

MessageId = NewType("MessageId", str)
DeliveryId = NewType("DeliveryId", str)


NOTHING: Mapping[str, str] = MappingProxyType({})


def new_id() -> str:
    """Return a fresh UUIDv7 (RFC 9562 §5.7) as text; later ids sort after earlier ones."""
    return str(uuid_utils.uuid7())


def derived_id(origin: str, name: str) -> str:
    """Return the UUIDv7 that belongs to ``name`` under ``origin``, itself a UUIDv7.

    Same arguments, same id: planning stays a pure function, and a plan made twice names the same deliveries.
    The time of ``origin`` is kept, so that derived ids sort beside it.
    """
    digest = hashlib.sha256(f"{origin}\n{name}".encode()).digest()
    raw = bytearray(uuid_utils.UUID(origin).bytes[:6] + digest[:10])
    raw[6] = raw[6] & 0x0F | 0x70
    raw[8] = raw[8] & 0x3F | 0x80
    return str(uuid_utils.UUID(bytes=bytes(raw)))


@dataclass(frozen=True, slots=True)
class MessageType:
    """Names one kind of XÖV message: ``xgewerbeanzeige/2.2/abh.gewerbemeldung.0500``."""

    standard: str
    version: str
    name: str

    def __str__(self) -> str:
        return f"{self.standard}/{self.version}/{self.name}"

    @classmethod
    def parse(cls, text: str) -> MessageType:
        """Return the type that ``str()`` wrote."""
        standard, version, name = text.split("/", 2)
        return cls(standard, version, name)


@dataclass(frozen=True, slots=True)
class Finding:
    """One problem in a document, addressed so that its sender can mend it.

    ``path`` is an absolute XPath, ``line`` and ``column`` count from 1 (0: unknown). ``text`` may quote values of
    the document: it goes to the sender and to people who may see payloads, nowhere else.
    """

    rule: str
    path: str = ""
    line: int = 0
    text: str = field(default="", repr=False)
    column: int = 0
    level: str = "error"  # error | warning


@dataclass(frozen=True, slots=True)
class Checked:
    """What became of one check: ``done``, whatever it found; ``skipped``; or ``crashed``, which proves nothing."""

    name: str  # as written: "xsd", "xsd: header"
    state: Literal["done", "skipped", "crashed"]
    milliseconds: float | None = field(default=None, compare=False)  # how long it took; unknown before 0002


@dataclass(frozen=True, slots=True)
class Part:
    """An attachment that travels beside the document."""

    name: str
    media_type: str
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Incoming:
    """What a listener or poller hands in, before the hub has looked at it.

    ``id``, ``received_at`` and ``sha256`` are given by the intake (a listener leaves them empty), so that inspection
    needs neither clock nor chance, and nobody hashes twice. ``charset`` is what the transport claims of the encoding.
    """

    body: bytes = field(repr=False)
    source: str
    sender: str
    idempotency_key: str | None = None
    sender_reference: str | None = None
    recipient: str | None = None
    charset: str | None = None
    parts: tuple[Part, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    id: MessageId = MessageId("")
    plan_id: str = ""  # ids of deliveries derive from it; empty: from ``id`` (a replay brings its own)
    received_at: datetime | None = None
    planned_at: datetime | None = None  # when its deliveries are planned; empty: as it is received
    sha256: str = ""

    @property
    def digest(self) -> str:
        """The SHA-256 of the body, in hexadecimal."""
        return self.sha256 or hashlib.sha256(self.body).hexdigest()


@dataclass(frozen=True, slots=True)
class Header:
    """What the header reader found in a document. Authority keys read ``prefix:number``."""

    type: MessageType
    message_id: str | None = None
    type_code: str | None = None
    created_at: str | None = None
    author: str | None = None
    reader: str | None = None
    test: bool = False
    references: Mapping[str, str] = field(default_factory=dict, repr=False)
    keys: Mapping[str, str] = field(default_factory=dict, repr=False)  # of the profile's ``keys:``


@dataclass(frozen=True, slots=True)
class Message:
    """An accepted message. ``body`` is byte for byte what the sender sent.

    ``owner`` is the municipality (tenant) whose rights, retention and statistics the message follows; ``recipient``
    names the municipality or partner it is addressed to.
    """

    id: MessageId
    header: Header
    source: str
    sender: str
    owner: str | None
    recipient: str | None
    received_at: datetime
    sha256: str
    snapshot: str
    test: bool = False
    sender_reference: str | None = None
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Outgoing:
    """What the steps shape and an outbound adapter delivers.

    ``delivery_id``, ``body``, ``parts``, ``content_type`` and ``headers`` are the same at every attempt, so that a
    destination can tell a repetition from something new. ``deadline`` (``time.monotonic()``) ends the attempt.
    ``findings`` are warnings of the steps; they are kept with the delivery, an adapter is given none.
    """

    delivery_id: DeliveryId
    destination: str
    message: Message
    body: bytes = field(repr=False)
    parts: tuple[Part, ...] = ()
    content_type: str = "application/xml"
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    attempt: int = 1
    deadline: float = float("inf")
    findings: tuple[Finding, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Receipt:
    """The hub's word that it has taken over responsibility: the message is on disk."""

    message_id: MessageId
    duplicate: bool = False
    state: str = "accepted"  # of a duplicate: the status of the first

"""Everything that an adapter or a step may import. Nothing else in ``hub`` is public.

The adapters in ``adapters/`` import this module, their library, and nothing else of the hub. An adapter is offered by
an entry point of the group ``xoev_hub.adapters`` whose value is an :class:`Adapter`; the entry point is called after
the adapter, or ``NAME-in`` where one name serves both directions with two values.
"""

from __future__ import annotations

import io
import re
import ssl
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from threading import Event as StopSignal
from typing import Annotated, Any, Protocol, TypeAlias

from lxml import etree
from pydantic import BaseModel, BeforeValidator, ConfigDict, WithJsonSchema
from pydantic_core import PydanticCustomError

from hub.errors import Conflict, Rejected, Unavailable
from hub.message import Finding, Header, Incoming, Message, MessageType, Outgoing, Part, Receipt
from hub.outcome import Blocked, Deferred, Delivered, Outcome, Phase, Reason, Refused, Taken, Unclear

__all__ = [
    "API_VERSION",
    "Accept",
    "Adapter",
    "Aside",
    "Blocked",
    "Conflict",
    "Context",
    "Deferred",
    "Delivered",
    "Duration",
    "Finding",
    "Flag",
    "Header",
    "Incoming",
    "Limits",
    "Listener",
    "Message",
    "MessageStatus",
    "MessageType",
    "OutboundAdapter",
    "Outcome",
    "Outgoing",
    "Part",
    "Phase",
    "Poller",
    "Reason",
    "Receipt",
    "Refused",
    "Rejected",
    "Room",
    "Secret",
    "SecretRef",
    "SenderDesk",
    "Settings",
    "Size",
    "Step",
    "StopSignal",
    "Taken",
    "TlsSettings",
    "Unavailable",
    "Unclear",
    "parse_xml",
]

API_VERSION = 1

RESERVED_IN = frozenset(
    {
        "adapter", "max_body", "max_text", "keep_rejected", "sender", "environment", "insecure", "on_reject",
        "rejected_by",
    }
)  # fmt: skip
RESERVED_OUT = frozenset(
    {
        "adapter", "like", "environment", "retry", "on_unclear", "max_in_flight", "ordered_by", "steps", "timeout",
        "max_reply", "accepts", "confirm", "insecure",
    }
)  # fmt: skip
"""Keys that belong to the hub. A plugin whose settings have a field of one of these names is refused."""

# --- settings: how a key of routes.yaml becomes a value -----------------------------------------------------------


class Settings(BaseModel):
    """Base of an adapter's settings: unknown keys are errors, values never change.

    Scalars arrive as text; use the types below (or int, str, Literal, Path-like str) for the fields.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
_SIZES = {"B": 1, "kB": 1000, "KB": 1000, "MB": 1000**2, "GB": 1000**3}


def _duration(value: object) -> object:
    match = re.fullmatch(r"([0-9]{1,9})(ms|s|m|h|d)", value, re.ASCII) if isinstance(value, str) else None
    if match is None:
        if isinstance(value, timedelta):
            return value
        raise ValueError(f"expected a duration such as 30s, 5m, 1h or 4d, got {value!r}")
    return timedelta(seconds=int(match[1]) * _UNITS[match[2]])


def _size(value: object) -> object:
    match = re.fullmatch(r"([0-9]{1,9})(B|kB|KB|MB|GB)", value, re.ASCII) if isinstance(value, str) else None
    if match is None:
        if isinstance(value, int):
            return value
        raise ValueError(f"expected a size such as 64kB, 50MB or 1GB, got {value!r}")
    return int(match[1]) * _SIZES[match[2]]


def _flag(value: object) -> object:
    if value in ("true", "false"):
        return value == "true"
    if isinstance(value, bool):
        return value
    raise ValueError(f"expected true or false, got {value!r}")


@dataclass(frozen=True, slots=True)
class SecretRef:
    """Where a secret stands: ``env:NAME`` or ``file:PATH``. The secret itself never stands in routes.yaml."""

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}"


def _secret(value: object) -> object:
    if isinstance(value, SecretRef):
        return value
    kind, _, name = value.partition(":") if isinstance(value, str) else ("", "", "")
    if kind not in ("env", "file") or not name:
        # The value is not shown: what stands here instead of a reference may be the secret itself.
        raise PydanticCustomError(
            "secret_expected", "expected env:NAME or file:PATH; a secret itself never stands in routes.yaml"
        )
    return SecretRef(kind, name)


def _as_text(pattern: str) -> WithJsonSchema:
    """What editors are told: the value is written as text of this form."""
    return WithJsonSchema({"type": "string", "pattern": pattern})


Duration: TypeAlias = Annotated[timedelta, BeforeValidator(_duration), _as_text("^[0-9]{1,9}(ms|s|m|h|d)$")]
Size: TypeAlias = Annotated[int, BeforeValidator(_size), _as_text("^[0-9]{1,9}(B|kB|KB|MB|GB)$")]
Flag: TypeAlias = Annotated[bool, BeforeValidator(_flag), _as_text("^(true|false)$")]
Secret: TypeAlias = Annotated[SecretRef, BeforeValidator(_secret), _as_text("^(env|file):.")]


class TlsSettings(Settings):
    """Own certificate and the authorities that are trusted; paths count from routes.yaml."""

    certificate: str | None = None
    key: str | None = None
    ca: str | None = None
    client_ca: str | None = None


# --- what an adapter is given ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one endpoint. Sizes in bytes."""

    max_body: int = 50_000_000
    max_text: int = 10_000_000
    max_reply: int = 1_000_000
    connect: timedelta = timedelta(seconds=5)
    total: timedelta = timedelta(seconds=60)
    max_in_flight: int = 4


@dataclass(frozen=True, slots=True)
class MessageStatus:
    """What a sender may know of its own message. JSON shapes of INTERFACE §4; never the payload."""

    status: str
    deliveries: tuple[Mapping[str, Any], ...] = ()


class SenderDesk(Protocol):
    """What a listener may ask of the hub on behalf of an authenticated sender."""

    def status(self, sender: str, message_id: str) -> MessageStatus | None:
        """Return the state of the sender's own message, ``None`` for anybody else's."""

    def reply(self, sender: str, message_id: str, delivery_id: str) -> tuple[bytes, str] | None:
        """Return the procedure's stored reply and its media type, if there is one."""

    def count(self, source: str, code: str) -> None:
        """Count a refusal that leaves no record (401, 404, 415 …)."""


class Aside(Protocol):
    """Bytes that wait on the disk, in a file without a name. Forgotten, they are gone."""

    def read(self) -> bytes:
        """Return them, to one caller at a time. Raises ``OSError``."""


class Room(Protocol):
    """How many bytes of documents are in the hub's memory at once, over all sources: a source's share of them.

    A source takes room for a document before it reads it, and gives it back after the receipt. Where there is none, it
    says so to its sender, or waits. One that never asks is counted when it hands in, and told ``Unavailable``.
    """

    def take(self, size: int) -> bool:
        """Take room for so many bytes; false if there is none now. Never waits."""

    def give(self, size: int) -> None:
        """Give back what was taken."""

    def put_aside(self, body: bytes) -> Aside:
        """Keep a document on the disk that has come before there was room for it. Raises ``OSError``."""


class _NoLimit:
    """The room of a context that no daemon has made."""

    def take(self, size: int) -> bool:
        return size >= 0

    def give(self, size: int) -> None:
        """Nothing was counted."""

    def put_aside(self, body: bytes) -> Aside:
        return io.BytesIO(body)


NO_LIMIT: Room = _NoLimit()


class Log(Protocol):
    """A structured log: an event's name and keys. Never payload, never names of persons."""

    def debug(self, event: str, **keys: Any) -> Any: ...
    def info(self, event: str, **keys: Any) -> Any: ...
    def warning(self, event: str, **keys: Any) -> Any: ...
    def error(self, event: str, **keys: Any) -> Any: ...


@dataclass(frozen=True, slots=True)
class Context:
    """What the hub lends to one configured endpoint."""

    name: str  # of the destination or source
    log: Log
    clock: Callable[[], datetime]
    base: Path  # folder of routes.yaml: relative paths count from here
    read: Callable[[str], bytes]  # a file of the snapshot, by its path relative to routes.yaml; raises OSError
    secret: Callable[[SecretRef], str]  # read anew when the file has changed; raises OSError, KeyError
    parse: Callable[[bytes], etree._Element]  # the guard: the only way to parse foreign XML; raises Rejected
    tls: Callable[[TlsSettings], ssl.SSLContext]  # client side; TLS 1.2 or newer, verifying; raises OSError
    limits: Limits = field(default_factory=Limits)
    environment: str = "production"
    insecure: str | None = None
    municipality: str | None = None
    service: str | None = None
    sender: str | None = None  # of a source with one fixed sender
    on_reject: str = "problem"  # of a source: problem | standard | both; the second is ``Rejected.document``
    desk: SenderDesk | None = None  # for listeners
    room: Room = NO_LIMIT  # for sources
    server_tls: Callable[[TlsSettings], ssl.SSLContext] | None = None  # for listeners


# --- what an adapter offers --------------------------------------------------------------------------------------

Accept: TypeAlias = Callable[[Incoming], Receipt]
"""Takes over responsibility for a message; returns only when it is on disk.

Raises ``Rejected`` (the sender must act), ``Conflict`` (other content under the same identity) or ``Unavailable``
(the sender may try again).
"""

Step: TypeAlias = Callable[[Outgoing], Outgoing]
"""Turns what goes out into what goes out.

Pure: the same input gives the same bytes, hence time and identity come from ``outgoing.message`` and never from the
clock. Raises ``Rejected``.
"""


class OutboundAdapter(Protocol):
    """Delivers to one destination. ``deliver`` is called from up to ``max_in_flight`` threads at once."""

    def open(self) -> None:
        """Acquire connections. Fails with ``OSError``; the hub treats it as ``Deferred(unreachable)``."""

    def deliver(self, outgoing: Outgoing) -> Outcome:
        """Try once, by ``outgoing.deadline``, and say how it ended. Never retries, never sleeps for long."""

    def close(self) -> None:
        """Release everything. Safe to call twice, and after a failed ``open``."""


class Listener(Protocol):
    """Waits for messages, such as a server or a queue consumer."""

    def listen(self, accept: Accept, stop: StopSignal) -> None:
        """Hand in messages until ``stop`` is set. The hub owns the thread and starts it again if it fails."""


class Poller(Protocol):
    """Fetches messages when the schedule says so (``every``), such as from a folder or a mailbox."""

    def poll(self, accept: Accept) -> None:
        """Hand in all messages that are there now; dispose of each only after its receipt."""


Factory: TypeAlias = Callable[[Any, Context], Any]


@dataclass(frozen=True, slots=True)
class Adapter:
    """What an entry point of ``xoev_hub.adapters`` gives: one adapter in one direction.

    Exactly one of ``outbound``, ``listener`` and ``poller`` is a function ``f(settings, context)`` without side
    effects. ``check(settings, context)`` yields (key path, text) for problems that can be seen without a network. A
    text that begins with ``warning: `` is advice.
    ``placeholders`` are names in braces that the adapter itself fills at run time, such as ``{delivery_id}``.
    """

    name: str
    settings: type[Settings]
    api_version: int = API_VERSION
    outbound: Factory | None = None
    listener: Factory | None = None
    poller: Factory | None = None
    check: Callable[[Any, Context], Iterable[tuple[tuple[str, ...], str]]] | None = None
    placeholders: frozenset[str] = frozenset()

    @property
    def direction(self) -> str:
        return "out" if self.outbound else "in"


# --- what a step may ask of the hub ------------------------------------------------------------------------------


def parse_xml(body: bytes) -> etree._Element:
    """Return the root element of a document between two steps; the guard is the only way to parse foreign XML.

    Raises:
        Rejected: It is no XML that the hub accepts.
    """
    # Imported here: an adapter that never parses, and the daemon's CLI, need not load the guard.
    from hub.xml import guard
    from hub.xml.transform import INSIDE

    return guard.parse(body, limits=INSIDE)

"""Everything that an adapter or a step may import. Nothing else in ``hub`` is public.

The adapters in ``adapters/`` import this module, their library, and nothing else of the hub. An adapter is offered by
an entry point of the group ``xoev_hub.adapters`` whose value is an :class:`Adapter`; the entry point is called after
the adapter, or ``NAME-in`` where one name serves both directions with two values.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from threading import Event as StopSignal
from typing import TYPE_CHECKING, Annotated, Any, Protocol, TypeAlias, runtime_checkable

from pydantic import BaseModel, BeforeValidator, ConfigDict, WithJsonSchema
from pydantic_core import PydanticCustomError

from hub import scalars
from hub.errors import Conflict, HubError, Rejected, TooFast, Unavailable
from hub.message import Finding, Header, Incoming, Message, MessageType, Outgoing, Part, Receipt
from hub.outcome import Blocked, Deferred, Delivered, Outcome, Phase, Reason, Refused, Taken, Unclear
from hub.probing import Look, Probed, look_at_peer

if TYPE_CHECKING:  # every command that reads a configuration imports this module, few of them connect
    import ssl

    from lxml import etree

__all__ = [
    "API_VERSION",
    "Accept",
    "AcceptSoon",
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
    "HubError",
    "Incoming",
    "Limits",
    "Listener",
    "Look",
    "Message",
    "MessageStatus",
    "MessageType",
    "OutboundAdapter",
    "Outcome",
    "Outgoing",
    "Part",
    "Phase",
    "Poller",
    "Probed",
    "Reason",
    "Receipt",
    "Refused",
    "Rejected",
    "Room",
    "Secret",
    "SecretRef",
    "SenderDesk",
    "Settings",
    "SeveralAtOnce",
    "Size",
    "Step",
    "StopSignal",
    "Taken",
    "TlsSettings",
    "TooFast",
    "Unavailable",
    "Unclear",
    "look_at_peer",
    "parse_xml",
]

API_VERSION = 1

RESERVED_IN = frozenset(
    {
        "adapter", "max_body", "max_text", "keep_rejected", "keep_accepted", "sender", "environment", "insecure",
        "on_reject", "on_accept", "rejected_by",
    }
)  # fmt: skip
RESERVED_OUT = frozenset(
    {
        "adapter", "like", "environment", "retry", "on_unclear", "max_in_flight", "ordered_by", "steps", "timeout",
        "max_reply", "accepts", "confirm", "open", "maintenance", "insecure",
    }
)  # fmt: skip
"""Keys that belong to the hub. A plugin whose settings have a field of one of these names is refused."""

# --- settings: how a key of routes.yaml becomes a value -----------------------------------------------------------


class Settings(BaseModel):
    """Base of an adapter's settings: unknown keys are errors, values never change.

    Scalars arrive as text; use the types below (or int, str, Literal, Path-like str) for the fields.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True, defer_build=True)


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


Duration: TypeAlias = Annotated[timedelta, BeforeValidator(scalars.duration), _as_text("^[0-9]{1,9}(ms|s|m|h|d)$")]
Size: TypeAlias = Annotated[int, BeforeValidator(scalars.size), _as_text("^[0-9]{1,9}(B|kB|KB|MB|GB)$")]
Flag: TypeAlias = Annotated[bool, BeforeValidator(scalars.flag), _as_text("^(true|false)$")]
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
    """What a source may ask of the hub on behalf of an authenticated sender."""

    def status(self, sender: str, message_id: str) -> MessageStatus | None:
        """Return the state of the sender's own message, ``None`` for anybody else's."""

    def reply(self, sender: str, message_id: str, delivery_id: str) -> tuple[bytes, str] | None:
        """Return the procedure's stored reply and its media type, if there is one."""

    def receipt(self, incoming: Incoming, receipt: Receipt) -> bytes | None:
        """Return the standard's own receipt of a message that is on disk; the same for a repetition.

        ``None``: its standard has none, or it cannot be built. Raises ``Unavailable``: not now; hand in again.
        """

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
    on_accept: str = "receipt"  # of a source: receipt | standard; the second is ``SenderDesk.receipt``
    desk: SenderDesk | None = None  # for sources
    room: Room = NO_LIMIT  # for sources
    server_tls: Callable[[TlsSettings], ssl.SSLContext] | None = None  # for listeners


# --- what an adapter offers --------------------------------------------------------------------------------------

Accept: TypeAlias = Callable[[Incoming], Receipt]
"""Takes over responsibility for a message; returns only when it is on disk.

Raises ``Rejected`` (the sender must act), ``Conflict`` (other content under the same identity) or ``Unavailable``
(the sender may try again; ``TooFast``, one of these, says when).
"""

Step: TypeAlias = Callable[[Outgoing], Outgoing]
"""Turns what goes out into what goes out.

Pure: the same input gives the same bytes, hence time and identity come from ``outgoing.message`` and never from the
clock. Raises ``Rejected``.
"""


class AcceptSoon(Protocol):
    """What an ``Accept`` may have besides, as that of a running hub has."""

    def soon(self, incoming: Incoming, done: Callable[[Receipt | HubError], None]) -> None:
        """Take over responsibility together with what comes at the same time, in threads of the hub.

        ``done`` is called once, perhaps before this returns, in whatever thread: with the receipt once the message is
        on disk, or with what ``Accept`` would raise. It must not block. For small messages.
        """


class OutboundAdapter(Protocol):
    """Delivers to one destination. ``deliver`` is called from up to ``max_in_flight`` threads at once."""

    def open(self) -> None:
        """Acquire connections. Fails with ``OSError``; the hub treats it as ``Deferred(unreachable)``."""

    def deliver(self, outgoing: Outgoing) -> Outcome:
        """Try once, by ``outgoing.deadline``, and say how it ended. Never retries, never sleeps for long."""

    def close(self) -> None:
        """Release everything. Safe to call twice, and after a failed ``open``."""


@runtime_checkable
class SeveralAtOnce(Protocol):
    """What an outbound adapter may have besides: its peer takes several in the time of one.

    ``deliver_all`` is asked instead of ``deliver`` then. Each of them counts in ``max_in_flight``.
    """

    def deliver_all(self, several: Sequence[Outgoing]) -> Sequence[Outcome]:
        """Try each once, by its own ``deadline``, and say how each ended, in their order."""


class Listener(Protocol):
    """Waits for messages, such as a server or a queue consumer.

    One that tries again by itself may have a property ``failure``: why nothing comes in now, in few words and
    without a secret, and empty while all is well. It is asked from other threads, and ``doctor`` shows it.
    """

    def listen(self, accept: Accept, stop: StopSignal) -> None:
        """Hand in messages until ``stop`` is set. The hub owns the thread and starts it again if it fails."""


class Poller(Protocol):
    """Fetches messages when the schedule says so (``every``), such as from a folder or a mailbox."""

    def poll(self, accept: Accept) -> None:
        """Hand in all messages that are there now; dispose of each only after its receipt."""


Factory: TypeAlias = Callable[[Any, Context], Any]
Judge: TypeAlias = Callable[[Any, Context], Iterable[tuple[tuple[str, ...], str]]]


@dataclass(frozen=True, slots=True)
class Adapter:
    """What an entry point of ``xoev_hub.adapters`` gives: one adapter in one direction.

    Exactly one of ``outbound``, ``listener`` and ``poller`` is a function ``f(settings, context)`` without side
    effects. ``check(settings, context)`` yields (key path, text) for problems that can be seen without a network. A
    text that begins with ``warning: `` is advice. ``prove`` does the same for what takes a large library or much time
    to see: a command that builds no endpoint, such as ``explain``, does without. What either of them reads by
    ``context.read`` is part of the snapshot, so ``check`` reads no less than ``prove``.
    ``placeholders`` are names in braces that the adapter itself fills at run time, such as ``{delivery_id}``.
    """

    name: str
    settings: type[Settings]
    api_version: int = API_VERSION
    outbound: Factory | None = None
    listener: Factory | None = None
    poller: Factory | None = None
    check: Judge | None = None
    prove: Judge | None = None
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

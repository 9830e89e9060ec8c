"""What the hub asks of its store. One protocol, one contract suite, SQLite and PostgreSQL behind it.

Writes are operations, given as values; when a writing method returns, its effect survives a power cut. Operations that
queue up together share one transaction (group commit); one that fails never takes its neighbours with it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Literal, Protocol, TypeAlias

from hub.delivery import Delivery, Event
from hub.errors import HubError, StoreError
from hub.job import ItemResult
from hub.message import Checked, DeliveryId, Message, MessageId, Receipt
from hub.store.groups_api import Note
from hub.store.jobs_api import JobBook
from hub.store.taking import Accepted, Taking
from hub.store.upkeep_api import Upkeep
from hub.store.watch_api import WatchBook


class PayloadRole(StrEnum):
    RECEIVED = "received"
    OUTGOING = "outgoing"
    REPLY = "reply"
    FAULT = "fault"
    FINDINGS = "findings"


@dataclass(frozen=True, slots=True)
class Payload:
    """Bytes that belong to a message. Where else a citizen's data may be is said in :mod:`hub.store.tables`."""

    id: str
    role: PayloadRole
    body: bytes = field(repr=False)
    media_type: str = "application/xml"
    delivery_id: DeliveryId | None = None
    part_no: int = 0
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    sha256: str = field(default="", compare=False)  # of the body, where it is known; else the store looks


@dataclass(frozen=True, slots=True)
class Reference:
    """Something a message can be found by, or that a procedure told: ``sender_reference``, ``key:NAME``,
    ``receipt``, ``value:NAME``. Found by a keyed digest of the value, whatever its kind.
    """

    kind: str
    value: str = field(repr=False)
    delivery_id: DeliveryId | None = None


@dataclass(frozen=True, slots=True)
class Acceptance:
    """A message with everything that was planned for it; kept wholly or not at all.

    ``identity`` is unique per sender among accepted messages. ``deliveries`` is never empty; each ``payload_id``
    names one of ``payloads`` (of role received or outgoing).
    """

    message: Message
    identity: str
    payloads: tuple[Payload, ...]
    deliveries: tuple[Delivery, ...]
    references: tuple[Reference, ...] = ()
    idempotency_key: str | None = None
    parent_id: MessageId | None = None
    arrival: Mapping[str, str] = field(default_factory=dict, repr=False)  # what a replay needs: recipient, charset, …
    checks: tuple[Checked, ...] = ()


@dataclass(frozen=True, slots=True)
class Rejection:
    """The record of a document that was not accepted. ``payloads``: findings and, if the source keeps it, the body."""

    id: MessageId
    code: str
    source: str
    sender: str
    sha256: str
    received_at: datetime
    snapshot: str
    type: str | None = None  # standard/version/name, as far as it is known
    owner: str | None = None
    recipient: str | None = None
    test: bool = False
    idempotency_key: str | None = None
    arrival: Mapping[str, str] = field(default_factory=dict, repr=False)
    payloads: tuple[Payload, ...] = ()
    references: tuple[Reference, ...] = ()
    checks: tuple[Checked, ...] = ()


@dataclass(frozen=True, slots=True)
class Known:
    """An accepted message found by its identity."""

    message_id: MessageId
    sha256: str


@dataclass(frozen=True, slots=True)
class Settlement:
    """One event for one delivery, fenced by ``before.revision``, with what came back from the procedure."""

    before: Delivery
    event: Event
    payloads: tuple[Payload, ...] = ()
    references: tuple[Reference, ...] = ()


@dataclass(frozen=True, slots=True)
class Change:
    """Several settlements and newly planned deliveries that happen together or not at all (a replay, say)."""

    settlements: tuple[Settlement, ...] = ()
    deliveries: tuple[Delivery, ...] = ()
    message_id: MessageId | None = None  # of the new deliveries, payloads and references
    payloads: tuple[Payload, ...] = ()
    references: tuple[Reference, ...] = ()
    item: ItemResult | None = None


ControlKind: TypeAlias = Literal["blocked", "failing", "paused", "closed"]

PROBING: tuple[ControlKind, ...] = ("blocked", "failing")
"""The holds that a probe ends: ``until`` is when the next one is due, and one delivery at a time is given out then."""
PROBE_EVERY = timedelta(minutes=5)  # at the latest; and so long a probe is waited for that nobody hears of any more


@dataclass(frozen=True, slots=True)
class Control:
    """A destination that is held back: nothing of it is claimed while this stands."""

    destination: str
    kind: ControlKind
    reason: str
    since: datetime
    by: str
    until: datetime | None = None  # the hold ends by itself then; of a blocked or failing one: when it is tried again
    code: str = ""

    @property
    def probed(self) -> bool:
        """Whether a probe may end it: not what is blocked because nobody has configured it any more."""
        return self.kind in PROBING and self.until is not None


@dataclass(frozen=True, slots=True)
class Audit:
    """Who did what to what, and why. ``reason`` is the operator's own text."""

    at: datetime
    actor: str
    via: str
    action: str
    object: str
    reason: str = ""
    result: str = ""


@dataclass(frozen=True, slots=True)
class Filter:
    """What a listing asks for; ``None`` means: not asked. ``state`` as in INTERFACE §5."""

    state: str | None = None
    route: str | None = None
    municipality: str | None = None  # owner
    destination: str | None = None
    sender: str | None = None
    reference: str | None = None
    type: str | None = None  # glob over standard/version/name
    reason: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    fingerprint: str | None = None  # of equal failures: of a delivery's last death, or of a rejection


@dataclass(frozen=True, slots=True)
class ItemFacts:
    """What an operator wants to know of a delivery before anything is done with it."""

    id: DeliveryId
    received_at: datetime
    owner: str | None
    destination: str | None
    state: str
    reason: str
    delivered: bool  # the destination has had it: by this delivery before, by another one, or otherwise
    unclear: bool  # an attempt ended so that nobody knows whether it was taken


@dataclass(frozen=True, slots=True)
class MessageRecord:
    """A row of ``message`` with its deliveries, accepted or rejected."""

    seq: int
    id: MessageId
    verdict: Literal["accepted", "rejected"]
    code: str | None
    source: str
    sender: str
    type: str | None
    owner: str | None
    recipient: str | None
    test: bool
    received_at: datetime
    sha256: str
    snapshot: str
    parent_id: MessageId | None
    deliveries: tuple[Delivery, ...]
    status: str  # rejected | attention | open | delivered | closed
    values: Mapping[DeliveryId, Mapping[str, str]] = field(default_factory=dict)
    repeated: int = 0  # of a rejection: how often the same came again
    repeated_at: datetime | None = None  # when it came last


@dataclass(frozen=True, slots=True)
class PayloadInfo:
    """A payload without its bytes."""

    id: str
    role: PayloadRole
    media_type: str
    size: int
    sha256: str
    delivery_id: DeliveryId | None


class Store(Upkeep, Protocol):
    """Keeps messages, deliveries and their events. Every writing method is one transaction.

    Raises everywhere: ``Unavailable`` when nothing can be stored or read.
    """

    @property
    def exclusive(self) -> bool:
        """Whether nobody else can be sending: SQLite under its lock. Else leases say who is."""

    @property
    def failed(self) -> str | None:
        """Why nothing can be written any more before a restart, as a short token; ``None`` while all is well."""

    def try_lock(self) -> bool:
        """Become the one that may run jobs, if no daemon is there; the lock stays until :meth:`close`."""

    # --- intake
    def known(
        self,
        sender: str,
        *,
        idempotency_key: str | None = None,
        sha256: str | None = None,
        identity: str | None = None,
    ) -> Known | None:
        """Return the sender's accepted message with that key, that digest (only such without a key) or identity."""

    def accept(self, acceptance: Acceptance) -> Receipt:
        """Keep it. The same identity with the same digest is answered by the first one's receipt (duplicate).

        Raises:
            Conflict: The identity is bound to other content.
        """

    def accept_all(self, several: Sequence[tuple[Acceptance, Taking | None]]) -> Sequence[Accepted | HubError]:
        """Keep each as :meth:`accept` does, all with one sync; return what came of each, or what it would raise.

        What a taking asks for is claimed with it. Not what has an order key, nor while the destination is held back; a
        duplicate claims nothing.
        """

    def reject(self, rejection: Rejection) -> MessageId:
        """Keep the record of a rejection, and return the id of the record.

        The same again (sender, source, bytes, code, and what came along) within an hour is counted on the first one's.
        """

    # --- dispatch
    def due(self, now: datetime) -> Sequence[str]:
        """Return the destinations that have a due delivery and are not held back. One query over all."""

    def waiting(self) -> Sequence[str]:
        """Return the destinations for which something waits, due or not, held back or not."""

    def next_due(self, now: datetime) -> datetime | None:
        """Return when the earliest delivery that is not due yet becomes due."""

    def claim(self, destination: str, *, now: datetime, limit: int, owner: str, lease: timedelta) -> Sequence[Delivery]:
        """Move up to ``limit`` due deliveries to SENDING, oldest first; no two callers ever get the same one.

        Nothing while the destination is held back; one, marked as a probe, when a probe of it is due. Of those with
        an order key only one per key, and only if no earlier one of the key is waiting, sending, taken or dead.
        """

    def renew(self, owner: str, *, now: datetime, lease: timedelta, only: Collection[str] | None = None) -> int:
        """Lengthen the leases of what ``owner`` is sending, and return how many these are.

        ``only`` names the deliveries that it still has in hand: what no thread holds any more is to run out.
        On PostgreSQL leases count by the database's clock, and ``now`` is not looked at.
        """

    def lost(self, now: datetime | None) -> Sequence[Delivery]:
        """Return deliveries in SENDING whose lease has run out; with ``None`` all in SENDING.

        ``None`` is for the only daemon of a SQLite file: on PostgreSQL other nodes may be sending.
        """

    def apply(self, change: Change, taking: Taking | None = None) -> Sequence[Delivery]:
        """Do everything in ``change`` and return the deliveries after it, settled ones first. What a taking asks for
        is claimed with it, as by :meth:`claim`.

        Raises:
            Conflict: A delivery is no longer at its revision; nothing was done.
            IllegalTransition: An event cannot follow; nothing was done.
        """

    def apply_all(self, changes: Sequence[Change]) -> Sequence[Sequence[Delivery] | HubError]:
        """Do several changes with one sync, each for itself; return what :meth:`apply` would return or raise."""

    def load_all(self, deliveries: Sequence[Delivery]) -> Sequence[tuple[Message, Payload] | StoreError]:
        """Return the message (without its body) and the bytes to send, verified against their digest, of as many of
        these, from the first, as come to some megabytes; at least of one. An error stands for what is gone or damaged.
        """

    def listen(self, due: Callable[[Collection[str]], None], jobs: Callable[[], None]) -> None:
        """From now on call ``due`` with the destinations for which another process made something due, and ``jobs``
        when it wrote a job; soon after its commit, from a thread of the store's own, until :meth:`close`.

        A hint, and nothing may rely on it: on SQLite nobody ever calls, on PostgreSQL not while the connection is
        away. What is due is found by :meth:`due`, asked again and again.
        """

    # --- destinations
    def hold(self, control: Control) -> None:
        """Hold a destination back. A second hold of the same kind renews the first and keeps its ``since``."""

    def release(self, destination: str, *, by: str, now: datetime, kind: str | None = None) -> bool:
        """End one kind of hold, or all but that by its hours; return whether there was one."""

    def controls(self, now: datetime) -> Sequence[Control]:
        """Return what is held back now."""

    def held(self, destination: str, since: datetime, until: datetime) -> timedelta:
        """Return how long the destination was held back between the two times."""

    # --- jobs and audit
    @property
    def watch(self) -> WatchBook:
        """Whether all is well: facts to judge, alerts that stand, who is to be told."""

    @property
    def jobs(self) -> JobBook:
        """What people want done with many deliveries, and how far it is."""

    def audit(self, entry: Audit) -> None: ...

    def note(self, note: Note) -> bool:
        """Append a note to a group of equal failures; return whether there is such a group."""

    def audits(self, limit: int = 100) -> Sequence[Audit]: ...

    # --- reading
    def find(
        self, filter_: Filter, *, limit: int = 100, after: str | None = None
    ) -> tuple[Sequence[MessageRecord], str | None]:
        """Return messages, newest first, and the cursor of the next page (``None``: no more)."""

    def find_deliveries(self, filter_: Filter, *, limit: int = 1000, after: int = 0) -> Sequence[Delivery]:
        """Return deliveries, oldest first, whose ``seq`` is larger than ``after``."""

    def message(self, id_: str) -> MessageRecord | None: ...

    def replays_of(self, message_id: str) -> Sequence[MessageId]:
        """Return the messages that came of handing this one in once more, oldest first."""

    def facts(self, ids: Sequence[str]) -> Sequence[ItemFacts]:
        """Return what a preview says of some deliveries."""

    def delivery(self, id_: str) -> Delivery | None: ...

    def events(self, delivery_id: str) -> Sequence[Event]: ...

    def payloads(self, message_id: str) -> Sequence[PayloadInfo]: ...

    def payload(self, id_: str) -> Payload | None:
        """Return a payload, verified against its digest; ``None`` if it is not there or was erased."""

    def incoming(self, message_id: str) -> Mapping[str, Any] | None:
        """Return how a message came in: ``source, sender, received_at, idempotency_key`` and what ``arrival`` kept."""

    def close(self) -> None: ...

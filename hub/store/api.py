"""What the hub asks of its store. One protocol, one contract suite, SQLite and PostgreSQL behind it.

Writes are operations, given as values; when a writing method returns, its effect survives a power cut. Operations that
queue up together share one transaction (group commit); one that fails never takes its neighbours with it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Literal, Protocol

from hub.delivery import Delivery, Event
from hub.message import DeliveryId, Message, MessageId, Receipt
from hub.store.taking import Accepted, Taking


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
class ItemResult:
    """How one item of a job ended."""

    job_id: str
    item: str
    result: str  # done | skipped | failed | sending
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Change:
    """Several settlements and newly planned deliveries that happen together or not at all (a replay, say)."""

    settlements: tuple[Settlement, ...] = ()
    deliveries: tuple[Delivery, ...] = ()
    message_id: MessageId | None = None  # of the new deliveries, payloads and references
    payloads: tuple[Payload, ...] = ()
    references: tuple[Reference, ...] = ()
    item: ItemResult | None = None


@dataclass(frozen=True, slots=True)
class Control:
    """A destination that is held back: nothing of it is claimed while this stands."""

    destination: str
    kind: Literal["paused", "blocked"]
    reason: str
    since: datetime
    by: str
    until: datetime | None = None  # the hold ends by itself then
    code: str = ""


@dataclass(frozen=True, slots=True)
class Job:
    """A frozen list of items that somebody wants done, and why."""

    id: str
    kind: Literal["replay", "resend", "replan", "close"]
    actor: str
    reason: str
    created_at: datetime
    items: tuple[str, ...]  # ids of deliveries; for a replay of rejected documents ids of messages
    arguments: Mapping[str, str] = field(default_factory=dict)
    state: Literal["open", "done"] = "open"
    results: tuple[ItemResult, ...] = ()


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


@dataclass(frozen=True, slots=True)
class PayloadInfo:
    """A payload without its bytes."""

    id: str
    role: PayloadRole
    media_type: str
    size: int
    sha256: str
    delivery_id: DeliveryId | None


class Store(Protocol):
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

    def accept_and_claim(self, acceptance: Acceptance, taking: Taking) -> Accepted:
        """Keep it as :meth:`accept` does, and claim its deliveries to these destinations with the same sync. Not those
        with an order key, nor while the destination is held back; a duplicate claims nothing.
        """

    def reject(self, rejection: Rejection) -> None:
        """Keep the record of a rejection."""

    # --- dispatch
    def due(self, now: datetime) -> Sequence[str]:
        """Return the destinations that have a due delivery and are not held back. One query over all."""

    def waiting(self) -> Sequence[str]:
        """Return the destinations for which something waits, due or not, held back or not."""

    def next_due(self, now: datetime) -> datetime | None:
        """Return when the earliest delivery that is not due yet becomes due."""

    def claim(self, destination: str, *, now: datetime, limit: int, owner: str, lease: timedelta) -> Sequence[Delivery]:
        """Move up to ``limit`` due deliveries to SENDING, oldest first; no two callers ever get the same one.

        Nothing while the destination is held back. Of those with an order key only one per key, and only if no
        earlier one of the key is waiting, sending, taken or dead.
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

    def apply(self, change: Change) -> Sequence[Delivery]:
        """Do everything in ``change`` and return the deliveries after it, settled ones first.

        Raises:
            Conflict: A delivery is no longer at its revision; nothing was done.
            IllegalTransition: An event cannot follow; nothing was done.
        """

    def load(self, delivery: Delivery) -> tuple[Message, Payload]:
        """Return the message (without its body) and the bytes to send, verified against their digest.

        Raises:
            StoreError: The bytes are gone or damaged.
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
        """Let a destination go on; return whether it was held."""

    def controls(self, now: datetime) -> Sequence[Control]:
        """Return what is held back now."""

    def held(self, destination: str, since: datetime, until: datetime) -> timedelta:
        """Return how long the destination was held back between the two times."""

    # --- jobs and audit
    def add_job(self, job: Job) -> None: ...

    def open_jobs(self) -> Sequence[Job]:
        """Return unfinished jobs, oldest first, with the results of the items that are done."""

    def job(self, id_: str) -> Job | None: ...

    def finish_job(self, id_: str) -> None: ...

    def audit(self, entry: Audit) -> None: ...

    def audits(self, limit: int = 100) -> Sequence[Audit]: ...

    # --- reading
    def find(
        self, filter_: Filter, *, limit: int = 100, after: str | None = None
    ) -> tuple[Sequence[MessageRecord], str | None]:
        """Return messages, newest first, and the cursor of the next page (``None``: no more)."""

    def find_deliveries(self, filter_: Filter, *, limit: int = 1000, after: int = 0) -> Sequence[Delivery]:
        """Return deliveries, oldest first, whose ``seq`` is larger than ``after``."""

    def message(self, id_: str) -> MessageRecord | None: ...

    def delivery(self, id_: str) -> Delivery | None: ...

    def events(self, delivery_id: str) -> Sequence[Event]: ...

    def payloads(self, message_id: str) -> Sequence[PayloadInfo]: ...

    def payload(self, id_: str) -> Payload | None:
        """Return a payload, verified against its digest; ``None`` if it is not there or was erased."""

    def incoming(self, message_id: str) -> Mapping[str, Any] | None:
        """Return how a message came in: ``source, sender, received_at, idempotency_key`` and what ``arrival`` kept."""

    # --- snapshots, upkeep
    def keep_snapshot(
        self, digest: str, files: Mapping[str, bytes], versions: Mapping[str, str], now: datetime
    ) -> None:
        """Keep the files of a snapshot, each content once, compressed."""

    def snapshot(self, digest: str) -> Mapping[str, bytes] | None:
        """Return the files of a snapshot, verified; ``None`` if it was not kept.

        Raises:
            StoreError: A file is gone or damaged.
        """

    def snapshot_versions(self, digest: str) -> Mapping[str, str] | None:
        """Return the versions of the programs that a snapshot was compiled with; ``None`` if it was not kept."""

    def sources_with_rejected(self) -> Sequence[str]:
        """Return the sources that have rejected documents to erase one day, configured today or not."""

    def erase_rejected(self, source: str, *, before: datetime, up_to: int, limit: int = 500) -> int:
        """Erase rejected documents that are older, or the oldest beyond ``up_to`` bytes; return how many.

        Body, references and what came along (``incoming``) go; code, findings without values and digest stay.
        """

    def counts(self) -> Mapping[tuple[str, str], int]:
        """Return the number of deliveries by (destination, state), for metrics."""

    def check(self) -> None:
        """Prove that the store can read and write. Raises ``Unavailable``."""

    def close(self) -> None: ...

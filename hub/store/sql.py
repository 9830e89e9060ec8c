"""The store on SQLite and PostgreSQL: which statement serves which question, and who may write.

Writes go through the one writer, as values whose rows are made in the caller's thread; reads have connections of their
own and never wait for it. What the two databases do differently is in :mod:`hub.store.opening`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

import sqlalchemy as sa

from hub.delivery import Delivery, Event
from hub.errors import StoreError, Unavailable
from hub.message import Message, Receipt
from hub.store import claiming, holding, jobs, keeping, listing, moving, upkeep
from hub.store.api import (
    Acceptance,
    Audit,
    Change,
    Control,
    Filter,
    Job,
    Known,
    MessageRecord,
    Payload,
    PayloadInfo,
    Rejection,
)
from hub.store.database import unavailable
from hub.store.payloads import Row, payload_of, select_payload, select_payload_infos
from hub.store.rows import RowMaker, message_of
from hub.store.tables import message
from hub.store.taking import Accepted, Taking
from hub.store.writer import Seal, Writer

LOOKS_MAX = 10  # a claim that loses so often leaves it to others; the next sweep asks again

V = TypeVar("V")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Foundation:
    """What a store stands on. ``lock`` tries to become the store's only daemon; ``give_up`` undoes everything."""

    writing: sa.Engine
    reading: sa.Engine
    maker: RowMaker
    clock: Callable[[], datetime]
    lock: Callable[[], bool]
    give_up: Callable[[], None]
    seal: Seal | None = None
    listen: Callable[[Callable[[Collection[str]], None], Callable[[], None]], None] = lambda _due, _jobs: None


class SqlStore:
    """Implements :class:`hub.store.api.Store`; its promises are written there."""

    def __init__(self, foundation: Foundation) -> None:
        self._foundation = foundation
        self._maker = foundation.maker
        self._clock = foundation.clock
        self._writer = Writer(foundation.writing, foundation.seal)

    def try_lock(self) -> bool:
        """Become the one that may run jobs and deliver, if no daemon is; the lock stays until :meth:`close`."""
        return self._foundation.lock()

    @property
    def exclusive(self) -> bool:
        return self._foundation.writing.dialect.name == "sqlite"

    @property
    def failed(self) -> str | None:
        return self._writer.failed

    # --- intake

    def known(
        self,
        sender: str,
        *,
        idempotency_key: str | None = None,
        sha256: str | None = None,
        identity: str | None = None,
    ) -> Known | None:
        reading, found = self._foundation.reading, None
        if idempotency_key is not None:
            found = keeping.find_by_key(reading, sender, idempotency_key)
        if found is None and sha256 is not None:
            found = keeping.find_by_digest(reading, sender, sha256)
        if found is None and identity is not None:
            found = keeping.find_by_identity(reading, sender, identity)
        return found

    def accept(self, acceptance: Acceptance) -> Receipt:
        return self._accept(acceptance, None).receipt

    def accept_and_claim(self, acceptance: Acceptance, taking: Taking) -> Accepted:
        return self._accept(acceptance, taking)

    def _accept(self, acceptance: Acceptance, taking: Taking | None) -> Accepted:
        _refuse_incomplete(acceptance)
        rows = self._maker.accepted(acceptance, taking)
        with self._files(rows.payloads):
            accepted = self._writer.run(keeping.ACCEPT, rows)
        if accepted.receipt.duplicate:
            self._drop_unnamed(rows.payloads)
        return accepted

    def reject(self, rejection: Rejection) -> None:
        rows = self._maker.rejected(rejection)
        with self._files(rows.payloads):
            self._writer.run(keeping.REJECT, rows)

    # --- dispatch

    def due(self, now: datetime) -> Sequence[str]:
        return self._read(claiming.select_due, now)

    def waiting(self) -> Sequence[str]:
        with self._reading() as connection:
            return claiming.select_waiting(connection)

    def next_due(self, now: datetime) -> datetime | None:
        return self._read(claiming.select_next_due, now)

    def claim(self, destination: str, *, now: datetime, limit: int, owner: str, lease: timedelta) -> Sequence[Delivery]:
        for _ in range(LOOKS_MAX):
            with self._reading() as connection:
                ids = claiming.select_claimable(connection, destination, now, limit)
            if not ids:
                return []
            wish = claiming.Claim(tuple(ids), now, owner, lease)
            if claimed := self._writer.run(claiming.CLAIM, wish):
                return claimed  # else other nodes were first: there may be more
        return []

    def renew(self, owner: str, *, now: datetime, lease: timedelta, only: Collection[str] | None = None) -> int:
        in_hand = None if only is None else tuple(sorted(only))
        return self._writer.run(claiming.RENEW, claiming.Renewal(owner, now, lease, in_hand))

    def lost(self, now: datetime | None) -> Sequence[Delivery]:
        return self._read(claiming.select_lost, now)

    def apply(self, change: Change) -> Sequence[Delivery]:
        rows = moving.change_rows(change, self._maker)
        with self._files(rows.payloads):
            return self._writer.run(moving.APPLY, rows)

    def load(self, delivery: Delivery) -> tuple[Message, Payload]:
        if delivery.payload_id is None:
            raise StoreError(f"delivery {delivery.id} has nothing to send")
        with self._reading() as connection:
            of_message = connection.execute(sa.select(message).where(message.c.id == delivery.message_id))
            row = of_message.mappings().one_or_none()
            payload = self._payload(connection, delivery.payload_id)
        if row is None or payload is None:
            raise StoreError(f"payload {delivery.payload_id} is gone")
        return message_of(row), payload

    def listen(self, due: Callable[[Collection[str]], None], jobs: Callable[[], None]) -> None:
        self._foundation.listen(due, jobs)

    # --- destinations

    def hold(self, control: Control) -> None:
        self._writer.run(holding.HOLD, control)

    def release(self, destination: str, *, by: str, now: datetime, kind: str | None = None) -> bool:
        return self._writer.run(holding.RELEASE, holding.Release(destination, by, now, kind))

    def controls(self, now: datetime) -> Sequence[Control]:
        return self._read(holding.select_controls, now)

    def held(self, destination: str, since: datetime, until: datetime) -> timedelta:
        with self._reading() as connection:
            return holding.covered(holding.select_spans(connection, destination, since, until))

    # --- jobs and audit

    def add_job(self, job: Job) -> None:
        self._writer.run(jobs.ADD_JOB, job)

    def open_jobs(self) -> Sequence[Job]:
        with self._reading() as connection:
            return jobs.select_open_jobs(connection)

    def job(self, id_: str) -> Job | None:
        return self._read(jobs.select_job, id_)

    def finish_job(self, id_: str) -> None:
        self._writer.run(jobs.FINISH_JOB, id_)

    def audit(self, entry: Audit) -> None:
        self._writer.run(jobs.ADD_AUDIT, entry)

    def audits(self, limit: int = 100) -> Sequence[Audit]:
        return self._read(jobs.select_audits, limit)

    # --- reading

    def find(
        self, filter_: Filter, *, limit: int = 100, after: str | None = None
    ) -> tuple[Sequence[MessageRecord], str | None]:
        now, digest = self._clock(), self._digest(filter_)
        with self._reading() as connection:
            return listing.find_messages(connection, filter_, digest, now=now, limit=limit, after=after)

    def find_deliveries(self, filter_: Filter, *, limit: int = 1000, after: int = 0) -> Sequence[Delivery]:
        now, digest = self._clock(), self._digest(filter_)
        with self._reading() as connection:
            return listing.find_deliveries(connection, filter_, digest, now=now, limit=limit, after=after)

    def message(self, id_: str) -> MessageRecord | None:
        with self._reading() as connection:
            return listing.find_message(connection, id_, self._clock())

    def delivery(self, id_: str) -> Delivery | None:
        return self._read(listing.select_delivery, id_)

    def events(self, delivery_id: str) -> Sequence[Event]:
        return self._read(listing.select_events, delivery_id)

    def payloads(self, message_id: str) -> Sequence[PayloadInfo]:
        return self._read(select_payload_infos, message_id)

    def payload(self, id_: str) -> Payload | None:
        with self._reading() as connection:
            return self._payload(connection, id_)

    def incoming(self, message_id: str) -> Mapping[str, Any] | None:
        return self._read(keeping.select_incoming, message_id)

    # --- snapshots, upkeep

    def keep_snapshot(
        self, digest: str, files: Mapping[str, bytes], versions: Mapping[str, str], now: datetime
    ) -> None:
        with self._reading() as connection:
            known = upkeep.select_known_files(connection)
        self._writer.run(upkeep.KEEP_SNAPSHOT, upkeep.snapshot_rows(digest, files, versions, now, known))

    def snapshot(self, digest: str) -> Mapping[str, bytes] | None:
        return self._read(upkeep.select_snapshot, digest)

    def snapshot_versions(self, digest: str) -> Mapping[str, str] | None:
        return self._read(upkeep.select_snapshot_versions, digest)

    def sources_with_rejected(self) -> Sequence[str]:
        with self._reading() as connection:
            return upkeep.select_sources_with_rejected(connection)

    def erase_rejected(self, source: str, *, before: datetime, up_to: int, limit: int = 500) -> int:
        wish = upkeep.Erasure(source, before, up_to, limit, self._clock())
        erased = self._writer.run(upkeep.ERASE_REJECTED, wish)
        self._maker.payloads.drop(erased.payloads)
        return erased.messages

    def counts(self) -> Mapping[tuple[str, str], int]:
        with self._reading() as connection:
            return upkeep.select_counts(connection)

    def check(self) -> None:
        try:
            self._writer.run(upkeep.PROVE, self._clock())
            with self._reading() as connection:
                upkeep.select_setting(connection, "proved")
        except StoreError as error:
            raise Unavailable(str(error)) from None

    def close(self) -> None:
        self._writer.close()
        self._foundation.give_up()

    # --- inside

    @contextmanager
    def _reading(self) -> Iterator[sa.Connection]:
        """Give a connection on which everything read is of one moment."""
        try:
            with self._foundation.reading.begin() as connection:
                yield connection
        except sa.exc.SQLAlchemyError as error:
            raise unavailable(error) from None

    def _read(self, query: Callable[[sa.Connection, V], R], value: V) -> R:
        with self._reading() as connection:
            return query(connection, value)

    def _payload(self, connection: sa.Connection, id_: str) -> Payload | None:
        row = select_payload(connection, id_)
        return None if row is None else payload_of(row, self._maker.payloads.body(row))

    def _digest(self, filter_: Filter) -> str | None:
        return None if filter_.reference is None else self._maker.digest(filter_.reference)

    @contextmanager
    def _files(self, rows: Sequence[Row]) -> Iterator[None]:
        """Take back payload files when the operation that names them was refused.

        Not when the store was unavailable: then nobody knows whether it was committed, and the next start sweeps.
        """
        try:
            yield
        except StoreError:
            self._drop_unnamed(rows)
            raise

    def _drop_unnamed(self, rows: Sequence[Row]) -> None:
        files = [row["id"] for row in rows if row["storage"] == "file"]
        if files:
            with self._reading() as connection:
                self._maker.payloads.drop_unnamed(files, connection)


def _refuse_incomplete(acceptance: Acceptance) -> None:
    """Refuse what would be accepted and never delivered.

    Raises:
        StoreError: There is no delivery, or one without its bytes.
    """
    ids = {payload.id for payload in acceptance.payloads}
    if not acceptance.deliveries:
        raise StoreError(f"message {acceptance.message.id} has no delivery")
    if any(one.payload_id is not None and one.payload_id not in ids for one in acceptance.deliveries):
        raise StoreError(f"message {acceptance.message.id} has a delivery whose payload is not handed in")

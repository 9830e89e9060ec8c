"""The store on SQLite and PostgreSQL: which statement serves which question, and who may write.

Writes go through the one writer, as values whose rows are made in the caller's thread; reads have connections of their
own and never wait for it. What the two databases do differently is in :mod:`hub.store.opening`.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, Protocol, TypeVar

import sqlalchemy as sa

from hub import crashpoint
from hub.delivery import Delivery, Event
from hub.errors import HubError, StoreError, Unavailable
from hub.message import Message, MessageId, Receipt
from hub.store import claiming, erasing, holding, keeping, listing, loading, moving, nodes, selecting, upkeep
from hub.store.api import (
    Acceptance,
    Change,
    Control,
    Filter,
    ItemFacts,
    Known,
    MessageRecord,
    Payload,
    PayloadInfo,
    Rejection,
)
from hub.store.database import unavailable
from hub.store.driver import Readers
from hub.store.foundation import Foundation
from hub.store.jobs import SqlJobs
from hub.store.memory import SqlMemory
from hub.store.payloads import Row, payload_of, select_payload, select_payload_infos
from hub.store.rows import MessageRows
from hub.store.taking import Accepted, Taking
from hub.store.upkeep_api import Node, Work
from hub.store.watching import SqlWatch
from hub.store.writer import Verb, Writer

LOOKS_MAX = 10  # a claim that loses so often leaves it to others; the next sweep asks again

V = TypeVar("V")
R = TypeVar("R")


class WithPayloads(Protocol):
    """Rows of which some may stand for files."""

    @property
    def payloads(self) -> Sequence[Row]: ...


W = TypeVar("W", bound=WithPayloads)


class SqlStore(SqlMemory):
    """Implements :class:`hub.store.api.Store`; its promises are written there."""

    def __init__(self, foundation: Foundation) -> None:
        self._foundation = foundation
        self._maker = foundation.maker
        self._clock = foundation.clock
        self._writer = Writer(foundation.writing, foundation.seal)
        super().__init__(self._writer, self._reading)
        self._readers = Readers(foundation.reading)
        self._watch = SqlWatch(self._writer, self._reading, foundation.clock)
        self._jobs = SqlJobs(self._writer, self._reading, foundation.clock, self._maker.payloads)

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
        asked = ((keeping.find_by_key, idempotency_key), (keeping.find_by_digest, sha256),
                 (keeping.find_by_identity, identity))  # fmt: skip
        looked = (find(self._readers, sender, value) for find, value in asked if value is not None)
        return next((found for found in looked if found is not None), None)

    def accept(self, acceptance: Acceptance) -> Receipt:
        (accepted,) = self.accept_all([(acceptance, None)])
        if isinstance(accepted, HubError):
            raise accepted
        return accepted.receipt

    def accept_all(self, several: Sequence[tuple[Acceptance, Taking | None]]) -> Sequence[Accepted | HubError]:
        def rows_of(one: tuple[Acceptance, Taking | None]) -> MessageRows:
            _refuse_incomplete(one[0])
            rows = self._maker.accepted(*one)
            crashpoint.reached("before-insert")
            return rows

        def is_repeated(answer: Accepted) -> bool:
            return answer.receipt.duplicate

        return self._run_all(keeping.ACCEPT, several, rows_of, is_repeated)

    def reject(self, rejection: Rejection) -> MessageId:
        def is_repeated(record: MessageId) -> bool:
            return record != rejection.id

        (answer,) = self._run_all(keeping.REJECT, [rejection], self._maker.rejected, is_repeated)
        if isinstance(answer, HubError):
            raise answer
        return answer

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

    def apply(self, change: Change, taking: Taking | None = None) -> Sequence[Delivery]:
        answer: Sequence[Delivery] | HubError
        if taking is None:
            (answer,) = self.apply_all([change])
        else:
            released = claiming.Release(moving.change_rows(change, self._maker), taking)
            (answer,) = self._run_all(claiming.RELEASE, [released], lambda rows: rows)
        if isinstance(answer, HubError):
            raise answer
        return answer

    def apply_all(self, changes: Sequence[Change]) -> Sequence[Sequence[Delivery] | HubError]:
        def rows_of(change: Change) -> moving.ChangeRows:
            rows = moving.change_rows(change, self._maker)
            crashpoint.reached("before-mark")
            return rows

        return self._run_all(moving.APPLY, changes, rows_of)

    def load_all(self, deliveries: Sequence[Delivery]) -> Sequence[tuple[Message, Payload] | StoreError]:
        with self._reading() as connection:
            return loading.load_all(connection, self._maker.payloads, deliveries)

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

    @property
    def watch(self) -> SqlWatch:
        return self._watch

    @property
    def jobs(self) -> SqlJobs:
        return self._jobs

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

    def replays_of(self, message_id: str) -> Sequence[MessageId]:
        return self._read(selecting.select_replays, message_id)

    def facts(self, ids: Sequence[str]) -> Sequence[ItemFacts]:
        with self._reading() as connection:
            return selecting.select_facts(connection, ids, self._clock())

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

    def newest_snapshot(self) -> str | None:
        with self._reading() as connection:
            return upkeep.select_newest_snapshot(connection)

    def snapshot_versions(self, digest: str) -> Mapping[str, str] | None:
        return self._read(upkeep.select_snapshot_versions, digest)

    def sources_with_rejected(self) -> Sequence[str]:
        with self._reading() as connection:
            return upkeep.select_sources_with_rejected(connection)

    def erase_rejected(self, source: str, *, before: datetime, up_to: int, limit: int = 500) -> int:
        wish = upkeep.Erasure(source, before, up_to, limit, self._clock())
        erased = self._writer.run(upkeep.ERASE_REJECTED, wish)
        crashpoint.reached("during-erasure")
        self._maker.payloads.drop(erased.payloads)
        return erased.messages

    def settled(
        self, source: str, *, before: datetime, limit: int = 100, after: str | None = None
    ) -> tuple[Sequence[str], str | None]:
        return self._read(erasing.select_settled, erasing.Settled(source, before, limit, after))

    def erase_settled(self, ids: Sequence[str]) -> int:
        erased = self._writer.run(erasing.ERASE_SETTLED, erasing.Wish(tuple(ids), self._clock()))
        self._maker.payloads.drop(erased.payloads)
        return erased.messages

    def take_turn(self, work: str, every: timedelta, do: Work) -> bool:
        return self._foundation.take_turn(work, every, do)

    def announce(self, snapshot: str, unknown: Collection[str]) -> Sequence[Node]:
        own = Node(self._foundation.node, socket.gethostname(), snapshot, frozenset(unknown))
        if self.exclusive:
            return [own]
        self._writer.run(nodes.ANNOUNCE, nodes.Said(own))
        return self.nodes()

    def nodes(self) -> Sequence[Node]:
        if self.exclusive:
            return []
        with self._reading() as connection:
            return nodes.select_nodes(connection)

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
        self._readers.close()
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

    def _run_all(
        self,
        verb: Verb[W, R],
        values: Sequence[V],
        rows_of: Callable[[V], W],
        is_unused: Callable[[R], bool] = lambda _answer: False,
    ) -> Sequence[R | HubError]:
        """Write several operations with one sync. Each may fail alone, when its rows are made or written.

        Payload files of what was refused or not used are taken back. Not when the store was unavailable: then nobody
        knows whether it was committed, and the next start sweeps.
        """
        answers: dict[int, R | HubError] = {}
        made: dict[int, W] = {}
        for at, value in enumerate(values):
            try:
                made[at] = rows_of(value)
            except HubError as error:
                answers[at] = error
        if made:
            try:
                written = self._writer.run_all(verb, tuple(made.values()))
            except Unavailable as error:
                written = [error] * len(made)
            for (at, rows), answer in zip(made.items(), written, strict=True):
                answers[at] = answer
                if isinstance(answer, StoreError) or (not isinstance(answer, HubError) and is_unused(answer)):
                    self._drop_unnamed(rows.payloads)
        return [answers[at] for at in range(len(values))]

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

"""A store that has grown: rows straight into the tables, by the databases' own means; and what a question costs in it.

What is measured is work, not time: steps of SQLite's machine, pages that PostgreSQL touches. A busy machine changes
neither.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from hub.store.sql import SqlStore
from hub.store.tables import delivery, event, message, metadata, payload, reference
from tests.storing import NOW

TOWNS, SENDERS = 50, 10
SOURCE, STATISTICS = "online-services", "statistik/las"
STEP = timedelta(seconds=1)
SMALL_BODY = b"<antrag/>"


def received(number: int) -> datetime:
    """Return when the message with this number came in."""
    return NOW + number * STEP


def fill(url: str, count: int, *, first: int = 1, body: bytes = SMALL_BODY) -> None:
    """Put in so many messages, with two deliveries each and two events for each of these.

    Of 50 one is dead, one waits, one is taken, one is closed; the others are delivered to both destinations.
    """
    engine = sa.create_engine(url)
    numbers = sa.select(sa.literal(first).label("n")).cte("numbers", recursive=True)
    numbers = numbers.union_all(sa.select(numbers.c.n + 1).where(numbers.c.n < first + count - 1))
    n = numbers.c.n
    with engine.begin() as connection:
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("PRAGMA synchronous=OFF")  # of this connection alone
        _insert(connection, message, _message(n), sa.select(numbers))
        _insert(connection, payload, _payload(n, body), sa.select(numbers))
        _insert(connection, reference, _reference(n), sa.select(numbers))
        for part, destination in enumerate((_town(n) + "/antrag", sa.literal(STATISTICS))):
            seq = sa.select(message.c.seq).where(message.c.id == _id("m", n)).scalar_subquery()
            _insert(connection, delivery, _delivery(n, part, destination, seq), sa.select(numbers))
            for revision, kind in enumerate(("claimed", "delivered"), 1):
                _insert(connection, event, _event(n, part, revision, kind), sa.select(numbers))
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        if engine.dialect.name == "postgresql":  # as its autovacuum does; nobody does it on SQLite
            connection.exec_driver_sql("VACUUM ANALYZE")
    engine.dispose()


def _insert(connection: sa.Connection, table: sa.Table, row: dict[str, Any], numbers: sa.Select[Any]) -> None:
    names = list(row)
    columns = [_expression(row[name]).label(name) for name in names]
    connection.execute(sa.insert(table).from_select(names, numbers.with_only_columns(*columns), include_defaults=False))


def _expression(value: Any) -> sa.ColumnElement[Any]:
    return value if isinstance(value, sa.ColumnElement) else sa.literal(value)


def _id(letter: str, n: sa.ColumnElement[int]) -> sa.ColumnElement[str]:
    return sa.literal(letter) + sa.cast(n + 10**9, sa.Text)


def _town(n: sa.ColumnElement[int]) -> sa.ColumnElement[str]:
    return sa.literal("town-") + sa.cast(n % TOWNS + 100, sa.Text)


def _time(n: sa.ColumnElement[int]) -> sa.ColumnElement[int]:
    began = int(NOW.timestamp()) * 1_000_000
    return sa.literal(began, sa.BigInteger) + sa.cast(n, sa.BigInteger) * 1_000_000


def _message(n: sa.ColumnElement[int]) -> dict[str, Any]:
    sender = sa.literal("sender-") + sa.cast(n % SENDERS, sa.Text)
    return {
        "id": _id("m", n), "verdict": "accepted", "source": SOURCE, "sender": sender, "identity": _id("i", n),
        "sha256": _id("h", n), "standard": "antrag", "version": "1.0",
        "name": sa.literal("antrag.0") + sa.cast(n % 20 + 100, sa.Text), "owner": _town(n), "recipient": _town(n),
        "test": sa.false(), "received_at": _time(n), "snapshot": "snap-1", "arrival": sa.literal("{}", sa.Text),
        "header": sa.literal("{}", sa.Text),
    }  # fmt: skip


def _payload(n: sa.ColumnElement[int], body: bytes) -> dict[str, Any]:
    return {
        "id": _id("p", n), "message_id": _id("m", n), "role": "received", "part_no": 0, "media_type": "application/xml",
        "encoding": "identity", "storage": "row", "size": len(body), "sha256": _id("h", n),
        "headers": sa.literal("{}", sa.Text), "bytes": sa.literal(body, sa.LargeBinary),
    }  # fmt: skip


def _reference(n: sa.ColumnElement[int]) -> dict[str, Any]:
    return {"message_id": _id("m", n), "kind": "sender_reference", "digest": _id("r", n), "value": _id("v", n)}


def _delivery(
    n: sa.ColumnElement[int], part: int, destination: sa.ColumnElement[str], seq: sa.ScalarSelect[int]
) -> dict[str, Any]:
    kinds = {} if part else {0: "dead", 1: "waiting", 2: "taken", 3: "closed"}
    state = sa.case(*((n % 50 == rest, sa.literal(state)) for rest, state in kinds.items()), else_="delivered")
    return {
        "id": _id(f"d{part}", n), "message_id": _id("m", n), "message_seq": seq, "owner": _town(n),
        "route": "antraege" if part == 0 else "statistik", "destination": destination, "payload_id": _id("p", n),
        "state": state if kinds else "delivered",
        "reason": sa.case((n % 50 == 0, sa.literal("refused")), else_="") if kinds else "",
        "phase": "none", "code": "", "due_at": _time(n), "attempts": 1, "revision": 2, "snapshot": "snap-1",
    }  # fmt: skip


def _event(n: sa.ColumnElement[int], part: int, revision: int, kind: str) -> dict[str, Any]:
    return {
        "delivery_id": _id(f"d{part}", n), "revision": revision, "kind": kind, "at": _time(n), "reason": "",
        "phase": "none", "code": "", "actor": "",
    }  # fmt: skip


def rows(url: str) -> dict[str, int]:
    """Return how many rows each table has."""
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        return {
            one.name: connection.execute(sa.select(sa.func.count()).select_from(one)).scalar_one()
            for one in metadata.sorted_tables
        }


# --- what a question costs ----------------------------------------------------------------------------------------

STEPS = 100


class Meter:
    """Counts the work of what is read from a store."""

    def __init__(self, store: SqlStore, *, writing: bool = False) -> None:
        foundation = store._foundation  # nobody else needs to see inside
        self._engine = foundation.writing if writing else foundation.reading
        self._steps = 0
        self._asked: list[tuple[str, Any]] = []

    def cost(self, ask: Callable[[], object]) -> int:
        """Return what this costs: steps of SQLite's machine (in hundreds), or pages of PostgreSQL."""
        with self._stepping() if self._engine.dialect.name == "sqlite" else self._listening():
            ask()
        if self._engine.dialect.name == "sqlite":
            return self._steps
        return sum(self._pages(statement, parameters) for statement, parameters in self._asked)

    @contextmanager
    def _stepping(self) -> Iterator[None]:
        self._steps = 0

        def step() -> int:
            self._steps += 1
            return 0

        def begin(connection: Any, *_: Any) -> None:
            connection.set_progress_handler(step, STEPS)

        sa.event.listen(self._engine, "checkout", begin)
        try:
            yield
        finally:
            sa.event.remove(self._engine, "checkout", begin)

    @contextmanager
    def _listening(self) -> Iterator[None]:
        self._asked = []

        def hear(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
            self._asked.append((statement, parameters))

        sa.event.listen(self._engine, "before_cursor_execute", hear)
        try:
            yield
        finally:
            sa.event.remove(self._engine, "before_cursor_execute", hear)

    def _pages(self, statement: str, parameters: Any) -> int:
        with self._engine.connect() as connection:
            explained = connection.exec_driver_sql(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}", parameters)
            found = explained.scalar_one()
        (plan,) = json.loads(found) if isinstance(found, str) else found
        return int(plan["Plan"]["Shared Hit Blocks"] + plan["Plan"]["Shared Read Blocks"])

"""Finding messages and deliveries, for people. One rule: a page costs the same few queries, whatever is on it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import zip_longest
from typing import Any

import sqlalchemy as sa

from hub.delivery import Delivery, Event, State
from hub.errors import StoreError
from hub.message import DeliveryId
from hub.store.api import Filter, MessageRecord
from hub.store.filtering import (
    OPEN,
    TYPE_COLUMNS,
    Asked,
    Branch,
    Held,
    branches,
    check,
    delivery_conditions,
    message_conditions,
    type_fits,
)
from hub.store.holding import select_blocked, select_holds
from hub.store.rows import VALUE, delivery_of, event_of, type_of
from hub.store.tables import delivery, event, message, reference

PAGE_MAX = 1000
BY_TIME = "INDEXED BY message_received"
NEVER = 1 << 62  # larger than any number of a message


def status_of(verdict: str, deliveries: Iterable[Delivery], blocked: Collection[str]) -> str:
    """Return the status of a message, the first that fits (INTERFACE §5)."""
    if verdict == "rejected":
        return "rejected"
    listed = list(deliveries)
    states = {one.state for one in listed}
    if State.DEAD in states or any(one.state is State.WAITING and one.destination in blocked for one in listed):
        return "attention"
    if states.intersection(OPEN):
        return "open"
    return "delivered" if State.DELIVERED in states else "closed"


def status_of_message(connection: sa.Connection, message_id: str, now: datetime) -> str:
    """Return the status of an accepted message."""
    deliveries = _deliveries_of(connection, [message_id])[message_id]
    return status_of("accepted", deliveries, select_blocked(connection, now))


# --- pages --------------------------------------------------------------------------------------------------------


def find_messages(
    connection: sa.Connection, filter_: Filter, digest: str | None, *, now: datetime, limit: int, after: str | None
) -> tuple[list[MessageRecord], str | None]:
    """Return a page of messages, newest first, and the cursor of the next. The cursor is the last one's ``seq``."""
    if after is not None and not after.isdecimal():
        raise StoreError("the cursor is not one that a listing has given")
    size = max(1, min(limit, PAGE_MAX))
    asked = look_up(connection, filter_, digest, now)
    seqs = page_of(connection, asked, before=None if after is None else int(after), limit=size + 1)
    following = str(seqs[size - 1]) if len(seqs) > size else None
    return read_messages(connection, seqs[:size], asked.held), following


def read_messages(connection: sa.Connection, seqs: Sequence[int], held: Held) -> list[MessageRecord]:
    """Read messages by their numbers, newest first."""
    statement = sa.select(message).where(message.c.seq.in_(seqs)).order_by(message.c.seq.desc())
    rows = connection.execute(statement).mappings().all() if seqs else ()
    return _records(connection, rows, _deliveries_of(connection, [row["id"] for row in rows]), held)


def look_up(connection: sa.Connection, filter_: Filter, digest: str | None, now: datetime) -> Asked:
    """Return a filter with what has to be known before it can be asked.

    Raises:
        StoreError: Nothing can be found by it.
    """
    check(filter_)
    types = None
    if filter_.type is not None and filter_.type.strip("*/?"):
        types = select_types(connection, filter_.type)
    only = filter_.fingerprint is not None and _is_of_rejections(connection, filter_.fingerprint)
    return Asked(filter_, digest, read_held(connection, now), types, only)


def select_types(connection: sa.Connection, globs: str) -> list[tuple[Any, ...]]:
    """Read which types there are that globs mean; of those without a wildcard some may not be there.

    From one to the next by a step in the index each: DISTINCT would walk over all.
    """
    found: list[tuple[Any, ...]] = [()]
    for name, glob in zip_longest(TYPE_COLUMNS, globs.split("/", 2), fillvalue="*"):
        found = [(*begun, value) for begun in found for value in _fitting(connection, message.c[name], begun, glob)]
    return found


def _fitting(
    connection: sa.Connection, column: sa.Column[Any], begun: Sequence[str | None], glob: str
) -> Iterable[str | None]:
    if not set(glob) & {"*", "?"}:
        return [glob]
    return (value for value in _values(connection, column, begun) if type_fits((value,), glob))


def _values(connection: sa.Connection, column: sa.Column[Any], begun: Sequence[str | None]) -> Iterator[str | None]:
    """Yield the values of a segment among the types that begin so; of a rejected document some may not be known."""
    same = [message.c[name] == value for name, value in zip(TYPE_COLUMNS, begun, strict=False)]
    if connection.execute(sa.select(message.c.seq).where(*same, column.is_(None)).limit(1)).first():
        yield None
    last = ""
    while True:
        following = connection.execute(sa.select(sa.func.min(column)).where(*same, column > last)).scalar()
        if following is None:
            return
        yield following
        last = following


def read_held(connection: sa.Connection, now: datetime) -> Held:
    """Read what is held back, and what of it is blocked."""
    return Held(select_holds(connection, now), frozenset(select_blocked(connection, now)))


def _is_of_rejections(connection: sa.Connection, token: str) -> bool:
    found = sa.select(message.c.seq).where(message.c.fingerprint == token, message.c.fingerprint.is_not(None))
    return connection.execute(found.limit(1)).first() is not None


def page_of(
    connection: sa.Connection, asked: Asked, *, before: int | None, limit: int, only: Sequence[int] | None = None
) -> list[int]:
    """Return the numbers of the newest messages that fit, newest first; of ``only`` these, if they are named."""
    low, high = _bounds(connection, asked.filter)
    if before is not None:
        high = before if high is None else min(high, before)
    pages = [_page(branch, low, high, limit, only) for branch in branches(asked)]
    found: set[int] = {seq for page in pages for seq in connection.execute(page).scalars()}
    return sorted(found, reverse=True)[:limit]


def _bounds(connection: sa.Connection, filter_: Filter) -> tuple[int | None, int | None]:
    """Return between which numbers messages of a time are: a walk through them ends there. The second is not meant."""
    low = high = None
    if filter_.since is not None:
        since = sa.select(sa.func.min(message.c.seq)).where(message.c.received_at >= filter_.since)
        low = connection.execute(since.with_hint(message, BY_TIME, "sqlite")).scalar() or NEVER
    if filter_.until is not None:
        until = sa.select(sa.func.max(message.c.seq)).where(message.c.received_at < filter_.until)
        high = (connection.execute(until.with_hint(message, BY_TIME, "sqlite")).scalar() or 0) + 1
    return low, high


def _page(branch: Branch, low: int | None, high: int | None, limit: int, only: Sequence[int] | None) -> sa.Select[Any]:
    """Return the query for a branch's first messages, which one index answers in this order."""
    table = delivery if branch.of_delivery else message
    seq = delivery.c.message_seq if branch.of_delivery else message.c.seq
    statement = sa.select(seq).where(*(branch.of_delivery or branch.conditions))
    if branch.of_delivery:
        statement = statement.distinct()
        if branch.conditions:  # not a join: SQLite would begin with the messages
            of_it = sa.exists().where(message.c.seq == delivery.c.message_seq, *branch.conditions)
            statement = statement.where(of_it)
    if low is not None:
        statement = statement.where(seq >= low)
    if high is not None:
        statement = statement.where(seq < high)
    if only is not None:
        statement = statement.where(seq.in_(only))
    if branch.index is not None and only is None:
        statement = statement.with_hint(
            table, f"INDEXED BY {branch.index}" if branch.index else "NOT INDEXED", "sqlite"
        )
    return statement.order_by(seq.desc()).limit(limit)


_BY_ID = sa.select(message).where(message.c.id == sa.bindparam("at_id"))
_NOTHING_HELD = Held({}, frozenset())


def find_message(connection: sa.Connection, id_: str, now: datetime) -> MessageRecord | None:
    """Return one message by its id."""
    rows = connection.execute(_BY_ID, {"at_id": id_}).mappings().all()
    deliveries = _deliveries_of(connection, [row["id"] for row in rows])
    waits = any(one.state is State.WAITING for found in deliveries.values() for one in found)
    held = read_held(connection, now) if waits else _NOTHING_HELD  # only what waits shows why
    return next(iter(_records(connection, rows, deliveries, held)), None)


def find_deliveries(
    connection: sa.Connection, filter_: Filter, digest: str | None, *, now: datetime, limit: int, after: int
) -> list[Delivery]:
    """Return deliveries, oldest first, that fit together with their messages."""
    asked = look_up(connection, filter_, digest, now)
    if filter_.state == "rejected" or asked.rejections_only:
        return []
    statement = (
        sa.select(delivery)
        .join(message, message.c.id == delivery.c.message_id)
        .where(delivery.c.seq > after, *message_conditions(asked), *delivery_conditions(asked))
        .order_by(delivery.c.seq)
        .limit(limit)
    )
    return [_as_shown(delivery_of(row), asked.held) for row in connection.execute(statement).mappings()]


def select_delivery(connection: sa.Connection, id_: str) -> Delivery | None:
    """Read one delivery by its id."""
    row = connection.execute(_DELIVERY_BY_ID, {"at_id": id_}).mappings().one_or_none()
    return None if row is None else delivery_of(row)


_DELIVERY_BY_ID = sa.select(delivery).where(delivery.c.id == sa.bindparam("at_id"))


def select_events(connection: sa.Connection, delivery_id: str) -> list[Event]:
    """Read the timeline of one delivery, in the order of its key."""
    statement = sa.select(event).where(event.c.delivery_id == delivery_id).order_by(event.c.revision)
    found = (event_of(row) for row in connection.execute(statement).mappings())
    return [one for one in found if one is not None]


def _records(
    connection: sa.Connection, rows: Sequence[sa.RowMapping], deliveries: Mapping[str, list[Delivery]], held: Held
) -> list[MessageRecord]:
    values = _values_of(connection, [row["id"] for row in rows])
    return [
        MessageRecord(
            **{name: row[name] for name in _RECORD_COLUMNS},
            type=type_of(row),
            deliveries=tuple(_as_shown(one, held) for one in deliveries[row["id"]]),
            status=status_of(row["verdict"], deliveries[row["id"]], held.blocked),
            values=values[row["id"]],
            repeated=row["repeated"] or 0,
        )
        for row in rows
    ]


_RECORD_COLUMNS = (
    "seq", "id", "verdict", "code", "source", "sender", "owner", "recipient", "test", "received_at", "sha256",
    "snapshot", "parent_id", "repeated_at",
)  # fmt: skip


def _as_shown(one: Delivery, held: Held) -> Delivery:
    """Return a delivery with the reason why it waits now: its last attempt, or that its destination is held back."""
    reason = held.reasons.get(one.destination or "") if one.state is State.WAITING else None
    return one if reason is None else replace(one, reason=reason)


def _deliveries_of(connection: sa.Connection, ids: Sequence[str]) -> Mapping[str, list[Delivery]]:
    """Read the deliveries of a page of messages with one query."""
    found: dict[str, list[Delivery]] = defaultdict(list)
    statement = sa.select(delivery).where(delivery.c.message_id.in_(ids)).order_by(delivery.c.seq)
    for row in connection.execute(statement).mappings() if ids else ():
        found[row["message_id"]].append(delivery_of(row))
    return found


def _values_of(connection: sa.Connection, ids: Sequence[str]) -> Mapping[str, dict[DeliveryId, dict[str, str]]]:
    """Read what replies told about a page of messages with one query; the latest word counts."""
    found: dict[str, dict[DeliveryId, dict[str, str]]] = defaultdict(dict)
    told = sa.and_(reference.c.kind.startswith(VALUE), reference.c.value.is_not(None))
    statement = sa.select(reference).where(reference.c.message_id.in_(ids), told).order_by(reference.c.seq)
    for row in connection.execute(statement).mappings() if ids else ():
        if row["delivery_id"] is not None:
            of_delivery = found[row["message_id"]].setdefault(DeliveryId(row["delivery_id"]), {})
            of_delivery[row["kind"].removeprefix(VALUE)] = row["value"]
    return found

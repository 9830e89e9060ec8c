"""Which deliveries may be sent now, and to whom they are given. One rule: nobody else gets them meanwhile.

What may be claimed is looked for beside the writer, which only takes what still may: a long queue delays nobody else.
A claim is durable before anything is sent. On SQLite the one writer keeps claims apart, on PostgreSQL row locks do;
there leases count by the database's clock, the only one that all nodes share.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import BigInteger, Integer, Text, bindparam

from hub.delivery import PROBE, Delivery, Event, EventKind, State, advance
from hub.store.driver import fetch, run_many
from hub.store.holding import holding, standing, take_probe
from hub.store.inserting import insert_rows
from hub.store.moving import ChangeRows, apply, insert_events, update_moved
from hub.store.payloads import Row, batched
from hub.store.rows import MessageRows, Move, delivery_of, delivery_row
from hub.store.tables import DEAD, EPOCH, MICROSECOND, SENDING, TAKEN, WAITING, Instant, control, delivery
from hub.store.taking import Taking
from hub.store.writer import Unexpected, Verb

# --- what may be claimed ------------------------------------------------------------------------------------------


def _held(destination: sa.ColumnElement[Any], now: sa.ColumnElement[datetime]) -> sa.ColumnElement[bool]:
    return sa.exists().where(control.c.destination == destination, standing(now))


def _due(destination: sa.ColumnElement[Any], now: sa.ColumnElement[datetime]) -> sa.ColumnElement[bool]:
    return sa.and_(delivery.c.destination == destination, delivery.c.state == WAITING, delivery.c.due_at <= now)


def _first(destination: sa.ColumnElement[Any], order_key: sa.ColumnElement[Any]) -> sa.ScalarSelect[int]:
    """Return which of an order key's deliveries goes before all others that are not finished: one step in an index.

    The order is that of their messages' receipts: a replay stands where its message does.
    """
    other = delivery.alias("other")
    same = sa.and_(other.c.destination == destination, other.c.order_key == order_key)
    unfinished = other.c.state.in_([WAITING, SENDING, TAKEN, DEAD])
    ordered = sa.select(other.c.seq).where(same, unfinished).order_by(other.c.message_seq, other.c.seq)
    return ordered.limit(1).scalar_subquery()


def _sending(destination: sa.ColumnElement[Any], order_key: sa.ColumnElement[Any]) -> sa.ColumnElement[bool]:
    """Return the condition that one of an order key is being sent, perhaps a later one (after a resend or a replay)."""
    sent = delivery.alias("sent")
    return sa.exists().where(sent.c.destination == destination, sent.c.order_key == order_key, sent.c.state == SENDING)


def _free(row: sa.FromClause) -> sa.ColumnElement[bool]:
    """Return the condition that no other one of its order key stands in front of a waiting delivery."""
    key = (row.c.destination, row.c.order_key)
    return sa.or_(row.c.order_key.is_(None), sa.and_(row.c.seq == _first(*key), ~_sending(*key)))


_now = bindparam("now", type_=Instant)
_destination = bindparam("destination", type_=Text)
_limit = bindparam("limit", type_=Integer)
# For the few that are named; said so that no index serves it, as SQLite, which knows no sizes, would begin with it.
_waits = delivery.c.state.concat("") == WAITING

# --- looking for it -----------------------------------------------------------------------------------------------

WINDOW = 100  # so many due deliveries are looked at one by one; after them it goes from order key to order key


def _destinations_waiting() -> sa.CTE:
    """Return the destinations with something waiting, by one step in the index each.

    DISTINCT would walk over every waiting delivery; after a weekend these are many, and the destinations few.
    """
    first = sa.select(sa.func.min(delivery.c.destination).label("name")).where(delivery.c.state == WAITING)
    step = first.cte("waiting_at", recursive=True)
    following = (
        sa.select(sa.func.min(delivery.c.destination))
        .where(delivery.c.state == WAITING, delivery.c.destination > step.c.name)
        .scalar_subquery()
    )
    return step.union_all(sa.select(following).where(step.c.name.is_not(None)))


_waiting_at = _destinations_waiting()


def _window(destination: sa.ColumnElement[Any]) -> sa.Subquery:
    """Return the oldest due deliveries of a destination, as far as its index needs to be read."""
    columns = (delivery.c.id, delivery.c.seq, delivery.c.destination, delivery.c.order_key, delivery.c.due_at)
    oldest = sa.select(*columns).where(_due(destination, _now)).order_by(delivery.c.due_at, delivery.c.seq)
    return oldest.limit(WINDOW).correlate(_waiting_at).subquery("oldest")


def _order_keys() -> sa.CTE:
    """Return the order keys of a destination with something unfinished, by one step in the index each."""
    unfinished = delivery.c.state.in_([WAITING, SENDING, TAKEN, DEAD])
    of_destination = sa.and_(delivery.c.destination == _destination, delivery.c.order_key.is_not(None), unfinished)
    least = sa.select(sa.func.min(delivery.c.order_key).label("name")).where(of_destination)
    step = least.cte("order_key_at", recursive=True)
    following = least.where(delivery.c.order_key > step.c.name).correlate(step).scalar_subquery()
    return step.union_all(sa.select(following).where(step.c.name.is_not(None)))


_oldest = _window(_destination)
_CLAIMABLE = (
    sa.select(_oldest.c.id)
    .where(_free(_oldest), ~_held(_destination, _now))
    .order_by(_oldest.c.due_at, _oldest.c.seq)
    .limit(_limit)
)
_key_at = _order_keys()
_first_at = sa.select(_first(_destination, _key_at.c.name)).where(_key_at.c.name.is_not(None))
_FIRST_OF_KEYS = (
    sa.select(delivery.c.due_at, delivery.c.seq, delivery.c.id)
    .where(delivery.c.seq.in_(_first_at), _waits, delivery.c.due_at <= _now)
    .where(~_sending(_destination, delivery.c.order_key), ~_held(_destination, _now))
    .order_by(delivery.c.due_at, delivery.c.seq)
    .limit(_limit)
)
_UNORDERED = (
    sa.select(delivery.c.due_at, delivery.c.seq, delivery.c.id)
    .where(_due(_destination, _now), delivery.c.order_key.is_(None), ~_held(_destination, _now))
    .order_by(delivery.c.due_at, delivery.c.seq)
    .limit(_limit)
)
_ANY_DUE = sa.select(sa.exists().where(_due(_destination, _now)))


def select_claimable(connection: sa.Connection, destination: str, now: datetime, limit: int) -> list[str]:
    """Read the ids of due deliveries, oldest first, that may be claimed now.

    Usually some of the oldest may. Behind one dead letter wait thousands that may not, of few order keys; among them
    some without a key, if the destination was ordered once and is no more.
    """
    asked = {"destination": destination, "now": now, "limit": limit}
    found = list(connection.execute(_CLAIMABLE, asked).scalars())
    if found or not connection.execute(_ANY_DUE, asked).scalar():
        return found
    rows = [row for statement in (_FIRST_OF_KEYS, _UNORDERED) for row in connection.execute(statement, asked)]
    return [id_ for _due_at, _seq, id_ in sorted(rows)[:limit]]


_oldest_at = _window(_waiting_at.c.name)
_DUE = sa.select(
    _waiting_at.c.name, sa.exists(sa.select(_oldest_at.c.id).where(_free(_oldest_at))).correlate(_waiting_at)
).where(
    _waiting_at.c.name.is_not(None),
    ~_held(_waiting_at.c.name, _now),
    sa.exists().where(_due(_waiting_at.c.name, _now)).correlate(_waiting_at),
)
_NEXT_DUE = sa.select(
    sa.func.min(
        sa.select(sa.func.min(delivery.c.due_at))
        .where(delivery.c.destination == _waiting_at.c.name, delivery.c.state == WAITING, delivery.c.due_at > _now)
        .correlate(_waiting_at)
        .scalar_subquery(),
        type_=Instant,
    )
).where(_waiting_at.c.name.is_not(None), ~_held(_waiting_at.c.name, _now))
_NEXT_END = sa.select(sa.func.min(control.c.until)).where(standing(_now))


def select_waiting(connection: sa.Connection) -> list[str]:
    """Read the destinations with something waiting, by one step in the index each."""
    return list(connection.execute(sa.select(_waiting_at.c.name).where(_waiting_at.c.name.is_not(None))).scalars())


def select_due(connection: sa.Connection, now: datetime) -> list[str]:
    """Read the destinations for which a claim would return something."""
    rows = connection.execute(_DUE, {"now": now}).all()
    return [name for name, free in rows if free or select_claimable(connection, name, now, 1)]


def select_next_due(connection: sa.Connection, now: datetime) -> datetime | None:
    """Read when something becomes due: a delivery by its time, or a whole destination because its hold ends."""
    times = [connection.execute(statement, {"now": now}).scalar() for statement in (_NEXT_DUE, _NEXT_END)]
    return min((time for time in times if time is not None), default=None)


# --- claims and leases --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Claim:
    """What a destination's threads ask for: deliveries that were claimable a moment ago, or have just come in."""

    ids: tuple[str, ...]
    now: datetime
    owner: str
    lease: timedelta


_CLAIM = (
    sa.select(delivery)
    .where(delivery.c.id.in_(bindparam("ids", expanding=True)), _waits, delivery.c.due_at <= _now)
    .where(_free(delivery), ~_held(delivery.c.destination, _now))
    .order_by(delivery.c.due_at, delivery.c.seq)
    .with_for_update(skip_locked=True)
)


_SERVER_CLOCK = sa.cast(sa.func.extract("epoch", sa.func.clock_timestamp()) * 1_000_000, BigInteger)
_duration = bindparam("lease_us", type_=BigInteger)
_LEASE_END = {"sqlite": bindparam("at_now", type_=BigInteger) + _duration, "postgresql": _SERVER_CLOCK + _duration}


def claim(connection: sa.Connection, wish: Claim) -> list[Delivery]:
    """Move to SENDING what still is claimable, and return it. Locked where several nodes write."""
    asked = {"ids": wish.ids, "now": wish.now}
    found = [delivery_of(row) for row in connection.execute(_CLAIM, asked).mappings()]
    probe = take_probe(connection, found[0].destination or "", wish.now) if found else False
    if probe is False:
        return []
    found = found[:1] if probe else found
    taken = Event(EventKind.CLAIMED, wish.now, code=PROBE if probe else "")
    moves = [Move(delivery, taken, advance(delivery, taken)) for delivery in found]
    _take(connection, moves, wish.owner, wish.now, wish.lease)
    return [move.after for move in moves]


def _take(connection: sa.Connection, moves: Sequence[Move], owner: str, now: datetime, lease: timedelta) -> None:
    lease_until = _LEASE_END[connection.dialect.name]
    told = _lease(connection, owner, now, lease)
    if update_moved(connection, moves, lease_until=lease_until, lease=told) != len(moves):
        raise Unexpected  # cannot be: they were locked or written in this transaction
    insert_events(connection, moves)


def _lease(connection: sa.Connection, owner: str, now: datetime, lease: timedelta) -> dict[str, Any]:
    """Return the parameters of a lease's end, which only SQLite is told by our clock."""
    told: dict[str, Any] = {"at_owner": owner, "lease_us": lease // MICROSECOND}
    return told | {"at_now": (now - EPOCH) // MICROSECOND} if connection.dialect.name == "sqlite" else told


@dataclass(frozen=True, slots=True)
class Release:
    """A change, and who tries at once what becomes due by it, so that it needs no claim of its own."""

    change: ChangeRows
    taking: Taking

    @property
    def payloads(self) -> Sequence[Row]:
        return self.change.payloads


_HELD_NOW = sa.select(control.c.destination).where(holding(_now))
_BORN = {
    dialect: sa.insert(delivery).values(lease_until=end, lease_owner=bindparam("at_owner", type_=Text))
    for dialect, end in _LEASE_END.items()
}


def release(connection: sa.Connection, wish: Release) -> Sequence[Delivery]:
    """Write one change and claim what of it may be sent now; return the deliveries after both.

    This transaction has written them, so nobody else can have moved them. What has an order key must stand in line,
    and what is held back be probed: that takes a claim.

    Raises:
        Conflict: As from the change alone; nothing is claimed.
    """
    after = apply(connection, wish.change)
    taking = wish.taking
    due = [one for one in after if one.state is State.WAITING and one.due_at <= taking.now and one.order_key is None]
    meant = [one for one in due if one.destination in taking.destinations]
    if not meant:
        return after
    held = {name for (name,) in fetch(connection, _HELD_NOW, now=taking.now)}
    taken = Event(EventKind.CLAIMED, taking.now)
    moves = {one.id: Move(one, taken, advance(one, taken)) for one in meant if one.destination not in held}
    _take(connection, list(moves.values()), taking.owner, taking.now, taking.lease)
    return [moves[one.id].after if one.id in moves else one for one in after]


def insert_deliveries(connection: sa.Connection, several: Sequence[MessageRows]) -> Mapping[str, list[Delivery]]:
    """Insert the deliveries of new messages, claimed already where somebody wishes it and nothing holds their
    destination back; return those by message. Nobody else has seen them yet: no lock and no fence is needed.
    """
    moves = {id_: move for rows in several for id_, move in rows.moves.items()}
    if moves:
        latest = max(move.event.at for move in moves.values())
        if held := {name for (name,) in fetch(connection, _HELD_NOW, now=latest)}:
            moves = {id_: move for id_, move in moves.items() if move.before.destination not in held}
    insert_rows(connection, delivery, (row for rows in several for row in rows.deliveries if row["id"] not in moves))
    born = [
        delivery_row(move.after) | _lease(connection, rows.taking.owner, rows.taking.now, rows.taking.lease)
        for rows in several
        if rows.taking is not None
        for id_, move in rows.moves.items()
        if id_ in moves
    ]
    if born:
        run_many(connection, _BORN[connection.dialect.name], born)
        insert_events(connection, moves.values())
    claimed: dict[str, list[Delivery]] = {}
    for move in moves.values():
        claimed.setdefault(move.after.message_id, []).append(move.after)
    return claimed


@dataclass(frozen=True, slots=True)
class Renewal:
    """An owner says that it is alive, and what it still has in hand (None: all of it)."""

    owner: str
    now: datetime
    lease: timedelta
    only: tuple[str, ...] | None


def renew(connection: sa.Connection, wish: Renewal) -> int:
    """Lengthen the leases of what an owner is sending; return how many these are."""
    until = clock(connection, wish.now) + wish.lease // MICROSECOND
    mine = sa.and_(delivery.c.state == SENDING, delivery.c.lease_owner == wish.owner)
    longer = sa.update(delivery).where(mine).values(lease_until=until)
    if wish.only is None:
        return connection.execute(longer).rowcount
    portions = batched(wish.only, 500)
    return sum(connection.execute(longer.where(delivery.c.id.in_(some))).rowcount for some in portions)


CLAIM = Verb("claim", claim)
RELEASE: Verb[Release, Sequence[Delivery]] = Verb("release_item", release)
RENEW = Verb("renew", renew)


def select_lost(connection: sa.Connection, now: datetime | None) -> list[Delivery]:
    """Read what is being sent by nobody any more: the lease is over, or (no time given) all of it."""
    statement = sa.select(delivery).where(delivery.c.state == SENDING).order_by(delivery.c.seq)
    if now is not None:
        ends = sa.type_coerce(delivery.c.lease_until, BigInteger)
        statement = statement.where(ends <= clock(connection, now))
    return [delivery_of(row) for row in connection.execute(statement).mappings()]


def clock(connection: sa.Connection, now: datetime) -> sa.ColumnElement[int]:
    """Return the time in microseconds by which leases count: the server's, where there is one."""
    if connection.dialect.name == "sqlite":
        return sa.literal((now - EPOCH) // MICROSECOND, BigInteger)
    return _SERVER_CLOCK

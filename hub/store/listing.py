"""Finding messages and deliveries, for people. One rule: a page costs the same few queries, whatever is on it."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

import sqlalchemy as sa

from hub.delivery import Delivery, Event, State
from hub.errors import StoreError
from hub.message import DeliveryId
from hub.store.api import Filter, MessageRecord
from hub.store.holding import PAUSED, held_because, select_blocked, select_holds, standing
from hub.store.rows import TYPE_COLUMNS, VALUE, delivery_of, event_of, type_of
from hub.store.tables import (
    DEAD,
    REJECTED,
    SENDING,
    TAKEN,
    WAITING,
    Instant,
    control,
    delivery,
    event,
    message,
    reference,
)

Condition = sa.ColumnElement[bool]

PAGE_MAX = 1000
OPEN = (State.WAITING, State.SENDING, State.TAKEN)
LITERALS = {"waiting": WAITING, "sending": SENDING, "taken": TAKEN, "dead": DEAD}  # these have partial indexes
STATES = (*(state.value for state in State), "rejected", "attention", "open")


def status_of(verdict: str, deliveries: Iterable[Delivery], blocked: set[str]) -> str:
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
    conditions = [*_message_conditions(filter_, digest), *_state_conditions(filter_, now)]
    if after is not None:
        if not after.isdecimal():
            raise StoreError("the cursor is not one that a listing has given")
        conditions.append(message.c.seq < int(after))
    size = max(1, min(limit, PAGE_MAX))
    statement = sa.select(message).where(*conditions).order_by(message.c.seq.desc()).limit(size + 1)
    rows = connection.execute(statement).mappings().all()
    following = str(rows[size - 1]["seq"]) if len(rows) > size else None
    return _records(connection, rows[:size], now), following


def find_message(connection: sa.Connection, id_: str, now: datetime) -> MessageRecord | None:
    """Return one message by its id."""
    rows = connection.execute(sa.select(message).where(message.c.id == id_)).mappings().all()
    return next(iter(_records(connection, rows, now)), None)


def find_deliveries(
    connection: sa.Connection, filter_: Filter, digest: str | None, *, now: datetime, limit: int, after: int
) -> list[Delivery]:
    """Return deliveries, oldest first, that fit together with their messages."""
    if filter_.state == "rejected":
        return []
    conditions = [*_message_conditions(filter_, digest), *_delivery_conditions(filter_, now)]
    statement = (
        sa.select(delivery)
        .join(message, message.c.id == delivery.c.message_id)
        .where(delivery.c.seq > after, *conditions)
        .order_by(delivery.c.seq)
        .limit(limit)
    )
    holds = select_holds(connection, now)
    return [_as_shown(delivery_of(row), holds) for row in connection.execute(statement).mappings()]


def select_delivery(connection: sa.Connection, id_: str) -> Delivery | None:
    """Read one delivery by its id."""
    row = connection.execute(sa.select(delivery).where(delivery.c.id == id_)).mappings().one_or_none()
    return None if row is None else delivery_of(row)


def select_events(connection: sa.Connection, delivery_id: str) -> list[Event]:
    """Read the timeline of one delivery, in the order of its key."""
    statement = sa.select(event).where(event.c.delivery_id == delivery_id).order_by(event.c.revision)
    found = (event_of(row) for row in connection.execute(statement).mappings())
    return [one for one in found if one is not None]


def _records(connection: sa.Connection, rows: Sequence[sa.RowMapping], now: datetime) -> list[MessageRecord]:
    ids = [row["id"] for row in rows]
    deliveries = _deliveries_of(connection, ids)
    values = _values_of(connection, ids)
    holds = select_holds(connection, now)
    blocked = {destination for destination, reason in holds.items() if reason != PAUSED}
    return [
        MessageRecord(
            **{name: row[name] for name in _RECORD_COLUMNS},
            type=type_of(row),
            deliveries=tuple(_as_shown(one, holds) for one in deliveries[row["id"]]),
            status=status_of(row["verdict"], deliveries[row["id"]], blocked),
            values=values[row["id"]],
        )
        for row in rows
    ]


_RECORD_COLUMNS = (
    "seq", "id", "verdict", "code", "source", "sender", "owner", "recipient", "test", "received_at", "sha256",
    "snapshot", "parent_id",
)  # fmt: skip


def _as_shown(one: Delivery, holds: Mapping[str, str]) -> Delivery:
    """Return a delivery with the reason why it waits now: its last attempt, or that its destination is held back."""
    reason = holds.get(one.destination or "") if one.state is State.WAITING else None
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


# --- what a filter asks -------------------------------------------------------------------------------------------


def _message_conditions(filter_: Filter, digest: str | None) -> list[Condition]:
    """Return what is asked of the message itself."""
    conditions: list[Condition] = []
    if filter_.municipality is not None:
        conditions.append(message.c.owner == filter_.municipality)
    if filter_.sender is not None:
        conditions.append(message.c.sender == filter_.sender)
    if filter_.since is not None:
        conditions.append(message.c.received_at >= filter_.since)
    if filter_.until is not None:
        conditions.append(message.c.received_at < filter_.until)
    if digest is not None:
        named = sa.select(reference.c.message_id).where(reference.c.digest == digest)
        conditions.append(message.c.id.in_(named))
    if filter_.type is not None:
        globs = filter_.type.split("/", 2)
        conditions.extend(_matches(message.c[name], glob) for name, glob in zip(TYPE_COLUMNS, globs, strict=False))
    return conditions


def _matches(column: sa.Column[str], glob: str) -> Condition:
    """Return the condition for one segment of a type; the databases' own globs differ, their expressions do not."""
    if glob == "*":
        return sa.true()
    if not set(glob) & {"*", "?"}:
        return column == glob
    expression = "".join({"*": ".*", "?": "."}.get(letter, re.escape(letter)) for letter in glob)
    return column.regexp_match(f"^{expression}$")


def _delivery_conditions(filter_: Filter, now: datetime) -> list[Condition]:
    """Return what is asked of one and the same delivery."""
    conditions: list[Condition] = []
    if filter_.route is not None:
        conditions.append(delivery.c.route == filter_.route)
    if filter_.destination is not None:
        conditions.append(delivery.c.destination == filter_.destination)
    if filter_.reason is not None:
        conditions.append(_is_shown_with(filter_.reason, now))
    if filter_.state is not None:
        conditions.append(_in_state(filter_.state, now))
    return conditions


def _is_shown_with(reason: str, now: datetime) -> Condition:
    """Return the condition that a delivery is shown with a reason: what :func:`_as_shown` says, as a query."""
    held = sa.select(control.c.destination).where(standing(sa.literal(now, Instant)))
    waits_held = sa.and_(delivery.c.state == WAITING, delivery.c.destination.in_(held))
    because = sa.and_(delivery.c.state == WAITING, delivery.c.destination.in_(held_because(reason, now)))
    return sa.or_(sa.and_(delivery.c.reason == reason, ~waits_held), because)


def _in_state(state: str, now: datetime) -> Condition:
    if state not in STATES:
        raise StoreError(f"unknown state {state!r}, expected one of {', '.join(STATES)}")
    if state == "attention":
        return _needs_attention(now)
    if state == "open":
        return delivery.c.state.in_([WAITING, SENDING, TAKEN])
    return delivery.c.state == LITERALS.get(state, state)


def _needs_attention(now: datetime) -> Condition:
    blocked = sa.select(control.c.destination).where(standing(sa.literal(now, Instant)), control.c.kind == "blocked")
    return sa.or_(delivery.c.state == DEAD, sa.and_(delivery.c.state == WAITING, delivery.c.destination.in_(blocked)))


def _state_conditions(filter_: Filter, now: datetime) -> list[Condition]:
    """Return what is asked of a message's deliveries, or of a rejection's code.

    A state of deliveries is meant where a word is both (delivered, closed): one delivery in it is enough.
    """
    if filter_.state == "rejected":
        return [message.c.verdict == REJECTED, *([message.c.code == filter_.reason] if filter_.reason else [])]
    asked = _delivery_conditions(filter_, now)
    if not asked:
        return []
    conditions = [_has_delivery(asked, rare=filter_.state not in {None, "delivered", "closed"})]
    if filter_.state == "open":
        conditions.append(~_has_delivery([_needs_attention(now)], rare=True))
    if filter_.reason is not None and len(asked) == 1:  # the reason alone: why a document was rejected is one, too
        return [sa.or_(*conditions, sa.and_(message.c.verdict == REJECTED, message.c.code == filter_.reason))]
    return conditions


def _has_delivery(conditions: Sequence[Condition], *, rare: bool) -> Condition:
    """Return the condition that a message has such a delivery.

    Few such deliveries are collected first, by a partial index; many are looked up message by message.
    """
    if rare:
        return message.c.id.in_(sa.select(delivery.c.message_id).where(*conditions))
    return sa.exists().where(delivery.c.message_id == message.c.id, *conditions)

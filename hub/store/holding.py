"""Destinations that are held back, as a history: how long one was held counts when a delivery would give up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from hub.store.api import Control
from hub.store.inserting import insert_new
from hub.store.rows import control_of, end_of
from hub.store.tables import Instant, control
from hub.store.writer import Verb

PAUSED = "paused"


@dataclass(frozen=True, slots=True)
class Release:
    destination: str
    by: str
    now: datetime
    kind: str | None


def standing(now: sa.ColumnElement[datetime]) -> sa.ColumnElement[bool]:
    """Return the condition for a control that holds its destination back now."""
    return sa.and_(control.c.ended_at.is_(None), sa.or_(control.c.until.is_(None), control.c.until > now))


def hold(connection: sa.Connection, wish: Control) -> None:
    """Begin a hold, or renew the one of this kind that stands. In this order: two nodes may begin one at once."""
    end_lapsed(connection, wish.destination, wish.since)
    row = {"reason": wish.reason, "code": wish.code, "until": wish.until, "by": wish.by}
    new = row | {"destination": wish.destination, "kind": wish.kind, "since": wish.since}
    if insert_new(connection, control, [new]) == 0:
        same = sa.and_(control.c.destination == wish.destination, control.c.kind == wish.kind)
        connection.execute(sa.update(control).where(same, control.c.ended_at.is_(None)).values(row))


def release(connection: sa.Connection, wish: Release) -> bool:
    """End the holds of a destination, of one kind or of all."""
    end_lapsed(connection, wish.destination, wish.now)
    held = sa.and_(control.c.destination == wish.destination, control.c.ended_at.is_(None))
    if wish.kind is not None:
        held = sa.and_(held, control.c.kind == wish.kind)
    return connection.execute(sa.update(control).where(held).values(ended_at=wish.now, ended_by=wish.by)).rowcount > 0


def end_lapsed(connection: sa.Connection, destination: str, now: datetime) -> None:
    """Write down the end of holds that ended by themselves, at the time when they did."""
    lapsed = sa.and_(control.c.destination == destination, control.c.ended_at.is_(None), control.c.until <= now)
    connection.execute(sa.update(control).where(lapsed).values(ended_at=control.c.until, ended_by="hub"))


HOLD = Verb("hold", hold)
RELEASE = Verb("release", release)


def select_controls(connection: sa.Connection, now: datetime) -> list[Control]:
    """Read what is held back now, longest first."""
    statement = sa.select(control).where(standing(sa.literal(now, Instant))).order_by(control.c.since, control.c.id)
    return [control_of(row) for row in connection.execute(statement).mappings()]


def select_blocked(connection: sa.Connection, now: datetime) -> set[str]:
    """Read the destinations that are blocked now: their waiting deliveries need attention."""
    statement = sa.select(control.c.destination).where(standing(sa.literal(now, Instant)), control.c.kind == "blocked")
    return set(connection.execute(statement).scalars())


def select_holds(connection: sa.Connection, now: datetime) -> dict[str, str]:
    """Read why each destination is held back now: ``paused``, or the reason why it is blocked, which goes first."""
    kinds = sa.select(control).where(standing(sa.literal(now, Instant))).order_by(control.c.kind.desc(), control.c.id)
    rows = connection.execute(kinds).mappings()  # paused before blocked, so that the latter has the last word
    return {row["destination"]: PAUSED if row["kind"] == PAUSED else row["reason"] for row in rows}


def held_because(reason: str, now: datetime) -> sa.Select[tuple[str]]:
    """Return the query for the destinations that are held back for a reason, as :func:`select_holds` tells it."""
    stands = standing(sa.literal(now, Instant))
    blocked = sa.select(control.c.destination).where(stands, control.c.kind == "blocked")
    if reason == PAUSED:
        return sa.select(control.c.destination).where(
            stands, control.c.kind == PAUSED, control.c.destination.not_in(blocked)
        )
    return blocked.where(control.c.reason == reason)


def select_spans(
    connection: sa.Connection, destination: str, since: datetime, until: datetime
) -> list[tuple[datetime, datetime]]:
    """Read when a destination was held back between two times, by beginning; what still stands ends at ``until``."""
    statement = (
        sa.select(control)
        .where(control.c.destination == destination, control.c.since < until)
        .order_by(control.c.since, control.c.id)
    )
    rows = connection.execute(statement).mappings()
    spans = [(max(row["since"], since), min(end_of(row) or until, until)) for row in rows]
    return [(begin, end) for begin, end in spans if begin < end]


def covered(spans: Sequence[tuple[datetime, datetime]]) -> timedelta:
    """Return the time that at least one of the spans (by beginning) covers: paused and blocked at once counts once."""
    total, reached = timedelta(0), None
    for begin, end in spans:
        start = begin if reached is None else max(begin, reached)
        total += max(end - start, timedelta(0))
        reached = end if reached is None else max(end, reached)
    return total

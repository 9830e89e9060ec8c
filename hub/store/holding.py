"""Destinations that are held back, as a history: how long one was held counts when a delivery would give up.

blocked, failing: nothing is claimed until ``until``, then one delivery as a probe; only its outcome ends the hold.
paused, closed: nothing is claimed until ``until``; then the hold has ended by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from hub.outcome import Reason
from hub.store.api import PROBE_EVERY, PROBING, Control
from hub.store.inserting import insert_new
from hub.store.rows import control_of, end_of
from hub.store.tables import Instant, control
from hub.store.verb import Verb

_SHOWN_AS = {"paused": Reason.PAUSED, "closed": Reason.CLOSED_HOURS}  # of the others their own reason is shown


@dataclass(frozen=True, slots=True)
class Release:
    destination: str
    by: str
    now: datetime
    kind: str | None


def standing(now: sa.ColumnElement[datetime]) -> sa.ColumnElement[bool]:
    """Return the condition for a control under which nothing may be claimed now."""
    return sa.and_(control.c.ended_at.is_(None), sa.or_(control.c.until.is_(None), control.c.until > now))


def holding(now: sa.ColumnElement[datetime]) -> sa.ColumnElement[bool]:
    """Return the condition for a control that holds its destination back now, be it that a probe is due."""
    return sa.or_(standing(now), sa.and_(control.c.ended_at.is_(None), control.c.kind.in_(PROBING)))


def hold(connection: sa.Connection, wish: Control) -> None:
    """Begin a hold, or renew the one of this kind that stands. In this order: two nodes may begin one at once."""
    end_lapsed(connection, wish.destination, wish.since)
    row = {"reason": wish.reason, "code": wish.code, "until": wish.until, "by": wish.by}
    new = row | {"destination": wish.destination, "kind": wish.kind, "since": wish.since}
    if insert_new(connection, control, [new]) == 0:
        same = sa.and_(control.c.destination == wish.destination, control.c.kind == wish.kind)
        connection.execute(sa.update(control).where(same, control.c.ended_at.is_(None)).values(row))


def release(connection: sa.Connection, wish: Release) -> bool:
    """End the holds of a destination: of one kind, or all that are not by its hours, which nobody can talk away."""
    end_lapsed(connection, wish.destination, wish.now)
    held = sa.and_(control.c.destination == wish.destination, control.c.ended_at.is_(None))
    held = sa.and_(held, control.c.kind != "closed" if wish.kind is None else control.c.kind == wish.kind)
    return connection.execute(sa.update(control).where(held).values(ended_at=wish.now, ended_by=wish.by)).rowcount > 0


def end_lapsed(connection: sa.Connection, destination: str, now: datetime) -> None:
    """Write down the end of holds that ended by themselves, at the time when they did."""
    lapsed = sa.and_(control.c.destination == destination, control.c.ended_at.is_(None), control.c.until <= now)
    lapsed = sa.and_(lapsed, control.c.kind.not_in(PROBING))
    connection.execute(sa.update(control).where(lapsed).values(ended_at=control.c.until, ended_by="hub"))


_PROBED = sa.and_(
    control.c.destination == sa.bindparam("of"), control.c.ended_at.is_(None), control.c.kind.in_(PROBING)
)
_IS_PROBED = sa.select(sa.exists().where(_PROBED))
_TAKE_PROBE = sa.update(control).where(_PROBED, control.c.until <= sa.bindparam("now", type_=Instant))


def take_probe(connection: sa.Connection, destination: str, now: datetime) -> bool | None:
    """Take the probe of a destination that is blocked or failing; ``None``: it is neither, all may be claimed.

    False: another one has it. Whoever takes it is waited for until it says how it ended, but not for ever.
    """
    if not connection.execute(_IS_PROBED, {"of": destination}).scalar():
        return None
    asked = {"of": destination, "now": now}
    return connection.execute(_TAKE_PROBE.values(until=now + PROBE_EVERY), asked).rowcount > 0


HOLD = Verb("hold", hold)
RELEASE = Verb("release", release)


def select_controls(connection: sa.Connection, now: datetime) -> list[Control]:
    """Read what is held back now, longest first."""
    statement = sa.select(control).where(holding(sa.literal(now, Instant))).order_by(control.c.since, control.c.id)
    return [control_of(row) for row in connection.execute(statement).mappings()]


def held_now(now: datetime) -> sa.Select[tuple[str]]:
    """Return the query for the destinations that are held back now."""
    return sa.select(control.c.destination).where(holding(sa.literal(now, Instant)))


def blocked_now(now: datetime) -> sa.Select[tuple[str]]:
    """Return the query for the destinations that are blocked now."""
    return held_now(now).where(control.c.kind == "blocked")


def select_blocked(connection: sa.Connection, now: datetime) -> set[str]:
    """Read the destinations that are blocked now: their waiting deliveries need attention."""
    return {row.destination for row in connection.execute(blocked_now(now))}


_RANK = sa.case({"blocked": 0, "paused": 1, "closed": 2}, value=control.c.kind, else_=3)
"""Which hold is shown where several stand: first what needs a person, last what may pass by itself."""
_SHOWN = sa.case(_SHOWN_AS, value=control.c.kind, else_=control.c.reason)


def select_holds(connection: sa.Connection, now: datetime) -> dict[str, str]:
    """Read why each destination is held back now: why it is blocked or fails, or that it is paused or closed."""
    place = sa.func.row_number().over(partition_by=control.c.destination, order_by=(_RANK, control.c.id))
    columns = (control.c.destination, _SHOWN.label("shown"), place.label("place"))
    first = sa.select(*columns).where(holding(sa.literal(now, Instant))).subquery()
    return {row.destination: row.shown for row in connection.execute(sa.select(first).where(first.c.place == 1))}


def select_spans(
    connection: sa.Connection, destination: str, since: datetime, until: datetime
) -> list[tuple[datetime, datetime]]:
    """Read when a destination was held back between two times, by beginning; what still stands ends at ``until``.

    Not while it was failing: that is what giving up is there for.
    """
    statement = (
        sa.select(control)
        .where(control.c.destination == destination, control.c.since < until, control.c.kind != "failing")
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

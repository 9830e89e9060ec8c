"""Statistics: what came in, arrived and died by the days' tally, and what waits and is dead by what there is now.

Durations are from the message's receipt until the delivery arrived. They come from buckets a factor of √2 wide: a
percentile is right to about 20 %.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import sqlalchemy as sa

from hub.store.tables import DEAD, WAITING, delivery, message, tally

DIMENSIONS = ("municipality", "route", "destination")
TOOK = "took:"
PORTION = 500

Place = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Statistic:
    """The figures of one municipality, route and destination, as far as they were asked to be told apart."""

    place: Place  # in the order of the dimensions that were asked for
    arrived_in: int
    rejected: int
    delivered: int
    died: int
    dead: int  # now
    waiting: int  # now
    oldest_waiting: datetime | None
    p50: float | None  # seconds
    p95: float | None


def select_statistics(connection: sa.Connection, first: date, last: date, by: Sequence[str]) -> list[Statistic]:
    """Read the figures of the days from ``first`` to ``last``, both included, told apart by these dimensions."""
    chosen = [DIMENSIONS.index(one) for one in by]
    counts: dict[Place, dict[str, int]] = defaultdict(dict)
    days = tally.c.day.between(first.isoformat(), last.isoformat())
    every = (tally.c.owner, tally.c.route, tally.c.destination)
    columns = (*(every[at] for at in chosen), tally.c.what)
    statement: sa.Select[Any] = sa.select(*columns, sa.func.sum(tally.c.count)).where(days).group_by(*columns)
    for row in connection.execute(statement).all():
        counts[row[:-2]][row[-2]] = int(row[-1])
    dead, waiting, oldest = Counter[Place](), Counter[Place](), dict[Place, int]()
    for counter, state, index in ((dead, DEAD, "delivery_dead_in"), (waiting, WAITING, "delivery_waiting_in")):
        for *place, count, seq in connection.execute(_now(state, index)).all():
            key = tuple(place[at] or "" for at in chosen)
            counter[key] += count
            if counter is waiting:
                oldest[key] = min(seq, oldest.get(key, seq))
    times = _received(connection, list(oldest.values()))
    places = sorted({*counts, *dead, *waiting})
    none: dict[str, int] = {}
    return [
        _statistic(one, counts.get(one, none), dead[one], waiting[one], times.get(oldest.get(one, 0))) for one in places
    ]


def _now(state: sa.ColumnElement[str], index: str) -> sa.Select[Any]:
    """Return the query for what is in a state, group after group as they stand in the index."""
    columns = (delivery.c.owner, delivery.c.route, delivery.c.destination)
    sums = (sa.func.count(), sa.func.min(delivery.c.message_seq))
    statement: sa.Select[Any] = sa.select(*columns, *sums).where(delivery.c.state == state).group_by(*columns)
    return statement.with_hint(delivery, f"INDEXED BY {index}", "sqlite")


def _received(connection: sa.Connection, seqs: Sequence[int]) -> dict[int, datetime]:
    found: dict[int, datetime] = {}
    for some in (seqs[at : at + PORTION] for at in range(0, len(seqs), PORTION)):
        rows = connection.execute(sa.select(message.c.seq, message.c.received_at).where(message.c.seq.in_(some)))
        found |= {row.seq: row.received_at for row in rows}
    return found


def _statistic(place: Place, counts: Mapping[str, int], dead: int, waiting: int, oldest: datetime | None) -> Statistic:
    took = {int(what.removeprefix(TOOK)): count for what, count in counts.items() if what.startswith(TOOK)}
    came, rejected, died = (counts.get(what, 0) for what in ("in", "rejected", "died"))
    return Statistic(
        place, came, rejected, sum(took.values()), died, dead, waiting, oldest,
        percentile(took, 0.5), percentile(took, 0.95),
    )  # fmt: skip


def percentile(took: dict[int, int], share: float) -> float | None:
    """Return the duration in seconds that this share of all did not exceed: the middle of its bucket."""
    reached, wanted = 0, share * sum(took.values())
    for bucket in sorted(took):
        reached += took[bucket]
        if reached >= wanted:
            return float(2 ** ((bucket + 0.5) / 2)) / 1000
    return None

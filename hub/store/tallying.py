"""What came in, arrived and died, counted by day as it happens: for statistics that do not read every delivery.

One rule: a count is written in the transaction of what it counts, so that both are there or neither is.

    in, rejected, died        how many
    took:N                    delivered, from the message's receipt until then 2^(N/2) to 2^((N+1)/2) milliseconds
"""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from hub.delivery import EventKind, State
from hub.store.driver import run_many
from hub.store.rows import MessageRows, Move
from hub.store.tables import EPOCH, tally

BERLIN = ZoneInfo("Europe/Berlin")
TOOK = "took:"
SHARDS = 16
# Nodes that deliver to the same destination would wait for each other's commits at one row: each has its own.
SHARD = os.getpid() % SHARDS

Key = tuple[str, str, str, str, str]


def tally_arrivals(connection: sa.Connection, several: Sequence[MessageRows]) -> None:
    """Count new messages: the deliveries of accepted ones, and rejections."""
    counts: Counter[Key] = Counter()
    for rows in several:
        day = _day(rows.message["received_at"])
        if rows.message["verdict"] == "rejected":
            counts[day, rows.message["owner"] or "", "", "", "rejected"] += 1
        for row in rows.deliveries:
            place = (day, row["owner"] or "", row["route"] or "", row["destination"] or "")
            counts[*place, "in"] += 1
            if row["state"] == State.DEAD.value:
                counts[*place, "died"] += 1
    _add(connection, counts)


def tally_moves(connection: sa.Connection, moves: Iterable[Move]) -> None:
    """Count what has arrived, and what has died."""
    counts: Counter[Key] = Counter()
    for move in moves:
        what = "died" if move.after.state is State.DEAD else ""
        if move.event.kind in (EventKind.DELIVERED, EventKind.CONFIRMED):
            what = f"{TOOK}{bucket(move.event.at - time_of(move.after.message_id))}"
        if what:
            one = move.after
            counts[_day(move.event.at), one.owner or "", one.route or "", one.destination or "", what] += 1
    _add(connection, counts)


def bucket(took: timedelta) -> int:
    """Return the number of the bucket of a duration."""
    milliseconds = max(took.total_seconds() * 1000, 1.0)
    return math.floor(math.log2(milliseconds) * 2)


def time_of(id_: str) -> datetime:
    """Return when an id was made, to the millisecond: a UUIDv7 begins with it (RFC 9562 §5.7)."""
    return EPOCH + timedelta(milliseconds=int(id_[:8] + id_[9:13], 16))


@cache
def _hour_day(hour: int) -> str:
    return datetime.fromtimestamp(hour * 3600, BERLIN).date().isoformat()


def _day(at: datetime) -> str:
    """Return the day in Berlin: what is shared out by month is shared out by its months."""
    return _hour_day(int(at.timestamp()) // 3600)


def _add(connection: sa.Connection, counts: Counter[Key]) -> None:
    if not counts:
        return
    names = ("day", "owner", "route", "destination", "what")
    rows = [dict(zip(names, key, strict=True)) | {"shard": SHARD, "count": counts[key]} for key in sorted(counts)]
    run_many(connection, _upsert(connection.dialect.name), rows)


@cache
def _upsert(dialect: str) -> sa.Insert:
    """Return the statement that adds to a count, or begins it. The keys come sorted: no two nodes cross."""
    from sqlalchemy.dialects import postgresql, sqlite

    insert = sqlite.insert(tally) if dialect == "sqlite" else postgresql.insert(tally)
    return insert.on_conflict_do_update(
        index_elements=list(tally.primary_key.columns), set_={"count": tally.c.count + insert.excluded.count}
    )

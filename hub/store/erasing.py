"""Erasure of what was accepted and is over. One rule: what is open, or dead and waits for a person, is never touched.

What may go is looked for beside the writer, from the oldest on; the writer looks again, as a replay may have come
between. Erased are the three places in which a citizen's data may be (:mod:`hub.store.tables`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from hub.store.payloads import Row
from hub.store.tables import ACCEPTED, DEAD, SENDING, TAKEN, WAITING, delivery, event, message, payload, reference
from hub.store.upkeep import Erased
from hub.store.writer import Verb


@dataclass(frozen=True, slots=True)
class Settled:
    """Which settled messages are asked for."""

    source: str
    before: datetime
    limit: int
    after: str | None  # time and number of the last one that was seen


@dataclass(frozen=True, slots=True)
class Wish:
    ids: tuple[str, ...]
    now: datetime


_kept = sa.and_(message.c.verdict == ACCEPTED, message.c.erased_at.is_(None))
_needed = sa.exists().where(
    delivery.c.message_id == message.c.id, delivery.c.state.in_([WAITING, SENDING, TAKEN, DEAD])
)


# A value of each message, and not "none is later": of that PostgreSQL would make a walk over all events.
_over = (
    sa.select(sa.func.max(event.c.at))
    .where(delivery.c.message_id == message.c.id, event.c.delivery_id == delivery.c.id)
    .correlate(message)
    .scalar_subquery()
)


def select_settled(connection: sa.Connection, asked: Settled) -> tuple[list[str], str | None]:
    """Read a page of them in the order of the partial index on what is kept; the last event says when one was over."""
    place = (sa.type_coerce(message.c.received_at, sa.BigInteger), message.c.seq)
    statement = (
        sa.select(message.c.id, *place)
        .where(_kept, message.c.source == asked.source, message.c.received_at < asked.before, ~_needed)
        .where(_over < asked.before)
        .order_by(message.c.received_at, message.c.seq)
        .limit(asked.limit)
    )
    if asked.after is not None:
        time, _, seq = asked.after.partition("-")
        statement = statement.where(sa.tuple_(*place) > sa.tuple_(int(time), int(seq)))
    rows = connection.execute(statement).all()
    following = f"{rows[-1][1]}-{rows[-1][2]}" if len(rows) == asked.limit else None
    return [row.id for row in rows], following


def erase_settled(connection: sa.Connection, wish: Wish) -> Erased:
    """Erase what still is settled: bytes and headers, references, and what came along with the message."""
    statement = sa.select(message.c.id).where(message.c.id.in_(wish.ids), _kept, ~_needed)
    ids = list(connection.execute(statement).scalars())
    files = _erase_bytes(connection, ids)
    nothing: Row = {"erased_at": wish.now, "arrival": {}, "header": None, "idempotency_key": None}
    connection.execute(sa.update(message).where(message.c.id.in_(ids)).values(nothing))
    return Erased(len(ids), files)


def _erase_bytes(connection: sa.Connection, ids: Sequence[str]) -> list[str]:
    """Delete payloads and references; return the payloads that are files."""
    of_them = payload.c.message_id.in_(ids)
    in_files = sa.select(payload.c.id).where(of_them, payload.c.storage == "file")
    files = list(connection.execute(in_files).scalars())
    connection.execute(sa.update(delivery).where(delivery.c.message_id.in_(ids)).values(payload_id=None))
    connection.execute(sa.delete(reference).where(reference.c.message_id.in_(ids)))
    connection.execute(sa.delete(payload).where(of_them))
    return files


ERASE_SETTLED = Verb("erase_settled", erase_settled)

"""What an operator wants to know of deliveries before a job: some at a time, by their ids."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from hub.delivery import ClosedAs, EventKind, State
from hub.message import DeliveryId, MessageId
from hub.outcome import Phase, Reason
from hub.store.api import ItemFacts
from hub.store.holding import select_holds
from hub.store.payloads import batched
from hub.store.tables import delivery, event, message

PORTION = 500
SENT = (Phase.REQUEST_SENT, Phase.RESPONSE_READ, Phase.RESPONSE_PARSED)

_other = delivery.alias("other")
_there = sa.or_(
    _other.c.state == State.DELIVERED.value,
    sa.and_(_other.c.state == State.CLOSED.value, _other.c.reason == ClosedAs.DELIVERED_OTHERWISE.value),
)
_own = event.c.delivery_id == delivery.c.id
# Said so that no index serves it: SQLite, which knows no sizes, would look through a destination, not a message.
_same_destination = _other.c.destination.concat("") == delivery.c.destination
# By this delivery before it was resent, or by another one of its message to the same destination.
_DELIVERED = sa.or_(
    sa.exists().where(_other.c.message_id == delivery.c.message_id, _same_destination, _there),
    sa.exists().where(_own, event.c.kind.in_([EventKind.DELIVERED.value, EventKind.CONFIRMED.value])),
)
_UNCLEAR = sa.exists().where(
    _own,
    sa.or_(
        event.c.reason.in_([Reason.UNCLEAR.value, Reason.WORKER_LOST.value]),
        sa.and_(event.c.reason == Reason.TIMEOUT.value, event.c.phase.in_([phase.value for phase in SENT])),
    ),
)
_FACTS = sa.select(
    delivery.c.id,
    message.c.received_at,
    delivery.c.owner,
    delivery.c.destination,
    delivery.c.state,
    delivery.c.reason,
    _DELIVERED.label("delivered"),
    _UNCLEAR.label("unclear"),
).join(message, message.c.id == delivery.c.message_id)


def select_facts(connection: sa.Connection, ids: Sequence[str], now: datetime) -> list[ItemFacts]:
    """Read what a preview says of some deliveries; one that waits and is held back has the reason of that."""
    holds = select_holds(connection, now)
    found: list[ItemFacts] = []
    for some in batched(ids, PORTION):
        rows = connection.execute(_FACTS.where(delivery.c.id.in_(some)).order_by(delivery.c.seq)).mappings()
        found += [_facts(row, holds.get(row["destination"] or "")) for row in rows]
    return found


def select_replays(connection: sa.Connection, message_id: str) -> list[MessageId]:
    """Read the messages that came of handing one in once more, by the index of those that have a parent."""
    statement = sa.select(message.c.id).where(message.c.parent_id == message_id).order_by(message.c.seq)
    return [MessageId(id_) for id_ in connection.execute(statement).scalars()]


def _facts(row: sa.RowMapping, held: Any) -> ItemFacts:
    held = held if row["state"] == State.WAITING.value else None
    return ItemFacts(
        id=DeliveryId(row["id"]),
        received_at=row["received_at"],
        owner=row["owner"],
        destination=row["destination"],
        state=row["state"],
        reason=held or row["reason"],
        delivered=bool(row["delivered"]),
        unclear=bool(row["unclear"]),
    )

"""What an item of a job is about, read in one look: a job takes little time from what comes in beside it."""

from __future__ import annotations

import sqlalchemy as sa

from hub.message import MessageId
from hub.store.api import PayloadRole
from hub.store.jobs_api import Subject
from hub.store.keeping import arrival_of
from hub.store.payloads import Payloads
from hub.store.rows import delivery_of
from hub.store.tables import delivery, message, payload

_item = sa.bindparam("item", type_=sa.Text)
# Made once, as all the others of a job ask the same.
_MESSAGE_OF_DELIVERY = sa.select(message).where(
    message.c.id == sa.select(delivery.c.message_id).where(delivery.c.id == _item).scalar_subquery()
)
_MESSAGE = sa.select(message).where(message.c.id == _item)
_DELIVERIES = sa.select(delivery).where(delivery.c.message_id == _item).order_by(delivery.c.seq)
_ORIGINAL = (
    sa.select(payload)
    .where(payload.c.message_id == _item, payload.c.role == PayloadRole.RECEIVED.value)
    .order_by(payload.c.id)
)


def select_subject(connection: sa.Connection, payloads: Payloads, item: str) -> Subject | None:
    """Read what an item names, a delivery or a message, with all that planning it anew needs.

    Raises:
        StoreError: The original bytes are damaged.
    """
    for statement in (_MESSAGE_OF_DELIVERY, _MESSAGE):
        row = connection.execute(statement, {"item": item}).mappings().one_or_none()
        if row is not None:
            break
    else:
        return None
    of_message = {"item": row["id"]}
    deliveries = tuple(delivery_of(one) for one in connection.execute(_DELIVERIES, of_message).mappings())
    original = connection.execute(_ORIGINAL, of_message).mappings().first()
    return Subject(
        message_id=MessageId(row["id"]),
        verdict=row["verdict"],
        delivery=next((one for one in deliveries if one.id == item), None),
        deliveries=deliveries,
        arrival=arrival_of(row),
        original_id=None if original is None else original["id"],
        body=b"" if original is None else payloads.body(original),
    )

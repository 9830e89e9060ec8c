"""What deliveries send, several at a time: one look at the messages, one at the bytes."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from hub.delivery import Delivery
from hub.errors import StoreError
from hub.message import Message
from hub.store.api import Payload
from hub.store.payloads import Payloads, payload_of
from hub.store.rows import message_of
from hub.store.tables import message, payload

LOADED_BYTES_MAX = 8_000_000  # in one go, unless the first alone is larger: memory is scarcer than looks

_named = sa.bindparam("ids", expanding=True, type_=sa.Text)
_SIZES = sa.select(payload.c.id, payload.c.size).where(payload.c.id.in_(_named))
_PAYLOADS = sa.select(payload).where(payload.c.id.in_(_named))
_MESSAGES = sa.select(message).where(message.c.id.in_(_named))


def load_all(
    connection: sa.Connection, payloads: Payloads, deliveries: Sequence[Delivery]
) -> list[tuple[Message, Payload] | StoreError]:
    """Read message and verified bytes of as many deliveries, from the first, as there is room for; at least of one.

    In place of what is gone or damaged stands the error.
    """
    some = _fitting(connection, deliveries)
    ids = sorted({one.payload_id for one in some if one.payload_id})
    rows = {row["id"]: row for row in connection.execute(_PAYLOADS, {"ids": ids}).mappings()}
    of_messages = connection.execute(_MESSAGES, {"ids": sorted({one.message_id for one in some})}).mappings()
    messages = {row["id"]: message_of(row) for row in of_messages}
    return [_loaded(one, messages.get(one.message_id), rows.get(one.payload_id or ""), payloads) for one in some]


def _fitting(connection: sa.Connection, deliveries: Sequence[Delivery]) -> Sequence[Delivery]:
    if len(deliveries) == 1:
        return deliveries
    ids = sorted({one.payload_id for one in deliveries if one.payload_id})
    # The rows, not the result: that has keys(), and dict() would take it for a mapping.
    sizes = {row.id: row.size for row in connection.execute(_SIZES, {"ids": ids})}
    total = 0
    for at, one in enumerate(deliveries):
        total += sizes.get(one.payload_id or "", 0)
        if at and total > LOADED_BYTES_MAX:
            return deliveries[:at]
    return deliveries


def _loaded(
    delivery: Delivery, of: Message | None, row: sa.RowMapping | None, payloads: Payloads
) -> tuple[Message, Payload] | StoreError:
    if delivery.payload_id is None:
        return StoreError(f"delivery {delivery.id} has nothing to send")
    if of is None or row is None:
        return StoreError(f"payload {delivery.payload_id} is gone")
    try:
        return of, payload_of(row, payloads.body(row))
    except StoreError as error:
        return error

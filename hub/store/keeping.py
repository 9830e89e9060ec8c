"""Taking a message in: known, accept, reject. One rule: a message is kept wholly or not at all, and only once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from hub.errors import Conflict, StoreError
from hub.message import MessageId, Receipt
from hub.store.api import Known
from hub.store.claiming import insert_deliveries
from hub.store.driver import Question
from hub.store.inserting import insert_new, insert_rows
from hub.store.listing import status_of_message
from hub.store.payloads import Row
from hub.store.rows import MessageRows
from hub.store.tables import ACCEPTED, message, payload, reference
from hub.store.taking import Accepted
from hub.store.writer import Unexpected, Verb


def keep_together(connection: sa.Connection, several: Sequence[MessageRows]) -> Sequence[Accepted]:
    """Insert several messages with everything they bring, one statement per table.

    Raises:
        Unexpected: One of them is not new.
    """
    if insert_new(connection, message, (rows.message for rows in several)) != len(several):
        raise Unexpected
    insert_rows(connection, payload, (row for rows in several for row in rows.payloads))
    claimed = insert_deliveries(connection, several)
    insert_rows(connection, reference, (row for rows in several for row in rows.references))
    return [Accepted(Receipt(rows.message["id"]), claimed.get(rows.message["id"], ())) for rows in several]


def accept(connection: sa.Connection, rows: MessageRows) -> Accepted:
    """Accept one message, or answer with the receipt of the first one of its identity.

    Raises:
        Conflict: The identity is bound to other content.
    """
    try:
        return keep_together(connection, [rows])[0]
    except Unexpected:
        return Accepted(_first_receipt(connection, rows.message))


def reject(connection: sa.Connection, rows: MessageRows) -> None:
    """Keep one rejection.

    Raises:
        Conflict: Its id is taken.
    """
    try:
        keep_together(connection, [rows])
    except Unexpected:
        raise Conflict(f"{rows.message['id']} is on record already") from None


ACCEPT = Verb("accept", accept, keep_together)
REJECT: Verb[MessageRows, object] = Verb("reject", reject, keep_together)


def _first_receipt(connection: sa.Connection, row: Row) -> Receipt:
    first = connection.execute(
        _BY_IDENTITY.statement, {"sender": row["sender"], "value": row["identity"]}
    ).one_or_none()
    if first is None:
        raise StoreError(f"{row['id']} is the id of another message")
    if first.sha256 != row["sha256"]:
        raise Conflict("the identity is bound to other content")
    status = status_of_message(connection, first.id, row["received_at"])
    return Receipt(first.id, duplicate=True, state=status)


def select_incoming(connection: sa.Connection, message_id: str) -> dict[str, Any] | None:
    """Read how a message came in, accepted or not: by its id."""
    row = connection.execute(sa.select(message).where(message.c.id == message_id)).mappings().one_or_none()
    if row is None:
        return None
    return {**row["arrival"], **{name: row[name] for name in ("source", "sender", "received_at", "idempotency_key")}}


# --- known --------------------------------------------------------------------------------------------------------

_of_sender = sa.and_(message.c.verdict == ACCEPTED, message.c.sender == sa.bindparam("sender", type_=sa.Text))
_value = sa.bindparam("value", type_=sa.Text)


def _first(*conditions: sa.ColumnElement[bool]) -> Question:
    """Return the question for the first accepted message of a sender for which they hold."""
    found = sa.select(message.c.id, message.c.sha256).where(_of_sender, *conditions)
    return Question(found.order_by(message.c.seq).limit(sa.literal_column("1")))


# ``IS [NOT] NULL`` is said so that the partial index serves it.
_BY_IDENTITY = _first(message.c.identity == _value)
_BY_KEY = _first(message.c.idempotency_key == _value, message.c.idempotency_key.is_not(None))
_BY_DIGEST = _first(message.c.sha256 == _value, message.c.idempotency_key.is_(None))


def find_by_identity(engine: sa.Engine, sender: str, identity: str) -> Known | None:
    """Find the accepted message of an identity, by the unique index that guards it."""
    return _known(_BY_IDENTITY.ask(engine, sender=sender, value=identity))


def find_by_key(engine: sa.Engine, sender: str, key: str) -> Known | None:
    """Find by idempotency key."""
    return _known(_BY_KEY.ask(engine, sender=sender, value=key))


def find_by_digest(engine: sa.Engine, sender: str, sha256: str) -> Known | None:
    """Find by digest among messages without a key: with a key, equal content may be meant twice."""
    return _known(_BY_DIGEST.ask(engine, sender=sender, value=sha256))


def _known(row: tuple[str, str] | None) -> Known | None:
    return None if row is None else Known(MessageId(row[0]), row[1])

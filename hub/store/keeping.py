"""Taking a message in: known, accept, reject. One rule: a message is kept wholly or not at all, and only once."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from hub.errors import Conflict, StoreError
from hub.message import MessageId, Receipt
from hub.store.api import Known
from hub.store.claiming import insert_deliveries
from hub.store.driver import Question, Readers
from hub.store.inserting import insert_new, insert_rows
from hub.store.listing import status_of_message
from hub.store.payloads import Row
from hub.store.rows import MessageRows
from hub.store.tables import ACCEPTED, REJECTED, Instant, message, payload, reference
from hub.store.taking import Accepted
from hub.store.tallying import tally_arrivals
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
    tally_arrivals(connection, several)
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


SAME_WITHIN = timedelta(hours=1)  # a program that has gone mad fills no store; one that is still mad is seen again


def reject(connection: sa.Connection, rows: MessageRows) -> MessageId:
    """Keep one rejection and return its id. The same from the same sender soon after is counted on the first's record.

    Raises:
        Conflict: Its id is taken.
    """
    row = rows.message
    if (first := connection.execute(_SAME, _same(row)).scalar()) is not None:
        again = sa.func.coalesce(message.c.repeated, 0) + 1
        counted = sa.update(message).where(message.c.id == first)
        connection.execute(counted.values(repeated=again, repeated_at=row["received_at"]))
        tally_arrivals(connection, [rows])
        return MessageId(first)
    try:
        keep_together(connection, [rows])
    except Unexpected:
        raise Conflict(f"{row['id']} is on record already") from None
    return MessageId(row["id"])


_WHAT = ("sender", "sha256", "code", "source", "arrival")
_SAME = (
    sa.select(message.c.id)
    .where(*(message.c[name] == sa.bindparam(f"the_{name}", type_=message.c[name].type) for name in _WHAT))
    .where(message.c.verdict == REJECTED, message.c.erased_at.is_(None))
    .where(message.c.received_at > sa.bindparam("since", type_=Instant))
    .order_by(message.c.seq.desc())
    .limit(1)
)


def _same(row: Row) -> Row:
    return {f"the_{name}": row[name] for name in _WHAT} | {"since": row["received_at"] - SAME_WITHIN}


ACCEPT = Verb("accept", accept, keep_together)
REJECT: Verb[MessageRows, MessageId] = Verb("reject", reject)  # one by one: of a batch all may be the same


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
    return None if row is None else arrival_of(row)


def arrival_of(row: sa.RowMapping) -> dict[str, Any]:
    """Return how the message of a row came in."""
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


def find_by_identity(readers: Readers, sender: str, identity: str) -> Known | None:
    """Find the accepted message of an identity, by the unique index that guards it."""
    return _known(_BY_IDENTITY.ask(readers, sender=sender, value=identity))


def find_by_key(readers: Readers, sender: str, key: str) -> Known | None:
    """Find by idempotency key."""
    return _known(_BY_KEY.ask(readers, sender=sender, value=key))


def find_by_digest(readers: Readers, sender: str, sha256: str) -> Known | None:
    """Find by digest among messages without a key: with a key, equal content may be meant twice."""
    return _known(_BY_DIGEST.ask(readers, sender=sender, value=sha256))


def _known(row: tuple[str, str] | None) -> Known | None:
    return None if row is None else Known(MessageId(row[0]), row[1])

"""The tables, the same on SQLite and PostgreSQL. What is dear to change later is in them from the first day.

    message ─┬─ payload      the only bytes
             ├─ reference    what it is found by
             └─ delivery ─── event (append-only; the row is their sum)
    control, job ── job_item, audit, snapshot ── file, setting

A citizen's data may be in three places, and erasing a message means all three: bytes and headers of ``payload``;
values of ``reference``; ``arrival``, ``idempotency_key`` and ``header`` of ``message`` (what senders call a document:
file names, file numbers). An operator's own words are in ``control``, ``job`` and ``audit``.

Times are microseconds since 1970 in UTC, ids UUIDv7 text, ``seq`` a number that only grows. The migrations make the
tables; a test compares them with this file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Column, ForeignKey, Index, LargeBinary, Table, Text
from sqlalchemy.types import BigInteger, Boolean, Integer, TypeDecorator

SCHEMA = "0001"  # the newest migration that this program knows
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


class Instant(TypeDecorator[datetime]):
    """An aware time, kept as whole microseconds; a naive one is refused."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> int | None:  # noqa: ARG002
        return None if value is None else (value - EPOCH) // MICROSECOND

    def process_result_value(self, value: int | None, dialect: sa.Dialect) -> datetime | None:  # noqa: ARG002
        return None if value is None else EPOCH + timedelta(microseconds=value)


class Json(TypeDecorator[Mapping[str, Any]]):
    """A small mapping as text. Not the databases' own type: nobody searches in it."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Mapping[str, Any] | None, dialect: sa.Dialect) -> str | None:  # noqa: ARG002
        return None if value is None else json.dumps(dict(value), separators=(",", ":"))

    def process_result_value(self, value: str | None, dialect: sa.Dialect) -> Mapping[str, Any] | None:  # noqa: ARG002
        return None if value is None else json.loads(value)


# SQLite numbers rows by itself only under a key of exactly the type INTEGER (which has 64 bits there).
Seq = BigInteger().with_variant(Integer(), "sqlite")

# Literals, not parameters: SQLite uses a partial index only if the statement's text implies the index's condition.
ACCEPTED = sa.literal_column("'accepted'", Text)
REJECTED = sa.literal_column("'rejected'", Text)
WAITING = sa.literal_column("'waiting'", Text)
SENDING = sa.literal_column("'sending'", Text)
TAKEN = sa.literal_column("'taken'", Text)
DEAD = sa.literal_column("'dead'", Text)
RECEIVED = sa.literal_column("'received'", Text)

metadata = sa.MetaData()

message = Table(
    "message",
    metadata,
    Column("seq", Seq, sa.Identity(), primary_key=True),
    Column("id", Text, nullable=False, unique=True),
    Column("verdict", Text, nullable=False),  # accepted | rejected
    Column("code", Text),
    Column("source", Text, nullable=False),
    Column("sender", Text, nullable=False),
    Column("identity", Text),
    Column("idempotency_key", Text),
    Column("sha256", Text, nullable=False),
    Column("standard", Text),
    Column("version", Text),
    Column("name", Text),
    Column("owner", Text),
    Column("recipient", Text),
    Column("test", Boolean, nullable=False),
    Column("received_at", Instant, nullable=False),
    Column("snapshot", Text, nullable=False),
    Column("parent_id", Text),
    Column("erased_at", Instant),
    Column("arrival", Json, nullable=False),  # what a replay needs: recipient, charset, …; empty once erased
    Column("header", Json),  # what the header reader found; null once erased
    sqlite_autoincrement=True,
)
_accepted = message.c.verdict == ACCEPTED
_kept = sa.and_(message.c.verdict == REJECTED, message.c.erased_at.is_(None))
_keyed = sa.and_(_accepted, message.c.idempotency_key.is_not(None))
_unkeyed = sa.and_(_accepted, message.c.idempotency_key.is_(None))
Index("message_identity", message.c.sender, message.c.identity, unique=True,
      sqlite_where=_accepted, postgresql_where=_accepted)  # fmt: skip
Index("message_key", message.c.sender, message.c.idempotency_key, sqlite_where=_keyed, postgresql_where=_keyed)
Index("message_digest", message.c.sender, message.c.sha256, sqlite_where=_unkeyed, postgresql_where=_unkeyed)
Index("message_rejected", message.c.source, message.c.seq, sqlite_where=_kept, postgresql_where=_kept)

payload = Table(
    "payload",
    metadata,
    Column("id", Text, primary_key=True),
    Column("message_id", Text, ForeignKey("message.id"), nullable=False, index=True),
    Column("delivery_id", Text),
    Column("role", Text, nullable=False),
    Column("part_no", Integer, nullable=False),
    Column("media_type", Text, nullable=False),
    Column("encoding", Text, nullable=False),  # identity | zlib
    Column("storage", Text, nullable=False),  # row | file
    Column("size", BigInteger, nullable=False),  # of the body, not of what is stored
    Column("sha256", Text, nullable=False),  # of the body
    Column("key_id", Text),
    Column("headers", Json, nullable=False),
    Column("bytes", LargeBinary),  # last, so that reading the others never walks through it
)

# An order key goes by it: a replay stands where its message does. The database's number, as no clock is the nodes' own.
_seq_of_message = sa.select(message.c.seq).where(message.c.id == sa.bindparam("of_message")).scalar_subquery()

delivery = Table(
    "delivery",
    metadata,
    Column("seq", Seq, sa.Identity(), primary_key=True),
    Column("id", Text, nullable=False, unique=True),
    Column("message_id", Text, ForeignKey("message.id"), nullable=False, index=True),
    Column("message_seq", BigInteger, nullable=False, default=_seq_of_message),
    Column("owner", Text),
    Column("route", Text),
    Column("destination", Text),
    Column("payload_id", Text, ForeignKey("payload.id")),
    Column("state", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("phase", Text, nullable=False),
    Column("code", Text, nullable=False),
    Column("due_at", Instant, nullable=False),
    Column("lease_until", Instant),
    Column("lease_owner", Text),
    Column("attempts", Integer, nullable=False),
    Column("first_attempt_at", Instant),
    Column("order_key", Text),
    Column("revision", Integer, nullable=False),
    Column("replay_of", Text),
    Column("snapshot", Text, nullable=False),
    sqlite_autoincrement=True,
)
_waiting = delivery.c.state == WAITING
_sending = delivery.c.state == SENDING
_dead = delivery.c.state == DEAD
_open_in_order = sa.and_(delivery.c.order_key.is_not(None), delivery.c.state.in_([WAITING, SENDING, TAKEN, DEAD]))
Index("delivery_waiting", delivery.c.destination, delivery.c.due_at, delivery.c.seq, delivery.c.order_key,
      sqlite_where=_waiting, postgresql_where=_waiting)  # fmt: skip
Index("delivery_sending", delivery.c.lease_until, sqlite_where=_sending, postgresql_where=_sending)
Index("delivery_dead", delivery.c.seq, sqlite_where=_dead, postgresql_where=_dead)
Index("delivery_order", delivery.c.destination, delivery.c.order_key, delivery.c.message_seq, delivery.c.seq,
      sqlite_where=_open_in_order, postgresql_where=_open_in_order)  # fmt: skip
Index("delivery_state", delivery.c.state, delivery.c.destination)  # counts, and which destinations have work

event = Table(
    "event",
    metadata,
    Column("delivery_id", Text, ForeignKey("delivery.id"), primary_key=True),
    Column("revision", Integer, primary_key=True, autoincrement=False),  # of the delivery after it
    Column("kind", Text, nullable=False),
    Column("at", Instant, nullable=False),
    Column("due_at", Instant),
    Column("reason", Text, nullable=False),
    Column("phase", Text, nullable=False),
    Column("code", Text, nullable=False),
    Column("duration_us", BigInteger),
    Column("actor", Text, nullable=False),
    Column("job_id", Text),
    sqlite_with_rowid=False,  # the key is the order in which a timeline is read
)

reference = Table(
    "reference",
    metadata,
    Column("seq", Seq, sa.Identity(), primary_key=True),
    Column("message_id", Text, ForeignKey("message.id"), nullable=False, index=True),
    Column("delivery_id", Text),
    Column("kind", Text, nullable=False),
    Column("owner", Text),
    Column("digest", Text, nullable=False, index=True),  # keyed, so that nobody guesses a file number from it
    Column("value", Text),
    sqlite_autoincrement=True,
)

control = Table(
    "control",
    metadata,
    Column("id", Seq, sa.Identity(), primary_key=True),
    Column("destination", Text, nullable=False),
    Column("kind", Text, nullable=False),  # paused | blocked
    Column("reason", Text, nullable=False),
    Column("code", Text, nullable=False),
    Column("since", Instant, nullable=False),
    Column("until", Instant),
    Column("by", Text, nullable=False),
    Column("ended_at", Instant),
    Column("ended_by", Text),
    sqlite_autoincrement=True,
)
_standing = control.c.ended_at.is_(None)
Index("control_standing", control.c.destination, control.c.kind, unique=True,
      sqlite_where=_standing, postgresql_where=_standing)  # fmt: skip
Index("control_history", control.c.destination, control.c.since)

job = Table(
    "job",
    metadata,
    Column("seq", Seq, sa.Identity(), primary_key=True),
    Column("id", Text, nullable=False, unique=True),
    Column("kind", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("arguments", Json, nullable=False),
    Column("state", Text, nullable=False),  # open | done
    sqlite_autoincrement=True,
)

job_item = Table(
    "job_item",
    metadata,
    Column("job_id", Text, ForeignKey("job.id"), primary_key=True),
    Column("item", Text, primary_key=True),
    Column("position", Integer, nullable=False),
    Column("result", Text),  # null until it is done
    Column("detail", Text, nullable=False),
)

audit = Table(
    "audit",
    metadata,
    Column("seq", Seq, sa.Identity(), primary_key=True),
    Column("at", Instant, nullable=False),
    Column("actor", Text, nullable=False),
    Column("via", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("object", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("result", Text, nullable=False),
    sqlite_autoincrement=True,
)

snapshot = Table(
    "snapshot",
    metadata,
    Column("digest", Text, primary_key=True),
    Column("created_at", Instant, nullable=False),
    Column("versions", Json, nullable=False),
    Column("files", Json, nullable=False),  # name -> sha256
)

file = Table(
    "file",
    metadata,
    Column("sha256", Text, primary_key=True),
    Column("bytes", LargeBinary, nullable=False),  # zlib
)

setting = Table(
    "setting",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

"""The tables, the same on SQLite and PostgreSQL. What is dear to change later is in them from the first day.

    message ─┬─ payload      the only bytes
             ├─ reference    what it is found by
             └─ delivery ─── event (append-only; the row is their sum)
    control, job ── job_item, audit, group_note, tally, snapshot ── file, setting

A citizen's data may be in three places, and erasing a message means all three: bytes and headers of ``payload``;
values of ``reference``; ``arrival``, ``idempotency_key`` and ``header`` of ``message`` (what senders call a document:
file names, file numbers). An operator's own words are in ``control``, ``job``, ``audit`` and ``group_note``.

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

SCHEMA = "0002"  # the newest migration that this program knows
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


_JSON = json.JSONEncoder(separators=(",", ":"))  # made once: json.dumps makes one for each call


class Json(TypeDecorator[Mapping[str, Any]]):
    """A small mapping as text. Not the databases' own type: nobody searches in it."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Mapping[str, Any] | None, dialect: sa.Dialect) -> str | None:  # noqa: ARG002
        return None if value is None else _JSON.encode(dict(value))

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
CLOSED = sa.literal_column("'closed'", Text)
NONE = sa.literal_column("''", Text)
RECEIVED = sa.literal_column("'received'", Text)

metadata = sa.MetaData()
# The conditions of partial indexes stand here once, as SQLite's. PostgreSQL's are made by the same lines of the
# migrations; to say them here would load its dialect into every process.

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
    Column("checks", Json),  # what was checked and how long it took; null: nobody wrote it down
    Column("fingerprint", Text),  # of a rejection: what it has in common with others
    Column("repeated", Integer),  # of a rejection: how often the same came again; null: never
    Column("repeated_at", Instant),
    sqlite_autoincrement=True,
)
_accepted = message.c.verdict == ACCEPTED
_kept = sa.and_(message.c.verdict == REJECTED, message.c.erased_at.is_(None))
_kept_accepted = sa.and_(message.c.verdict == ACCEPTED, message.c.erased_at.is_(None))
_keyed = sa.and_(_accepted, message.c.idempotency_key.is_not(None))
_unkeyed = sa.and_(_accepted, message.c.idempotency_key.is_(None))
Index("message_identity", message.c.sender, message.c.identity, unique=True,
      sqlite_where=_accepted)  # fmt: skip
Index("message_key", message.c.sender, message.c.idempotency_key, sqlite_where=_keyed)
Index("message_digest", message.c.sender, message.c.sha256, sqlite_where=_unkeyed)
_replay = message.c.parent_id.is_not(None)
Index("message_parent", message.c.parent_id, sqlite_where=_replay)
Index("message_rejected", message.c.source, message.c.seq, sqlite_where=_kept)
Index("message_kept", message.c.source, message.c.received_at, message.c.seq, sqlite_where=_kept_accepted)
# Listings: one for each thing that they ask of a message, in the order in which they show it.
Index("message_received", message.c.received_at, message.c.seq)
Index("message_sender", message.c.sender, message.c.seq)
Index("message_owner", message.c.owner, message.c.seq)
Index("message_type", message.c.standard, message.c.version, message.c.name, message.c.seq)
_refused = message.c.verdict == REJECTED
Index("message_same", message.c.sender, message.c.sha256, sqlite_where=_refused)
Index("message_refused", message.c.seq, sqlite_where=_refused)
Index("message_refused_at", message.c.received_at, message.c.fingerprint,
      sqlite_where=_refused)  # fmt: skip
_coded = message.c.code.is_not(None)
Index("message_code", message.c.code, message.c.seq, sqlite_where=_coded)
_grouped = message.c.fingerprint.is_not(None)
Index("message_fingerprint", message.c.fingerprint, message.c.seq, sqlite_where=_grouped)

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
    Column("fingerprint", Text),  # what its last death has in common with others
    sqlite_autoincrement=True,
)
_waiting = delivery.c.state == WAITING
_sending = delivery.c.state == SENDING
_dead = delivery.c.state == DEAD
_open_in_order = sa.and_(delivery.c.order_key.is_not(None), delivery.c.state.in_([WAITING, SENDING, TAKEN, DEAD]))
Index("delivery_waiting", delivery.c.destination, delivery.c.due_at, delivery.c.seq, delivery.c.order_key,
      sqlite_where=_waiting)  # fmt: skip
Index("delivery_sending", delivery.c.lease_until, sqlite_where=_sending)
Index("delivery_dead", delivery.c.seq, sqlite_where=_dead)
_sends = delivery.c.payload_id.is_not(None)
Index("delivery_sends", delivery.c.payload_id, sqlite_where=_sends)
Index("delivery_order", delivery.c.destination, delivery.c.order_key, delivery.c.message_seq, delivery.c.seq,
      sqlite_where=_open_in_order)  # fmt: skip
Index("delivery_state", delivery.c.state, delivery.c.destination)  # counts, and which destinations have work
# Listings show messages, newest first: by the number of the message, as far as a page reaches.
Index("delivery_to", delivery.c.destination, delivery.c.message_seq)
Index("delivery_by", delivery.c.route, delivery.c.message_seq)
Index("delivery_waiting_of", delivery.c.message_seq, sqlite_where=_waiting)
Index("delivery_dead_of", delivery.c.message_seq, sqlite_where=_dead)
Index("delivery_dead_at", delivery.c.due_at, sqlite_where=_dead)
_closed = delivery.c.state == CLOSED
Index("delivery_closed_of", delivery.c.message_seq, sqlite_where=_closed)
_why = delivery.c.reason != NONE
Index("delivery_reason", delivery.c.reason, delivery.c.message_seq, sqlite_where=_why)
_named = delivery.c.fingerprint.is_not(None)
_dead_alike = sa.and_(_dead, _named)
Index("delivery_fingerprint", delivery.c.fingerprint, delivery.c.message_seq,
      sqlite_where=_named)  # fmt: skip
for _open, _when in (("waiting", _waiting), ("dead", _dead)):  # for statistics, group after group
    Index(f"delivery_{_open}_in", delivery.c.owner, delivery.c.route, delivery.c.destination, delivery.c.message_seq,
          sqlite_where=_when)  # fmt: skip
Index("delivery_group", delivery.c.fingerprint, delivery.c.due_at,
      sqlite_where=_dead_alike)  # fmt: skip

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
      sqlite_where=_standing)  # fmt: skip
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
    Column("state", Text, nullable=False),  # open | paused | done | cancelled
    Column("note", Text),  # why it was paused, resumed or cancelled
    Column("changed_by", Text),
    Column("changed_at", Instant),
    Column("canary_from", Integer),
    Column("canary_passed", Boolean),
    Column("runner", Text),  # of several nodes the one that runs it
    Column("runner_until", BigInteger),  # by the database's clock
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
_left = job_item.c.result.is_(None)
Index("job_item_left", job_item.c.job_id, job_item.c.position, sqlite_where=_left)
Index("job_item_result", job_item.c.job_id, job_item.c.result, job_item.c.position)
Index("job_item_of", job_item.c.item)

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
Index("audit_actor", audit.c.actor, audit.c.seq)
Index("audit_action", audit.c.action, audit.c.seq)
Index("audit_object", audit.c.object, audit.c.seq)
Index("audit_at", audit.c.at, audit.c.seq)

group_note = Table(
    "group_note",  # what operators know about a group of equal failures; appended only
    metadata,
    Column("seq", Seq, sa.Identity(), primary_key=True),
    Column("fingerprint", Text, nullable=False, index=True),
    Column("at", Instant, nullable=False),
    Column("actor", Text, nullable=False),
    Column("text", Text, nullable=False),
    sqlite_autoincrement=True,
)

tally = Table(
    "tally",  # what happened on a day, counted; a count is the sum of its shards
    metadata,
    Column("day", Text, primary_key=True),  # in Berlin
    Column("owner", Text, primary_key=True),
    Column("route", Text, primary_key=True),
    Column("destination", Text, primary_key=True),
    Column("what", Text, primary_key=True),  # in | rejected | died | took:N
    Column("shard", Integer, primary_key=True, autoincrement=False),
    Column("count", BigInteger, nullable=False),
    sqlite_with_rowid=False,
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

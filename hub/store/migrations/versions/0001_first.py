"""The first tables. This file is frozen: what a database was made with must stay readable here."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create all tables, and the triggers that keep history unchanged."""
    _create_message()
    _create_payload()
    _create_reference()
    _create_delivery()
    _create_event()
    _create_control()
    _create_job()
    _create_job_item()
    _create_audit()
    _create_snapshot()
    _create_file()
    _create_setting()
    for statement in SQLITE_TRIGGERS if op.get_context().dialect.name == "sqlite" else POSTGRESQL_TRIGGERS:
        op.execute(statement)


def _number(name: str) -> sa.Column[int]:
    """Return a key that only grows; SQLite numbers rows by itself only under exactly INTEGER."""
    return sa.Column(name, sa.BigInteger().with_variant(sa.Integer(), "sqlite"), sa.Identity(), primary_key=True)


def _index(name: str, table: str, columns: list[str], *, unique: bool = False, where: str | None = None) -> None:
    condition = None if where is None else sa.text(where)
    op.create_index(name, table, columns, unique=unique, sqlite_where=condition, postgresql_where=condition)


def _create_message() -> None:
    op.create_table(
        "message",
        _number("seq"),
        sa.Column("id", sa.Text(), nullable=False, unique=True),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("code", sa.Text()),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("sender", sa.Text(), nullable=False),
        sa.Column("identity", sa.Text()),
        sa.Column("idempotency_key", sa.Text()),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("standard", sa.Text()),
        sa.Column("version", sa.Text()),
        sa.Column("name", sa.Text()),
        sa.Column("owner", sa.Text()),
        sa.Column("recipient", sa.Text()),
        sa.Column("test", sa.Boolean(), nullable=False),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        sa.Column("snapshot", sa.Text(), nullable=False),
        sa.Column("parent_id", sa.Text()),
        sa.Column("erased_at", sa.BigInteger()),
        sa.Column("arrival", sa.Text(), nullable=False),
        sa.Column("header", sa.Text()),
        sqlite_autoincrement=True,
    )
    _index("message_digest", "message", ["sender", "sha256"], where="verdict = 'accepted' AND idempotency_key IS NULL")
    _index("message_identity", "message", ["sender", "identity"], unique=True, where="verdict = 'accepted'")
    _index(
        "message_key",
        "message",
        ["sender", "idempotency_key"],
        where="verdict = 'accepted' AND idempotency_key IS NOT NULL",
    )
    _index("message_rejected", "message", ["source", "seq"], where="verdict = 'rejected' AND erased_at IS NULL")


def _create_payload() -> None:
    op.create_table(
        "payload",
        sa.Column("id", sa.Text(), primary_key=True),
        sa.Column("message_id", sa.Text(), sa.ForeignKey("message.id"), nullable=False),
        sa.Column("delivery_id", sa.Text()),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("part_no", sa.Integer(), nullable=False),
        sa.Column("media_type", sa.Text(), nullable=False),
        sa.Column("encoding", sa.Text(), nullable=False),
        sa.Column("storage", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("key_id", sa.Text()),
        sa.Column("headers", sa.Text(), nullable=False),
        sa.Column("bytes", sa.LargeBinary()),
    )
    _index("ix_payload_message_id", "payload", ["message_id"])


def _create_reference() -> None:
    op.create_table(
        "reference",
        _number("seq"),
        sa.Column("message_id", sa.Text(), sa.ForeignKey("message.id"), nullable=False),
        sa.Column("delivery_id", sa.Text()),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text()),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("value", sa.Text()),
        sqlite_autoincrement=True,
    )
    _index("ix_reference_digest", "reference", ["digest"])
    _index("ix_reference_message_id", "reference", ["message_id"])


def _create_delivery() -> None:
    op.create_table(
        "delivery",
        _number("seq"),
        sa.Column("id", sa.Text(), nullable=False, unique=True),
        sa.Column("message_id", sa.Text(), sa.ForeignKey("message.id"), nullable=False),
        sa.Column("message_seq", sa.BigInteger(), nullable=False),
        sa.Column("owner", sa.Text()),
        sa.Column("route", sa.Text()),
        sa.Column("destination", sa.Text()),
        sa.Column("payload_id", sa.Text(), sa.ForeignKey("payload.id")),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("phase", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=False),
        sa.Column("lease_until", sa.BigInteger()),
        sa.Column("lease_owner", sa.Text()),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("first_attempt_at", sa.BigInteger()),
        sa.Column("order_key", sa.Text()),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("replay_of", sa.Text()),
        sa.Column("snapshot", sa.Text(), nullable=False),
        sqlite_autoincrement=True,
    )
    _index("delivery_dead", "delivery", ["seq"], where="state = 'dead'")
    _index(
        "delivery_order",
        "delivery",
        ["destination", "order_key", "message_seq", "seq"],
        where="order_key IS NOT NULL AND state IN ('waiting', 'sending', 'taken', 'dead')",
    )
    _index("delivery_sending", "delivery", ["lease_until"], where="state = 'sending'")
    _index("delivery_state", "delivery", ["state", "destination"])
    _index("delivery_waiting", "delivery", ["destination", "due_at", "seq", "order_key"], where="state = 'waiting'")
    _index("ix_delivery_message_id", "delivery", ["message_id"])


def _create_event() -> None:
    op.create_table(
        "event",
        sa.Column("delivery_id", sa.Text(), sa.ForeignKey("delivery.id"), primary_key=True),
        sa.Column("revision", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("due_at", sa.BigInteger()),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("phase", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("duration_us", sa.BigInteger()),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("job_id", sa.Text()),
        sqlite_with_rowid=False,
    )


def _create_control() -> None:
    op.create_table(
        "control",
        _number("id"),
        sa.Column("destination", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("until", sa.BigInteger()),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("ended_at", sa.BigInteger()),
        sa.Column("ended_by", sa.Text()),
        sqlite_autoincrement=True,
    )
    _index("control_history", "control", ["destination", "since"])
    _index("control_standing", "control", ["destination", "kind"], unique=True, where="ended_at IS NULL")


def _create_job() -> None:
    op.create_table(
        "job",
        _number("seq"),
        sa.Column("id", sa.Text(), nullable=False, unique=True),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("arguments", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sqlite_autoincrement=True,
    )


def _create_job_item() -> None:
    op.create_table(
        "job_item",
        sa.Column("job_id", sa.Text(), sa.ForeignKey("job.id"), primary_key=True),
        sa.Column("item", sa.Text(), primary_key=True),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("result", sa.Text()),
        sa.Column("detail", sa.Text(), nullable=False),
    )


def _create_audit() -> None:
    op.create_table(
        "audit",
        _number("seq"),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("via", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("object", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("result", sa.Text(), nullable=False),
        sqlite_autoincrement=True,
    )


def _create_snapshot() -> None:
    op.create_table(
        "snapshot",
        sa.Column("digest", sa.Text(), primary_key=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("versions", sa.Text(), nullable=False),
        sa.Column("files", sa.Text(), nullable=False),
    )


def _create_file() -> None:
    op.create_table(
        "file",
        sa.Column("sha256", sa.Text(), primary_key=True),
        sa.Column("bytes", sa.LargeBinary(), nullable=False),
    )


def _create_setting() -> None:
    op.create_table(
        "setting",
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("value", sa.Text(), nullable=False),
    )


SQLITE_TRIGGERS = (
    """
    CREATE TRIGGER event_unchanged BEFORE UPDATE ON event
    BEGIN SELECT RAISE(ABORT, 'events are append-only'); END
    """,
    """
    CREATE TRIGGER event_kept BEFORE DELETE ON event
    BEGIN SELECT RAISE(ABORT, 'events are append-only'); END
    """,
    """
    CREATE TRIGGER message_unchanged BEFORE UPDATE OF id, sha256 ON message
    BEGIN SELECT RAISE(ABORT, 'a message never changes'); END
    """,
    """
    CREATE TRIGGER payload_unchanged BEFORE UPDATE OF sha256, bytes ON payload
    BEGIN SELECT RAISE(ABORT, 'a payload never changes'); END
    """,
)

POSTGRESQL_TRIGGERS = (
    """
    CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'what is recorded never changes' USING ERRCODE = 'integrity_constraint_violation'; END $$
    """,
    """
    CREATE TRIGGER event_unchanged BEFORE UPDATE OR DELETE ON event
    FOR EACH ROW EXECUTE FUNCTION refuse_change()
    """,
    """
    CREATE TRIGGER message_unchanged BEFORE UPDATE OF id, sha256 ON message
    FOR EACH ROW EXECUTE FUNCTION refuse_change()
    """,
    """
    CREATE TRIGGER payload_unchanged BEFORE UPDATE OF sha256, bytes ON payload
    FOR EACH ROW EXECUTE FUNCTION refuse_change()
    """,
)

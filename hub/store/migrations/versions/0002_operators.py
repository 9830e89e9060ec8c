"""What operators need: jobs with a pace, groups of equal failures, destinations under control. It only adds."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns, tables and indexes; rows that are there keep what they have."""
    _jobs()
    _groups()
    _controls()
    _growth()
    _rejections()


def _jobs() -> None:
    """What a job needs beyond its frozen list: why it stands still, its canary, who runs it; items in their order."""
    for column in (
        sa.Column("note", sa.Text()),
        sa.Column("changed_by", sa.Text()),
        sa.Column("changed_at", sa.BigInteger()),
        sa.Column("canary_from", sa.Integer()),
        sa.Column("canary_passed", sa.Boolean()),
        sa.Column("runner", sa.Text()),
        sa.Column("runner_until", sa.BigInteger()),
    ):
        op.add_column("job", column)
    left, replayed = sa.text("result IS NULL"), sa.text("parent_id IS NOT NULL")
    op.create_index("job_item_left", "job_item", ["job_id", "position"], sqlite_where=left, postgresql_where=left)
    op.create_index("job_item_result", "job_item", ["job_id", "result", "position"])
    op.create_index("message_parent", "message", ["parent_id"], sqlite_where=replayed, postgresql_where=replayed)


def _groups() -> None:
    """What failures are grouped by, what is known about a group, and the order in which listings show things."""
    op.add_column("message", sa.Column("checks", sa.Text()))
    op.add_column("message", sa.Column("fingerprint", sa.Text()))
    op.add_column("delivery", sa.Column("fingerprint", sa.Text()))
    op.create_table(
        "group_note",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), sa.Identity(), primary_key=True),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "tally",
        *(sa.Column(name, sa.Text(), primary_key=True) for name in ("day", "owner", "route", "destination", "what")),
        sa.Column("shard", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sqlite_with_rowid=False,
    )
    for name, table, columns, where in LISTED:
        condition = None if where is None else sa.text(where)
        op.create_index(name, table, columns, sqlite_where=condition, postgresql_where=condition)


LISTED: tuple[tuple[str, str, list[str], str | None], ...] = (
    ("ix_group_note_fingerprint", "group_note", ["fingerprint"], None),
    ("message_received", "message", ["received_at", "seq"], None),
    ("message_sender", "message", ["sender", "seq"], None),
    ("message_owner", "message", ["owner", "seq"], None),
    ("message_type", "message", ["standard", "version", "name", "seq"], None),
    ("message_refused", "message", ["seq"], "verdict = 'rejected'"),
    ("message_refused_at", "message", ["received_at", "fingerprint"], "verdict = 'rejected'"),
    ("message_code", "message", ["code", "seq"], "code IS NOT NULL"),
    ("message_fingerprint", "message", ["fingerprint", "seq"], "fingerprint IS NOT NULL"),
    ("delivery_to", "delivery", ["destination", "message_seq"], None),
    ("delivery_by", "delivery", ["route", "message_seq"], None),
    ("delivery_waiting_of", "delivery", ["message_seq"], "state = 'waiting'"),
    ("delivery_dead_of", "delivery", ["message_seq"], "state = 'dead'"),
    ("delivery_dead_at", "delivery", ["due_at"], "state = 'dead'"),
    ("delivery_closed_of", "delivery", ["message_seq"], "state = 'closed'"),
    ("delivery_reason", "delivery", ["reason", "message_seq"], "reason != ''"),
    ("delivery_fingerprint", "delivery", ["fingerprint", "message_seq"], "fingerprint IS NOT NULL"),
    ("delivery_group", "delivery", ["fingerprint", "due_at"], "state = 'dead' AND fingerprint IS NOT NULL"),
    ("delivery_waiting_in", "delivery", ["owner", "route", "destination", "message_seq"], "state = 'waiting'"),
    ("delivery_dead_in", "delivery", ["owner", "route", "destination", "message_seq"], "state = 'dead'"),
    ("job_item_of", "job_item", ["item"], None),
    ("audit_actor", "audit", ["actor", "seq"], None),
    ("audit_action", "audit", ["action", "seq"], None),
    ("audit_object", "audit", ["object", "seq"], None),
    ("audit_at", "audit", ["at", "seq"], None),
)


def _controls() -> None:
    """What is wrong now and who has been told of it; which certificates were seen."""
    seq = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "alert",
        sa.Column("seq", seq, sa.Identity(), primary_key=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("object", sa.Text(), nullable=False),
        sa.Column("level", sa.Integer(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("next", sa.Text(), nullable=False),
        sa.Column("raised_at", sa.BigInteger(), nullable=False),
        sa.Column("cleared_at", sa.BigInteger()),
        sqlite_autoincrement=True,
    )
    stands = sa.text("cleared_at IS NULL")
    op.create_index(
        "alert_standing", "alert", ["name", "object"], unique=True, sqlite_where=stands, postgresql_where=stands
    )
    op.create_table(
        "alert_notice",
        sa.Column("seq", seq, sa.Identity(), primary_key=True),
        sa.Column("alert_seq", sa.BigInteger(), sa.ForeignKey("alert.seq"), nullable=False),
        sa.Column("what", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("told_at", sa.BigInteger()),
        sa.Column("failure", sa.Text(), nullable=False),
        sqlite_autoincrement=True,
    )
    untold = sa.text("told_at IS NULL")
    op.create_index(
        "alert_notice_untold", "alert_notice", ["channel", "due_at"], sqlite_where=untold, postgresql_where=untold
    )
    op.create_table(
        "certificate",
        sa.Column("place", sa.Text(), primary_key=True),
        sa.Column("not_after", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("seen_at", sa.BigInteger(), nullable=False),
    )


def _growth() -> None:
    """What erasure looks for, however much has been erased before; what the server has to know of a long queue."""
    kept = sa.text("verdict = 'accepted' AND erased_at IS NULL")
    columns = ["source", "received_at", "seq"]
    op.create_index("message_kept", "message", columns, sqlite_where=kept, postgresql_where=kept)
    # For each payload that goes the database asks who refers to it: without this, all deliveries.
    sends = sa.text("payload_id IS NOT NULL")
    op.create_index("delivery_sends", "delivery", ["payload_id"], sqlite_where=sends, postgresql_where=sends)
    if op.get_context().dialect.name == "postgresql":
        # Where a destination is down, all that waits is its: without this the server takes it for a handful, and sorts
        # what an index has in order. It has to notice within the hour, in a table of millions, too.
        op.execute("CREATE STATISTICS delivery_state_destination (mcv) ON state, destination FROM delivery")
        op.execute(
            "ALTER TABLE delivery SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.01)"
        )


def _rejections() -> None:
    """How often the same was rejected again, and how that is found out."""
    op.add_column("message", sa.Column("repeated", sa.Integer()))
    op.add_column("message", sa.Column("repeated_at", sa.BigInteger()))
    refused = sa.text("verdict = 'rejected'")
    op.create_index("message_same", "message", ["sender", "sha256"], sqlite_where=refused, postgresql_where=refused)

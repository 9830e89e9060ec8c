"""What a daemon's role may do on PostgreSQL: to each table what the program does with it, and nothing to its shape.

``examples/postgresql/rights.sql`` grants exactly this; what is appended only cannot be changed by the role either.
"""

from __future__ import annotations

from collections.abc import Mapping

import sqlalchemy as sa

from hub.errors import StoreError

RIGHTS: Mapping[str, tuple[str, ...]] = {
    "alembic_version": ("SELECT",),
    "message": ("SELECT", "INSERT", "UPDATE"),
    "payload": ("SELECT", "INSERT", "DELETE"),
    "reference": ("SELECT", "INSERT", "DELETE"),
    "delivery": ("SELECT", "INSERT", "UPDATE"),
    "event": ("SELECT", "INSERT"),
    "control": ("SELECT", "INSERT", "UPDATE"),
    "job": ("SELECT", "INSERT", "UPDATE"),
    "job_item": ("SELECT", "INSERT", "UPDATE"),
    "alert": ("SELECT", "INSERT", "UPDATE"),
    "alert_notice": ("SELECT", "INSERT", "UPDATE", "DELETE"),
    "certificate": ("SELECT", "INSERT", "UPDATE", "DELETE"),
    "audit": ("SELECT", "INSERT"),
    "group_note": ("SELECT", "INSERT"),
    "tally": ("SELECT", "INSERT", "UPDATE"),
    "snapshot": ("SELECT", "INSERT"),
    "file": ("SELECT", "INSERT"),
    "setting": ("SELECT", "INSERT", "UPDATE", "DELETE"),
}


def refuse_poor_role(connection: sa.Connection) -> None:
    """Refuse a role that could not do everything: better now than with a message in hand.

    Raises:
        StoreError: With the rights that it lacks.
    """
    wanted = [(table, right) for table, rights in RIGHTS.items() for right in rights]
    may = connection.execute(sa.select(*(sa.func.has_table_privilege(*one) for one in wanted))).one()
    lacking = [f"{right} on {table}" for (table, right), granted in zip(wanted, may, strict=True) if not granted]
    if lacking:
        raise StoreError(
            f"the store's role may not {', '.join(lacking)}: grant it (examples/postgresql/rights.sql), as the owner"
        )

"""The audit trail, read: who did what to what, and why; newest first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from hub.errors import StoreError
from hub.store.api import Audit
from hub.store.tables import audit as table


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """What is asked of the trail; ``None``: not asked. ``about`` are whole objects, each as it was written."""

    actor: str | None = None
    action: str | None = None
    about: Sequence[str] | None = None
    since: datetime | None = None
    until: datetime | None = None


def find_audits(
    connection: sa.Connection, filter_: AuditFilter, *, limit: int, after: str | None = None
) -> tuple[list[Audit], str | None]:
    """Return a page of the trail, newest first, and the cursor of the next one."""
    if after is not None and not after.isdecimal():
        raise StoreError("the cursor is not one that a listing has given")
    conditions = []
    if filter_.actor is not None:
        conditions.append(table.c.actor == filter_.actor)
    if filter_.action is not None:
        conditions.append(table.c.action == filter_.action)
    if filter_.about is not None:
        conditions.append(table.c.object.in_(filter_.about))
    if filter_.since is not None:
        conditions.append(table.c.at >= filter_.since)
    if filter_.until is not None:
        conditions.append(table.c.at < filter_.until)
    if after is not None:
        conditions.append(table.c.seq < int(after))
    statement = sa.select(table).where(*conditions).order_by(table.c.seq.desc()).limit(limit + 1)
    rows = connection.execute(statement).mappings().all()
    following = str(rows[limit - 1]["seq"]) if len(rows) > limit else None
    names = [column.name for column in table.c if column.name != "seq"]
    return [Audit(**{name: row[name] for name in names}) for row in rows[:limit]], following

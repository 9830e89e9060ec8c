"""Everything that is on record around one message: how it came, what was checked, who did what with it, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from hub.message import Checked
from hub.store.api import Audit, PayloadRole
from hub.store.rows import checks_of
from hub.store.tables import job, job_item, message
from hub.store.trail import AuditFilter, find_audits

ACTS_MAX = 500


@dataclass(frozen=True, slots=True)
class Deed:
    """A job that had one of a message's deliveries, or itself, among its items, and what came of that item."""

    id: str
    kind: str
    actor: str
    reason: str
    created_at: datetime
    item: str
    result: str | None
    detail: str


@dataclass(frozen=True, slots=True)
class Record:
    """What is on record of a message beside its deliveries. ``header`` is ``None`` where there is none, or erased."""

    header: Mapping[str, Any] | None = field(repr=False)
    arrival: Mapping[str, Any] = field(repr=False)
    checks: tuple[Checked, ...] = ()
    deeds: tuple[Deed, ...] = ()
    audits: tuple[Audit, ...] = ()


def select_record(connection: sa.Connection, message_id: str, delivery_ids: Sequence[str]) -> Record | None:
    """Read the record of a message that has these deliveries."""
    columns = (message.c.header, message.c.arrival, message.c.checks)
    row = connection.execute(sa.select(*columns).where(message.c.id == message_id)).one_or_none()
    if row is None:
        return None
    ids = [message_id, *delivery_ids]
    about = [*ids, *(f"{id_} {role.value}" for id_ in ids for role in PayloadRole)]
    audits, _ = find_audits(connection, AuditFilter(about=about), limit=ACTS_MAX)
    return Record(row.header, row.arrival, checks_of(row.checks), tuple(_deeds(connection, ids)), tuple(audits[::-1]))


def _deeds(connection: sa.Connection, ids: Sequence[str]) -> list[Deed]:
    columns = (job.c.id, job.c.kind, job.c.actor, job.c.reason, job.c.created_at)
    own = (job_item.c.item, job_item.c.result, job_item.c.detail)
    statement = sa.select(*columns, *own).join(job_item, job_item.c.job_id == job.c.id).where(job_item.c.item.in_(ids))
    rows = connection.execute(statement.order_by(job.c.seq).limit(ACTS_MAX)).mappings()
    return [Deed(**row) for row in rows]

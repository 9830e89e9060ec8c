"""What people want done, and what they did: jobs with their items, and the audit trail."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict

import sqlalchemy as sa

from hub.errors import Conflict
from hub.store.api import Audit, ItemResult, Job
from hub.store.inserting import insert_new, insert_rows
from hub.store.tables import audit as audit_table
from hub.store.tables import job, job_item
from hub.store.writer import Verb


def add_job(connection: sa.Connection, wish: Job) -> None:
    """Insert a job with its items, each once; they are frozen from now on.

    Raises:
        Conflict: Its id is taken.
    """
    row = {
        "id": wish.id, "kind": wish.kind, "actor": wish.actor, "reason": wish.reason, "created_at": wish.created_at,
        "arguments": wish.arguments, "state": wish.state,
    }  # fmt: skip
    if insert_new(connection, job, [row]) != 1:
        raise Conflict(f"job {wish.id} exists already")
    results = {result.item: result for result in wish.results}
    items = [
        {
            "job_id": wish.id,
            "item": item,
            "position": position,
            "result": results[item].result if item in results else None,
            "detail": results[item].detail if item in results else "",
        }
        for position, item in enumerate(dict.fromkeys(wish.items))
    ]
    insert_rows(connection, job_item, items)


def finish_job(connection: sa.Connection, id_: str) -> None:
    """Say that nothing of a job is left to do. Twice is once."""
    connection.execute(sa.update(job).where(job.c.id == id_).values(state="done"))


def add_audit(connection: sa.Connection, entry: Audit) -> None:
    """Append to the audit trail."""
    insert_rows(connection, audit_table, [asdict(entry)])


ADD_JOB = Verb("add_job", add_job)
FINISH_JOB = Verb("finish_job", finish_job)
ADD_AUDIT = Verb("audit", add_audit)


def select_open_jobs(connection: sa.Connection) -> list[Job]:
    """Read unfinished jobs, oldest first."""
    return _jobs(connection, sa.select(job).where(job.c.state == "open").order_by(job.c.seq))


def select_job(connection: sa.Connection, id_: str) -> Job | None:
    """Read one job by its id."""
    return next(iter(_jobs(connection, sa.select(job).where(job.c.id == id_))), None)


def select_audits(connection: sa.Connection, limit: int) -> list[Audit]:
    """Read the audit trail, newest first."""
    columns = [column for column in audit_table.c if column.name != "seq"]
    statement = sa.select(*columns).order_by(audit_table.c.seq.desc()).limit(limit)
    return [Audit(**row) for row in connection.execute(statement).mappings()]


def _jobs(connection: sa.Connection, statement: sa.Select[tuple[object, ...]]) -> list[Job]:
    """Return the jobs of a query with their items, which one more query reads for all of them."""
    rows = connection.execute(statement).mappings().all()
    ids = [row["id"] for row in rows]
    items = sa.select(job_item).where(job_item.c.job_id.in_(ids)).order_by(job_item.c.position)
    by_job: dict[str, list[sa.RowMapping]] = defaultdict(list)
    for item in connection.execute(items).mappings() if ids else ():
        by_job[item["job_id"]].append(item)
    return [
        Job(
            id=row["id"], kind=row["kind"], actor=row["actor"], reason=row["reason"], created_at=row["created_at"],
            items=tuple(item["item"] for item in by_job[row["id"]]), arguments=row["arguments"], state=row["state"],
            results=_results(by_job[row["id"]]),
        )
        for row in rows
    ]  # fmt: skip


def _results(items: Sequence[sa.RowMapping]) -> tuple[ItemResult, ...]:
    return tuple(
        ItemResult(item["job_id"], item["item"], item["result"], item["detail"])
        for item in items
        if item["result"] is not None
    )

"""What is on record of jobs and their items. Apart from how they are written: a listing needs nothing of that."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Sequence

import sqlalchemy as sa

from hub.errors import StoreError
from hub.job import LEFT, Job, JobItem
from hub.store.tables import job, job_item

PAGE_MAX = 1000

# Made once: they are asked for every item.
_BY_ID = sa.select(job).where(job.c.id == sa.bindparam("at_id"))
_OPEN = sa.select(job).where(job.c.state == "open").order_by(job.c.seq)
_LEFT = (
    sa.select(job_item.c.position, job_item.c.item, job_item.c.result, job_item.c.detail)
    .where(job_item.c.job_id == sa.bindparam("at_job"), job_item.c.position > sa.bindparam("at_position"))
    .where(job_item.c.result.is_(None))
    .order_by(job_item.c.position)
    .limit(sa.bindparam("at_most"))
)


def select_unfinished(connection: sa.Connection) -> list[Job]:
    """Read open jobs, oldest first."""
    return [job_of(row) for row in connection.execute(_OPEN).mappings()]


def select_jobs(
    connection: sa.Connection, states: Collection[str], limit: int, after: str | None
) -> tuple[list[Job], str | None]:
    """Read a page of jobs, newest first, and the cursor of the next. The cursor is the last one's ``seq``."""
    statement = sa.select(job).order_by(job.c.seq.desc()).limit(limit + 1)
    if states:
        statement = statement.where(job.c.state.in_(states))
    if after is not None:
        if not after.isdecimal():
            raise StoreError("the cursor is not one that a listing has given")
        statement = statement.where(job.c.seq < int(after))
    found = [job_of(row) for row in connection.execute(statement).mappings()]
    return found[:limit], str(found[limit - 1].seq) if len(found) > limit else None


def select_job(connection: sa.Connection, id_: str) -> Job | None:
    """Read one job by its id."""
    row = connection.execute(_BY_ID, {"at_id": id_}).mappings().one_or_none()
    return None if row is None else job_of(row)


def select_progress(connection: sa.Connection, ids: Sequence[str]) -> dict[str, dict[str, int]]:
    """Read how many items of some jobs have which result: a walk over one index."""
    found: dict[str, dict[str, int]] = defaultdict(Counter)
    statement = sa.select(job_item.c.job_id, job_item.c.result, sa.func.count()).group_by(
        job_item.c.job_id, job_item.c.result
    )
    for id_, result, count in connection.execute(statement.where(job_item.c.job_id.in_(ids))) if ids else ():
        found[id_][result or LEFT] = count
    return found


def select_items(
    connection: sa.Connection, id_: str, results: Collection[str], after: int, limit: int
) -> list[JobItem]:
    """Read items of a job in their order, behind a position."""
    if set(results) == {LEFT}:  # by the index of what is left
        asked = {"at_job": id_, "at_position": after, "at_most": limit}
        return [JobItem(*row) for row in connection.execute(_LEFT, asked)]
    conditions = [job_item.c.job_id == id_, job_item.c.position > after]
    if results:
        named = job_item.c.result.in_([result for result in results if result != LEFT])
        conditions.append(sa.or_(named, job_item.c.result.is_(None)) if LEFT in results else named)
    columns = (job_item.c.position, job_item.c.item, job_item.c.result, job_item.c.detail)
    statement = sa.select(*columns).where(*conditions).order_by(job_item.c.position).limit(limit)
    return [JobItem(*row) for row in connection.execute(statement)]


def job_of(row: sa.RowMapping) -> Job:
    """Return the job of a row."""
    return Job(
        id=row["id"], kind=row["kind"], actor=row["actor"], reason=row["reason"], created_at=row["created_at"],
        arguments=row["arguments"], state=row["state"], note=row["note"] or "", changed_by=row["changed_by"] or "",
        changed_at=row["changed_at"], canary_from=row["canary_from"] or 0, canary_passed=bool(row["canary_passed"]),
        seq=row["seq"],
    )  # fmt: skip

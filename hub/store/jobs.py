"""What people want done, and what they did: jobs with their items, and the audit trail.

One rule: an item gets its result once, in the transaction that does what the item says (:mod:`hub.store.moving`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from hub.errors import Conflict
from hub.job import BEFORE, Job, JobItem, Steering
from hub.store.api import Audit
from hub.store.claiming import clock
from hub.store.inserting import insert_new, insert_rows
from hub.store.job_reading import (
    PAGE_MAX,
    job_of,
    select_items,
    select_job,
    select_jobs,
    select_progress,
    select_unfinished,
)
from hub.store.jobs_api import Subject
from hub.store.payloads import Payloads, batched
from hub.store.subjects import select_subject
from hub.store.tables import MICROSECOND, job, job_item
from hub.store.tables import audit as audit_table
from hub.store.writer import Verb, Writer

ADD_KEY = 0x786F6A62  # on PostgreSQL one job is added at a time, so that of two equal ones the second finds the first
PORTION = 500


@dataclass(frozen=True, slots=True)
class NewJob:
    wish: Job
    items: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Take:
    job_id: str
    owner: str
    lease: timedelta
    now: datetime


def add_job(connection: sa.Connection, new: NewJob) -> Job:
    """Insert a job with its items, each once, unless its twin is there; they are frozen from now on.

    Raises:
        Conflict: Its id is taken.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(ADD_KEY)))
    if (twin := select_twin(connection, new)) is not None:
        return twin
    wish = new.wish
    row = {
        "id": wish.id, "kind": wish.kind, "actor": wish.actor, "reason": wish.reason, "created_at": wish.created_at,
        "arguments": wish.arguments, "state": wish.state,
    }  # fmt: skip
    if insert_new(connection, job, [row]) != 1:
        raise Conflict(f"job {wish.id} exists already")
    for begin, some in zip(range(0, len(new.items), PORTION), batched(new.items, PORTION), strict=True):
        insert_rows(
            connection,
            job_item,
            (
                {"job_id": wish.id, "item": item, "position": position, "result": None, "detail": ""}
                for position, item in enumerate(some, begin)
            ),
        )
    return wish


def take_job(connection: sa.Connection, wish: Take) -> bool:
    """Give an open job to a node, if it is that one's already or nobody's, or its former runner is gone."""
    now = clock(connection, wish.now)
    free = sa.or_(job.c.runner.is_(None), job.c.runner == wish.owner, job.c.runner_until < now)
    statement = sa.update(job).where(job.c.id == wish.job_id, job.c.state == "open", free)
    lasting = statement.values(runner=wish.owner, runner_until=now + wish.lease // MICROSECOND)
    return connection.execute(lasting).rowcount == 1


def steer_job(connection: sa.Connection, wish: Steering) -> bool:
    """Change a job's state, if it may follow the one it is in."""
    may = sa.update(job).where(job.c.id == wish.job_id, job.c.state.in_(BEFORE[wish.to]))
    values = {"state": wish.to, "note": wish.note, "changed_by": wish.by, "changed_at": wish.at, "runner": None}
    left = sa.and_(job_item.c.job_id == wish.job_id, job_item.c.result.is_(None))
    if wish.to == "open":
        # What a job has found out itself needs another proof; what somebody has halted goes on where it was.
        following = sa.select(sa.func.min(job_item.c.position)).where(left).scalar_subquery()
        values["canary_from"] = sa.case((job.c.changed_by == "hub", following), else_=job.c.canary_from)
    if connection.execute(may.values(values)).rowcount != 1:
        return False
    if wish.to == "cancelled":
        connection.execute(sa.update(job_item).where(left).values(result="cancelled"))
    return True


def pass_canary(connection: sa.Connection, id_: str) -> None:
    """Write down that a job's canaries were delivered."""
    connection.execute(sa.update(job).where(job.c.id == id_).values(canary_passed=True))


def add_audit(connection: sa.Connection, entry: Audit) -> None:
    """Append to the audit trail."""
    insert_rows(connection, audit_table, [asdict(entry)])


ADD_JOB = Verb("add_job", add_job)
TAKE_JOB = Verb("take_job", take_job)
STEER_JOB = Verb("steer_job", steer_job)
PASS_CANARY = Verb("pass_canary", pass_canary)
ADD_AUDIT = Verb("audit", add_audit)


# --- reading ------------------------------------------------------------------------------------------------------


def select_twin(connection: sa.Connection, new: NewJob) -> Job | None:
    """Read the unfinished job of the same actor, kind and arguments that has all of these items."""
    wish = new.wish
    same = sa.and_(job.c.actor == wish.actor, job.c.kind == wish.kind, job.c.arguments == wish.arguments)
    unfinished = sa.select(job).where(same, job.c.state.in_(["open", "paused"])).order_by(job.c.seq)
    for row in connection.execute(unfinished).mappings().all():
        if new.items and all(_has(connection, row["id"], some) for some in batched(new.items, PORTION)):
            return job_of(row)
    return None


def _has(connection: sa.Connection, id_: str, items: Sequence[str]) -> bool:
    named = sa.select(sa.func.count()).where(job_item.c.job_id == id_, job_item.c.item.in_(items))
    return connection.execute(named).scalar() == len(items)


def select_audits(connection: sa.Connection, limit: int) -> list[Audit]:
    """Read the audit trail, newest first."""
    columns = [column for column in audit_table.c if column.name != "seq"]
    statement = sa.select(*columns).order_by(audit_table.c.seq.desc()).limit(limit)
    return [Audit(**row) for row in connection.execute(statement).mappings()]


# --- the book -----------------------------------------------------------------------------------------------------


class SqlJobs:
    """Implements :class:`hub.store.jobs_api.JobBook`; its promises are written there."""

    def __init__(
        self,
        writer: Writer,
        reading: Callable[[], AbstractContextManager[sa.Connection]],
        clock_: Callable[[], datetime],
        payloads: Payloads,
    ) -> None:
        self._writer, self._reading, self._clock, self._payloads = writer, reading, clock_, payloads

    def add(self, wish: Job, items: Sequence[str]) -> Job:
        return self._writer.run(ADD_JOB, _new(wish, items))

    def twin(self, wish: Job, items: Sequence[str]) -> Job | None:
        with self._reading() as connection:
            return select_twin(connection, _new(wish, items))

    def find(self, id_: str) -> Job | None:
        with self._reading() as connection:
            return select_job(connection, id_)

    def unfinished(self) -> Sequence[Job]:
        with self._reading() as connection:
            return select_unfinished(connection)

    def listed(
        self, *, states: Collection[str] = (), limit: int = 50, after: str | None = None
    ) -> tuple[Sequence[Job], str | None]:
        with self._reading() as connection:
            return select_jobs(connection, states, min(limit, PAGE_MAX), after)

    def progress(self, ids: Sequence[str]) -> Mapping[str, Mapping[str, int]]:
        with self._reading() as connection:
            return select_progress(connection, ids)

    def items(
        self, id_: str, *, results: Collection[str] = (), after: int = -1, limit: int = PAGE_MAX
    ) -> Sequence[JobItem]:
        with self._reading() as connection:
            return select_items(connection, id_, results, after, min(limit, PAGE_MAX))

    def subject(self, item: str) -> Subject | None:
        with self._reading() as connection:
            return select_subject(connection, self._payloads, item)

    def take(self, id_: str, owner: str, lease: timedelta) -> bool:
        return self._writer.run(TAKE_JOB, Take(id_, owner, lease, self._clock()))

    def steer(self, wish: Steering) -> bool:
        return self._writer.run(STEER_JOB, wish)

    def pass_canary(self, id_: str) -> None:
        self._writer.run(PASS_CANARY, id_)


def _new(wish: Job, items: Sequence[str]) -> NewJob:
    return NewJob(wish, tuple(dict.fromkeys(items)))

"""Who runs jobs, how fast, and when they stop by themselves: the only place that decides it.

    open jobs, in turns ─▶ is it still open, and ours? ─▶ nothing left: done
                                                       ─▶ its canary: failed ▶ paused · not there yet ▶ later
                                                       ─▶ its pace: later
                                                       ─▶ the next item (:mod:`hub.items`)

A turn is a few items, so that a long job delays no other. Items are read some at a time: a job of 10,000 takes no more
memory than one of ten. The daemon runs jobs with its snapshot; of several nodes one runs a job, by a lease. Without a
daemon the command line takes the lock and runs the same function. What is cut off goes on where it was.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

from hub.delivery import Delivery, State
from hub.intake import Intake, Outlet, Planning
from hub.items import Items
from hub.job import LEFT, Job, JobItem, Steering
from hub.log import get_log
from hub.store.api import Store

log = get_log(__name__)

TURN_ITEMS = 10
LEASE = timedelta(seconds=15)
LOOK_AGAIN = timedelta(seconds=0.5)  # at a canary that is on its way, at a job that another node runs

Why = Literal["pace", "canary", "elsewhere"]


@dataclass(frozen=True, slots=True)
class Rest:
    """A job has nothing to do for a while."""

    time: timedelta
    why: Why


class Jobs:
    """Runs jobs. One thread at a time."""

    def __init__(
        self,
        store: Store,
        intake: Intake,
        planning: Callable[[], Planning],
        clock: Callable[[], datetime],
        outlet: Outlet | None = None,
        *,
        rate: float | None = None,
        node: str | None = None,
        make_way: Callable[[], None] = lambda: None,
    ) -> None:
        """``rate`` is that of jobs which say none. ``node`` names this one where others may run jobs, too.

        ``make_way`` is called before each step of an item: it returns when nobody waits for a receipt, or soon.
        """
        self._store, self._book = store, store.jobs
        self._items = Items(store, intake, planning, clock, outlet, make_way)
        self._clock, self._rate, self._node = clock, rate, node
        self._next: dict[str, datetime] = {}  # when the pace of a job allows its next item
        self._left: dict[str, deque[str]] = {}  # the next items of a job
        self._leased: dict[str, datetime] = {}  # until when a job is surely ours

    def run_open(self, stopping: Callable[[], bool] = lambda: False) -> timedelta | None:
        """Do all that may be done now, job by job in turns; return when to look again, ``None``: nothing is open."""
        while True:
            rests = [self._turn(job, stopping) for job in self._book.unfinished()]
            resting = [rest for rest in rests if rest is not None]
            if stopping() or not rests:
                return None
            if resting and all(rest.time > timedelta(0) for rest in resting):
                return min(rest.time for rest in resting)

    def run(
        self, job: Job, stopping: Callable[[], bool] = lambda: False, sleep: Callable[[float], None] = time.sleep
    ) -> bool:
        """Run one job at its pace, until it is over or waits for others; return whether it is over."""
        while (rest := self._turn(job, stopping)) is not None:
            if stopping() or rest.why != "pace":
                return False
            sleep(rest.time.total_seconds())
            if (found := self._book.find(job.id)) is None:
                return True
            job = found
        return True

    # --- one turn

    def _turn(self, job: Job, stopping: Callable[[], bool]) -> Rest | None:
        """Do some items of a job; return how long it rests now, ``None``: it is over, or somebody has halted it."""
        for _ in range(TURN_ITEMS):
            if job.state != "open":
                self._forget(job.id)
                return None
            if not self._is_ours(job):
                self._left.pop(job.id, None)  # who runs it does them
                return Rest(LOOK_AGAIN, "elsewhere")
            left = self._left_of(job)
            if not left:
                self._finish(job)
                return None
            rest = self._rest(job)
            if rest is not None and rest.time > timedelta(0):
                return rest
            if stopping():
                break
            if rest is None:  # else its state has changed: look again
                self._do(job, left)
                if left and (rest := self._pace(job)) is not None:
                    return rest
            job = self._book.find(job.id) or replace(job, state="done")  # it is gone
        return Rest(timedelta(0), "pace")

    def _left_of(self, job: Job) -> deque[str]:
        """Return the items that come next, some of them; none: all of the job are done."""
        left = self._left.setdefault(job.id, deque())
        if not left:
            left.extend(one.item for one in self._book.items(job.id, results=(LEFT,), limit=TURN_ITEMS))
        return left

    def _do(self, job: Job, left: deque[str]) -> None:
        result = self._items.run(job, left[0])
        left.popleft()  # now: while the store is away it is left
        if result != "skipped":
            self._keep_pace(job)

    def _is_ours(self, job: Job) -> bool:
        """Tell whether this node runs the job. The lease is renewed long before it ends."""
        if self._node is None:
            return True
        now = self._clock()
        if now < self._leased.get(job.id, now) - LEASE / 2:
            return True
        ours = self._book.take(job.id, self._node, LEASE)
        if ours:
            self._leased[job.id] = now + LEASE
        return ours

    def _rest(self, job: Job) -> Rest | None:
        """Return how long the next item has to wait; no time at all: the job itself has changed."""
        if job.canary and not job.canary_passed and (rest := self._canary(job)) is not None:
            return rest
        return self._pace(job)

    def _pace(self, job: Job) -> Rest | None:
        ahead = self._next.get(job.id, self._clock()) - self._clock()
        if ahead <= timedelta(0):
            return None
        return Rest(min(ahead, self._pause_between(job)), "pace")  # a clock that was put back halts nothing

    def _keep_pace(self, job: Job) -> None:
        now, pause = self._clock(), self._pause_between(job)
        due = self._next.get(job.id, now)
        # Counted from when the item should have been, so that the rate is met; nothing is made up for after a rest.
        self._next[job.id] = (due if now < due + pause else now) + pause

    def _pause_between(self, job: Job) -> timedelta:
        rate = job.rate or self._rate
        return timedelta(0) if rate is None else timedelta(seconds=1) / rate

    def _finish(self, job: Job) -> None:
        self._forget(job.id)
        if self._book.steer(Steering(job.id, "done", "hub", "", self._clock())):
            progress = self._book.progress([job.id]).get(job.id, {})
            log.info("job_finished", job=job.id, count=sum(progress.values()), failed=progress.get("failed", 0))

    def _forget(self, id_: str) -> None:
        self._next.pop(id_, None)
        self._left.pop(id_, None)
        self._leased.pop(id_, None)

    # --- the canary

    def _canary(self, job: Job) -> Rest | None:
        """Look at those that went first: wait for them, let the others follow, or pause the job."""
        tried = self._book.items(job.id, results=("done", "failed"), after=job.canary_from - 1, limit=job.canary)
        for one in tried:
            if (why := self._failure(one)) is not None:
                self._pause(job, why)
                return Rest(timedelta(0), "canary")
        if len(tried) < job.canary:
            return None  # another one goes first
        if not all(delivery.state is State.DELIVERED for one in tried for delivery in self._made(one)):
            return Rest(LOOK_AGAIN, "canary")
        self._book.pass_canary(job.id)
        log.info("job_canary_delivered", job=job.id, count=len(tried))
        return Rest(timedelta(0), "canary")

    def _failure(self, one: JobItem) -> str | None:
        """Return why a canary has failed, ``None``: it has not, or not yet."""
        if one.result == "failed":
            return f"the canary {one.item} failed: {one.detail}"
        made = list(self._made(one))
        if not made:
            return f"the canary {one.item} is gone"
        for delivery in made:
            if delivery.state in (State.DEAD, State.CLOSED):
                return f"the canary {delivery.id} is {delivery.state}: {delivery.reason}"
        return None

    def _made(self, one: JobItem) -> Iterator[Delivery]:
        """Yield the deliveries that are on their way because of an item: itself, what replaces it, or of a message."""
        for id_ in one.detail.split() or [one.item]:
            if (delivery := self._store.delivery(id_)) is not None:
                yield delivery
            elif (record := self._store.message(id_)) is not None:
                yield from record.deliveries

    def _pause(self, job: Job, why: str) -> None:
        self._forget(job.id)
        if self._book.steer(Steering(job.id, "paused", "hub", why, self._clock())):
            log.warning("job_paused", job=job.id, reason="canary")

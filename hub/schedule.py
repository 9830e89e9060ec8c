"""The few periodic jobs: polling sources, upkeep. The only file that knows apscheduler; nothing here is per message."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import UTC, datetime

from apscheduler.events import EVENT_JOB_ERROR, JobExecutionEvent
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler

from hub.log import get_log

log = get_log(__name__)

THREADS = 4


class Schedule:
    """Runs functions again and again in a few threads; one that is still running is not started a second time."""

    def __init__(self) -> None:
        # In memory: the jobs are declared anew from the configuration at each start, and due deliveries live in the
        # store. UTC: a daily job in local time runs twice, or never, when the clocks change.
        self._scheduler = BackgroundScheduler(
            timezone=UTC,
            executors={"default": ThreadPoolExecutor(THREADS)},
            # Late is better than never: a machine that slept does at once what it has missed, and once.
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
        )
        self._numbers = itertools.count(1)
        self._scheduler.add_listener(_report, EVENT_JOB_ERROR)

    def every(self, seconds: float, name: str, work: Callable[[], object]) -> Callable[[], None]:
        """Run ``work`` now and then every so many seconds; return what ends that."""
        job = self._scheduler.add_job(
            work,
            "interval",
            seconds=max(seconds, 0.05),
            id=f"{name} {next(self._numbers)}",  # the next generation's job may be there before this one is gone
            next_run_time=datetime.now(UTC),
        )
        return job.remove  # type: ignore[no-any-return]  # apscheduler is not typed

    def start(self) -> None:
        self._scheduler.start()

    def stop(self) -> None:
        """Run nothing more; what is running is not waited for. Safe to call twice."""
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)


def _report(event: JobExecutionEvent) -> None:
    log.error("periodic_job_failed", job=event.job_id, error=type(event.exception).__name__)

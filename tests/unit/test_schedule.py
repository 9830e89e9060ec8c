"""Periodic work: late rather than never, once for all that was missed, and an error does not end it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from hub.schedule import Schedule
from tests.daemon import until


@pytest.fixture
def schedule() -> Iterator[Schedule]:
    made = Schedule()
    yield made
    made.stop()


def test_what_was_missed_while_the_machine_slept_is_done_once_when_it_wakes(schedule: Schedule) -> None:
    done: list[str] = []
    schedule.every(3600, "upkeep", lambda: done.append("upkeep"))
    schedule.every(0.05, "look", lambda: done.append("look"))
    for job in schedule._scheduler.get_jobs():
        job.modify(next_run_time=datetime.now(UTC) - timedelta(days=3))

    schedule.start()

    until(lambda: done.count("look") > 3, "time has passed")
    assert done.count("upkeep") == 1


def test_work_that_fails_is_tried_again_at_its_next_time(schedule: Schedule) -> None:
    again = threading.Event()
    errors = iter([ValueError("Erika Musterfrau")])

    def work() -> None:
        if error := next(errors, None):
            raise error
        again.set()

    schedule.every(0.05, "poll", work)
    schedule.start()

    assert again.wait(60)


def test_what_is_removed_is_not_run_any_more(schedule: Schedule) -> None:
    runs: list[str] = []
    remove = schedule.every(0.05, "old", lambda: runs.append("old"))
    remove()
    schedule.every(0.05, "new", lambda: runs.append("new"))

    schedule.start()

    until(lambda: runs.count("new") > 2, "the other one runs")
    assert "old" not in runs

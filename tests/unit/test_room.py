"""Bytes in flight: one budget over all sources, whoever counts them."""

from __future__ import annotations

import gc
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hub.errors import Unavailable
from hub.room import Budget
from hub.spool import FOLDER, Spool


@pytest.fixture
def budget(tmp_path: Path) -> Budget:
    return Budget(1000, Spool(tmp_path))


def test_what_one_source_takes_another_does_not_have(budget: Budget) -> None:
    http, folder = budget.of("http"), budget.of("folder")

    assert http.take(700)
    assert not folder.take(301)
    assert folder.take(300)
    http.give(700)

    assert (budget.in_flight, folder.take(700)) == (300, True)


def test_a_source_that_has_taken_room_is_not_counted_twice_when_it_hands_in(budget: Budget) -> None:
    http = budget.of("http")
    assert http.take(600)

    with http.handing_in(600):
        assert budget.in_flight == 600
    http.give(600)

    assert budget.in_flight == 0


def test_a_source_that_knows_nothing_of_room_is_counted_when_it_hands_in(budget: Budget) -> None:
    plugin, other = budget.of("plugin"), budget.of("other")

    with plugin.handing_in(600), pytest.raises(Unavailable), other.handing_in(401):
        pytest.fail("there was no room for it")
    with other.handing_in(401):
        assert budget.in_flight == 401


def test_what_is_larger_than_all_room_goes_alone(budget: Budget) -> None:
    one, other = budget.of("one"), budget.of("other")
    assert other.take(1)
    assert not one.take(5000)
    other.give(1)

    assert one.take(5000)
    assert not other.take(1)


def test_a_source_keeps_its_room_over_a_reload(budget: Budget) -> None:
    assert budget.of("http").take(400)

    budget.of("http").give(400)

    assert budget.in_flight == 0


def test_many_threads_leave_nothing_behind_and_never_exceed_it(budget: Budget) -> None:
    most, lock = [0], threading.Lock()

    def come_and_go(number: int) -> int:
        taken, room = 0, budget.of(f"source {number % 3}")
        for size in range(100, 400, 7):
            if room.take(size):
                taken += 1
                with room.handing_in(size), lock:
                    most[0] = max(most[0], budget.in_flight)
                room.give(size)
        return taken

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(come_and_go, range(24))) > 0

    assert 0 < most[0] <= 1000
    assert budget.in_flight == 0


def test_what_is_put_aside_can_be_read_again_and_is_gone_when_forgotten(budget: Budget, tmp_path: Path) -> None:
    aside = budget.of("queue").put_aside(b"x" * 2_000_000)

    assert aside.read() == aside.read() == b"x" * 2_000_000
    assert held(tmp_path) == 1
    del aside
    gc.collect()
    assert held(tmp_path) == 0
    assert list((tmp_path / FOLDER).iterdir()) == []


def held(folder: Path) -> int:
    links = [entry for entry in Path("/proc/self/fd").iterdir() if entry.is_symlink()]
    return sum(os.readlink(link).startswith(str(folder)) for link in links)

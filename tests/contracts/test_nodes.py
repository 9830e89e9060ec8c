"""Several daemons on one PostgreSQL store: whose turn it is, and what none of them knows any more."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import psycopg
import pytest

from hub.daemon.vanished import hold_vanished
from hub.errors import Unavailable
from hub.store.sql import SqlStore
from tests.storing import GEWERBE, NOW, Place, acceptance, claim_one

HOUR = timedelta(hours=1)
AT_ONCE = timedelta(0)


# --- turns --------------------------------------------------------------------------------------------------------


def test_periodic_work_is_done_once_by_all_nodes_together(daemons: list[SqlStore]):
    done: list[int] = []
    start = threading.Barrier(8, timeout=30)

    def strike(number: int) -> bool:
        start.wait()
        return daemons[number % 2].take_turn("retention", HOUR, lambda _still: done.append(number))

    with ThreadPoolExecutor(8) as threads:
        took = list(threads.map(strike, range(8)))

    assert (sum(took), len(done)) == (1, 1)
    assert not daemons[0].take_turn("retention", HOUR, lambda _still: done.append(-1))
    assert daemons[0].take_turn("another", HOUR, lambda _still: None)


def test_the_next_turn_comes_when_it_is_time(daemons: list[SqlStore]):
    assert daemons[0].take_turn("retention", AT_ONCE, lambda _still: None)
    assert daemons[1].take_turn("retention", AT_ONCE, lambda _still: None)


def test_two_are_never_at_the_same_work(daemons: list[SqlStore]):
    beside: list[bool] = []

    def work(still: Callable[[], None]) -> None:
        still()
        beside.append(daemons[1].take_turn("retention", AT_ONCE, lambda _still: None))

    assert daemons[0].take_turn("retention", AT_ONCE, work)
    assert beside == [False]


def test_work_that_failed_is_taken_up_by_another_at_once(daemons: list[SqlStore]):
    def fail(_still: Callable[[], None]) -> None:
        raise Unavailable("the disk is full")

    with pytest.raises(Unavailable):
        daemons[0].take_turn("retention", HOUR, fail)

    assert daemons[1].take_turn("retention", HOUR, lambda _still: None)


def test_a_node_that_slept_in_its_turn_finds_out_that_it_has_lost_it(daemons: list[SqlStore], postgresql_place: Place):
    """The server ends a transaction that is idle for long; here an operator does, which is the same to the node."""
    after: list[str] = []

    def sleep(still: Callable[[], None]) -> None:
        end_idle_transactions(postgresql_place)
        after.append("awake")
        still()
        after.append("goes on")

    with pytest.raises(Unavailable):
        daemons[0].take_turn("retention", HOUR, sleep)

    assert after == ["awake"]
    assert daemons[1].take_turn("retention", HOUR, lambda _still: None)


def end_idle_transactions(place: Place) -> None:
    with psycopg.connect(place.url.replace("+psycopg", ""), autocommit=True) as connection:
        ended = connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND state = 'idle in transaction'"
        ).fetchall()
    assert ended == [(True,)]


def test_the_only_daemon_of_a_file_always_has_the_turn(sqlite_place: Place):
    store = sqlite_place.open()
    done: list[int] = []

    assert store.take_turn("retention", HOUR, lambda _still: done.append(1))
    assert store.take_turn("retention", HOUR, lambda still: still() or done.append(2))
    assert done == [1, 2]
    store.close()


# --- who is there, and what it knows ------------------------------------------------------------------------------


def test_each_node_says_what_it_serves_until_it_ends(daemons: list[SqlStore]):
    daemons[0].announce("old", {GEWERBE})
    both = daemons[1].announce("new", set())

    assert sorted((one.snapshot, one.unknown) for one in both) == [("new", frozenset()), ("old", frozenset({GEWERBE}))]
    daemons[0].close()
    assert [one.snapshot for one in daemons[1].nodes()] == ["new"]


def test_a_node_that_is_silent_for_long_is_not_there(daemons: list[SqlStore], postgresql_place: Place):
    daemons[0].announce("old", set())
    with psycopg.connect(postgresql_place.url.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute(
            "UPDATE setting SET value = '00000000000000000001' || substr(value, 21) WHERE name ~ '^node '"
        )

    assert [one.snapshot for one in daemons[1].announce("new", set())] == ["new"]


def held(store: SqlStore) -> list[tuple[str, str]]:
    return [(control.destination, control.reason) for control in store.controls(NOW)]


def test_a_destination_that_one_node_still_knows_has_not_vanished(daemons: list[SqlStore]):
    """While one after the other is given a new configuration."""
    old, new = daemons
    new.accept(acceptance("m-1"))

    hold_vanished(new, {GEWERBE}, "new", NOW)
    hold_vanished(old, set(), "old", NOW)

    assert held(old) == held(new) == []
    assert old.claim("statistik/las", now=NOW, limit=9, owner="old", lease=HOUR) == []
    assert claim_one(new).destination == GEWERBE


def test_a_destination_that_no_node_knows_is_held_back_until_one_knows_it_again(daemons: list[SqlStore]):
    first, second = daemons
    first.accept(acceptance("m-1"))
    for _ in range(2):
        hold_vanished(first, set(), "s", NOW)
        hold_vanished(second, set(), "s", NOW)
    assert held(first) == [(GEWERBE, "route_gone")]

    assert hold_vanished(second, {GEWERBE}, "t", NOW) == [GEWERBE]

    assert held(first) == []
    hold_vanished(first, set(), "s", NOW)
    assert held(first) == []


def test_what_a_dead_node_was_sending_to_a_destination_that_nobody_knows_is_left_to_somebody(daemons: list[SqlStore]):
    first, second = daemons
    first.accept(acceptance("m-1"))
    first.claim(GEWERBE, now=NOW, limit=1, owner="dead", lease=AT_ONCE)

    hold_vanished(first, set(), "s", NOW)
    hold_vanished(second, set(), "s", NOW)

    assert held(first) == [(GEWERBE, "route_gone")]

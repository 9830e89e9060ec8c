"""A destination that is wrong, or that fails again and again, costs one attempt per probe, however many wait."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from hub.breaker import FAILURES_MAX
from hub.delivery import State
from hub.deployment import Target
from hub.dispatch import Claimed, Dispatch
from hub.outcome import Blocked, Deferred, Delivered, Outcome, Phase, Reason, Refused, Taken, Unclear
from tests.world import World, change

WOB = "wolfsburg/antraege"
DOWN = Deferred(Reason.UNREACHABLE, code="connect-refused")
MINUTE = timedelta(minutes=1)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    change(made, antrag=lambda route: replace(route, deliver_to=(Target(WOB),)))
    yield made
    made.store.close()


def attempts(world: World, after: timedelta = timedelta(0), limit: int = 4) -> int:
    """Let time pass, then claim and try as a destination's threads do; return how many were tried."""
    world.clock.advance(after)
    destination = replace(world.deployment.destinations[WOB], retry=world.policy)
    claimed = world.claim(WOB, limit=limit)
    for delivery in claimed:
        world.dispatch.attempt([Claimed(delivery)], destination, world.adapter(WOB))
    return len(claimed)


def kinds(world: World) -> list[str]:
    return [one.kind for one in world.store.controls(world.clock())]


def test_four_hundred_behind_a_blocked_destination_cost_one_attempt_per_probe(world: World) -> None:
    receipts = [world.accept() for _ in range(40)]
    world.adapter(WOB).answers = [Blocked(Reason.PEER_TLS)] * 20

    first = attempts(world)
    later = [attempts(world, 5 * MINUTE) for _ in range(5)]

    assert first == 4  # in hand before the first of them said so
    assert later == [1] * 5
    assert {world.delivery(one).state for one in receipts} == {State.WAITING}


def test_a_probe_that_is_taken_lets_all_go_on(world: World) -> None:
    receipts = [world.accept() for _ in range(9)]
    world.adapter(WOB).answers = [Blocked(Reason.PEER_TLS)] * 4
    attempts(world)

    assert attempts(world, 5 * MINUTE) == 1
    assert kinds(world) == []
    assert attempts(world, limit=100) == 8
    assert {world.delivery(one).state for one in receipts} == {State.DELIVERED}


def test_failures_in_a_row_open_the_breaker_and_one_success_closes_it(world: World) -> None:
    for _ in range(30):
        world.accept()
    world.adapter(WOB).answers = [DOWN] * (FAILURES_MAX + 2)

    for number in range(FAILURES_MAX):
        assert attempts(world, limit=1) == 1, number
    assert kinds(world) == ["failing"]
    assert attempts(world) == 0
    assert [attempts(world, 5 * MINUTE) for _ in range(2)] == [1, 1]
    assert kinds(world) == ["failing"]
    assert attempts(world, 5 * MINUTE) == 1
    assert kinds(world) == []
    assert attempts(world, limit=100) == 29


def test_a_success_in_between_begins_the_count_anew(world: World) -> None:
    for _ in range(30):
        world.accept()
    world.adapter(WOB).answers = [*[DOWN] * (FAILURES_MAX - 1), Delivered(), *[DOWN] * (FAILURES_MAX - 1)]

    for _ in range(2 * FAILURES_MAX - 1):
        assert attempts(world, limit=1) == 1

    assert kinds(world) == []


def test_the_pause_between_probes_grows_up_to_five_minutes(world: World) -> None:
    for _ in range(40):
        world.accept()
    world.adapter(WOB).answers = [DOWN] * 40
    for _ in range(FAILURES_MAX):
        attempts(world, limit=1)

    pauses = []
    for _ in range(8):
        (control,) = world.store.controls(world.clock())
        assert control.until is not None
        pauses.append(control.until - world.clock())
        assert attempts(world, pauses[-1]) == 1

    assert timedelta(seconds=9) <= pauses[0] <= timedelta(seconds=11)  # the policy's first pause
    assert pauses[-1] == 5 * MINUTE
    assert pauses[:5] == sorted(pauses[:5])


@pytest.mark.parametrize(
    "outcome",
    [
        Refused(Reason.REFUSED, phase=Phase.RESPONSE_PARSED),
        Refused(Reason.TRANSFORM_FAILED),
        Deferred(Reason.CRASHED, code="KeyError"),
        Deferred(Reason.UNREACHABLE, code="store"),
    ],
    ids=["refused", "unfit", "crashed", "store"],
)
def test_what_the_destination_has_no_part_in_opens_nothing(world: World, outcome: Outcome) -> None:
    for _ in range(30):
        world.accept()
    world.adapter(WOB).answers = [outcome] * 30

    for _ in range(30):
        attempts(world, limit=1)

    assert kinds(world) == []


@pytest.mark.parametrize(
    "outcome",
    [Taken("a"), Refused(Reason.REFUSED, phase=Phase.RESPONSE_PARSED)],
    ids=["taken", "refused"],
)
def test_an_answer_is_an_answer_also_where_this_document_is_refused(world: World, outcome: Outcome) -> None:
    for _ in range(6):
        world.accept()
    world.adapter(WOB).answers = [*[Blocked(Reason.PEER_AUTH)] * 4, outcome]
    attempts(world)

    attempts(world, 5 * MINUTE)

    assert kinds(world) == []


def test_a_probe_that_says_nothing_of_the_destination_is_followed_by_another_at_once(world: World) -> None:
    for _ in range(6):
        world.accept()
    world.adapter(WOB).answers = [*[Blocked(Reason.PEER_AUTH)] * 4, Refused(Reason.TRANSFORM_FAILED)]
    attempts(world)

    assert attempts(world, 5 * MINUTE) == 1
    assert kinds(world) == ["blocked"]
    assert attempts(world) == 1
    assert kinds(world) == []


def test_a_probe_for_another_node_renews_the_hold_and_its_answer_ends_it(world: World) -> None:
    for _ in range(30):
        world.accept()
    world.adapter(WOB).answers = [DOWN] * (FAILURES_MAX + 1)
    for _ in range(FAILURES_MAX):
        attempts(world, limit=1)

    world.dispatch = Dispatch(world.store, world.clock)  # counts from nought, as another process does
    assert attempts(world, 5 * MINUTE) == 1
    assert kinds(world) == ["failing"]
    world.dispatch = Dispatch(world.store, world.clock)
    assert attempts(world, 5 * MINUTE) == 1
    assert kinds(world) == []


def test_unclear_ones_are_failures_too_so_that_not_all_have_to_be_looked_at(world: World) -> None:
    world.policy = replace(world.policy, on_unclear="hold")
    receipts = [world.accept() for _ in range(30)]
    world.adapter(WOB).answers = [Unclear(Reason.TIMEOUT)] * 30

    while attempts(world):
        pass

    states = [world.delivery(one).state for one in receipts]
    assert states.count(State.DEAD) < FAILURES_MAX + 4
    assert states.count(State.WAITING) > 30 - FAILURES_MAX - 4


def test_what_was_lost_with_its_node_is_no_failure_of_the_destination(world: World) -> None:
    for _ in range(30):
        world.accept()
    for delivery in world.claim(WOB, limit=20):
        world.dispatch.settle([(delivery, Unclear(Reason.WORKER_LOST))], world.policy)

    assert kinds(world) == []


def test_resume_lets_go_at_once(world: World) -> None:
    for _ in range(30):
        world.accept()
    world.adapter(WOB).answers = [DOWN] * FAILURES_MAX
    for _ in range(FAILURES_MAX):
        attempts(world, limit=1)

    assert world.hub.resume(WOB, "Ticket 4711: läuft wieder")

    assert attempts(world, limit=100) == 20

"""Jobs: their pace, their canary, pause, resume and cancel; every item has one result, whatever happens in between."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import pairwise

import pytest

from hub.delivery import State
from hub.job import Job
from hub.jobs import Jobs
from hub.outcome import Deferred, Reason, Refused
from hub.store.api import Filter
from tests.world import World, dead

WOB = "wolfsburg/antraege"


def submit(world: World, ids: list[str], kind: str = "resend", **arguments: str) -> Job:
    return world.hub.submit(kind, ids, "Test", arguments)  # type: ignore[arg-type]


def results(world: World, job: Job) -> list[str]:
    return [one.result for one in world.done(job).results]


def state(world: World, job: Job) -> str:
    return world.done(job).state


# --- pace ---------------------------------------------------------------------------------------------------------


def test_a_rate_is_met_and_not_exceeded(world: World) -> None:
    job = submit(world, dead(world, 12), rate="5")

    released = []
    for _ in range(23):  # 2.2 seconds
        world.jobs.run_open()
        released.append(len(results(world, job)))
        world.clock.advance(timedelta(milliseconds=100))

    assert released[0] == 1
    assert released[::10] == [1, 6, 11]
    assert all(after - before <= 1 for before, after in pairwise(released))


def test_nothing_is_made_up_for_after_a_rest(world: World) -> None:
    job = submit(world, dead(world, 8), rate="5")
    world.jobs.run_open()
    world.clock.advance(timedelta(hours=1))

    world.jobs.run_open()

    assert len(results(world, job)) == 2


def test_a_clock_that_was_put_back_halts_nothing(world: World) -> None:
    job = submit(world, dead(world, 3), rate="0.1")
    world.jobs.run_open()
    world.clock.advance(-timedelta(days=1))

    rest = world.jobs.run_open()
    assert rest is not None
    assert rest <= timedelta(seconds=10)
    world.clock.advance(timedelta(days=1, seconds=10))
    world.jobs.run_open()
    assert len(results(world, job)) == 2


def test_what_needs_nothing_costs_no_time(world: World) -> None:
    ids = dead(world, 5)
    world.act("resend", *ids[:4])
    job = submit(world, ids, rate="1")

    world.jobs.run_open()

    assert results(world, job) == ["skipped"] * 4 + ["done"]


def test_the_rest_of_a_job_is_what_the_daemon_waits(world: World) -> None:
    submit(world, dead(world, 3), rate="4")

    assert world.jobs.run_open() == timedelta(milliseconds=250)


def test_a_long_job_delays_no_other(world: World) -> None:
    ids = dead(world, 30)
    slow = submit(world, ids[:29], rate="0.01")
    quick = submit(world, ids[29:], "close", **{"as": "cancelled"})

    world.jobs.run_open()

    assert (state(world, slow), len(results(world, slow))) == ("open", 1)
    assert (state(world, quick), results(world, quick)) == ("done", ["done"])


def test_jobs_without_a_pace_take_turns(world: World) -> None:
    ids = dead(world, 60)
    first, second = submit(world, ids[:50]), submit(world, ids[50:])

    world.jobs.run_open(lambda: state(world, second) == "done")

    assert 10 <= len(results(world, first)) <= 30
    assert results(world, second) == ["done"] * 10


# --- canary -------------------------------------------------------------------------------------------------------


def test_the_others_follow_when_the_canary_is_delivered(world: World) -> None:
    ids = dead(world, 4)
    job = submit(world, ids, canary="1")

    world.jobs.run_open()
    world.jobs.run_open()
    alone = results(world, job)
    world.deliver_due()
    world.jobs.run_open()

    assert alone == ["done"]
    assert (state(world, job), results(world, job)) == ("done", ["done"] * 4)


def test_a_canary_that_is_only_late_is_waited_for(world: World) -> None:
    job = submit(world, dead(world, 3), canary="1")
    world.jobs.run_open()
    world.adapter(WOB).answers = [Deferred(Reason.UNREACHABLE)]
    world.deliver_due()
    world.jobs.run_open()

    late = (state(world, job), results(world, job))
    world.clock.advance(timedelta(minutes=1))
    world.deliver_due()
    world.jobs.run_open()

    assert late == ("open", ["done"])
    assert state(world, job) == "done"


@pytest.mark.parametrize("kind", ["resend", "replay"])
def test_a_canary_that_fails_pauses_the_job_and_says_why(world: World, kind: str) -> None:
    ids = dead(world, 4)
    job = submit(world, ids, kind, canary="1")
    world.jobs.run_open()
    world.adapter(WOB).answers = [Refused(Reason.REFUSED)]
    world.deliver_due()

    world.jobs.run_open()

    found = world.store.jobs.find(job.id)
    assert found is not None
    assert (found.state, found.changed_by) == ("paused", "hub")
    assert found.note.startswith("the canary ")
    assert found.note.endswith(" is dead: refused")
    assert results(world, job) == ["done"]
    assert world.store.jobs.unfinished() == []


def test_a_canary_that_cannot_even_be_planned_pauses_the_job(world: World) -> None:
    ids = dead(world, 3)
    job = submit(world, ["01a20104-3a88-770c-80d3-230e6fb12b06", *ids], "replay", canary="1")

    world.jobs.run_open()

    found = world.store.jobs.find(job.id)
    assert found is not None
    assert (found.state, results(world, job)) == ("paused", ["failed"])
    assert found.note.endswith("failed: there is no such delivery")


def test_a_job_that_is_resumed_after_its_canary_failed_sends_another_one_first(world: World) -> None:
    job = submit(world, dead(world, 4), canary="1")
    world.jobs.run_open()
    world.adapter(WOB).answers = [Refused(Reason.REFUSED)]
    world.deliver_due()
    world.jobs.run_open()

    assert world.hub.steer(job.id, "open", "Verfahren läuft")
    world.jobs.run_open()
    world.jobs.run_open()
    second = results(world, job)
    world.deliver_due()
    world.jobs.run_open()

    assert second == ["done", "done"]
    assert (state(world, job), results(world, job)) == ("done", ["done"] * 4)


def test_what_is_skipped_is_no_canary(world: World) -> None:
    ids = dead(world, 4)
    world.act("resend", ids[0])
    job = submit(world, ids, canary="1")

    world.jobs.run_open()

    assert results(world, job) == ["skipped", "done"]


def test_a_canary_survives_a_restart(world: World) -> None:
    job = submit(world, dead(world, 4), canary="2")
    world.jobs.run_open()
    world.reopen()
    world.jobs.run_open()
    before = results(world, job)
    world.deliver_due()
    world.jobs.run_open()

    assert before == ["done", "done"]
    assert state(world, job) == "done"


# --- pause, resume, cancel ----------------------------------------------------------------------------------------


def test_a_job_halts_and_goes_on(world: World) -> None:
    job = submit(world, dead(world, 6), rate="1")
    world.jobs.run_open()
    assert world.hub.steer(job.id, "paused", "erst nachsehen")
    world.clock.advance(timedelta(seconds=10))
    assert world.jobs.run_open() is None
    halted = len(results(world, job))

    assert world.hub.steer(job.id, "open", "weiter")
    for _ in range(6):
        world.jobs.run_open()
        world.clock.advance(timedelta(seconds=1))

    assert halted == 1
    assert (state(world, job), results(world, job)) == ("done", ["done"] * 6)


def test_what_is_left_of_a_cancelled_job_has_its_result_too(world: World) -> None:
    ids = dead(world, 5)
    job = submit(world, ids, rate="1")
    world.jobs.run_open()

    assert world.hub.steer(job.id, "cancelled", "falsche Auswahl")
    world.clock.advance(timedelta(seconds=10))
    world.jobs.run_open()

    assert results(world, job) == ["done"] + ["cancelled"] * 4
    assert [world.store.delivery(id_).state for id_ in ids[1:]] == [State.DEAD] * 4  # type: ignore[union-attr]
    found = world.store.jobs.find(job.id)
    assert found is not None
    assert (found.state, found.note, found.changed_by) == ("cancelled", "falsche Auswahl", "erika")


@pytest.mark.parametrize(
    ("now", "to", "may"),
    [
        ("open", "paused", True), ("open", "open", False), ("open", "cancelled", True),
        ("paused", "paused", False), ("paused", "open", True), ("paused", "cancelled", True), ("paused", "done", False),
        ("cancelled", "open", False), ("cancelled", "paused", False), ("cancelled", "cancelled", False),
        ("done", "open", False), ("done", "paused", False), ("done", "cancelled", False),
    ],
)  # fmt: skip
def test_every_change_of_a_jobs_state_is_decided(world: World, now: str, to: str, may: bool) -> None:
    job = submit(world, dead(world, 1), rate="1")
    if now != "open":
        assert world.hub.steer(job.id, now, "Test")  # type: ignore[arg-type]

    assert world.hub.steer(job.id, to, "Test") is may  # type: ignore[arg-type]
    assert state(world, job) == (to if may else now)


def test_everything_that_is_done_to_a_job_is_audited(world: World) -> None:
    job = submit(world, dead(world, 1))
    world.hub.steer(job.id, "paused", "eins")
    world.hub.steer(job.id, "open", "zwei")
    world.hub.steer(job.id, "open", "drei")
    world.hub.steer(job.id, "cancelled", "vier")

    said = [
        (one.action, one.reason, bool(one.result)) for one in reversed(world.store.audits()) if job.id in one.object
    ]

    assert said[1:] == [
        ("pause_job", "eins", False), ("resume_job", "zwei", False), ("resume_job", "drei", True),
        ("cancel_job", "vier", False),
    ]  # fmt: skip


# --- cut off at every place ---------------------------------------------------------------------------------------


class Killed(BaseException):
    """Stands for SIGKILL: nothing after it runs."""


@pytest.mark.parametrize("kind", ["resend", "replay", "close"])
def test_killed_before_or_after_every_write_each_item_has_one_result_and_is_done_once(
    world: World, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    ids = dead(world, 4)
    given = len(world.adapter(WOB).given)
    job = submit(world, ids, kind, **({"as": "cancelled"} if kind == "close" else {}))

    for strike in range(2 * 4):
        _run_until_killed(world, monkeypatch, after=strike % 2 == 1)
    world.jobs.run_open()
    while world.deliver_due():
        pass

    assert (state(world, job), results(world, job)) == ("done", ["done"] * 4)
    assert len(world.adapter(WOB).given) - given == (0 if kind == "close" else 4)
    deliveries = Counter(one.state for one in world.store.find_deliveries(Filter(destination=WOB)))
    assert (
        deliveries
        == {
            "resend": {State.DELIVERED: 4},
            "replay": {State.CLOSED: 4, State.DELIVERED: 4},
            "close": {State.CLOSED: 4},
        }[kind]
    )


def _run_until_killed(world: World, monkeypatch: pytest.MonkeyPatch, *, after: bool) -> None:
    """Run until the first item is written, and end there: before its commit, or between commit and whatever follows."""
    apply: Callable[..., object] = world.store.apply

    def fatal(change: object) -> object:
        if after:
            apply(change)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(world.store, "apply", fatal)
        with suppress(Killed):
            world.jobs.run_open()
    world.jobs = Jobs(world.store, world.intake, lambda: world, world.clock)


# --- several nodes ------------------------------------------------------------------------------------------------


def test_a_node_leaves_a_job_alone_that_another_one_runs(world: World) -> None:
    """By the store's lease; on PostgreSQL by the server's clock, which test_job_leases shows."""
    job = submit(world, dead(world, 3), rate="1")
    nodes = [Jobs(world.store, world.intake, lambda: world, world.clock, node=name) for name in ("a", "b")]

    nodes[0].run_open()
    elsewhere = nodes[1].run_open()
    first = len(results(world, job))
    world.clock.advance(timedelta(seconds=16))
    nodes[1].run_open()

    assert (first, elsewhere) == (1, timedelta(seconds=0.5))
    assert len(results(world, job)) == 2
    assert isinstance(job.created_at, datetime)

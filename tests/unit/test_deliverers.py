"""A destination's threads: as many as allowed, only while there is something to do, and each adapter opened once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from hub import deliverer as one_destination
from hub.contents import Contents
from hub.deliverer import Claimed, Deliverer, Slots
from hub.deliverers import Deliverers, Offer
from hub.delivery import State
from hub.deployment import Target
from hub.message import Outgoing
from hub.outcome import Delivered, Outcome
from hub.plugin import Limits
from hub.store.api import Filter
from hub.store.taking import Taking
from tests.daemon import until
from tests.world import World, change

WOB = "wolfsburg/antraege"


class GatedAdapter:
    """Delivers when the test opens the gate; counts how many are inside at once."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.lock = threading.Lock()
        self.inside = self.most = self.done = self.opened = self.closed = 0
        self.fails = 0

    def open(self) -> None:
        self.opened += 1
        if self.opened <= self.fails:
            raise OSError("not there")

    def close(self) -> None:
        self.closed += 1

    def deliver(self, _outgoing: Outgoing) -> Outcome:
        with self.lock:
            self.inside += 1
            self.most = max(self.most, self.inside)
        self.gate.wait(30)
        with self.lock:
            self.inside -= 1
            self.done += 1
        return Delivered()


def test_a_thread_too_many_lets_the_lock_go_while_all_room_is_taken(world: World) -> None:
    """An adapter that takes several at once needs fewer threads than were started before it was opened."""
    deliverer = make(world, GatedAdapter())
    deliverer._trying.update({"a", "b", "c"})  # type: ignore[arg-type]
    deliverer._threads, deliverer._threads_max, deliverer._rung = 2, 1, True
    thread = threading.Thread(target=deliverer._next, daemon=True)

    thread.start()
    held = not all(deliverer._lock.acquire(timeout=20) and not deliverer._lock.release() for _ in range(3))

    assert not held
    deliverer.stop()
    thread.join(30)
    assert not thread.is_alive()


eventually = partial(until, what="it comes to pass", seconds=30)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    change(made, antrag=lambda route: replace(route, deliver_to=(Target(WOB),)))
    destination = replace(made.deployment.destinations[WOB], limits=Limits(max_in_flight=3))
    made.deployment = replace(made.deployment, destinations={WOB: destination})
    yield made
    made.store.close()


def make(
    world: World, adapter: GatedAdapter, slots: Slots | None = None, contents: Contents | None = None
) -> Deliverer:
    def now() -> datetime:
        return max(world.clock(), datetime.now(UTC))

    return Deliverer(
        world.deployment.destinations[WOB],
        lambda _destination: adapter,
        world.store,
        world.dispatch,
        now,
        "test",
        slots or Slots(),
        contents=contents,
    )


def sending(world: World) -> int:
    return len(world.store.find_deliveries(Filter(state="sending")))


def test_never_more_is_claimed_than_can_be_tried_at_once(world: World) -> None:
    adapter = GatedAdapter()
    deliverer = make(world, adapter)
    for _ in range(10):
        world.accept()

    deliverer.wake()
    eventually(lambda: adapter.inside == 3)
    claimed = sending(world)
    adapter.gate.set()
    eventually(lambda: adapter.done == 10)
    deliverer.stop()

    assert deliverer.join(30)
    assert claimed == 3
    assert adapter.most == 3
    assert adapter.opened == adapter.closed == 1
    assert sending(world) == 0


def test_what_comes_while_all_are_busy_is_taken_up_as_soon_as_one_is_free(world: World) -> None:
    adapter = GatedAdapter()
    deliverer = make(world, adapter)
    for _ in range(3):
        world.accept()
    deliverer.wake()
    eventually(lambda: adapter.inside == 3)

    world.accept()
    deliverer.wake()
    adapter.gate.set()

    eventually(lambda: adapter.done == 4)
    deliverer.stop()
    assert deliverer.join(30)


def test_idle_threads_go_and_take_the_adapter_with_them(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(one_destination, "IDLE_SECONDS", 0.05)
    adapter = GatedAdapter()
    adapter.gate.set()
    deliverer = make(world, adapter)
    world.accept()

    deliverer.wake()
    eventually(lambda: adapter.closed == 1)
    world.accept()
    deliverer.wake()

    eventually(lambda: adapter.done == 2 and adapter.closed == 2)
    assert adapter.opened == 2


def test_an_adapter_that_does_not_open_defers_and_is_tried_again(world: World) -> None:
    adapter = GatedAdapter()
    adapter.gate.set()
    adapter.fails = 1
    deliverer = make(world, adapter)
    receipt = world.accept()

    deliverer.wake()
    eventually(lambda: world.delivery(receipt).attempts == 1 and world.delivery(receipt).state is State.WAITING)

    assert world.delivery(receipt).reason == "unreachable"
    deliverer.stop()
    assert deliverer.join(30)


def test_stop_finishes_what_is_in_hand_and_claims_nothing_more(world: World) -> None:
    adapter = GatedAdapter()
    deliverer = make(world, adapter)
    for _ in range(5):
        world.accept()
    deliverer.wake()
    eventually(lambda: adapter.inside == 3)

    deliverer.stop()
    assert not deliverer.join(0.05)
    adapter.gate.set()

    assert deliverer.join(30)
    assert adapter.done == 3
    assert len(world.store.find_deliveries(Filter(state="waiting"))) == 2


def offering(world: World, deliverer: Deliverer, contents: Contents | None = None) -> Offer:
    """Keep room at the deliverer as the daemon does before it accepts."""
    rooms = {WOB: deliverer} if deliverer.keep_room() else {}
    return Offer(rooms, Taking(frozenset(rooms), "test", timedelta(seconds=30), datetime.now(UTC)), contents)


def test_what_finds_room_is_claimed_with_its_acceptance_and_needs_nothing_from_the_store(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapter = GatedAdapter()
    adapter.gate.set()
    deliverer = make(world, adapter)
    world.offer = lambda _destinations: offering(world, deliverer)  # type: ignore[method-assign, assignment]
    for question in ("claim", "load_all"):
        monkeypatch.setattr(world.store, question, lambda *_arguments, **_named: pytest.fail("it was at hand"))

    receipt = world.accept()

    eventually(lambda: world.delivery(receipt).state is State.DELIVERED)
    assert [event.kind for event in world.store.events(world.delivery(receipt).id)] == ["claimed", "delivered"]
    assert world.woken == []


def test_room_is_kept_within_the_limit_and_never_before_those_who_wait(world: World) -> None:
    adapter = GatedAdapter()
    deliverer = make(world, adapter)
    world.offer = lambda _destinations: offering(world, deliverer)  # type: ignore[method-assign, assignment]
    for _ in range(5):
        world.accept()
    eventually(lambda: adapter.inside == 3)

    assert sending(world) == 3
    assert world.woken == [WOB, WOB]
    deliverer.wake()
    assert not deliverer.keep_room()
    adapter.gate.set()
    eventually(lambda: adapter.done == 5)
    assert adapter.most == 3


def test_what_finds_no_room_is_tried_with_the_bytes_that_came_a_moment_ago(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapter, contents = GatedAdapter(), Contents()
    deliverer = make(world, adapter, contents=contents)
    world.offer = lambda _destinations: offering(world, deliverer, contents)  # type: ignore[method-assign, assignment]
    monkeypatch.setattr(world.store, "load_all", lambda *_arguments: pytest.fail("it was at hand"))

    receipts = [world.accept() for _ in range(10)]
    eventually(lambda: adapter.inside == 3)
    deliverer.wake()
    adapter.gate.set()
    eventually(lambda: adapter.done == 10)

    for receipt in receipts:
        eventually(lambda receipt=receipt: world.delivery(receipt).state is State.DELIVERED)  # type: ignore[misc]


def test_room_that_was_kept_is_waited_for_at_the_end_and_used(world: World) -> None:
    adapter = GatedAdapter()
    adapter.gate.set()
    deliverer = make(world, adapter)
    world.accept()
    assert deliverer.keep_room()
    (delivery,) = world.claim(WOB)

    deliverer.stop()
    assert not deliverer.join(0.05)
    deliverer.fill_room(Claimed(delivery))

    assert deliverer.join(30)
    assert adapter.done == 1
    assert sending(world) == 0
    assert not deliverer.keep_room()


def test_room_that_is_not_used_is_given_back(world: World) -> None:
    deliverer = make(world, GatedAdapter())

    for _ in range(20):
        with offering(world, deliverer):
            pass

    assert deliverer.keep_room()
    deliverer.fill_room(None)
    deliverer.stop()
    assert deliverer.join(30)


def test_threads_are_bounded_over_all_destinations_and_idle_ones_make_room(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(one_destination, "LOOK_SECONDS", 0.05)
    slots = Slots(1)
    first, second = GatedAdapter(), GatedAdapter()
    first.gate.set()
    second.gate.set()
    one, other = make(world, first, slots), make(world, second, slots)
    world.accept()
    one.wake()
    eventually(lambda: first.done == 1)

    world.accept()
    other.wake()  # no slot is free: the idle thread of the first has to go

    eventually(lambda: first.closed == 1)
    other.wake()
    eventually(lambda: second.done == 1)


def test_the_sweep_survives_whatever_happens_in_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    adapter = GatedAdapter()
    adapter.gate.set()
    deliverer = make(world, adapter)
    due, bugs = world.store.due, iter([True, False, False, False])

    def buggy(now: datetime) -> object:
        if next(bugs, False):
            raise RuntimeError
        return due(now)

    monkeypatch.setattr(world.store, "due", buggy)
    all_ = Deliverers(
        lambda _destination, _former: deliverer,
        world.deployment.destinations.get,
        world.store,
        lambda: datetime.now(UTC),
        "test",
    )
    world.accept()

    all_.start()

    eventually(lambda: adapter.done == 1)
    assert all_.alive
    assert all_.stop(30)


def test_the_sweep_finds_what_nobody_rang_for(world: World) -> None:
    adapter = GatedAdapter()
    adapter.gate.set()
    deliverer = make(world, adapter)
    all_ = Deliverers(
        lambda _destination, _former: deliverer,
        world.deployment.destinations.get,
        world.store,
        lambda: datetime.now(UTC),
        "test",
    )
    world.accept()

    all_.start()

    eventually(lambda: adapter.done == 1)
    assert all_.stop(30)


def test_a_destination_that_is_gone_keeps_its_deliveries_waiting(world: World) -> None:
    all_ = Deliverers(
        lambda _destination, _former: make(world, GatedAdapter()),
        lambda _name: None,
        world.store,
        lambda: datetime.now(UTC),
        "t",
    )
    receipt = world.accept()

    all_.wake([WOB])

    assert world.delivery(receipt).state is State.WAITING

"""Who is sending what: what is in hand is kept, what nobody holds any more is settled as unclear, and only once."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from hub import deliverer as one_destination
from hub import deliverers as module
from hub.config.process import ProcessSettings
from hub.daemon import engine as daemon
from hub.daemon.engine import Engine
from hub.deliverer import Deliverer, Slots
from hub.deliverers import Deliverers
from hub.delivery import Delivery, EventKind, State
from hub.deployment import Destination
from hub.dispatch import Claimed, Dispatch
from hub.errors import Unavailable
from hub.message import Incoming, Outgoing
from hub.outcome import Delivered, Outcome, Reason, Unclear
from hub.plugin import Limits
from hub.retry import RetryPolicy
from hub.store.api import Acceptance
from hub.store.sql import SqlStore
from hub.store.taking import Taking
from tests.daemon import until
from tests.leinen import Leinen, folder_out, leinen
from tests.storing import GEWERBE, LEASE, NOW, Place, acceptance
from tests.world import deployment

SHORT = timedelta(seconds=1)
AT_ONCE = timedelta(0)


class Gated:
    """Delivers when the test opens the gate, and remembers what it was given."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.given: list[str] = []

    def open(self) -> None:
        pass

    def close(self) -> None:
        pass

    def deliver(self, outgoing: Outgoing) -> Outcome:
        self.given.append(outgoing.delivery_id)
        assert self.gate.wait(60)
        return Delivered()


class Node:
    """The deliverers of one process over a store, for one destination with two threads."""

    def __init__(self, store: SqlStore, folder: Path, owner: str, dispatch: Dispatch | None = None) -> None:
        (base, *_) = deployment(folder).destinations.values()
        self.destination = Destination(
            **{name: getattr(base, name) for name in base.__slots__}
            | {"name": GEWERBE, "limits": Limits(max_in_flight=2)}
        )
        self.adapter = Gated()
        self.store, self.owner = store, owner
        self.dispatch = dispatch or Dispatch(store, utc_now)
        self.deliverers = Deliverers(self._make, lambda _name: self.destination, store, utc_now, owner)

    def _make(self, destination: Destination, former: Deliverer | None) -> Deliverer:
        slots = Slots()
        return Deliverer(
            destination,
            lambda _destination: self.adapter,
            self.store,
            self.dispatch,
            utc_now,
            self.owner,
            slots,
            former,
        )


def utc_now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leases of a second, renewed several times a second."""
    monkeypatch.setattr(one_destination, "LEASE", SHORT)
    monkeypatch.setattr(module, "RENEW_SECONDS", 0.1)
    monkeypatch.setattr(module, "SWEEP_SECONDS", 0.05)


@pytest.fixture
def node(store: SqlStore, tmp_path: Path, quick: None) -> Iterator[Node]:
    made = Node(store, tmp_path, "node-1")
    yield made
    made.adapter.gate.set()
    assert made.deliverers.stop(60)


# --- what is in hand ----------------------------------------------------------------------------------------------


def test_what_waits_for_a_thread_and_what_is_being_tried_is_in_hand_until_it_is_settled(node: Node):
    for number in range(3):
        node.store.accept(acceptance(f"m-{number}"))

    node.deliverers.wake([GEWERBE])
    until(lambda: len(node.adapter.given) == 2, "both threads are busy")

    assert node.deliverers.in_hand() == set(node.adapter.given)
    node.adapter.gate.set()
    until(lambda: node.store.counts() == {(GEWERBE, "delivered"): 3}, "all are delivered")
    until(lambda: node.deliverers.in_hand() == set(), "nothing is in hand")


def test_what_former_deliverers_have_is_in_hand_after_one_reload_and_after_two(node: Node):
    ids: list[str] = []
    for number in range(2):
        node.store.accept(acceptance(f"m-{number}"))
        node.deliverers.wake([GEWERBE])
        until(lambda: len(node.adapter.given) == 1, "one is being tried")
        ids = list(node.adapter.given)
        node.deliverers.renew()
        assert node.deliverers.in_hand() == set(ids)
    node.deliverers.wake([GEWERBE])  # the third generation waits for the first
    node.deliverers.renew()

    assert node.deliverers.in_hand() == set(ids)


def test_what_a_dead_thread_leaves_in_the_queue_is_taken_up_by_another(
    store: SqlStore, tmp_path: Path, quick: None, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(threading, "excepthook", lambda _arguments: None)
    bugs = iter([LookupError(), LookupError()])

    def observe(_attempt: object) -> None:
        if error := next(bugs, None):
            raise error

    node = Node(store, tmp_path, "node-1", Dispatch(store, utc_now, observe))
    node.adapter.gate.set()
    for number in range(4):
        store.accept(acceptance(f"m-{number}"))

    node.deliverers.start()
    until(lambda: store.counts() == {(GEWERBE, "sending"): 2, (GEWERBE, "delivered"): 2}, "the others are delivered")

    until(lambda: node.deliverers.in_hand() == set(), "nobody holds what the dead threads had")
    assert node.deliverers.stop(60)


# --- leases -------------------------------------------------------------------------------------------------------


def test_only_what_is_in_hand_is_renewed(daemons: list[SqlStore], tmp_path: Path, quick: None):
    """On PostgreSQL alone: on SQLite nobody else asks."""
    node = Node(daemons[0], tmp_path, "node-1")
    node.store.accept(acceptance("m-1"))
    node.deliverers.start()
    until(lambda: node.adapter.given, "the first is being tried")
    node.store.accept(acceptance("m-2", destinations=("gifhorn/bau",)))
    lost_answer = node.store.claim("gifhorn/bau", now=NOW, limit=1, owner=node.owner, lease=SHORT)

    found = until(lambda: node.store.lost(utc_now()), "the lease that nobody renews has run out")

    assert [one.id for one in found] == [
        one.id for one in lost_answer
    ]  # the older one's is over too, had nobody renewed
    assert node.adapter.given == list(node.deliverers.in_hand())
    node.adapter.gate.set()
    assert node.deliverers.stop(60)


@pytest.fixture
def engine(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    monkeypatch.setattr(daemon, "LOST_SECONDS", 0.1)
    hub = Leinen(tmp_path, {"nordheim": folder_out("out/nord")})
    made = Engine(hub.write(), ProcessSettings(place.state_dir, place.url, workers=1))
    yield made
    made.stop()


def test_a_claim_whose_answer_was_lost_is_settled_as_unclear_and_sent_again(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
):
    claim, lost = engine.store.claim, []

    def claim_and_lose(*arguments: object, **named: object) -> object:
        claimed = claim(*arguments, **named | ({} if lost else {"lease": AT_ONCE}))
        if claimed and not lost:
            lost.extend(claimed)
            raise Unavailable("the connection is gone")
        return claimed

    monkeypatch.setattr(engine.store, "claim", claim_and_lose)
    monkeypatch.setattr(Deliverer, "keep_room", lambda _self: False)  # nothing is claimed with its acceptance
    engine.start()
    receipt = engine.accept(Incoming(leinen(), "online", "portal"))
    _arrives_after_all(engine, receipt.message_id, lost)


def test_a_claim_that_was_lost_with_its_acceptance_is_settled_as_unclear_and_sent_again(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
):
    accept_all, lost = engine.store.accept_all, []

    def accept_and_lose(several: Sequence[tuple[Acceptance, Taking]]) -> list[Unavailable]:
        accepted = accept_all([(acceptance, replace(taking, lease=AT_ONCE)) for acceptance, taking in several])
        lost.extend(claimed for one in accepted for claimed in one.claimed)
        return [Unavailable("the connection is gone")] * len(several)

    monkeypatch.setattr(engine.store, "accept_all", accept_and_lose)
    engine.start()
    body = leinen()
    with pytest.raises(Unavailable):
        engine.accept(Incoming(body, "online", "portal"))
    receipt = engine.accept(Incoming(body, "online", "portal"))  # its sender comes again

    assert receipt.duplicate
    _arrives_after_all(engine, receipt.message_id, lost)


def _arrives_after_all(engine: Engine, message_id: str, lost: list[Delivery]) -> None:
    def state() -> str:
        record = engine.store.message(message_id)
        assert record is not None
        return record.status

    until(lambda: state() == "delivered", "it has arrived after all")
    told = [(event.kind, event.reason) for event in engine.store.events(lost[0].id)]
    assert told == [
        (EventKind.CLAIMED, ""), (EventKind.DEFERRED, "worker_lost"), (EventKind.CLAIMED, ""), (EventKind.DELIVERED, ""),
    ]  # fmt: skip


def test_what_is_in_hand_is_never_called_lost_by_its_own_process(engine: Engine, monkeypatch: pytest.MonkeyPatch):
    """A clock that jumps, or a database that was away for longer than the lease: its thread knows how it ends.

    Nothing is looked for before it is in hand: between the claim's commit and that, a fresh lease keeps it, and here
    it is over at once.
    """
    monkeypatch.setattr(one_destination, "LEASE", AT_ONCE)
    monkeypatch.setattr(module, "RENEW_SECONDS", 3600.0)
    adapter = Gated()
    monkeypatch.setattr(engine.deliverers, "_make", lambda destination, former: Deliverer(
        destination, lambda _destination: adapter, engine.store, engine.dispatch, utc_now, engine.deliverers._owner, Slots(), former
    ))  # fmt: skip
    looks = []
    lost = engine.store.lost

    def look(now: datetime) -> Sequence[Delivery]:
        looks.append(found := lost(now) if adapter.given else ())
        return found

    monkeypatch.setattr(engine.store, "lost", look)
    engine.start()
    receipt = engine.accept(Incoming(leinen(), "online", "portal"))
    until(lambda: adapter.given, "it is being tried")
    until(lambda: sum(bool(found) for found in looks) > 3, "its lease was found to be over, several times")
    adapter.gate.set()

    def delivery():
        record = engine.store.message(receipt.message_id)
        assert record is not None
        return record.deliveries[0]

    until(lambda: delivery().state is State.DELIVERED, "it is delivered")
    assert (delivery().attempts, len(engine.store.events(delivery().id))) == (1, 2)


# --- two owners on one database -----------------------------------------------------------------------------------


def test_what_several_nodes_find_lost_at_once_is_settled_once(nodes: list[SqlStore]):
    for number in range(12):
        nodes[0].accept(acceptance(f"m-{number}"))
    nodes[0].claim(GEWERBE, now=NOW, limit=12, owner="killed", lease=AT_ONCE)
    start = threading.Barrier(3, timeout=30)

    def settle_lost(node: SqlStore) -> None:
        found = node.lost(NOW)
        assert len(found) == 12
        start.wait()
        for delivery in found:
            Dispatch(node, lambda: NOW).settle([(delivery, Unclear(Reason.WORKER_LOST))], RetryPolicy())

    with ThreadPoolExecutor(3) as threads:
        list(threads.map(settle_lost, nodes))

    assert nodes[0].counts() == {(GEWERBE, "waiting"): 12}
    for delivery in nodes[0].claim(GEWERBE, now=NOW, limit=12, owner="node-1", lease=LEASE):
        kinds = [event.kind for event in nodes[1].events(delivery.id)]
        assert kinds == [EventKind.CLAIMED, EventKind.DEFERRED, EventKind.CLAIMED]


def test_a_node_renews_nothing_of_another_and_its_late_outcome_is_fenced(
    nodes: list[SqlStore], tmp_path: Path, quick: None
):
    first, second = nodes[0], nodes[1]
    first.accept(acceptance("m-1"))
    given = first.claim(GEWERBE, now=NOW, limit=1, owner="asleep", lease=AT_ONCE)[0]
    awake = Node(second, tmp_path, "awake")
    awake.dispatch.settle([(given, Unclear(Reason.WORKER_LOST))], RetryPolicy())
    awake.deliverers.start()
    until(lambda: awake.adapter.given == [given.id], "the other node tries it")

    Dispatch(first, utc_now).settle([(given, Delivered("zu spät"))], RetryPolicy())  # it wakes up, and is too late

    assert first.delivery(given.id).state is State.SENDING
    assert first.renew("asleep", now=NOW, lease=LEASE) == 0
    awake.adapter.gate.set()
    until(lambda: first.delivery(given.id).state is State.DELIVERED, "the one that has it says how it ended")
    assert awake.deliverers.stop(60)


@pytest.mark.parametrize("taken_over", [True, False], ids=["taken-over", "still-ours"])
def test_who_has_slept_asks_whether_it_is_still_his_before_he_sends(
    daemons: list[SqlStore], tmp_path: Path, taken_over: bool
):
    """On PostgreSQL alone: on SQLite nobody else asks."""
    first, second = daemons[0], daemons[1]
    first.accept(acceptance("m-1"))
    asleep, awake = Node(first, tmp_path, "asleep"), Node(second, tmp_path, "awake")
    deliverer = asleep._make(asleep.destination, None)
    assert deliverer.keep_room()
    given = first.claim(GEWERBE, now=NOW, limit=1, owner="asleep", lease=AT_ONCE)[0]
    if taken_over:
        awake.dispatch.settle([(given, Unclear(Reason.WORKER_LOST))], RetryPolicy(first=AT_ONCE))
        second.claim(GEWERBE, now=utc_now() + timedelta(hours=1), limit=1, owner="awake", lease=LEASE)
    asleep.adapter.gate.set()

    deliverer.fill_room(Claimed(given, since=time.monotonic() - LEASE.total_seconds()))

    until(lambda: not deliverer.in_hand(), "it is done with it")
    assert asleep.adapter.given == ([] if taken_over else [given.id])
    state = State.SENDING if taken_over else State.DELIVERED
    assert first.delivery(given.id).state is state
    deliverer.stop()
    assert deliverer.join(60)


def test_nothing_is_called_lost_soon_after_the_store_was_away(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, quick: None
):
    """A database that was away for longer than a lease: who lives renews first."""
    due, away = engine.store.due, threading.Event()

    def sometimes(now: datetime) -> object:
        if away.is_set():
            raise Unavailable("the server restarts")
        return due(now)

    monkeypatch.setattr(engine.store, "due", sometimes)
    monkeypatch.setattr(one_destination, "LEASE", timedelta(seconds=3600))
    engine.start()
    away.set()
    until(lambda: not engine.deliverers.steady, "it has seen that the store is away")
    away.clear()
    engine.store.accept(acceptance("m-1"))
    engine.store.claim(GEWERBE, now=NOW, limit=1, owner="another node", lease=AT_ONCE)
    engine._settle_lost(utc_now())
    before = engine.store.counts()
    monkeypatch.setattr(one_destination, "LEASE", AT_ONCE)

    until(lambda: engine.store.counts() == {(GEWERBE, "waiting"): 1}, "it is settled when the time is over")
    assert before == {(GEWERBE, "sending"): 1}

"""Messages that come together are kept together, and none waits for another that takes long."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from hub.errors import Conflict, HubError, Rejected, Unavailable
from hub.lanes import SHARE_MAX, Lanes, Told
from hub.message import Incoming, MessageId, Receipt

WAIT = 30.0


def incoming(name: str) -> Incoming:
    return Incoming(name.encode(), "online", "formular")


class Bench:
    """An intake whose answers are scripted, and all that it was asked."""

    def __init__(self) -> None:
        self.kept: list[list[str]] = []
        self.refuse: dict[str, Exception] = {}
        self.fail_to_keep: dict[str, HubError] = {}
        self.known: set[str] = set()
        self.slow: dict[str, threading.Event] = {}
        self.judging = threading.Event()
        self.gate = threading.Event()
        self.gate.set()

    def judge(self, document: Incoming, *, on_stall: Callable[[], None]) -> str | Receipt:
        name = document.body.decode()
        self.judging.set()
        self.gate.wait(WAIT)
        if name in self.slow:
            on_stall()
            on_stall()  # perhaps more than once
            assert self.slow[name].wait(WAIT)
        if name in self.refuse:
            raise self.refuse[name]
        return Receipt(MessageId(name), duplicate=True) if name in self.known else name

    def keep(self, several: Sequence[str]) -> Sequence[Receipt | HubError]:
        self.kept.append(list(several))
        if "bug" in several:
            raise LookupError("ours")
        return [self.fail_to_keep.get(name) or Receipt(MessageId(name)) for name in several]


class Senders:
    """What the senders were told."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._answers: dict[str, list[Told]] = {}

    def of(self, name: str) -> Callable[[Told], None]:
        def done(told: Told) -> None:
            with self._changed:
                self._answers.setdefault(name, []).append(told)
                self._changed.notify_all()

        return done

    def wait(self, *names: str) -> list[Told]:
        with self._changed:
            assert self._changed.wait_for(lambda: all(name in self._answers for name in names), WAIT), self._answers
            assert all(len(answers) == 1 for answers in self._answers.values())
            return [self._answers[name][0] for name in names]


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.fixture
def lanes(bench: Bench) -> Iterator[Lanes]:
    made: Any = bench  # the part of an intake that lanes use
    lanes = Lanes(made, 1)
    lanes.start()
    yield lanes
    for gate in (bench.gate, *bench.slow.values()):
        gate.set()
    lanes.close(WAIT)


@pytest.fixture
def told() -> Senders:
    return Senders()


def hand_in_together(bench: Bench, lanes: Lanes, told: Senders, *names: str) -> None:
    """Hand the first in, and the others while it is being judged."""
    bench.gate.clear()
    bench.judging.clear()
    first, *others = names
    lanes.soon(incoming(first), told.of(first))
    assert bench.judging.wait(WAIT)
    for name in others:
        lanes.soon(incoming(name), told.of(name))
    bench.gate.set()


def test_a_lone_message_goes_at_once(bench: Bench, lanes: Lanes, told: Senders) -> None:
    lanes.soon(incoming("a"), told.of("a"))

    assert told.wait("a") == [Receipt(MessageId("a"))]
    assert bench.kept == [["a"]]


def test_what_has_come_meanwhile_is_kept_with_one_sync(bench: Bench, lanes: Lanes, told: Senders) -> None:
    hand_in_together(bench, lanes, told, "a", "b", "c", "d")

    told.wait("a", "b", "c", "d")
    assert bench.kept == [["a"], ["b", "c", "d"]]


def test_a_share_is_bounded(bench: Bench, lanes: Lanes, told: Senders) -> None:
    names = [f"m-{number}" for number in range(3 * SHARE_MAX)]
    hand_in_together(bench, lanes, told, *names)

    told.wait(*names)
    assert max(map(len, bench.kept)) <= SHARE_MAX
    assert [name for kept in bench.kept for name in kept] == names


def test_who_is_free_alone_shares_with_nobody(bench: Bench, told: Senders) -> None:
    made: Any = bench
    lanes = Lanes(made, 2)
    lanes.start()
    bench.slow["long"] = threading.Event()
    lanes.soon(incoming("long"), told.of("long"))
    assert bench.judging.wait(WAIT)

    hand_in_together(bench, lanes, told, "a", "b", "c", "d", "e")

    told.wait("a", "b", "c", "d", "e")
    assert bench.kept == [["a"], ["b", "c", "d", "e"]]
    bench.slow["long"].set()
    lanes.close(WAIT)


def test_each_is_told_its_own(bench: Bench, lanes: Lanes, told: Senders) -> None:
    bench.refuse = {"rejected": Rejected("schema_violation"), "later": Unavailable("no worker")}
    bench.fail_to_keep = {"other": Conflict("other content")}
    bench.known = {"again"}
    hand_in_together(bench, lanes, told, "first", "rejected", "good", "later", "again", "other")

    rejected, good, later, again, other = told.wait("rejected", "good", "later", "again", "other")
    assert isinstance(rejected, Rejected)
    assert good == Receipt(MessageId("good"))
    assert isinstance(later, Unavailable)
    assert again == Receipt(MessageId("again"), duplicate=True)
    assert isinstance(other, Conflict)
    assert bench.kept[-1] == ["good", "other"]


def test_nobody_waits_for_a_message_that_takes_long(bench: Bench, lanes: Lanes, told: Senders) -> None:
    bench.slow["slow"] = threading.Event()
    hand_in_together(bench, lanes, told, "first", "before", "slow", "after")

    told.wait("first", "before", "after")
    assert ["before", "after"] in bench.kept
    bench.slow["slow"].set()

    assert told.wait("slow") == [Receipt(MessageId("slow"))]
    assert bench.kept[-1] == ["slow"]


def test_a_bug_costs_its_share_the_receipts_and_the_lane_goes_on(bench: Bench, lanes: Lanes, told: Senders) -> None:
    hand_in_together(bench, lanes, told, "first", "bug", "neighbour")
    assert all(isinstance(answer, Unavailable) for answer in told.wait("bug", "neighbour"))

    bench.refuse["other bug"] = LookupError("ours")
    hand_in_together(bench, lanes, told, "second", "third", "other bug", "fourth")
    assert all(isinstance(answer, Unavailable) for answer in told.wait("third", "other bug", "fourth"))

    lanes.soon(incoming("last"), told.of("last"))
    assert told.wait("last") == [Receipt(MessageId("last"))]


def test_a_source_that_fails_with_its_receipt_harms_no_other(bench: Bench, lanes: Lanes, told: Senders) -> None:
    def broken(_told: Told) -> None:
        raise LookupError("the source's")

    lanes.soon(incoming("a"), broken)
    lanes.soon(incoming("b"), told.of("b"))

    assert told.wait("b") == [Receipt(MessageId("b"))]


def test_at_the_end_what_has_come_is_taken_in(bench: Bench, lanes: Lanes, told: Senders) -> None:
    hand_in_together(bench, lanes, told, "a", "b", "c")
    lanes.close(WAIT)

    assert told.wait("a", "b", "c") == [Receipt(MessageId(name)) for name in "abc"]


def test_who_has_time_waits_until_no_sender_does(bench: Bench, lanes: Lanes, told: Senders) -> None:
    bench.slow["slow"] = threading.Event()
    lanes.soon(incoming("slow"), told.of("slow"))
    assert bench.judging.wait(WAIT)
    order: list[str] = []

    def run_job() -> None:
        lanes.make_way(WAIT)
        order.append("job")

    job = threading.Thread(target=run_job)
    job.start()

    lanes.soon(incoming("another"), lambda _answer: order.append("another"))
    lanes.make_way(0.01)  # not for ever: they are still waiting
    bench.slow["slow"].set()
    job.join(WAIT)

    assert order == ["another", "job"]
    assert told.wait("slow") == [Receipt(MessageId("slow"))]

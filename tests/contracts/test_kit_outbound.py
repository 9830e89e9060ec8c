"""The contract of outbound adapters finds those who break it: each promise with one that does not keep it."""

from __future__ import annotations

import inspect
import logging
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from hub.plugin import Deferred, Delivered, Outcome, Outgoing, Reason, Unclear
from hub.testing import OutboundContract, RecordedLog, make_context


class Shelf:
    """A good adapter whose peer is a list. What follows breaks one promise each."""

    def __init__(self, log: RecordedLog, *, there: bool = True) -> None:
        self.log, self.there = log, there
        self.taken: list[tuple[str, bytes]] = []

    def open(self) -> None:
        if not self.there:
            raise ConnectionRefusedError(111, "nobody there")

    def deliver(self, outgoing: Outgoing) -> Outcome:
        self.taken.append((outgoing.delivery_id, outgoing.body))
        return Delivered(receipt="1")

    def close(self) -> None:
        """Nothing is held."""


class Unanswered(Shelf):
    """A good adapter whose peer says nothing."""

    def deliver(self, outgoing: Outgoing) -> Outcome:
        threading.Event().wait(max(outgoing.deadline - time.monotonic(), 0))
        return Unclear(Reason.TIMEOUT)


class Tidies(Shelf):
    def deliver(self, outgoing: Outgoing) -> Outcome:
        self.taken.append((outgoing.delivery_id, outgoing.body.strip()))
        return Delivered()


class Renumbers(Shelf):
    def deliver(self, outgoing: Outgoing) -> Outcome:
        self.taken.append((f"{outgoing.delivery_id}-{outgoing.attempt}", outgoing.body))
        return Delivered()


class ClosesOnce(Shelf):
    closed = False

    def close(self) -> None:
        assert not self.closed
        self.closed = True


class NeedsOpen(Shelf):
    """Releases what only ``open`` has acquired."""

    def close(self) -> None:
        del self.connection

    def open(self) -> None:
        self.connection = "connection"


class OneAtATime(Shelf):
    """Refuses whoever comes while somebody else is served."""

    def __init__(self, log: RecordedLog, *, there: bool = True) -> None:
        super().__init__(log, there=there)
        self.busy, self.second = threading.Lock(), threading.Event()

    def deliver(self, outgoing: Outgoing) -> Outcome:
        if not self.busy.acquire(blocking=False):
            self.second.set()
            return Deferred(Reason.BUSY)
        self.second.wait(5)
        self.busy.release()
        return super().deliver(outgoing)


class Raises(Shelf):
    def open(self) -> None:
        """Connect with the delivery."""

    def deliver(self, outgoing: Outgoing) -> Outcome:
        if not self.there:
            raise ConnectionRefusedError(111, "nobody there")
        return super().deliver(outgoing)


class Waits(Shelf):
    """Looks at its own clock and not at the deadline."""

    def deliver(self, outgoing: Outgoing) -> Outcome:
        threading.Event().wait(3.2)
        return Deferred(Reason.TIMEOUT)


class Hopes(Shelf):
    """Calls delivered what nobody has answered."""

    def deliver(self, outgoing: Outgoing) -> Outcome:
        return Delivered()


class RunsOut(Shelf):
    def deliver(self, outgoing: Outgoing) -> Outcome:
        if time.monotonic() > outgoing.deadline:
            raise TimeoutError("too late")
        return super().deliver(outgoing)


class Quotes(Shelf):
    def deliver(self, outgoing: Outgoing) -> Outcome:
        return Delivered(code=outgoing.body.decode()[-60:])


class LogsIt(Shelf):
    def deliver(self, outgoing: Outgoing) -> Outcome:
        self.log.info("sent", body=outgoing.body.decode())
        return super().deliver(outgoing)


class LibraryLogsIt(Shelf):
    def deliver(self, outgoing: Outgoing) -> Outcome:
        logging.getLogger("library").debug("sending %s", outgoing.body.decode())
        return super().deliver(outgoing)


class Shows(Shelf):
    def deliver(self, outgoing: Outgoing) -> Outcome:
        return Delivered(receipt=outgoing.body.decode())


class Several(Shelf):
    """A good adapter whose peer takes several at once."""

    def deliver_all(self, several: Sequence[Outgoing]) -> Sequence[Outcome]:
        now = time.monotonic()
        return [self.deliver(one) if one.deadline > now else Deferred(Reason.TIMEOUT) for one in several]


class AllOrNone(Several):
    """Has one outcome for all."""

    def deliver_all(self, several: Sequence[Outgoing]) -> Sequence[Outcome]:
        return list(super().deliver_all(several))[-1:] * len(several)


class LosesOne(Several):
    def deliver_all(self, several: Sequence[Outgoing]) -> Sequence[Outcome]:
        return list(super().deliver_all(several))[:-1]


class Reverses(Several):
    def deliver_all(self, several: Sequence[Outgoing]) -> Sequence[Outcome]:
        return [*reversed(list(super().deliver_all(several[:-1]))), Delivered()]


Promise = Callable[..., None]
CONTRACT = OutboundContract
BREAKERS: list[tuple[Promise, type[Shelf]]] = [
    (CONTRACT.test_a_delivery_arrives_byte_for_byte_under_its_id, Tidies),
    (CONTRACT.test_a_repetition_carries_the_same_id_and_the_same_bytes, Renumbers),
    (CONTRACT.test_close_may_come_twice_and_open_again_after_it, ClosesOnce),
    (CONTRACT.test_close_may_come_without_open, NeedsOpen),
    (CONTRACT.test_many_threads_deliver_at_once, OneAtATime),
    (CONTRACT.test_several_at_once_end_as_each_alone, AllOrNone),
    (CONTRACT.test_several_at_once_end_as_each_alone, LosesOne),
    (CONTRACT.test_several_at_once_end_as_each_alone, Reverses),
    (CONTRACT.test_an_unreachable_peer_is_an_outcome_and_no_exception, Raises),
    (CONTRACT.test_a_silent_peer_costs_no_more_than_the_deadline, Waits),
    (CONTRACT.test_a_silent_peer_costs_no_more_than_the_deadline, Hopes),
    (CONTRACT.test_a_deadline_that_has_passed_is_an_outcome_and_no_exception, RunsOut),
    (CONTRACT.test_codes_are_short_tokens_without_values, Quotes),
    (CONTRACT.test_nothing_of_the_payload_reaches_log_or_repr, LogsIt),
    (CONTRACT.test_nothing_of_the_payload_reaches_log_or_repr, LibraryLogsIt),
    (CONTRACT.test_nothing_of_the_payload_reaches_log_or_repr, Shows),
]


def hold(kind: type[Shelf], promise: Promise, base: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Hold a kind of adapter against one test of the contract, which asks for its fixtures by name."""
    log = RecordedLog()
    adapter = kind(log)
    fixtures = {
        "self": OutboundContract(),
        "adapter": adapter,
        "arrived": lambda: adapter.taken,
        "unreachable": kind(log, there=False),
        "silent": kind(log),
        "context": make_context(base),
        "log": log,
        "caplog": caplog,
    }
    promise(**{name: fixtures[name] for name in inspect.signature(promise).parameters})


@pytest.mark.parametrize(("promise", "kind"), BREAKERS, ids=lambda one: one.__name__)
def test_an_adapter_that_breaks_a_promise_is_found(
    promise: Promise, kind: type[Shelf], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises((AssertionError, AttributeError, ConnectionError, TimeoutError)):
        hold(kind, promise, tmp_path, caplog)


@pytest.mark.parametrize("promise", dict(BREAKERS), ids=lambda one: one.__name__)
def test_an_adapter_that_keeps_them_is_not(promise: Promise, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    good = {CONTRACT.test_a_silent_peer_costs_no_more_than_the_deadline: Unanswered,
            CONTRACT.test_several_at_once_end_as_each_alone: Several}  # fmt: skip
    hold(good.get(promise, Shelf), promise, tmp_path, caplog)


def test_every_promise_has_an_adapter_that_breaks_it() -> None:
    promises = {value for name, value in vars(OutboundContract).items() if name.startswith("test_")}

    assert promises == set(dict(BREAKERS))

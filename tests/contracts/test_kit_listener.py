"""The contract of listeners finds those who break it: each promise with one that does not keep it."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable
from pathlib import Path
from queue import Empty, Queue

import pytest

from hub.plugin import Accept, Conflict, Context, Incoming, Rejected, StopSignal, Unavailable
from hub.testing import ListenerContract, RecordedLog, make_context
from hub.testing import listener as listener_contract
from hub.testing.listener import Told


class Hatch:
    """A good listener: whoever asks is served in a thread of its own. What follows breaks one promise each."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.bound = threading.Event()
        self.asked: Queue[tuple[bytes, Queue[Told]]] = Queue()

    def listen(self, accept: Accept, stop: StopSignal) -> None:
        self.bound.set()
        threads = []
        while not stop.is_set():
            try:
                body, answer = self.asked.get(timeout=0.02)
            except Empty:
                continue
            threads.append(threading.Thread(target=self.serve, args=(accept, body, answer), daemon=True))
            threads[-1].start()
        for thread in threads:
            thread.join()

    def serve(self, accept: Accept, body: bytes, answer: Queue[Told]) -> None:
        answer.put(self.told(accept, body))

    def told(self, accept: Accept, body: bytes) -> Told:
        try:
            accept(Incoming(body, self.context.name, self.context.sender or ""))
        except (Rejected, Conflict):
            return "rejected"
        except (Unavailable, RuntimeError, threading.BrokenBarrierError) as error:
            self.failed(error)
            return "unavailable"
        return "accepted"

    def failed(self, error: Exception) -> None:
        self.context.log.error("not_taken", error=type(error).__name__)


class TidiesUp(Hatch):
    def told(self, accept: Accept, body: bytes) -> Told:
        return super().told(accept, body.strip())


class Hasty(Hatch):
    def serve(self, accept: Accept, body: bytes, answer: Queue[Told]) -> None:
        answer.put("accepted")
        self.told(accept, body)


class AlwaysKind(Hatch):
    def told(self, accept: Accept, body: bytes) -> Told:
        super().told(accept, body)
        return "accepted"


class Ends(Hatch):
    """Ends with the first bug."""

    def listen(self, accept: Accept, stop: StopSignal) -> None:
        self.bound.set()
        body, answer = self.asked.get(timeout=5)
        answer.put(self.told(accept, body))


class Queueing(Hatch):
    """Serves one after the other."""

    serving = threading.Lock()

    def told(self, accept: Accept, body: bytes) -> Told:
        with self.serving:
            return super().told(accept, body)


class Stubborn(Hatch):
    over = threading.Event()

    def listen(self, accept: Accept, _stop: StopSignal) -> None:
        super().listen(accept, self.over)


class HangsUp(Hatch):
    """Ends at once, whoever stands before it."""

    def serve(self, accept: Accept, body: bytes, answer: Queue[Told]) -> None:
        told = self.told(accept, body)
        if not self.stop.is_set():
            answer.put(told)

    def listen(self, accept: Accept, stop: StopSignal) -> None:
        self.stop = stop
        super().listen(accept, stop)


class TellsTheLog(Hatch):
    def failed(self, error: Exception) -> None:
        self.context.log.error("not_taken", error=str(error))


class HatchContract(ListenerContract):
    """The contract over one kind of hatch; its tests are called one by one."""

    def __init__(self, kind: type[Hatch]) -> None:
        self.kind = kind

    def make(self, context: Context) -> Hatch:
        return self.kind(context)

    def wait_bound(self, listener: Hatch) -> None:
        assert listener.bound.wait(10)

    def send(self, listener: Hatch, body: bytes) -> Told:
        answer: Queue[Told] = Queue()
        listener.asked.put((body, answer))
        try:
            return answer.get(timeout=listener_contract.WAIT)
        except Empty:
            return "unavailable"


Promise = Callable[..., None]
CONTRACT = ListenerContract
BREAKERS: list[tuple[Promise, Exception, type[Hatch]]] = [
    (CONTRACT.test_a_message_is_handed_in_byte_for_byte, Unavailable(), TidiesUp),
    (CONTRACT.test_a_message_is_handed_in_byte_for_byte, Unavailable(), Stubborn),
    (CONTRACT.test_a_sender_is_told_nothing_before_the_receipt, Unavailable(), Hasty),
    (CONTRACT.test_a_refused_message_is_the_senders_to_mend, Rejected("schema_violation"), AlwaysKind),
    (CONTRACT.test_a_refused_message_is_the_senders_to_mend, Conflict("other content"), AlwaysKind),
    (CONTRACT.test_what_cannot_be_stored_is_not_acknowledged_and_the_next_one_is, Unavailable(), AlwaysKind),
    (CONTRACT.test_what_cannot_be_stored_is_not_acknowledged_and_the_next_one_is, RuntimeError(), Ends),
    (CONTRACT.test_several_senders_are_served_at_once, Unavailable(), Queueing),
    (CONTRACT.test_stop_lets_a_running_message_finish, Unavailable(), HangsUp),
    (CONTRACT.test_nothing_of_the_payload_reaches_the_log, Unavailable(), TellsTheLog),
]


def hold(kind: type[Hatch], promise: Promise, answer: Exception, base: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Hold a kind of listener against one test of the contract, which asks for its fixtures by name."""
    log = RecordedLog()
    fixtures = {
        "self": HatchContract(kind),
        "context": make_context(base, log=log, sender="antragsportal"),
        "answer": answer,
        "log": log,
        "caplog": caplog,
    }
    promise(**{name: fixtures[name] for name in inspect.signature(promise).parameters})


@pytest.mark.parametrize(("promise", "answer", "kind"), BREAKERS)
def test_a_listener_that_breaks_a_promise_is_found(
    promise: Promise,
    answer: Exception,
    kind: type[Hatch],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(listener_contract, "WAIT", 0.5)

    with pytest.raises(AssertionError):
        hold(kind, promise, answer, tmp_path, caplog)

    Stubborn.over.set()


@pytest.mark.parametrize(("promise", "answer"), {promise: answer for promise, answer, _ in BREAKERS}.items())
def test_a_listener_that_keeps_them_is_not(
    promise: Promise, answer: Exception, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    hold(Hatch, promise, answer, tmp_path, caplog)


def test_every_promise_has_a_listener_that_breaks_it() -> None:
    promises = {value for name, value in vars(ListenerContract).items() if name.startswith("test_")}

    assert promises == {promise for promise, _, _ in BREAKERS}

"""What every listener promises, as tests to inherit."""

from __future__ import annotations

import logging
import threading
from abc import abstractmethod
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import pytest

from hub.plugin import Accept, Conflict, Context, Finding, Incoming, Listener, Rejected, Unavailable
from hub.testing import samples
from hub.testing.context import RecordedDesk, RecordedLog, ScriptedIntake, make_context

Told = Literal["accepted", "rejected", "unavailable"]
WAIT = 10.0


class ListenerContract:
    """Inherit it and give ``make``, ``wait_bound`` and ``send``. Every listener runs in a thread of its own."""

    @abstractmethod
    def make(self, context: Context) -> Listener:
        """Return a new listener."""

    @abstractmethod
    def wait_bound(self, listener: Any) -> None:
        """Return when messages can be sent to the listener."""

    @abstractmethod
    def send(self, listener: Any, body: bytes) -> Told:
        """Hand a message in as a sender does, and return what the sender is told.

        A sender that gets no word, or whose message stays in its queue, is told ``unavailable``.
        """

    @pytest.fixture
    def log(self) -> RecordedLog:
        return RecordedLog()

    @pytest.fixture
    def context(self, tmp_path: Path, log: RecordedLog) -> Context:
        return make_context(tmp_path, log=log, desk=RecordedDesk(), sender="antragsportal")

    @contextmanager
    def listening(self, context: Context, accept: Accept) -> Iterator[Listener]:
        """Run a listener until the block ends; it must then end by itself."""
        listener, stop = self.make(context), threading.Event()
        thread = threading.Thread(target=listener.listen, args=(accept, stop), daemon=True)
        thread.start()
        try:
            self.wait_bound(listener)
            yield listener
        finally:
            stop.set()
            thread.join(WAIT)
        assert not thread.is_alive(), "listen() goes on although stop is set"

    def test_a_message_is_handed_in_byte_for_byte(self, context: Context) -> None:
        intake = ScriptedIntake()

        with self.listening(context, intake.accept) as listener:
            told = self.send(listener, samples.BODY)

        assert told == "accepted"
        assert [incoming.body for incoming in intake.offered] == [samples.BODY]
        assert {(incoming.source, incoming.sender) for incoming in intake.offered} == {(context.name, "antragsportal")}

    def test_a_sender_is_told_nothing_before_the_receipt(self, context: Context) -> None:
        on_disk, arrived, told_early = threading.Event(), threading.Event(), threading.Event()

        def wait(_: Incoming) -> None:
            arrived.set()
            assert on_disk.wait(WAIT)

        with (
            self.listening(context, ScriptedIntake(before=wait).accept) as listener,
            ThreadPoolExecutor(1) as sender,
        ):
            answer = sender.submit(self.send, listener, samples.BODY)
            answer.add_done_callback(lambda _: told_early.set())
            assert arrived.wait(WAIT)
            early = told_early.wait(0.3)
            on_disk.set()
            told = _told(answer)

        assert not early
        assert told == "accepted"

    @pytest.mark.parametrize(
        "answer",
        [Rejected("schema_violation", [Finding("xsd", "/a", 3, "text")], id="R-1"), Conflict("other content")],
        ids=["rejected", "conflict"],
    )
    def test_a_refused_message_is_the_senders_to_mend(self, context: Context, answer: Exception) -> None:
        with self.listening(context, ScriptedIntake(answer).accept) as listener:
            told = self.send(listener, samples.BODY)

        assert told == "rejected"

    @pytest.mark.parametrize("answer", [Unavailable(), RuntimeError(samples.MARKER)], ids=["unavailable", "bug"])
    def test_what_cannot_be_stored_is_not_acknowledged_and_the_next_one_is(
        self, context: Context, answer: Exception
    ) -> None:
        intake = ScriptedIntake(answer)

        with self.listening(context, intake.accept) as listener:
            first = self.send(listener, samples.BODY)
            second = self.send(listener, samples.BODY)

        assert (first, second) == ("unavailable", "accepted")

    def test_several_senders_are_served_at_once(self, context: Context) -> None:
        both = threading.Barrier(2, timeout=WAIT)

        with (
            self.listening(context, ScriptedIntake(before=lambda _: _meet(both)).accept) as listener,
            ThreadPoolExecutor(2) as senders,
        ):
            told = list(senders.map(lambda _: self.send(listener, samples.BODY), range(2)))

        assert told == ["accepted", "accepted"]

    def test_stop_lets_a_running_message_finish(self, context: Context) -> None:
        stop, arrived = threading.Event(), threading.Event()

        def stopping(_: Incoming) -> None:
            arrived.set()
            assert stop.wait(WAIT)

        listener = self.make(context)
        thread = threading.Thread(
            target=listener.listen, args=(ScriptedIntake(before=stopping).accept, stop), daemon=True
        )
        thread.start()
        self.wait_bound(listener)
        with ThreadPoolExecutor(1) as sender:
            answer = sender.submit(self.send, listener, samples.BODY)
            assert arrived.wait(WAIT)
            stop.set()
            told = _told(answer)
        thread.join(WAIT)

        assert told == "accepted"
        assert not thread.is_alive()

    def test_nothing_of_the_payload_reaches_the_log(
        self, context: Context, log: RecordedLog, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        intake = ScriptedIntake(RuntimeError(samples.MARKER), Rejected("limit", [Finding("x", "/", 1, samples.MARKER)]))

        with self.listening(context, intake.accept) as listener:
            for _ in range(3):
                self.send(listener, samples.BODY)

        assert samples.MARKER not in log.text
        assert samples.MARKER not in caplog.text


def _told(answer: Future[Told]) -> Told:
    """What the sender was told; being told nothing at all breaks the promise as well."""
    try:
        return answer.result(WAIT)
    except TimeoutError:
        raise AssertionError(f"the sender was told nothing within {WAIT} seconds") from None


def _meet(barrier: threading.Barrier) -> None:
    barrier.wait()

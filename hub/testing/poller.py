"""What every poller promises, as tests to inherit."""

from __future__ import annotations

import logging
from abc import abstractmethod
from pathlib import Path

import pytest

from hub.plugin import Conflict, Context, Finding, Incoming, Poller, Rejected, Unavailable
from hub.testing import samples
from hub.testing.clock import SettableClock
from hub.testing.context import RecordedLog, ScriptedIntake, make_context


class Killed(BaseException):
    """Stands for the end of the process: nothing catches it."""


class PollerContract:
    """Inherit it and give ``make``, ``offer`` and ``left``; they share what the test class keeps in its fixtures.

    ``rounds`` says how many polls a message needs at most until it is handed in.
    """

    rounds = 2

    @abstractmethod
    def make(self, context: Context) -> Poller:
        """Return a new poller on the same source, as after a restart."""

    @abstractmethod
    def offer(self, context: Context, number: int, body: bytes) -> None:
        """Put a message where the poller looks for it; messages of higher numbers come later."""

    @abstractmethod
    def left(self, context: Context) -> dict[str, int]:
        """Return how many messages are ``waiting`` at the source, ``taken`` and ``rejected``."""

    @pytest.fixture
    def log(self) -> RecordedLog:
        return RecordedLog()

    @pytest.fixture
    def context(self, tmp_path: Path, log: RecordedLog) -> Context:
        return make_context(tmp_path, log=log, sender="antragsportal", clock=SettableClock())

    def poll(self, poller: Poller, intake: ScriptedIntake) -> None:
        for _ in range(self.rounds):
            poller.poll(intake.accept)

    def test_a_message_is_handed_in_byte_for_byte_and_once(self, context: Context) -> None:
        self.offer(context, 1, samples.BODY)
        intake, poller = ScriptedIntake(), self.make(context)

        self.poll(poller, intake)
        self.poll(poller, intake)

        assert [incoming.body for incoming in intake.offered] == [samples.BODY]
        assert {(incoming.source, incoming.sender) for incoming in intake.offered} == {(context.name, context.sender)}

    def test_a_message_stays_until_its_receipt(self, context: Context) -> None:
        self.offer(context, 1, samples.BODY)
        during: list[dict[str, int]] = []

        def look(_: Incoming) -> None:
            during.append(self.left(context))

        self.poll(self.make(context), ScriptedIntake(before=look))

        assert during == [{"waiting": 1, "taken": 0, "rejected": 0}]
        assert self.left(context) == {"waiting": 0, "taken": 1, "rejected": 0}

    @pytest.mark.parametrize(
        "answer",
        [Rejected("schema_violation", [Finding("xsd", "/a", 3, samples.MARKER)], id="R-1"), Conflict("other content")],
        ids=["rejected", "conflict"],
    )
    def test_a_refused_message_is_put_aside(self, context: Context, answer: Exception) -> None:
        self.offer(context, 1, samples.BODY)
        intake, poller = ScriptedIntake(answer), self.make(context)

        self.poll(poller, intake)
        self.poll(poller, intake)

        assert len(intake.offered) == 1
        assert self.left(context) == {"waiting": 0, "taken": 0, "rejected": 1}

    def test_what_cannot_be_stored_stays_and_is_offered_again(self, context: Context) -> None:
        for number in (1, 2):
            self.offer(context, number, samples.BODY)
        poller = self.make(context)
        self.poll(poller, ScriptedIntake(*[Unavailable()] * 2 * self.rounds))
        before = self.left(context)
        intake = ScriptedIntake()

        self.poll(poller, intake)

        assert before == {"waiting": 2, "taken": 0, "rejected": 0}
        assert [incoming.body for incoming in intake.offered] == [samples.BODY] * 2

    def test_unavailable_ends_the_round(self, context: Context) -> None:
        for number in (1, 2, 3):
            self.offer(context, number, samples.BODY)
        intake = ScriptedIntake(*[Unavailable()] * 3 * self.rounds)

        self.poll(self.make(context), intake)

        assert 1 <= len(intake.offered) <= self.rounds

    def test_a_crash_between_receipt_and_disposal_offers_the_same_content_again(self, context: Context) -> None:
        self.offer(context, 1, samples.BODY)
        first, second = ScriptedIntake(Killed()), ScriptedIntake()
        with pytest.raises(Killed):
            self.poll(self.make(context), first)

        self.poll(self.make(context), second)

        assert [incoming.body for incoming in first.offered + second.offered] == [samples.BODY] * 2
        assert self.left(context) == {"waiting": 0, "taken": 1, "rejected": 0}

    def test_a_refused_message_does_not_hold_up_the_next(self, context: Context) -> None:
        self.offer(context, 1, samples.BODY)
        self.offer(context, 2, samples.BODY)

        self.poll(self.make(context), ScriptedIntake(Rejected("not_well_formed")))

        assert self.left(context) == {"waiting": 0, "taken": 1, "rejected": 1}

    def test_nothing_of_the_payload_reaches_the_log(
        self, context: Context, log: RecordedLog, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        self.offer(context, 1, samples.BODY)
        self.offer(context, 2, samples.BODY)

        self.poll(self.make(context), ScriptedIntake(Rejected("limit", [Finding("x", "/a", 1, samples.MARKER)])))

        assert samples.MARKER not in log.text
        assert samples.MARKER not in caplog.text

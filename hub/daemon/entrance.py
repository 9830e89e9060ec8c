"""The way in of a running hub: the ``Accept`` of its sources, counted and within the room that there is."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack

from hub import crashpoint
from hub.errors import Conflict, HubError, Rejected, TooFast
from hub.intake import Intake
from hub.lanes import Lanes
from hub.message import Incoming, Receipt
from hub.metrics import Metrics
from hub.room import Budget


class Entrance:
    """Takes messages in for sources: at once, in the caller's thread, or soon, together with others."""

    def __init__(
        self, intake: Intake, lanes: Lanes, budget: Budget, metrics: Metrics, admit: Callable[[Incoming], None]
    ) -> None:
        """``admit`` raises ``Unavailable`` while nothing may come in: the disk is nearly full, say."""
        self._intake, self._lanes, self._budget, self._metrics, self._admit = intake, lanes, budget, metrics, admit

    def __call__(self, incoming: Incoming) -> Receipt:
        """Take a message in, and count it. Raises as :data:`hub.plugin.Accept` says."""
        started = time.monotonic()
        crashpoint.reached("after-read")
        try:
            self._admit(incoming)
            with self._budget.of(incoming.source).handing_in(len(incoming.body)):
                receipt = self._intake.accept(incoming)
        except HubError as error:
            self._count(incoming.source, error, started)
            raise
        self._count(incoming.source, receipt, started)
        crashpoint.reached("before-answer")
        return receipt

    def soon(self, incoming: Incoming, done: Callable[[Receipt | HubError], None]) -> None:
        """Take a message in as :class:`hub.plugin.AcceptSoon` says."""
        started = time.monotonic()
        crashpoint.reached("after-read")
        room = ExitStack()

        def told(answer: Receipt | HubError) -> None:
            room.close()
            self._count(incoming.source, answer, started)
            crashpoint.reached("before-answer")
            done(answer)

        try:
            self._admit(incoming)
            room.enter_context(self._budget.of(incoming.source).handing_in(len(incoming.body)))
        except HubError as error:
            told(error)
            return
        self._lanes.soon(incoming, told)

    def _count(self, source: str, answer: Receipt | HubError, started: float) -> None:
        match answer:
            case Receipt(duplicate=duplicate):
                self._metrics.accepted(source, duplicate=duplicate, seconds=time.monotonic() - started)
            case Rejected(code=code):
                self._metrics.rejected(source, code)
            case Conflict():
                self._metrics.rejected(source, "conflict")
            case TooFast():
                self._metrics.refused(source, "rate")
            case _:
                self._metrics.refused(source, "unavailable")

"""Procedures that take a document or not, answer the truth or nothing, and write down what they were given."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from hub.message import Outgoing
from hub.outcome import Blocked, Deferred, Delivered, Outcome, Reason, Refused, Taken, Unclear
from tests.simulation.faults import Died, Faults

ANSWERS: dict[str, tuple[bool, Outcome | type[BaseException] | None]] = {
    # how it answers: does it have the document, and what does the adapter say (None: no outcome at all)
    "ok": (True, Delivered("quittung", {"aktenzeichen": "1/26"}, b"<ok/>")),
    "later": (True, Taken("vorgang-1")),
    "busy": (False, Deferred(Reason.BUSY, code="http-503")),
    "busy for long": (False, Deferred(Reason.BUSY, retry_after=timedelta(hours=3))),
    "busy for years": (False, Deferred(Reason.BUSY, retry_after=timedelta(days=900))),
    "down": (False, Deferred(Reason.UNREACHABLE, code="connect-refused")),
    "refused": (False, Refused(Reason.REFUSED, "Feld 17 fehlt", code="soap-Client")),
    "cut after": (True, Unclear(Reason.UNCLEAR, code="reply-cut")),
    "cut before": (False, Unclear(Reason.TIMEOUT, code="timeout")),
    "html": (False, Unclear(Reason.PEER_PROTOCOL, code="html", blocks=True)),
    "expired": (False, Blocked(Reason.PEER_TLS, code="tls-expired")),
    "bug": (False, ValueError),
    "nothing": (False, None),
    "dies before": (False, Died),
    "dies after": (True, Died),
}


@dataclass
class Given:
    """One document at a procedure."""

    delivery: str
    destination: str
    sha256: str
    attempt: int
    answer: str
    wanted: int = 0  # how often an operator had wanted it again by then
    stalled: bool = False  # its sender slept until its lease was over


@dataclass
class Procedures:
    """All procedures; what they were given is written down before they answer."""

    faults: Faults
    ledger: list[Given] = field(default_factory=list)
    script: list[str] = field(default_factory=list)
    before: Callable[[Outgoing], None] = lambda _outgoing: None
    meanwhile: Callable[[Given], None] = lambda _given: None

    broken: AssertionError | None = None

    def open(self) -> None:
        pass

    def close(self) -> None:
        pass

    def deliver(self, outgoing: Outgoing) -> Outcome:
        try:
            return self._deliver(outgoing)
        except AssertionError as error:  # the hub takes it for a plugin's bug and goes on: it is told afterwards
            self.broken = error
            raise

    def _deliver(self, outgoing: Outgoing) -> Outcome:
        self.before(outgoing)
        answer = self.script.pop(0) if self.script else "ok"
        given = Given(
            outgoing.delivery_id,
            outgoing.destination,
            hashlib.sha256(outgoing.body).hexdigest(),
            outgoing.attempt,
            answer,
        )
        self.ledger.append(given)
        self.meanwhile(given)
        outcome = ANSWERS[answer][1]
        if isinstance(outcome, type):
            raise outcome
        return outcome  # type: ignore[return-value]  # None is what a broken plugin gives

    def took(self, delivery: str) -> list[Given]:
        """Return when a delivery arrived."""
        return [one for one in self.ledger if one.delivery == delivery and ANSWERS[one.answer][0]]


class Several:
    """The same over a way that takes several at once, and answers for each."""

    def __init__(self, procedures: Procedures) -> None:
        self._procedures = procedures
        self.open, self.close, self.deliver = procedures.open, procedures.close, procedures.deliver

    def deliver_all(self, several: Sequence[Outgoing]) -> Sequence[Outcome]:
        return [self._one(outgoing) for outgoing in several]

    def _one(self, outgoing: Outgoing) -> Outcome:
        try:
            return self._procedures.deliver(outgoing)
        except ValueError:  # a bug with one document is not one with the others
            return Deferred(Reason.CRASHED, code="bug")

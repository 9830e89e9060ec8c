"""The kit itself: its contracts find those who break them, and its peer does what its script says."""

from __future__ import annotations

import http.client
import itertools
import socket
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from adapters.folder_in import FolderIn, FolderPoller
from hub.plugin import Accept, Context, Finding, Incoming, Outgoing, Poller, Rejected, Step
from hub.testing import (
    Answer,
    PollerContract,
    Reset,
    ScriptedPeer,
    Silence,
    StepContract,
    make_context,
    outgoing,
    samples,
)


def stamp(outgoing: Outgoing) -> Outgoing:
    """A good step: its time comes from the message."""
    if not outgoing.body.startswith(b"<"):
        raise Rejected("not_well_formed", [Finding("start", text="not a document")])
    when = outgoing.message.received_at.isoformat().encode()
    return replace(outgoing, body=outgoing.body + b"<!-- " + when + b" -->")


class TestGoodStep(StepContract):
    def step(self) -> Step:
        return stamp

    def good(self) -> Sequence[Outgoing]:
        return [outgoing(1), outgoing(2)]

    def bad(self) -> Sequence[Outgoing]:
        return [outgoing(body=b"no document")]


class _Impure(TestGoodStep):
    __test__ = False

    def __init__(self) -> None:
        counter = itertools.count()
        self._step = lambda outgoing: replace(outgoing, body=b"%d" % next(counter))

    def step(self) -> Step:
        return self._step


class _Leaking(TestGoodStep):
    __test__ = False

    def step(self) -> Step:
        def quote(outgoing: Outgoing) -> Outgoing:
            raise Rejected(f"cannot read {outgoing.body.decode()}")

        return quote


def test_a_step_that_reads_a_clock_or_counts_is_found() -> None:
    with pytest.raises(AssertionError):
        _Impure().test_the_same_input_gives_the_same_bytes()


def test_a_step_that_quotes_the_document_is_found() -> None:
    with pytest.raises(AssertionError):
        _Leaking().test_a_document_it_cannot_work_with_is_rejected_without_quoting_it()


class _Hasty(PollerContract):
    """Removes each file before it hands it in."""

    __test__ = False

    def make(self, context: Context) -> Poller:
        class Hasty(FolderPoller):
            def poll(self, accept: Accept) -> None:
                for path in sorted((context.base / "in").glob("*.xml")):
                    body = path.read_bytes()
                    (path.parent / "done").mkdir(exist_ok=True)
                    path.rename(path.parent / "done" / path.name)
                    accept(Incoming(body, context.name, context.sender or ""))

        return Hasty(FolderIn(path="in"), context)

    def offer(self, context: Context, number: int, body: bytes) -> None:
        (context.base / "in").mkdir(exist_ok=True)
        (context.base / "in" / f"{number}.xml").write_bytes(body)

    def left(self, context: Context) -> dict[str, int]:
        inbox = context.base / "in"
        return {
            "waiting": len(list(inbox.glob("*.xml"))),
            "taken": len(list(inbox.glob("done/*.xml"))),
            "rejected": len(list(inbox.glob("rejected/*.xml"))),
        }


def test_a_poller_that_disposes_before_the_receipt_is_found(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()

    with pytest.raises(AssertionError):
        _Hasty().test_a_message_stays_until_its_receipt(make_context(tmp_path / "a", sender="s"))
    with pytest.raises(AssertionError):
        _Hasty().test_a_crash_between_receipt_and_disposal_offers_the_same_content_again(
            make_context(tmp_path / "b", sender="s")
        )


def ask(peer: ScriptedPeer, body: bytes = samples.BODY, seconds: float = 10) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", peer.port, timeout=seconds)
    try:
        connection.request("POST", "/ws", body, {"Idempotency-Key": "1"})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def test_a_peer_answers_by_its_script_and_keeps_what_was_asked() -> None:
    with ScriptedPeer(Answer(503), after=Answer(200, b"<ok/>")) as peer:
        answers = [ask(peer), ask(peer), ask(peer)]

    assert answers == [(503, b""), (200, b"<ok/>"), (200, b"<ok/>")]
    assert [(one.method, one.path, one.headers["idempotency-key"]) for one in peer.requests] == [
        ("POST", "/ws", "1")
    ] * 3
    assert {one.body for one in peer.requests} == {samples.BODY}


def test_a_peer_can_reset_cut_off_and_be_silent() -> None:
    with ScriptedPeer(Reset(), Answer(200, b"<whole/>", cut=4), Silence()) as peer:
        with pytest.raises(ConnectionResetError):
            ask(peer)
        with pytest.raises(http.client.IncompleteRead) as cut:
            ask(peer)
        with pytest.raises(TimeoutError):
            ask(peer, seconds=0.2)

    assert cut.value.partial == b"<who"
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", peer.port), timeout=1)

"""P24: whoever drips makes room for whoever sends. All places of a source are taken by drips here, and no good one waits."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from adapters.http import HttpIn, HttpListener
from adapters.http_app import DRAINED, PLACES
from adapters.http_protocol import Bounds
from hub.plugin import Room
from hub.room import Budget
from hub.spool import Spool
from hub.testing import ScriptedIntake, make_context, samples
from tests.daemon import until
from tests.http_world import SENDERS, TOKEN

CONNECTIONS = DRAINED + 16
PATIENT = Bounds(head=300, total=300, keep_alive=300, linger=300, finish=1, connections=CONNECTIONS)
"""Time ends nothing here: who gets in has been given a place."""


class Source:
    """A listening source and its senders."""

    def __init__(self, base: Path, room: Room | None = None) -> None:
        context = make_context(base, secrets={"env:TOKEN": TOKEN}, room=room)
        settings = HttpIn.model_validate({"listen": "127.0.0.1:0", "senders": SENDERS})
        self.intake, self._stop, self._open = ScriptedIntake(), threading.Event(), ExitStack()
        self._listener = HttpListener(settings, context, PATIENT)
        self._thread = threading.Thread(
            target=self._listener.listen, args=(self.intake.accept, self._stop), daemon=True
        )
        self._thread.start()
        assert self._listener.wait_bound(10)

    def close(self) -> None:
        self._open.close()
        self._stop.set()
        self._thread.join(10)
        assert not self._thread.is_alive()

    def begin(self, request: bytes) -> socket.socket:
        """Send the beginning of a request."""
        sender = self._open.enter_context(socket.create_connection(("127.0.0.1", self._listener.port), timeout=10))
        sender.sendall(request)
        return sender

    def hand_in(self) -> int:
        """Return the status of a good message."""
        sender = self.begin(post(len(samples.BODY)) + samples.BODY)
        status, _ = answer_of(sender)
        sender.close()
        return status


@pytest.fixture
def source(tmp_path: Path) -> Iterator[Source]:
    made = Source(tmp_path)
    yield made
    made.close()


@pytest.fixture
def no_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nobody have a moment before it is slow, so that no test has to wait for one."""
    monkeypatch.setattr("adapters.http_places.GRACE_SECONDS", 0.0)
    monkeypatch.setattr("adapters.http_protocol.GRACE_SECONDS", 0.0)


def post(length: int, token: str = TOKEN) -> bytes:
    head = f"POST /v1/messages HTTP/1.1\r\nHost: hub\r\nAuthorization: Bearer {token}\r\n"
    return f"{head}Content-Type: application/xml\r\nContent-Length: {length}\r\n\r\n".encode()


def answer_of(sender: socket.socket) -> tuple[int, Any]:
    received = b""
    while b"\r\n\r\n" not in received or not received.endswith(b"}"):
        chunk = sender.recv(10_000)
        assert chunk, received
        received += chunk
    return int(received.split(b" ", 2)[1]), json.loads(received.partition(b"\r\n\r\n")[2])


def test_heads_that_drip_keep_no_good_sender_out(source: Source) -> None:
    drips = [source.begin(b"POST /v1/messages HTTP/1.1\r\nX-a: ") for _ in range(3 * CONNECTIONS)]

    good = [source.hand_in() for _ in range(CONNECTIONS)]
    told = {answer_of(drip)[1]["code"] for drip in drips[: 2 * CONNECTIONS]}

    assert good == [202] * CONNECTIONS
    assert told <= {"unavailable", "too_slow"}, "the oldest have gone"


def test_who_has_dripped_for_longer_than_a_moment_is_told_that_it_is_slow(source: Source, no_grace: None) -> None:
    drips = [source.begin(b"POST /v1/messages HTTP/1.1\r\nX-a: ") for _ in range(CONNECTIONS + 1)]

    status, told = answer_of(drips[0])

    assert (status, told["code"]) == (408, "too_slow")


def test_bodies_that_drip_make_room_and_a_slow_line_that_goes_on_is_left_alone(source: Source, no_grace: None) -> None:
    slow = source.begin(post(400_001) + b"x" * 400_000)  # the oldest: fifty seconds ahead of those that drip
    drips = [source.begin(post(400_001) + b"<") for _ in range(PLACES - 1)]

    good = [source.hand_in() for _ in range(PLACES)]
    status, told = answer_of(drips[0])
    slow.sendall(b"x")

    assert good == [202] * PLACES
    assert (status, told["code"], told["instance"]) == (408, "too_slow", "/v1/messages")
    assert answer_of(slow)[0] == 202


def test_a_body_that_drips_leaves_the_room_that_it_has_taken(tmp_path: Path, no_grace: None) -> None:
    room = Budget(1_000_000, Spool(tmp_path))
    source = Source(tmp_path, room.of("online"))
    drip = source.begin(post(1_000_000) + b"<")
    until(lambda: room.in_flight == 1_000_000, "all room is taken")

    taken = source.hand_in()

    assert taken == 202
    assert answer_of(drip)[0] == 408
    until(lambda: room.in_flight == 0, "all of it is given back")
    source.close()


def test_those_without_a_token_that_go_on_sending_keep_no_good_sender_out(source: Source) -> None:
    refused = [source.begin(post(400_001, token="falsch") + b"<") for _ in range(2 * CONNECTIONS)]

    told = {answer_of(one)[0] for one in refused}
    good = [source.hand_in() for _ in range(CONNECTIONS)]

    assert told <= {401, 503}
    assert good == [202] * CONNECTIONS


def test_where_nobody_drips_one_more_is_refused_before_descriptors_run_out(source: Source) -> None:
    for _ in range(CONNECTIONS):
        status, _told = answer_of(source.begin(post(len(samples.BODY)) + samples.BODY))  # and stays for its next one
        assert status == 202

    assert source.hand_in() == 503

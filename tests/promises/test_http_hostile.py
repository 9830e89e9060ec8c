"""Group ``http`` of the hostile corpus, sent byte for byte to a listener with short bounds.

A case passes if it gets its status, one answer only, a closed connection, and hurts nobody else.
"""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from adapters.http import HttpIn, HttpListener
from adapters.http_protocol import Bounds
from hub.plugin import Context, Incoming, Limits
from hub.testing import RecordedDesk, ScriptedIntake, make_context, samples

CORPUS = Path(__file__).parent.parent / "hostile"
TOKEN = b"geheim"
BOUNDS = Bounds(head=0.6, total=1.2, keep_alive=1, linger=0.5, finish=5, connections=220)
MAX_BODY = 400_000

# Where INTERFACE §4 differs from the corpus: multipart is no media type of ours.
BY_CONTRACT = {"H24": 415, "H25": 415}
WITHOUT_TOKEN = {"H36", "H37"}
PACED = {"H13", "H28", "H29"}  # have tests of their own below


def cases() -> list[Any]:
    found = json.loads((CORPUS / "cases.json").read_text(encoding="utf-8"))["cases"]
    return [case for case in found if case["group"] == "http" and case["id"] not in PACED]


@dataclass
class World:
    port: int
    context: Context
    intake: ScriptedIntake
    desk: RecordedDesk
    stop: threading.Event
    thread: threading.Thread

    def send(self, request: bytes) -> bytes:
        """Send everything, then return everything that comes until the hub closes the connection."""
        with self.connect() as sender:
            sender.sendall(request)
            return read_to_end(sender)

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=10)

    def still_serves(self) -> bool:
        """Return whether a good message is taken at once."""
        before, started = len(self.intake.offered), time.monotonic()
        answer = self.send(post(samples.BODY, "Connection: close"))
        taken = [incoming.body for incoming in self.intake.offered[before:]]
        return status(answer) == 202 and taken == [samples.BODY] and time.monotonic() - started < 1


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    desk = RecordedDesk()
    context = make_context(tmp_path, desk=desk, secrets={"env:TOKEN": TOKEN.decode()}, limits=Limits(max_body=MAX_BODY))

    def parse(incoming: Incoming) -> None:
        context.parse(incoming.body)

    settings = HttpIn.model_validate({"listen": "127.0.0.1:0", "senders": {"a": {"token": "env:TOKEN"}}})
    listener, stop, intake = HttpListener(settings, context, BOUNDS), threading.Event(), ScriptedIntake(before=parse)
    thread = threading.Thread(target=listener.listen, args=(intake.accept, stop), daemon=True)
    thread.start()
    assert listener.wait_bound(10)
    yield World(listener.port, context, intake, desk, stop, thread)
    stop.set()
    thread.join(10)
    assert not thread.is_alive()


def post(body: bytes, *headers: str, length: int | None = None) -> bytes:
    lines = ["POST /v1/messages HTTP/1.1", "Host: hub.local", f"Authorization: Bearer {TOKEN.decode()}"]
    lines += ["Content-Type: application/xml", *headers]
    if not any(line.startswith("Transfer-Encoding") for line in headers):
        lines.append(f"Content-Length: {len(body) if length is None else length}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def read_to_end(connection: socket.socket) -> bytes:
    received = b""
    while chunk := connection.recv(65536):
        received += chunk
    return received


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1]) if answer else 0


def problem(answer: bytes) -> Any:
    return json.loads(answer.partition(b"\r\n\r\n")[2])


@pytest.mark.parametrize("case", cases(), ids=lambda case: case["id"])
def test_a_hostile_request_is_answered_once_and_hurts_nobody(world: World, case: Any) -> None:
    request = (CORPUS / "cases" / case["file"]).read_bytes().replace(b"/in/antrag", b"/v1/messages", 1)
    if case["id"] not in WITHOUT_TOKEN:
        newline = b"\r\n" if b"\r\n" in request else b"\n"
        request = request.replace(newline, newline + b"Authorization: Bearer " + TOKEN + newline, 1)
    expected = BY_CONTRACT.get(case["id"], case["http"])

    answer = world.send(request)

    assert status(answer) == expected
    assert answer.count(b"HTTP/1.1 ") == 1, "exactly one answer; nothing behind the first request is a request"
    assert b"evil.example" not in answer
    assert problem(answer)["status"] == expected
    assert len(world.intake.offered) == (1 if case["cls"] == "XML_MALFORMED" else 0)
    assert world.still_serves()


def test_an_endless_chunked_body_ends_at_the_limit(world: World) -> None:  # H13
    chunk, started, hung_up = b"10000\r\n" + b"x" * 0x10000 + b"\r\n", time.monotonic(), False
    with world.connect() as sender:
        sender.sendall(post(b"", "Transfer-Encoding: chunked"))
        while not hung_up and time.monotonic() - started < 5:
            try:
                sender.sendall(chunk)
            except OSError:
                hung_up = True

    assert hung_up
    assert ("test", "body_too_large") in world.desk.counted
    assert world.intake.offered == []
    assert world.still_serves()


def test_two_hundred_dripping_heads_stop_nobody(world: World) -> None:  # H28
    slow = [world.connect() for _ in range(200)]
    for sender in slow:
        sender.sendall(b"POST /v1/messages HTTP/1.1\r\nX-a: b\r\n")

    served = world.still_serves()
    answers = [read_to_end(sender) for sender in slow]

    for sender in slow:
        sender.close()
    assert served
    assert {status(answer) for answer in answers} == {408}


@pytest.mark.parametrize("request_", [b"POST /v1/messages HTTP/1.1\r\nX-a: ", post(b"<a>", length=100_000)])
def test_dripping_ends_at_the_deadline_however_steady(world: World, request_: bytes) -> None:  # H28, H29
    started, answer = time.monotonic(), b""
    with world.connect() as sender:
        sender.sendall(request_)
        sender.settimeout(0.05)
        while not answer and time.monotonic() - started < 5:
            try:
                sender.sendall(b"x")
                answer = sender.recv(1000)
            except TimeoutError:
                continue  # nothing yet: the next byte

    assert status(answer) == 408
    assert time.monotonic() - started < 3
    assert world.intake.offered == []


SMUGGLED = b"GET /v1/messages/01920000-0000-7000-8000-000000000001 HTTP/1.1\r\nHost: hub\r\n\r\n"
HALF = b"POST /v1/messages HTTP/1.1\r\nX-a: "
MEMBERS = {"type", "title", "status", "code", "instance", "findings"}


@pytest.mark.parametrize(
    ("request_", "expected", "code"),
    [
        (b"GARBAGE\r\n\r\n", 400, "framing"),
        (post(samples.BODY).replace(TOKEN, b"falsch"), 401, "unauthenticated"),
        (post(samples.BODY).replace(b"/v1/messages", b"/v1/other"), 404, "not_found"),
        (SMUGGLED.replace(b"\r\n\r\n", b"\r\nAuthorization: Bearer " + TOKEN + b"\r\n\r\n"), 404, "not_found"),
        (b"GET http://other.example/ HTTP/1.1\r\nHost: hub\r\n\r\n", 404, "not_found"),
        (post(samples.BODY).replace(b"POST", b"PUT"), 405, "method"),
        (b"", 408, "too_slow"),
        (HALF, 408, "too_slow"),
        (post(b"<a>", length=100_000), 408, "too_slow"),
        (post(b"", length=10 * MAX_BODY), 413, "body_too_large"),
        (post(samples.BODY).replace(b"application/xml", b"text/plain"), 415, "media_type"),
        (HALF + b"a" * 20_000, 431, "headers_too_large"),
    ],
    ids=range(12),
)
def test_every_refusal_is_a_problem_document_with_the_same_members(
    world: World, request_: bytes, expected: int, code: str
) -> None:
    answer = world.send(request_)

    head, _, body = answer.partition(b"\r\n\r\n")
    assert status(answer) == expected
    assert b"\r\ncontent-type: application/problem+json\r\n" in head + b"\r\n"
    assert b"\r\ncontent-length: %d\r\n" % len(body) in head + b"\r\n"
    told = problem(answer)
    assert told.keys() == MEMBERS
    assert (told["status"], told["code"], told["instance"]) == (expected, code, "/v1/messages")


def test_a_connection_that_says_nothing_is_closed(world: World) -> None:
    with world.connect() as sender:
        answer = read_to_end(sender)

    assert status(answer) == 408


def test_an_idle_connection_is_closed_after_keep_alive(world: World) -> None:
    with world.connect() as sender:
        sender.sendall(post(samples.BODY))

        answer = read_to_end(sender)

    assert (status(answer), answer.count(b"HTTP/1.1 ")) == (202, 1)


def test_the_deadline_counts_anew_for_the_next_request_of_a_connection(world: World) -> None:
    with world.connect() as sender:
        sender.sendall(post(samples.BODY))
        first = http.client.HTTPResponse(sender)
        first.begin()
        first.read()
        sender.sendall(b"POST /v1/messages HTTP/1.1\r\nX-a: b\r\n")

        second = read_to_end(sender)

    assert (first.status, status(second)) == (202, 408)


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (post(samples.BODY) + SMUGGLED, 202),
        (post(b"<half", length=5) + b"\r\n\r\ngarbage", 400),
        (SMUGGLED.replace(b"\r\n\r\n", b"\r\nContent-Length: 5\r\n\r\n") + b"GET /" + SMUGGLED, 401),
        (post(b"1\r\na\r\n0\r\nAuthorization: x\r\n\r\n", "Transfer-Encoding: chunked"), 400),
        (post(b"0\r\n\r\n", "Transfer-Encoding: gzip, chunked"), 400),
        (post(b"0\r\n\r\n", "Transfer-Encoding: chunked", "Transfer-Encoding: chunked"), 400),
        (post(b"0\r\n\r\n", "Transfer-Encoding: chunked").replace(b"HTTP/1.1", b"HTTP/1.0"), 400),
        (post(samples.BODY, "Connection: upgrade", "Upgrade: websocket"), 400),
        (post(samples.BODY, "Host: other.example"), 400),
        (post(samples.BODY).replace(b"Host: hub.local\r\n", b""), 400),
        (post(samples.BODY).replace(b" HTTP/1.1", b""), 400),
        (b"CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: hub\r\n\r\n", 400),
        (b"OPTIONS * HTTP/1.1\r\nHost: hub\r\n\r\n", 404),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (post(b"").replace(b"/v1/messages", b"/v1/messages?" + b"q" * 20_000), 431),
        (b"\r\n" * 10_000, 431),
    ],
    ids=range(17),
)  # fmt: skip
def test_nothing_ambiguous_gets_two_answers(world: World, request_: bytes, expected: int) -> None:
    answer = world.send(request_)

    assert status(answer) == expected
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b"\r\nconnection: close\r\n" in answer.lower()
    assert world.still_serves()


def test_chunks_of_one_byte_are_odd_and_taken(world: World) -> None:
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in samples.BODY)

    answer = world.send(post(chunks + b"0\r\n\r\n", "Transfer-Encoding: chunked", "Connection: close"))

    assert status(answer) == 202
    assert [incoming.body for incoming in world.intake.offered] == [samples.BODY]


@pytest.mark.parametrize("token", ["Bearer falsch", f"Bearer {TOKEN.decode()}"])
def test_the_answer_reaches_a_sender_that_is_still_sending(world: World, token: str) -> None:
    large = b"x" * (20 * MAX_BODY)
    request = post(large).replace(b"Bearer " + TOKEN, token.encode())

    answer = world.send(request)

    assert status(answer) == (401 if "falsch" in token else 413)
    assert problem(answer)["code"] in ("unauthenticated", "body_too_large")


def test_a_sender_is_asked_for_its_body_only_when_it_is_wanted(world: World) -> None:  # H27
    with world.connect() as sender:
        sender.sendall(post(b"", "Expect: 100-continue", length=len(samples.BODY)))
        first = sender.recv(1000)
        sender.sendall(samples.BODY)
        second = sender.recv(1000)

    assert (status(first), status(second)) == (100, 202)


def test_stop_waits_for_no_idle_and_no_half_request(world: World) -> None:
    idle, half = world.connect(), world.connect()
    idle.sendall(post(samples.BODY))
    assert status(idle.recv(1000)) == 202
    half.sendall(b"POST /v1/messages HTTP/1.1\r\n")
    started = time.monotonic()

    world.stop.set()
    world.thread.join(10)

    assert not world.thread.is_alive()
    assert time.monotonic() - started < 2
    idle.close()
    half.close()


def test_who_has_connected_when_the_hub_stops_is_served(world: World) -> None:
    connected, half = world.connect(), world.connect()
    half.sendall(post(samples.BODY)[:40])
    idle = world.connect()
    idle.sendall(post(samples.BODY))
    answer = b""
    while not answer.endswith(b"}"):  # answered, so the other two are accepted as well
        answer += idle.recv(1000)

    world.stop.set()
    assert idle.recv(1000) == b""  # the hub has begun to stop
    connected.sendall(post(samples.BODY))
    half.sendall(post(samples.BODY)[40:])

    for sender in (connected, half):
        answer = read_to_end(sender)
        assert status(answer) == 202
        assert b"connection: close" in answer.lower()
        sender.close()
    idle.close()
    world.thread.join(10)
    assert not world.thread.is_alive()

"""The HTTP listener keeps the contract of listeners, and says what INTERFACE §4 says."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest

from adapters.http import HttpIn, HttpListener
from adapters.http_app import PLACES, SMALL_BYTES
from adapters.http_places import GROWTH_BYTES
from adapters.http_problems import STATUS_OF, problem
from hub.message import MessageId
from hub.plugin import Conflict, Context, Finding, Incoming, Limits, MessageStatus, Receipt, Rejected, Unavailable
from hub.room import Budget
from hub.spool import Spool
from hub.testing import ListenerContract, RecordedDesk, RecordedLog, make_context, samples
from hub.testing.listener import Told
from tests.http_world import ID, OTHER_ID, SENDERS, TOKEN, World, ask, running


class TestHttpIn(ListenerContract):
    @pytest.fixture
    def context(self, tmp_path: Path, log: RecordedLog) -> Context:
        return make_context(tmp_path, log=log, desk=RecordedDesk(), secrets={"env:TOKEN": TOKEN})

    def make(self, context: Context) -> HttpListener:
        return HttpListener(HttpIn(listen="127.0.0.1:0", senders=SENDERS), context)

    def wait_bound(self, listener: HttpListener) -> None:
        assert listener.wait_bound(10)

    def send(self, listener: HttpListener, body: bytes) -> Told:
        told: dict[int, Told] = {202: "accepted", 200: "accepted", 409: "rejected", 422: "rejected", 503: "unavailable"}
        return told.get(ask(listener, body).status, "unavailable")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with running(tmp_path) as world:
        yield world


# --- what a sender hands in


def test_a_receipt_names_the_message_and_where_to_ask_for_it(world: World) -> None:
    reply = ask(world.listener)

    assert (reply.status, reply.json) == (202, {"id": ID, "status": "accepted", "duplicate": False})
    assert reply.headers["location"] == f"/v1/messages/{ID}"


def test_a_repetition_is_told_the_first_ones_state(world: World) -> None:
    world.intake.script.append(Receipt(MessageId(ID), duplicate=True, state="delivered"))

    reply = ask(world.listener)

    assert (reply.status, reply.json) == (
        200,
        {"id": ID, "status": "accepted", "duplicate": True, "state": "delivered"},
    )


def test_what_the_headers_say_is_handed_in(world: World) -> None:
    headers: dict[str, Any] = {
        "Idempotency-Key": "a.b:c_1-2",
        "Sender-Reference": "AZ 4711/26",
        "Recipient": "wolfsburg",
    }

    ask(world.listener, **headers, Content_Type='text/xml; charset="ISO-8859-1"')

    assert world.intake.offered == [
        Incoming(
            body=samples.BODY,
            source="online",
            sender="antragsportal",
            idempotency_key="a.b:c_1-2",
            sender_reference="AZ 4711/26",
            recipient="wolfsburg",
            charset="ISO-8859-1",
        )
    ]


def test_a_rejection_names_every_finding_and_its_record(world: World) -> None:
    findings = [Finding("xsd-type", f"/a[{number}]", number, "not a date") for number in range(1, 151)]
    world.intake.script.append(Rejected("schema_violation", findings, id=ID))

    reply = ask(world.listener)

    assert (reply.status, reply.headers["content-type"]) == (422, "application/problem+json")
    problem = reply.json
    assert problem.pop("findings") == [
        {"rule": "xsd-type", "path": f"/a[{number}]", "line": number, "column": 0, "text": "not a date"}
        for number in range(1, 101)
    ]
    assert problem == {
        "type": "urn:xoev-hub:problem:schema_violation",
        "title": "The document violates its schema",
        "status": 422,
        "code": "schema_violation",
        "instance": f"/v1/messages/{ID}",
        "id": ID,
    }
    assert reply.headers["connection"] == "close"


@pytest.mark.parametrize(
    ("accept", "is_xml"),
    [("application/xml", True), ("text/xml;q=0.5, */*", True), ("application/json, APPLICATION/XML ; q=0.1", True),
     ("*/*", False), ("application/*", False), ("application/xml; q=0.0", False), ("application/xmls", False)],
)  # fmt: skip
@pytest.mark.parametrize("error", [Rejected("schema_violation", id=ID, document=b"<r/>"), Conflict("", ID, b"<r/>")])
def test_who_names_xml_gets_the_standards_own_rejection(
    world: World, accept: str, is_xml: bool, error: Exception
) -> None:
    world.intake.script.append(error)

    reply = ask(world.listener, Accept=accept)

    assert reply.status in (422, 409)
    if is_xml:
        assert (reply.body, reply.headers["content-type"]) == (b"<r/>", "application/xml; charset=utf-8")
        assert reply.headers["x-hub-id"] == ID
    else:
        assert reply.json["id"] == ID


def test_without_a_rejection_of_its_standard_who_names_xml_gets_the_problem_document(world: World) -> None:
    world.intake.script.append(Rejected("schema_violation", id=ID))

    reply = ask(world.listener, Accept="application/xml")

    assert (reply.status, reply.headers["content-type"]) == (422, "application/problem+json")


def test_every_code_has_a_title_of_its_own() -> None:
    titles = [json.loads(problem(code, "/").body)["title"] for code in STATUS_OF]

    assert len(set(titles)) == len(titles)
    assert not {HTTPStatus(status).phrase for status in STATUS_OF.values()} & set(titles)


@pytest.mark.parametrize(
    ("code", "status"),
    [("not_well_formed", 400), ("encoding", 400), ("sender_may_not", 403), ("limit", 413), ("unknown_recipient", 422),
     ("inspection_failed", 422), ("something_new", 422)],
)  # fmt: skip
def test_a_code_has_one_status(world: World, code: str, status: int) -> None:
    world.intake.script.append(Rejected(code))

    reply = ask(world.listener)

    assert (reply.status, reply.json["code"]) == (status, code)


def test_another_content_under_the_same_identity_is_a_conflict(world: World) -> None:
    world.intake.script.append(Conflict("other content"))

    reply = ask(world.listener)

    assert (reply.status, reply.json["code"]) == (409, "conflict")


@pytest.mark.parametrize("failure", [Unavailable(), RuntimeError(samples.MARKER), KeyError(samples.MARKER)], ids=repr)
def test_what_cannot_be_taken_may_be_tried_again(world: World, failure: Exception) -> None:
    world.intake.script.append(failure)

    reply = ask(world.listener)

    assert (reply.status, reply.json["code"], reply.headers["retry-after"]) == (503, "unavailable", "5")
    assert samples.MARKER not in reply.body.decode() + world.log.text


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"Idempotency-Key": "mit Leerzeichen"}, "header"),
        ({"Idempotency-Key": "x" * 201}, "header"),
        ({"Idempotency-Key": ""}, "header"),
        ({"Sender-Reference": "x" * 201}, "header"),
        ({"Sender-Reference": "\xff"}, "header"),
        ({"Recipient": "a\tb"}, "header"),
        ({"Content-Type": "application/json"}, "media_type"),
        ({"Content-Type": "application/xml; charset=utf-8; charset=latin1"}, "media_type"),
        ({"Content-Type": "application/soap+xml"}, "media_type"),
        ({"Content-Encoding": "gzip"}, "content_encoding"),
        ({"Content-Encoding": "identity"}, "content_encoding"),
    ],
    ids=str,
)
def test_a_header_that_is_not_accepted_ends_it_before_the_body(
    world: World, headers: dict[str, Any], code: str
) -> None:
    reply = ask(world.listener, **headers)

    assert (reply.status, reply.json["code"]) == (STATUS_OF[code], code)
    if code == "header":
        ((name, value),) = headers.items()
        (finding,) = reply.json["findings"]
        assert finding["text"].startswith(f"{name.lower()}: expected ")
        assert value not in finding["text"] or not value
    assert world.intake.offered == []
    assert world.desk.counted == [("online", code)]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/messages", 405),
        ("PUT", "/v1/messages", 405),
        ("POST", f"/v1/messages/{ID}", 405),
        ("POST", "/v1/messages/", 404),
        ("POST", "/v1/message%73", 404),
        ("GET", "/", 404),
        ("GET", "/v1/messages/1", 404),
        ("GET", f"/v1/messages/{ID}/payload", 404),
    ],
)
def test_there_is_nothing_else(world: World, method: str, path: str, status: int) -> None:
    reply = ask(world.listener, method=method, path=path)

    assert reply.status == status
    assert ("allow" in reply.headers) is (status == 405)
    assert world.intake.offered == []


def test_a_body_over_the_limit_is_refused_however_it_is_sent(tmp_path: Path) -> None:
    with running(tmp_path, limits=Limits(max_body=1000)) as world:
        exact = ask(world.listener, b"x" * 1000)
        longer = ask(world.listener, b"x" * 1001)
        connection = http.client.HTTPConnection("127.0.0.1", world.listener.port, timeout=10)
        headers = {"Content-Type": "application/xml", "Authorization": f"Bearer {TOKEN}"}
        connection.request("POST", "/v1/messages", iter([b"x" * 600] * 2), headers, encode_chunked=True)
        chunked = connection.getresponse()

        assert [exact.status, longer.status, chunked.status] == [202, 413, 413]
        assert json.loads(chunked.read())["code"] == "body_too_large"
        assert len(world.intake.offered) == 1
        connection.close()


def test_more_than_the_places_at_once_are_told_to_come_again(tmp_path: Path) -> None:
    with running(tmp_path) as world:
        go = threading.Event()

        def wait(_: Incoming) -> None:
            go.wait(60)  # none is done before one more has come than there are places

        world.intake.before = wait
        with ThreadPoolExecutor(PLACES + 1) as senders:
            asked = [senders.submit(ask, world.listener) for _ in range(PLACES + 1)]
            first = next(as_completed(asked, timeout=50)).result()
            go.set()
            statuses = sorted(one.result(60).status for one in asked)

        assert (first.status, first.headers["retry-after"]) == (503, "5")
        assert statuses == [202] * PLACES + [503]


def test_a_large_message_does_not_wait_for_small_ones_that_hang(tmp_path: Path) -> None:
    with running(tmp_path) as world:
        go, large = threading.Event(), threading.Event()

        def wait(incoming: Incoming) -> None:
            if len(incoming.body) > SMALL_BYTES:
                large.set()
            else:
                go.wait(60)

        world.intake.before = wait
        with ThreadPoolExecutor(PLACES) as senders:
            small = [senders.submit(ask, world.listener) for _ in range(PLACES - 1)]
            assert ask(world.listener, b"<a>" + b" " * SMALL_BYTES + b"</a>").status == 202
            go.set()
            assert {one.result(60).status for one in small} == {202}

        assert large.is_set()


def test_more_bytes_than_there_is_room_for_are_told_to_come_again(tmp_path: Path) -> None:
    with running(tmp_path, room=1000) as world:
        full, go = threading.Event(), threading.Event()

        def wait(_: Incoming) -> None:
            full.set()
            assert go.wait(20)

        world.intake.before = wait
        with ThreadPoolExecutor(1) as senders:
            large = senders.submit(ask, world.listener, b"x" * 900)
            assert full.wait(20)
            over = ask(world.listener, b"x" * 200)
            go.set()
            assert large.result(20).status == 202
        world.intake.before = None
        small = ask(world.listener, b"x" * 200)

        assert (over.status, over.headers["retry-after"], small.status) == (503, "5", 202)


def test_a_body_of_unknown_length_takes_room_as_it_grows(tmp_path: Path) -> None:
    room = Budget(3 * GROWTH_BYTES, Spool(tmp_path))
    elsewhere = room.of("elsewhere")
    with running(tmp_path, room=room.of("online")) as world:
        parts = [b"x" * 1000] * 5
        small = ask(world.listener, iter(parts))
        assert elsewhere.take(2 * GROWTH_BYTES)
        still = ask(world.listener, iter(parts))
        over = ask(world.listener, iter(parts * 300))

        assert (small.status, still.status, over.status) == (202, 202, 503)
        assert [len(one.body) for one in world.intake.offered] == [5000, 5000]
        elsewhere.give(2 * GROWTH_BYTES)
        assert room.in_flight == 0, "whatever became of it, its room is given back"


# --- what a sender may ask


def test_a_sender_sees_its_own_messages_and_no_others(world: World) -> None:
    deliveries = ({"id": OTHER_ID, "state": "delivered", "values": {"aktenzeichen": "26/1"}},)
    world.desk.messages[("antragsportal", ID)] = MessageStatus("delivered", deliveries)
    world.desk.messages[("somebody-else", OTHER_ID)] = MessageStatus("delivered")

    own = ask(world.listener, method="GET", path=f"/v1/messages/{ID}")
    others = ask(world.listener, method="GET", path=f"/v1/messages/{OTHER_ID}")
    nobody = ask(world.listener, method="GET", path=f"/v1/messages/{ID}", token=None)

    assert (own.status, own.json) == (200, {"id": ID, "status": "delivered", "deliveries": list(deliveries)})
    assert (others.status, nobody.status) == (404, 401)


def test_a_stored_reply_is_passed_on_as_what_it_was(world: World) -> None:
    world.desk.replies[("antragsportal", ID, OTHER_ID)] = (b"<reply/>", "text/xml")
    world.desk.replies[("antragsportal", ID, ID)] = (b"<reply/>", "text/xml\r\nSet-Cookie: x")

    reply = ask(world.listener, method="GET", path=f"/v1/messages/{ID}/replies/{OTHER_ID}")
    odd = ask(world.listener, method="GET", path=f"/v1/messages/{ID}/replies/{ID}")
    none = ask(world.listener, method="GET", path=f"/v1/messages/{OTHER_ID}/replies/{ID}")

    assert (reply.status, reply.headers["content-type"], reply.body) == (200, "text/xml", b"<reply/>")
    assert (odd.status, odd.headers["content-type"]) == (200, "application/octet-stream")
    assert none.status == 404

"""Simulated procedures do what their script says, and write down what they took before they answer."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from hub.plugin import Blocked, Context, Deferred, Delivered, Limits, Outcome, Refused, Unclear
from hub.simulate import Answer, Answers, Ledger, Script, ScriptError, running
from hub.simulate.soap import SoapProcedure
from hub.testing import outgoing
from tests.soap_peer import destination, soap_context

SCRIPT = """
ledger: out/ledger.jsonl
procedures:
  gewerbe:
    soap: {listen: "127.0.0.1:0", require: {username: hub, password: "file:gewerbe.pw"}}
    answers: [ok, {code: 0815}]
"""


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return soap_context(tmp_path, secrets={"env:PW": "geheim"}, limits=Limits(total=timedelta(seconds=2)))


@pytest.fixture
def procedure(tmp_path: Path) -> Iterator[SoapProcedure]:
    made = SoapProcedure("gewerbe", {}, Answers(), Ledger(tmp_path / "ledger.jsonl"))
    made.start()
    yield made
    made.stop()


def wait_for(condition: Callable[[], Any], seconds: float = 5) -> None:
    until = time.monotonic() + seconds
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < until, "it did not happen in time"
        pause.wait(0.01)


@pytest.mark.parametrize(
    ("answer", "kind", "taken"),
    [
        ("ok", Delivered, True),
        ({"ok": {"az": "1/26"}}, Delivered, True),
        ({"slow": "50ms"}, Delivered, True),
        ({"code": "17"}, Refused, False),
        ({"code": "99"}, Unclear, False),
        ({"fault": {"code": "Client", "text": "Pflichtfeld fehlt"}}, Refused, False),
        ({"fault": {"code": "Server"}}, Unclear, False),
        ("fault", Unclear, False),
        ({"hang": "5s"}, Unclear, False),
        ("html", Unclear, False),
        ({"status": "401"}, Blocked, False),
        ({"status": 503, "retry_after": "7"}, Deferred, False),
        ("taken-then-fault", Unclear, True),
        ("taken-then-cut", Unclear, True),
        ("redirect", Blocked, False),
        ("empty", Unclear, True),
        ("garbage", Unclear, True),
        ("wrong-element", Unclear, True),
        ("big", Unclear, True),
    ],
)
@pytest.mark.parametrize("soap", ["1.1", "1.2"])
def test_each_answer_is_what_it_says(
    context: Context, procedure: SoapProcedure, answer: object, kind: type[Outcome], taken: bool, soap: str
) -> None:
    procedure.answers.set([answer])
    delivery = outgoing(deadline=time.monotonic() + 1)

    outcome = destination(context, procedure.address, soap=soap).deliver(delivery)

    assert isinstance(outcome, kind), outcome
    [entry] = procedure.ledger.entries()
    assert entry["delivery"] == delivery.delivery_id
    assert entry["size"] == len(delivery.body)
    assert entry["taken"] is taken


def test_answers_come_in_order_and_the_last_one_repeats(context: Context, procedure: SoapProcedure) -> None:
    procedure.answers.set([{"code": "23"}, {"status": 503}, "ok"])
    made = destination(context, procedure.address)

    outcomes = [type(made.deliver(outgoing(number))) for number in range(4)]

    assert outcomes == [Deferred, Deferred, Delivered, Delivered]
    assert [entry["answer"] for entry in procedure.ledger.entries()] == ["code:23", "status", "ok", "ok"]


def test_a_repetition_gets_the_same_file_number(context: Context, procedure: SoapProcedure) -> None:
    made = destination(context, procedure.address)

    first, again = (made.deliver(outgoing(7)) for _ in range(2))

    assert isinstance(first, Delivered)
    assert isinstance(again, Delivered)
    assert first.values == again.values != {}


def test_down_refuses_connections_until_it_is_over(context: Context, procedure: SoapProcedure) -> None:
    made = destination(context, procedure.address)
    procedure.answers.set(["ok", {"down": "300ms"}, "ok"])

    first, second = made.deliver(outgoing(1)), made.deliver(outgoing(2))
    wait_for(lambda: procedure.answers.current().kind == "ok")
    wait_for(lambda: isinstance(made.deliver(outgoing(3)), Delivered))

    assert isinstance(first, Delivered)
    assert isinstance(second, Deferred | Unclear)
    assert procedure.ledger.taken() == {outgoing(1).delivery_id, outgoing(3).delivery_id}


def test_a_wrong_checksum_is_not_taken(context: Context, procedure: SoapProcedure) -> None:
    parameters = {"mandant": "1", "xml": {"payload": "base64"}, "pruefsumme": "0000"}

    outcome = destination(context, procedure.address, parameters=parameters).deliver(outgoing())

    assert isinstance(outcome, Unclear)
    assert outcome.code == "rc-unlisted"
    assert procedure.ledger.taken() == set()


def test_who_does_not_know_the_password_gets_401_and_no_entry(context: Context, tmp_path: Path) -> None:
    (tmp_path / "gewerbe.pw").write_text("geheim\n")
    (tmp_path / "script.yaml").write_text(SCRIPT)
    security = {"kind": "basic", "username": "hub", "password": "env:PW"}
    script = Script(tmp_path / "script.yaml")

    with running(script) as procedures:
        address = procedures["gewerbe"].address
        stranger = destination(context, address).deliver(outgoing(1))
        known = destination(context, address, security=security).deliver(outgoing(2))

    assert isinstance(stranger, Blocked)
    assert isinstance(known, Delivered)
    assert script.ledger.path == tmp_path / "out/ledger.jsonl"
    assert script.ledger.taken("gewerbe") == {outgoing(2).delivery_id}


def test_a_script_that_changes_on_disk_counts_from_the_next_document_on(tmp_path: Path) -> None:
    (tmp_path / "gewerbe.pw").write_text("geheim\n")
    path = tmp_path / "script.yaml"
    path.write_text(SCRIPT)
    answers = Script(path).procedures[0].answers

    before = [answers.next(), answers.next(), answers.next()]
    path.write_text(SCRIPT.replace("[ok, {code: 0815}]", "[ok, {code: 0815"))
    broken = answers.next()
    path.write_text(SCRIPT.replace("[ok, {code: 0815}]", "[html]"))
    after = answers.next()

    assert before == [Answer("ok"), Answer("code", code="0815"), Answer("code", code="0815")]
    assert broken == before[-1]
    assert after == Answer("html")


@pytest.mark.parametrize(
    "written",
    [
        "ja",
        {"okay": {}},
        {},
        {"code": ""},
        "code",
        "status",
        {"status": "999"},
        {"slow": "fast"},
        "hang",
        {"ok": {"rc": "0"}},
        {"html": "x"},
        {"ok": {"az": "1"}, "code": "1"},
    ],
)
def test_an_answer_that_nobody_knows_is_an_error(written: Any) -> None:
    with pytest.raises(ScriptError, match="answers:"):
        Answer.read(written)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "procedures: []", "procedures: {a: {}}", "procedures: {a: {soap: {}, amqp: {}}}", "a: [", "!!x y"],
)
def test_a_script_that_is_none_is_an_error_that_names_it(tmp_path: Path, text: str) -> None:
    (tmp_path / "script.yaml").write_text(text)

    with pytest.raises(ScriptError, match=r"script\.yaml"):
        Script(tmp_path / "script.yaml")


def test_a_request_that_is_no_soap_gets_a_fault_and_no_entry(procedure: SoapProcedure) -> None:
    connection = http.client.HTTPConnection(procedure.address.split("/")[2], timeout=5)

    connection.request("POST", "/ws", b"<!DOCTYPE a><a/>")

    answer = connection.getresponse()
    assert (answer.status, b"faultcode>soap:Client<" in answer.read()) == (500, True)
    connection.close()
    assert procedure.ledger.entries() == []

"""What a hostile or careless peer, environment or message makes of the SOAP adapter: nothing."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from hub.plugin import Blocked, Context, Delivered, Header, Limits, MessageType, Part, Reason, Refused, Unclear
from hub.testing import MARKER, RecordedLog, outgoing
from tests.soap_peer import Peer, brief, canary_server, deliver, destination, http, reply, soap, soap_context

CASES = Path(__file__).parents[1] / "hostile" / "cases"


@pytest.fixture
def log() -> RecordedLog:
    return RecordedLog()


@pytest.fixture
def context(tmp_path: Path, log: RecordedLog) -> Context:
    return soap_context(tmp_path, log=log, limits=Limits(max_reply=100_000))


@pytest.fixture
def peer() -> Iterator[Peer]:
    with Peer() as peer:
        yield peer


# --- hostile answers ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("case", "kind"),
    [
        ("d08_answer_xxe.xml", Unclear),
        ("d09_answer_xop_file.xml", Unclear),
        ("d10_answer_redirect_307.http", Blocked),
        ("d11_answer_redirect_file.http", Blocked),
        ("d12_answer_gzip_bomb.http", Unclear),
        ("d14_answer_200_html.http", Unclear),
        ("d15_answer_202_empty.http", Unclear),
    ],
)
def test_a_hostile_answer_delivers_nothing_opens_no_file_and_asks_nobody(
    context: Context, peer: Peer, log: RecordedLog, tmp_path: Path, case: str, kind: type
) -> None:
    canary = tmp_path / "canary.txt"
    canary.write_text("CANARY-SECRET-4711")
    with canary_server() as (url, hits):
        answer = (CASES / case).read_bytes().replace(b"{{HTTP}}", url.encode())
        answer = answer.replace(b"{{FILE}}", str(canary).encode())
        if case.endswith(".xml"):
            answer = http(200, answer)

        outcome = deliver(context, peer, answer, reply="any")

    assert isinstance(outcome, kind)
    assert "CANARY" not in repr(outcome) + getattr(outcome, "detail", "") + log.text
    assert hits == []
    assert len(peer.taken) == 1


def test_cookies_are_neither_kept_nor_sent(context: Context, peer: Peer) -> None:
    cookies = [line for line in (CASES / "d17_set_cookie_flood.http").read_text().splitlines() if "Cookie" in line]
    peer.answer = http(200, reply(), "text/xml", *cookies[:40])
    made = destination(context, peer.address)

    outcomes = [made.deliver(outgoing(number)) for number in (1, 2)]

    made.close()
    assert [type(outcome) for outcome in outcomes] == [Delivered, Delivered]
    assert [head for head, _ in peer.taken if b"cookie" in head.lower()] == []


# --- before and beside the answer ---------------------------------------------------------------------------------


def test_the_environment_s_proxy_gets_nothing(
    context: Context, peer: Peer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login wrong password wrong\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    with canary_server() as (url, hits):
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, url)

        outcome = deliver(context, peer, http(200, reply()))

    assert isinstance(outcome, Delivered)
    assert hits == []
    assert b"authorization" not in peer.taken[0][0].lower()


def test_a_payload_that_does_not_fit_is_refused_before_anything_is_sent(context: Context, peer: Peer) -> None:
    made = destination(context, peer.address, payload="raw", parameters=None)
    delivery = outgoing()

    outcomes = {
        "raw-root": made.deliver(delivery),
        "payload-not_well_formed": made.deliver(replace(delivery, body=b"kein XML")),
        "attachments": made.deliver(replace(delivery, parts=(Part("plan.pdf", "application/pdf", b"%PDF"),))),
    }

    made.close()
    assert {code: brief(outcome) for code, outcome in outcomes.items()} == {
        code: (Refused, Reason.TRANSFORM_FAILED, code) for code in outcomes
    }
    assert peer.taken == []


def test_a_value_that_the_message_lacks_is_refused_before_anything_is_sent(context: Context, peer: Peer) -> None:
    parameters = {"mandant": {"value": "bezirk"}, "xml": {"payload": "base64"}, "pruefsumme": "0"}

    outcome = deliver(context, peer, http(200, reply()), parameters=parameters)

    assert brief(outcome) == (Refused, Reason.TRANSFORM_FAILED, "value-missing")
    assert peer.taken == []


def test_a_value_of_the_message_cannot_become_a_second_header(context: Context, peer: Peer) -> None:
    made = destination(context, peer.address, headers={"X-Bezirk": {"value": "bezirk"}})
    header = Header(type=MessageType("antrag", "1.0", "antrag.0101"), keys={"bezirk": "Mitte\r\nX-Admin: 1"})
    delivery = outgoing()

    outcome = made.deliver(replace(delivery, message=replace(delivery.message, header=header)))

    assert brief(outcome) == (Refused, Reason.TRANSFORM_FAILED, "header-value")
    assert peer.taken == []


def test_nothing_of_payload_or_answer_reaches_a_log(
    context: Context, peer: Peer, log: RecordedLog, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    answers = [
        http(200, reply(f"<rc>{MARKER}</rc>")),
        http(200, reply(f"<rc>0</rc><az>{MARKER}</az>")),
        http(500, soap(f"<s:Fault><faultcode>s:Server</faultcode><faultstring>{MARKER}</faultstring></s:Fault>")),
        http(400, MARKER.encode(), "text/plain", f"X-Name: {MARKER}"),
        http(200, f"<{MARKER}>".encode()),
        f"HTTP/1.1 {MARKER}\r\n\r\n".encode(),
        MARKER.encode(),
    ]

    codes = [deliver(context, peer, answer).code for answer in answers]

    assert MARKER not in log.text + caplog.text + "".join(codes) + "".join(capfd.readouterr())
    assert codes[-2:] == ["http-unreadable", "http-unreadable"]

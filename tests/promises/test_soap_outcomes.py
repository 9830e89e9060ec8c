"""Every answer that a SOAP service can give has one meaning, and nothing counts as delivered that is not.

The peer answers byte for byte what is written here; the adapter is the real one with the real guard.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from adapters.soap_reply import retry_after
from hub.plugin import Blocked, Context, Deferred, Delivered, Limits, Phase, Reason, Refused, Unclear
from hub.testing import MARKER
from tests.soap_peer import NAMESPACE, SOAP11, SOAP12, Peer, brief, deliver, http, reply, soap, soap_context

CASES = Path(__file__).parents[1] / "hostile" / "cases"


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return soap_context(tmp_path, limits=Limits(max_reply=100_000))


@pytest.fixture
def peer() -> Iterator[Peer]:
    with Peer() as peer:
        yield peer


def fault11(code: str, text: str = "Nein", detail: str = "") -> bytes:
    detail = f"<detail>{detail}</detail>" if detail else ""
    return soap(
        '<s:Fault xmlns:w="http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd" '
        f'xmlns:app="urn:app"><faultcode>{code}</faultcode><faultstring>{text}</faultstring>{detail}</s:Fault>'
    )


def fault12(code: str, *subcodes: str, text: str = "Nein") -> bytes:
    nested = ""
    for subcode in reversed(subcodes):
        nested = f"<s:Subcode><s:Value>{subcode}</s:Value>{nested}</s:Subcode>"
    return soap(
        f'<s:Fault xmlns:app="urn:app"><s:Code><s:Value>{code}</s:Value>{nested}</s:Code>'
        f'<s:Reason><s:Text xml:lang="de">{text}</s:Text></s:Reason></s:Fault>',
        SOAP12,
    )


# --- the status ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "kind", "reason"),
    [
        *((status, Blocked, Reason.PEER_PROTOCOL) for status in (300, 301, 302, 303, 304, 307, 308, 404)),
        *((status, Blocked, Reason.PEER_AUTH) for status in (401, 403, 407)),
        *((status, Deferred, Reason.BUSY) for status in (408, 425, 429, 503)),
        *((status, Refused, Reason.REFUSED) for status in (400, 402, 405, 410, 411, 413, 415, 418, 422, 451)),
        *((status, Unclear, Reason.UNCLEAR) for status in (500, 501, 502, 505, 507, 599)),
        (504, Unclear, Reason.TIMEOUT),
    ],
)
@pytest.mark.parametrize("body", [b"", b"<html>Wartung</html>"])
def test_a_status_without_a_soap_body_means_what_the_table_says(
    context: Context, peer: Peer, status: int, kind: type, reason: Reason, body: bytes
) -> None:
    outcome = deliver(context, peer, http(status, b"" if status == 304 else body, "text/html"))

    assert brief(outcome) == (kind, reason, f"http-{status}")
    assert outcome.phase is Phase.RESPONSE_READ


def test_a_busy_peer_may_say_how_long(context: Context, peer: Peer) -> None:
    outcome = deliver(context, peer, http(503, b"", None, "Retry-After: 120"))

    assert isinstance(outcome, Deferred)
    assert outcome.retry_after == timedelta(seconds=120)


@pytest.mark.parametrize(
    ("text", "wait"),
    [
        ("0", timedelta(0)),
        ("7", timedelta(seconds=7)),
        ("999999999", timedelta(days=1)),
        ("Mon, 02 Nov 2026 08:05:00 GMT", timedelta(minutes=5)),
        ("Mon, 02 Nov 2026 07:00:00 GMT", timedelta(0)),
        ("Fri, 02 Nov 2096 07:00:00 GMT", timedelta(days=1)),
        *((text, None) for text in ("", "-1", "1.5", "bald", "٣", "9" * 40, "Mon, 99 Nov 99999 08:05:00 GMT")),
    ],
)
def test_retry_after_is_seconds_or_a_date_and_never_more_than_a_day(text: str, wait: timedelta | None) -> None:
    assert retry_after(text, datetime(2026, 11, 2, 8, 0, tzinfo=UTC)) == wait


# --- faults -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (500, fault11("s:Client"), (Refused, Reason.REFUSED, "soap-Client")),
        (200, fault11("s:Client"), (Refused, Reason.REFUSED, "soap-Client")),
        (500, fault11("s:Client.Validierung"), (Refused, Reason.REFUSED, "soap-Client")),
        (500, fault11("s:Server"), (Unclear, Reason.UNCLEAR, "soap-Server")),
        (200, fault11("s:Server"), (Unclear, Reason.UNCLEAR, "soap-Server")),
        (400, fault11("s:Server"), (Unclear, Reason.UNCLEAR, "soap-Server")),
        (500, fault11("app:4711"), (Unclear, Reason.UNCLEAR, "soap-other")),
        (500, fault11(MARKER), (Unclear, Reason.UNCLEAR, "soap-other")),
        (500, fault11(""), (Unclear, Reason.UNCLEAR, "soap-other")),
        (500, fault11("s:VersionMismatch"), (Blocked, Reason.PEER_PROTOCOL, "soap-VersionMismatch")),
        (500, fault11("s:MustUnderstand"), (Blocked, Reason.PEER_PROTOCOL, "soap-MustUnderstand")),
        (500, fault11("w:FailedAuthentication"), (Blocked, Reason.PEER_AUTH, "soap-security")),
        (503, fault11("s:Server"), (Deferred, Reason.BUSY, "http-503")),
        (401, fault11("s:Client"), (Blocked, Reason.PEER_AUTH, "http-401")),
        (500, fault12("s:Sender"), (Refused, Reason.REFUSED, "soap-Sender")),
        (400, fault12("s:Sender", "app:Pflichtfeld"), (Refused, Reason.REFUSED, "soap-Sender")),
        (200, fault12("s:Receiver"), (Unclear, Reason.UNCLEAR, "soap-Receiver")),
        (500, soap("<s:Fault/>"), (Unclear, Reason.UNCLEAR, "soap-other")),
        (200, reply().replace(b"</s:Body>", b"<s:Fault/></s:Body>"), (Unclear, Reason.UNCLEAR, "soap-other")),
    ],
)
def test_a_fault_is_a_fault_whatever_the_status_says(
    context: Context, peer: Peer, status: int, body: bytes, expected: tuple[object, ...]
) -> None:
    assert brief(deliver(context, peer, http(status, body))) == expected


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("refused", (Refused, Reason.REFUSED)),
        ("deferred", (Deferred, Reason.BUSY)),
        ("delivered", (Delivered, None)),
        ("unclear", (Unclear, Reason.UNCLEAR)),
        ("blocked", (Blocked, Reason.PEER_PROTOCOL)),
    ],
)
@pytest.mark.parametrize(
    ("code", "body"),
    [
        ("Server", fault11("s:Server")),
        ("Bestand", fault11("s:Server", detail='<a:Bestand xmlns:a="urn:a"/>')),
        ("Bestand", fault12("s:Receiver", "app:Fach", "app:Bestand")),
        ("Client.Doppelt", fault11("s:Client.Doppelt")),
    ],
)
@pytest.mark.parametrize("status", [200, 500, 503])
def test_faults_of_the_settings_override_the_table(
    context: Context, peer: Peer, word: str, expected: tuple[object, ...], code: str, body: bytes, status: int
) -> None:
    outcome = deliver(context, peer, http(status, body), faults={code: word})

    assert brief(outcome) == (*expected, f"soap-{code}")


def test_what_a_fault_says_is_kept_short_and_harmless_and_apart(context: Context, peer: Peer) -> None:
    text = f"\x9b2J{MARKER}\u202egnp.exe {'x' * 600}"
    escape = (CASES / "k14_ansi_in_soap_fault.txt").read_text("latin-1")

    outcome = deliver(context, peer, http(500, fault11("s:Client", text)))
    unreadable = deliver(context, peer, http(500, fault11("s:Client", escape)))

    assert isinstance(outcome, Refused)
    assert MARKER in outcome.detail
    assert outcome.detail.isprintable()
    assert len(outcome.detail) <= 500
    assert isinstance(unreadable, Unclear)  # ESC is no XML


# --- replies ------------------------------------------------------------------------------------------------------


def test_the_expected_reply_is_delivered_with_its_values_and_kept(context: Context, peer: Peer) -> None:
    outcome = deliver(context, peer, http(200, reply()))

    assert brief(outcome) == (Delivered, None, "")
    assert isinstance(outcome, Delivered)
    assert dict(outcome.values) == {"aktenzeichen": "12/34"}
    assert outcome.reply == reply()
    assert outcome.phase is Phase.RESPONSE_PARSED


@pytest.mark.parametrize("az", ["", "<az>Ä</az>", "<az>1</az><az>2</az>", f"<az>{'1' * 201}</az>", "<az>1\n2</az>"])
def test_a_value_that_is_missing_or_odd_does_not_undo_the_delivery(context: Context, peer: Peer, az: str) -> None:
    outcome = deliver(context, peer, http(200, reply(f"<rc>0</rc>{az}")))

    assert isinstance(outcome, Delivered)
    assert dict(outcome.values) == {}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("<rc>17</rc>", (Refused, Reason.REFUSED, "rc-17")),
        ("<rc> 17\n</rc>", (Refused, Reason.REFUSED, "rc-17")),
        ("<rc>1<!-- x -->7</rc>", (Refused, Reason.REFUSED, "rc-17")),
        ("<rc>23</rc>", (Deferred, Reason.BUSY, "rc-23")),
        ("<rc>42</rc>", (Delivered, None, "rc-42")),
        ("<rc>90</rc>", (Blocked, Reason.PEER_PROTOCOL, "rc-90")),
        ("<rc>91</rc>", (Unclear, Reason.UNCLEAR, "rc-91")),
        ("<rc>1</rc>", (Unclear, Reason.UNCLEAR, "rc-unlisted")),
        (f"<rc>{MARKER}</rc>", (Unclear, Reason.UNCLEAR, "rc-unlisted")),
        ("<rc/>", (Unclear, Reason.UNCLEAR, "rc-unlisted")),
        ("", (Unclear, Reason.UNCLEAR, "rc-missing")),
        ("<rc>0</rc><rc>17</rc>", (Unclear, Reason.UNCLEAR, "rc-missing")),
        ('<rc xmlns="urn:other">0</rc>', (Unclear, Reason.UNCLEAR, "rc-missing")),
    ],
)
def test_the_code_of_a_reply_decides_and_what_is_not_listed_is_unclear(
    context: Context, peer: Peer, content: str, expected: tuple[object, ...]
) -> None:
    assert brief(deliver(context, peer, http(200, reply(content)))) == expected


def test_a_code_in_the_soap_header_is_not_the_reply_s_code(context: Context, peer: Peer) -> None:
    inner = f'<f:UebergebenAntwort xmlns:f="{NAMESPACE}"/>'

    outcome = deliver(context, peer, http(200, soap(inner, header="<s:Header><rc>0</rc></s:Header>")))

    assert brief(outcome) == (Unclear, Reason.UNCLEAR, "rc-missing")


UNEXPECTED = {
    "another-element": (soap('<x:Quittung xmlns:x="urn:x"><rc>0</rc></x:Quittung>'), "unexpected-element"),
    "no-namespace": (soap("<UebergebenAntwort><rc>0</rc></UebergebenAntwort>"), "unexpected-element"),
    "the-request-again": (soap(f'<f:Uebergeben xmlns:f="{NAMESPACE}"/>'), "unexpected-element"),
    "empty-body": (soap(""), "unexpected-element"),
    "reply-twice": (
        soap(f'<f:UebergebenAntwort xmlns:f="{NAMESPACE}"><rc>0</rc></f:UebergebenAntwort>' * 2),
        "unexpected-element",
    ),
    "soap-1.2": (reply(namespace=SOAP12), "unexpected-element"),
    "no-envelope": (b"<rc>0</rc>", "not-soap"),
    "other-envelope": (reply(namespace="urn:soap"), "not-soap"),
    "no-body": (f'<s:Envelope xmlns:s="{SOAP11}"/>'.encode(), "soap-body"),
    "two-bodies": (reply().replace(b"</s:Body>", b"</s:Body><s:Body/>"), "soap-body"),
    "cut-xml": (reply()[:-20], "reply-not_well_formed"),
    "garbage": (b"\x00\x01<rc>0</rc>", "reply-not_well_formed"),
    "doctype": (b"<!DOCTYPE x>" + reply(), "reply-doctype_forbidden"),
    "blank": (b"  \r\n", "reply-empty"),
    "oversized": (reply("<rc>0</rc><text>" + "x" * 100_000 + "</text>"), "reply-too-large"),
    "xop": (
        reply('<rc>0</rc><x:Include xmlns:x="http://www.w3.org/2004/08/xop/include" href="cid:a"/>'),
        "xop",
    ),
}


@pytest.mark.parametrize("case", UNEXPECTED)
@pytest.mark.parametrize("rules", ["given", "any", "none"])
def test_a_200_that_is_not_the_expected_reply_is_unclear(context: Context, peer: Peer, case: str, rules: str) -> None:
    body, code = UNEXPECTED[case]
    settings = {"given": {}, "any": {"reply": "any"}, "none": {"reply": None}}[rules]

    outcome = deliver(context, peer, http(200, body), **settings)

    assert brief(outcome) == (Unclear, Reason.UNCLEAR, code)


@pytest.mark.parametrize("rules", ["any", None])
def test_without_conditions_the_right_element_is_enough(context: Context, peer: Peer, rules: str | None) -> None:
    assert isinstance(deliver(context, peer, http(200, reply("<rc>17</rc>")), reply=rules), Delivered)


@pytest.mark.parametrize(
    ("body", "media_type", "code"),
    [
        (b"<html>Wartungsarbeiten</html>", "text/html", "html"),
        (b"<html>Wartungsarbeiten</html>", "text/xml", "html"),
        (b'<HTML xmlns="http://www.w3.org/1999/xhtml"/>', "application/xhtml+xml", "html"),
        (reply(), "text/html; charset=utf-8", "html"),
        (reply(), "text/plain", "media-type"),
        (reply(), "application/json", "media-type"),
        (reply(), "multipart/related", "media-type"),
        (reply(), None, "media-type"),
    ],
)
@pytest.mark.parametrize("operation", ["Uebergeben", "Hinweis"])
def test_a_200_of_the_wrong_kind_blocks_the_destination(
    context: Context, peer: Peer, body: bytes, media_type: str | None, code: str, operation: str
) -> None:
    outcome = deliver(context, peer, http(200, body, media_type), **(ONE_WAY if operation == "Hinweis" else {}))

    assert brief(outcome) == (Unclear, Reason.PEER_PROTOCOL, code)
    assert isinstance(outcome, Unclear)
    assert outcome.blocks


@pytest.mark.parametrize("status", [200, 202, 204])
def test_an_empty_answer_confirms_nothing_where_a_reply_belongs(context: Context, peer: Peer, status: int) -> None:
    assert brief(deliver(context, peer, http(status, b"", None))) == (Unclear, Reason.UNCLEAR, "reply-empty")


@pytest.mark.parametrize(
    "cut",
    [
        http(200, reply()).replace(b"Content-Length: ", b"Content-Length: 1"),
        b"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s" % (999, reply()),
        b"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n%s" % reply(),
    ],
)
def test_an_answer_shorter_than_it_promised_is_unclear_even_if_it_can_be_read(
    context: Context, peer: Peer, cut: bytes
) -> None:
    outcome = deliver(context, peer, cut)

    assert brief(outcome) == (Unclear, Reason.UNCLEAR, "reply-cut")
    assert outcome.phase is Phase.REQUEST_SENT


def test_a_compressed_answer_is_not_read(context: Context, peer: Peer) -> None:
    outcome = deliver(context, peer, http(200, gzip.compress(reply()), "text/xml", "Content-Encoding: gzip"))

    assert brief(outcome) == (Unclear, Reason.UNCLEAR, "reply-content-encoding")
    assert b"accept-encoding: identity" in peer.taken[0][0].lower()


# --- one-way operations -------------------------------------------------------------------------------------------

ONE_WAY = {"operation": "Hinweis", "parameters": {"_value_1": {"payload": "xml"}}, "reply": None}


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (http(202, b"", None), (Delivered, None, "")),
        (http(200, b"", None), (Delivered, None, "")),
        (http(204, b"", None), (Delivered, None, "")),
        (http(200, soap("")), (Delivered, None, "")),
        (http(200, fault11("s:Client")), (Refused, Reason.REFUSED, "soap-Client")),
        (http(200, b"<rc>0"), (Unclear, Reason.UNCLEAR, "reply-not_well_formed")),
        (http(500, b"", None), (Unclear, Reason.UNCLEAR, "http-500")),
        (http(503, b"", None), (Deferred, Reason.BUSY, "http-503")),
    ],
)
def test_a_one_way_operation_is_delivered_by_an_empty_answer(
    context: Context, peer: Peer, answer: bytes, expected: tuple[object, ...]
) -> None:
    assert brief(deliver(context, peer, answer, **ONE_WAY)) == expected
    assert MARKER.encode() in peer.taken[0][1]

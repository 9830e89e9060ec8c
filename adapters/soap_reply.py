"""What an answer means: the table of outcomes for SOAP, as one pure function.

    3xx, 404, VersionMismatch, MustUnderstand   Blocked(peer_protocol)
    401, 403, 407, fault of WS-Security         Blocked(peer_auth)
    408, 425, 429, 503                          Deferred(busy)
    fault Client or Sender, other 4xx           Refused
    fault Server or Receiver or unknown, 5xx    Unclear
    200 with HTML or a wrong media type         Unclear(peer_protocol), blocks
    200 cut, oversized, unparsable, unexpected  Unclear
    200 with the expected reply                 Delivered, or what ``reply:`` says about its code

``faults:`` and ``reply:`` of the destination override it. No value of an answer gets into a code: only what the
configuration or the SOAP standard names.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TypeAlias

from lxml import etree

from adapters.soap_settings import Word
from adapters.soap_transport import HttpAnswer
from hub.plugin import Blocked, Deferred, Delivered, Outcome, Phase, Reason, Refused, Rejected, Unclear

Parse: TypeAlias = Callable[[bytes], etree._Element]

ENVELOPES = {
    "1.1": "http://schemas.xmlsoap.org/soap/envelope/",
    "1.2": "http://www.w3.org/2003/05/soap-envelope",
}
_WSSE = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd"
_XOP_INCLUDE = "{http://www.w3.org/2004/08/xop/include}Include"
_XML_TYPES = frozenset({"text/xml", "application/xml", "application/soap+xml"})
_HTML_TYPES = frozenset({"text/html", "application/xhtml+xml"})
_REFUSING = frozenset({"Client", "Sender"})
_UNDERSTOOD_NOT = frozenset({"VersionMismatch", "MustUnderstand", "DataEncodingUnknown"})
_STANDARD = _REFUSING | _UNDERSTOOD_NOT | {"Server", "Receiver"}
DETAIL_MAX = 500
VALUE_MAX = 200
RETRY_AFTER_MAX = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Expected:
    """What the WSDL and the settings say about the answer. XPaths count from the reply element as the root."""

    soap: str  # 1.1 | 1.2
    elements: frozenset[str] | None  # the reply's name; empty: an empty body; None: the operation is one-way
    ok: etree.XPath | None = None
    equals: frozenset[str] = frozenset()
    codes: Mapping[str, Word] = field(default_factory=dict)
    values: Mapping[str, tuple[etree.XPath, re.Pattern[str] | None]] = field(default_factory=dict)
    faults: Mapping[str, Word] = field(default_factory=dict)


def judge(answer: HttpAnswer, expected: Expected, parse: Parse, now: datetime) -> Outcome:
    """Return what the answer means. ``parse`` is the guard; ``now`` counts for a Retry-After that is a date."""
    body = _body(answer, parse)
    fault = None if isinstance(body, str) else _fault(body)
    if fault is not None and (listed := next((key for key in fault.keys if key in expected.faults), None)):
        return _as_word(expected.faults[listed], f"soap-{listed}", fault.text, answer)
    by_status = _by_status(answer, now)
    if by_status is not None:
        return by_status
    if fault is not None:
        return _by_fault(fault)
    if 200 <= answer.status < 300:
        return _by_body(body, answer, expected)
    if 400 <= answer.status < 500:
        return Refused(Reason.REFUSED, phase=Phase.RESPONSE_READ, code=f"http-{answer.status}")
    return Unclear(Reason.UNCLEAR, phase=Phase.RESPONSE_READ, code=f"http-{answer.status}")


def _by_status(answer: HttpAnswer, now: datetime) -> Outcome | None:
    """Return what the status alone decides."""
    code, phase = f"http-{answer.status}", Phase.RESPONSE_READ
    match answer.status:
        case 401 | 403 | 407:
            return Blocked(Reason.PEER_AUTH, phase=phase, code=code)
        case 404:
            return Blocked(Reason.PEER_PROTOCOL, phase=phase, code=code)
        case 408 | 425 | 429 | 503:
            wait = retry_after(answer.retry_after, now)
            return Deferred(Reason.BUSY, retry_after=wait, phase=phase, code=code)
        case 502:
            return Unclear(Reason.UNCLEAR, phase=phase, code=code)
        case 504:
            return Unclear(Reason.TIMEOUT, phase=phase, code=code)
        case status if 300 <= status < 400:
            return Blocked(Reason.PEER_PROTOCOL, phase=phase, code=code)
    return None


def retry_after(text: str, now: datetime) -> timedelta | None:
    """Return the wait that a peer asks for, in seconds or until a date (RFC 9110 §10.2.3), at most a day."""
    if re.fullmatch("[0-9]{1,9}", text, re.ASCII):
        return min(timedelta(seconds=int(text)), RETRY_AFTER_MAX)
    try:
        until = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    if until.tzinfo is None:
        until = until.replace(tzinfo=UTC)
    return min(max(until - now, timedelta(0)), RETRY_AFTER_MAX)


# --- the envelope -------------------------------------------------------------------------------------------------


def _body(answer: HttpAnswer, parse: Parse) -> etree._Element | str:
    """Return the SOAP body, or a token that says why there is none."""
    if answer.flaw:
        return f"reply-{answer.flaw}"
    if not answer.body.strip():
        return "reply-empty"
    if answer.media_type not in _XML_TYPES:
        return "html" if answer.media_type in _HTML_TYPES else "media-type"
    try:
        root = parse(answer.body)
    except Rejected as rejected:
        return f"reply-{rejected.code}"
    name = etree.QName(root)
    if name.localname.lower() == "html":
        return "html"
    if name.localname != "Envelope" or name.namespace not in ENVELOPES.values():
        return "not-soap"
    if next(root.iter(_XOP_INCLUDE), None) is not None:
        return "xop"
    bodies = root.findall(f"{{{name.namespace}}}Body")
    return bodies[0] if len(bodies) == 1 else "soap-body"


def _children(element: etree._Element) -> list[etree._Element]:
    return [child for child in element if isinstance(child.tag, str)]


# --- faults -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Fault:
    keys: tuple[str, ...]  # names under which `faults:` may list it, the most specific first
    head: str  # Client, Server …
    security: bool
    text: str = field(repr=False)


def _fault(body: etree._Element) -> _Fault | None:
    """Return the fault in a body, of SOAP 1.1 or 1.2, whatever the status said."""
    namespace = etree.QName(body).namespace
    fault = body.find(f"{{{namespace}}}Fault")
    if fault is None:
        return None
    if namespace == ENVELOPES["1.1"]:
        code, text, detail = [fault.find("{*}faultcode")], fault.find("{*}faultstring"), fault.find("{*}detail")
    else:
        soap = {"s": ENVELOPES["1.2"]}
        code = [*reversed(fault.findall(".//s:Subcode/s:Value", soap)), fault.find("s:Code/s:Value", soap)]
        text, detail = fault.find("s:Reason/s:Text", soap), fault.find("s:Detail", soap)
    names = [_qname(element) for element in code if element is not None]
    head = names[-1][1].partition(".")[0] if names else ""
    declared = [etree.QName(child).localname for child in _children(detail)] if detail is not None else []
    return _Fault(
        keys=(*declared, *(local for _, local in names), head),
        head=head,
        security=any(namespace == _WSSE for namespace, _ in names),
        text="".join(text.itertext()) if text is not None else "",
    )


def _qname(element: etree._Element) -> tuple[str | None, str]:
    """Return namespace and local name that an element's text means, such as ``soap:Server``."""
    prefix, colon, local = (element.text or "").strip().rpartition(":")
    return element.nsmap.get(prefix if colon else None), local


def _by_fault(fault: _Fault) -> Outcome:
    code = f"soap-{fault.head}" if fault.head in _STANDARD else "soap-other"
    detail, phase = escaped(fault.text), Phase.RESPONSE_PARSED
    if fault.security:
        return Blocked(Reason.PEER_AUTH, detail, phase, "soap-security")
    if fault.head in _UNDERSTOOD_NOT:
        return Blocked(Reason.PEER_PROTOCOL, detail, phase, code)
    if fault.head in _REFUSING:
        return Refused(Reason.REFUSED, detail, phase, code)
    return Unclear(Reason.UNCLEAR, detail, phase, code)


# --- replies ------------------------------------------------------------------------------------------------------


def _by_body(body: etree._Element | str, answer: HttpAnswer, expected: Expected) -> Outcome:
    """Return what a 2xx without a fault means."""
    if expected.elements is None and (body == "reply-empty" or not isinstance(body, str)):
        return Delivered(reply=answer.body, phase=Phase.RESPONSE_READ)
    if isinstance(body, str):
        return _no_reply(body)
    element = _children(body)
    right_version = etree.QName(body).namespace == ENVELOPES[expected.soap]
    if not right_version or [child.tag for child in element if child.tag not in (expected.elements or ())]:
        return Unclear(Reason.UNCLEAR, phase=Phase.RESPONSE_PARSED, code="unexpected-element")
    if len(element) != (1 if expected.elements else 0):
        return Unclear(Reason.UNCLEAR, phase=Phase.RESPONSE_PARSED, code="unexpected-element")
    if not element or expected.ok is None:
        return _delivered(element, answer, expected)
    found = _text(expected.ok, _alone(element[0]))
    if found is None:
        return Unclear(Reason.UNCLEAR, phase=Phase.RESPONSE_PARSED, code="rc-missing")
    if found in expected.equals:
        return _delivered(element, answer, expected)
    if found not in expected.codes:
        return Unclear(Reason.UNCLEAR, escaped(found), Phase.RESPONSE_PARSED, "rc-unlisted")
    word, code = expected.codes[found], f"rc-{found}"
    return _delivered(element, answer, expected, code) if word == "delivered" else _as_word(word, code, "", answer)


def _no_reply(token: str) -> Unclear:
    if token in ("html", "media-type"):
        return Unclear(Reason.PEER_PROTOCOL, phase=Phase.RESPONSE_READ, code=token, blocks=True)
    cut = token in ("reply-cut", "reply-timeout", "reply-early")
    reason = Reason.TIMEOUT if token == "reply-timeout" else Reason.UNCLEAR  # noqa: S105 - a token of ours
    return Unclear(reason, phase=Phase.REQUEST_SENT if cut else Phase.RESPONSE_READ, code=token_of(token))


def _delivered(element: list[etree._Element], answer: HttpAnswer, expected: Expected, code: str = "") -> Delivered:
    """Return the delivery with the values of its reply; one that is missing or odd is left out, not doubted over."""
    values = {}
    for name, (xpath, pattern) in expected.values.items() if element else ():
        found = _text(xpath, _alone(element[0]))
        if found is not None and 0 < len(found) <= VALUE_MAX and (pattern is None or pattern.fullmatch(found)):
            values[name] = found
    return Delivered(values=values, reply=answer.body, code=token_of(code))


def _alone(element: etree._Element) -> etree._Element:
    """Return the reply element as the root of its own document: a SOAP header is out of every XPath's sight."""
    return copy.deepcopy(element)


def _text(xpath: etree.XPath, root: etree._Element) -> str | None:
    """Return the one text that an XPath finds, ``None`` if it finds none or several."""
    found = xpath(root)
    if isinstance(found, list):
        if len(found) != 1:
            return None
        found = found[0]
    if isinstance(found, etree._Element):
        found = found.xpath("string()")
    if isinstance(found, bool):
        return "true" if found else "false"
    if isinstance(found, float):
        return f"{found:g}"
    return found.strip() if isinstance(found, str) else None


def _as_word(word: Word, code: str, text: str, answer: HttpAnswer) -> Outcome:
    """Return the outcome that the configuration names."""
    code, detail, phase = token_of(code), escaped(text), Phase.RESPONSE_PARSED
    match word:
        case "refused":
            return Refused(Reason.REFUSED, detail, phase, code)
        case "deferred":
            return Deferred(Reason.BUSY, detail, phase=phase, code=code)
        case "delivered":
            return Delivered(reply=answer.body, phase=phase, code=code)
        case "unclear":
            return Unclear(Reason.UNCLEAR, detail, phase, code)
        case "blocked":
            return Blocked(Reason.PEER_PROTOCOL, detail, phase, code)


def token_of(text: str) -> str:
    """Return a code that may stand in events and logs; only for what configuration or standard name."""
    return re.sub("[^A-Za-z0-9_.-]", "-", text)[:64]


def escaped(text: str) -> str:
    """Return a peer's free text, shortened, without anything that a terminal or a log would obey."""
    shown = (char if char.isprintable() else char.encode("unicode_escape").decode() for char in text[:DETAIL_MAX])
    return "".join(shown)[:DETAIL_MAX]

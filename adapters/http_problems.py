"""What a sender is told when its message is not taken: one table from code to status, one shape (RFC 9457)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus

from hub.plugin import Finding

RETRY_AFTER_SECONDS = 5
XML = "application/xml; charset=utf-8"
FINDINGS_MAX = 100

_STATUS: Mapping[int, tuple[str, ...]] = {
    400: ("framing", "header", "not_well_formed", "doctype_forbidden", "encoding"),
    401: ("unauthenticated",),
    403: ("sender_may_not",),
    404: ("not_found",),
    405: ("method",),
    408: ("too_slow",),
    409: ("conflict",),
    413: ("body_too_large", "limit"),
    415: ("media_type", "content_encoding"),
    422: (
        "unknown_type", "schema_violation", "code_list", "schematron", "signature", "unknown_recipient",
        "test_message", "version_not_served", "inspection_failed",
    ),
    429: ("rate",),
    431: ("headers_too_large",),
    503: ("unavailable",),
}  # fmt: skip
STATUS_OF: Mapping[str, int] = {code: status for status, codes in _STATUS.items() for code in codes}

_TITLES: Mapping[str, str] = {
    "framing": "The request is not well-formed HTTP",
    "header": "A header of the request has a value that is not accepted",
    "not_well_formed": "The document is not well-formed XML",
    "doctype_forbidden": "The document has a DOCTYPE",
    "encoding": "The document's encoding is not accepted",
    "unauthenticated": "A valid token is needed",
    "sender_may_not": "This sender may not hand in this message",
    "not_found": "There is nothing here",
    "method": "This method is not offered here",
    "too_slow": "The request took too long to arrive",
    "conflict": "Another content was handed in under the same identity",
    "body_too_large": "The body is too large",
    "limit": "The document exceeds a limit",
    "media_type": "The Content-Type must be application/xml or text/xml",
    "content_encoding": "No Content-Encoding is accepted",
    "unknown_type": "The message type is not known here",
    "schema_violation": "The document violates its schema",
    "code_list": "The document has a value that is not in its code list",
    "schematron": "The document violates a business rule of its standard",
    "signature": "The document's signature is not accepted",
    "unknown_recipient": "The addressee is not known here",
    "test_message": "Test and production do not mix",
    "version_not_served": "This version of the standard is not served at this time",
    "inspection_failed": "The document could not be inspected",
    "rate": "Too many requests",
    "headers_too_large": "The headers are too large",
    "unavailable": "No message can be taken at the moment",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer, complete."""

    status: int
    body: bytes = field(repr=False)
    media_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_error(self) -> bool:
        return self.status >= HTTPStatus.BAD_REQUEST

    def raw_headers(self) -> list[tuple[bytes, bytes]]:
        """Return all headers; an error closes its connection, so that nothing after it is taken for a request."""
        headers = {
            "content-type": self.media_type,
            "content-length": str(len(self.body)),
            "cache-control": "no-store",
            "x-content-type-options": "nosniff",
            **self.headers,
        }
        if self.is_error:
            headers["connection"] = "close"
        return [(name.encode("ascii"), value.encode("ascii")) for name, value in headers.items()]


def problem(
    code: str,
    instance: str,
    findings: Sequence[Finding] = (),
    *,
    id_: str | None = None,
    allow: str | None = None,
    retry_after: int = RETRY_AFTER_SECONDS,
) -> Answer:
    """Return the answer to a request that failed with ``code``; a code that is not in the table is the sender's."""
    status = STATUS_OF.get(code, 422)
    document: dict[str, object] = {
        "type": f"urn:xoev-hub:problem:{code}",
        "title": _TITLES.get(code, HTTPStatus(status).phrase),
        "status": status,
        "code": code,
        "instance": instance,
    }
    if id_:
        document["id"] = id_
    document["findings"] = [
        {
            "rule": finding.rule,
            "path": finding.path,
            "line": finding.line,
            "column": finding.column,
            "text": finding.text,
        }
        for finding in findings[:FINDINGS_MAX]
    ]
    headers = {}
    if status in (429, 503):
        headers["retry-after"] = str(max(retry_after, 1))
    if status == HTTPStatus.UNAUTHORIZED:
        headers["www-authenticate"] = "Bearer"
    if allow:
        headers["allow"] = allow
    return Answer(status, json.dumps(document).encode(), "application/problem+json", headers)


def standard_receipt(status: int, document: bytes, id_: str, headers: Mapping[str, str]) -> Answer:
    """Return the answer to a document that is on disk, in its standard's own form."""
    return Answer(status, document, XML, {"x-hub-id": id_, **headers})


def standard(code: str, document: bytes, id_: str | None) -> Answer:
    """Return the answer to a rejected document in its standard's own form; the status is that of the problem.

    What only the hub knows stands beside it, in headers that are called as those of a queue.
    """
    headers = {"x-hub-code": code} | ({"x-hub-id": id_} if id_ else {})
    return Answer(STATUS_OF.get(code, 422), document, XML, headers)

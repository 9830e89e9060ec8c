"""What an answer means, as one pure function.

201, 200 with a number     Delivered
200 with HTML              Unclear(peer_protocol), blocks: there is something else at this address
408, 425, 429, 503         Deferred(busy), after Retry-After
401, 403, 407              Blocked(peer_auth)
3xx, 404                   Blocked(peer_protocol)
other 4xx                  Refused
5xx, anything else         Unclear
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import timedelta

from hub.plugin import Blocked, Deferred, Delivered, Outcome, Phase, Reason, Refused, Unclear

_NUMBER = re.compile(rb"Eingangsnummer: ([A-Za-z0-9-]{1,64})\s*")
_DETAIL_CHARS_MAX = 500


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. Not ``trusted``: it, or what we sent, was cut; no one may conclude a success from it."""

    status: int
    media_type: str = ""
    retry_after: str = ""
    body: bytes = field(default=b"", repr=False)
    trusted: bool = True


def judge(answer: Answer) -> Outcome:
    """Return the outcome. The peer's words become ``detail``, which is stored and never logged; never a ``code``."""
    code, phase = f"http-{answer.status}", Phase.RESPONSE_READ
    detail = answer.body.decode(errors="replace")[:_DETAIL_CHARS_MAX]
    match answer.status:
        case 200 | 201:
            return _delivered(answer)
        case 401 | 403 | 407:
            return Blocked(Reason.PEER_AUTH, detail, phase=phase, code=code)
        case 408 | 425 | 429 | 503:
            return Deferred(Reason.BUSY, detail, _wait(answer.retry_after), phase=phase, code=code)
        case status if status == 404 or 300 <= status < 400:
            return Blocked(Reason.PEER_PROTOCOL, detail, phase=phase, code=code)
        case status if 400 <= status < 500:
            return Refused(Reason.REFUSED, detail, phase=phase, code=code)
        case _:
            return Unclear(Reason.UNCLEAR, detail, phase=phase, code=code)


def _delivered(answer: Answer) -> Outcome:
    if answer.media_type != "text/plain":
        return Unclear(Reason.PEER_PROTOCOL, phase=Phase.RESPONSE_READ, code="media-type", blocks=True)
    number = _NUMBER.fullmatch(answer.body)
    if number is None or not answer.trusted:
        return Unclear(Reason.UNCLEAR, phase=Phase.RESPONSE_READ, code="reply-cut" if number else "reply-unexpected")
    return Delivered(receipt=number[1].decode(), reply=answer.body)


def _wait(retry_after: str) -> timedelta | None:
    """Return how long the peer wants to be left alone; a date instead of seconds is left to the hub's own policy."""
    return timedelta(seconds=int(retry_after)) if re.fullmatch("[0-9]{1,6}", retry_after) else None

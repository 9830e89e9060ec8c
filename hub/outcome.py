"""How one attempt to deliver ended, as a value.

An outbound adapter answers with one of six values and raises only for bugs:

    Delivered   the destination has taken over responsibility
    Taken       it has the document and will confirm later
    Deferred    certainly not taken; the same bytes may succeed later
    Refused     certainly not taken, and trying the same bytes again cannot succeed
    Unclear     it was sent, and nobody knows whether it was taken
    Blocked     certainly not taken, and the destination is wrong, not the document
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import TypeAlias


class Reason(StrEnum):
    """Why a delivery waits or is dead. Closed: operators filter and alert on it."""

    UNREACHABLE = "unreachable"
    BUSY = "busy"
    TIMEOUT = "timeout"
    REFUSED = "refused"
    UNCLEAR = "unclear"
    WORKER_LOST = "worker_lost"
    PEER_TLS = "peer_tls"
    PEER_AUTH = "peer_auth"
    PEER_PROTOCOL = "peer_protocol"
    TRANSFORM_FAILED = "transform_failed"
    TARGET_INVALID = "target_invalid"
    NO_ROUTE = "no_route"
    ROUTE_GONE = "route_gone"
    CRASHED = "crashed"
    GAVE_UP = "gave_up"
    UNCONFIRMED = "unconfirmed"
    DECLINED = "declined"
    PAUSED = "paused"
    CLOSED_HOURS = "closed_hours"


class Phase(StrEnum):
    """The furthest point that an attempt reached, in the order of their happening."""

    NONE = "none"
    RESOLVED = "resolved"
    CONNECTED = "connected"
    TLS = "tls"
    REQUEST_SENT = "request_sent"
    RESPONSE_READ = "response_read"
    RESPONSE_PARSED = "response_parsed"


@dataclass(frozen=True, slots=True)
class Delivered:
    """The destination has taken over responsibility.

    ``values`` are what the profile of the reply names (such as a file number); ``reply`` is the raw answer.
    """

    receipt: str | None = None
    values: Mapping[str, str] = field(default_factory=dict, repr=False)
    reply: bytes = field(default=b"", repr=False)
    phase: Phase = Phase.RESPONSE_PARSED
    code: str = ""


@dataclass(frozen=True, slots=True)
class Taken:
    """The destination has the document and will confirm or decline it later under ``reference``."""

    reference: str
    reply: bytes = field(default=b"", repr=False)
    phase: Phase = Phase.RESPONSE_PARSED
    code: str = ""


@dataclass(frozen=True, slots=True)
class Deferred:
    """Not now. The same bytes may succeed later without anyone's help."""

    reason: Reason
    detail: str = field(default="", repr=False)  # free text of the peer: kept as a payload, never logged
    retry_after: timedelta | None = None
    phase: Phase = Phase.NONE
    code: str = ""  # short token without values, such as "http-503": it goes into events and logs


@dataclass(frozen=True, slots=True)
class Refused:
    """Not ever. Trying the same bytes again cannot succeed."""

    reason: Reason
    detail: str = field(default="", repr=False)
    phase: Phase = Phase.NONE
    code: str = ""


@dataclass(frozen=True, slots=True)
class Unclear:
    """It was sent, and nobody knows whether it was taken. What follows is the destination's ``on_unclear``.

    ``blocks`` says that the destination must be blocked as well (an HTML page where a reply belongs).
    """

    reason: Reason
    detail: str = field(default="", repr=False)
    phase: Phase = Phase.REQUEST_SENT
    code: str = ""
    blocks: bool = False


@dataclass(frozen=True, slots=True)
class Blocked:
    """Certainly not taken; the destination is wrong (certificate, password, address), not the document."""

    reason: Reason
    detail: str = field(default="", repr=False)
    phase: Phase = Phase.NONE
    code: str = ""


Outcome: TypeAlias = Delivered | Taken | Deferred | Refused | Unclear | Blocked

"""What is known of equal failures. Values only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Note:
    """What somebody wrote about a group."""

    fingerprint: str
    at: datetime
    actor: str
    text: str


@dataclass(frozen=True, slots=True)
class Group:
    """Failures with the same fingerprint: dead deliveries, or rejections. ``example`` is the newest one's message."""

    fingerprint: str
    kind: str  # dead | rejected
    count: int
    first: datetime
    last: datetime
    trend: tuple[int, ...]  # failures in each of the last hours, the oldest first
    reason: str = ""
    phase: str = ""
    code: str = ""
    path: str = ""
    type: str | None = None
    destination: str | None = None
    example: str = ""
    notes: tuple[Note, ...] = ()

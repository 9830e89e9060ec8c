"""What the hub asks of its store to see whether all is well: facts to judge, alerts that stand, who is to be told.

A part of :class:`hub.store.api.Store`; what is said there of writing and of errors holds here, too.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

NoticeKind = Literal["raised", "worse", "cleared"]


@dataclass(frozen=True, slots=True)
class Alert:
    """Something that is wrong. ``name`` and ``object`` make it one; a higher ``level`` is worse. Free of values."""

    name: str
    object: str
    text: str
    next: str  # what to do about it
    level: int = 0


@dataclass(frozen=True, slots=True)
class Standing:
    """An alert that stands, and since when."""

    alert: Alert
    raised_at: datetime


@dataclass(frozen=True, slots=True)
class Notice:
    """What one channel is to be told of one alert, with the number of tries before."""

    seq: int
    alert: Alert
    what: NoticeKind
    channel: str
    at: datetime
    raised_at: datetime
    tries: int
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Seen:
    """A certificate that a peer has shown."""

    place: str
    not_after: datetime
    sha256: str
    seen_at: datetime


@dataclass(frozen=True, slots=True)
class Handed:
    """What a sender has handed in within a span of time."""

    accepted: int = 0
    rejected: int = 0


class WatchBook(Protocol):
    """Implemented by each store."""

    # --- alerts
    def standing(self) -> Sequence[Standing]:
        """Return the alerts that stand, oldest first."""

    def change(self, raised: Sequence[Alert], cleared: Sequence[Alert], channels: Collection[str]) -> int:
        """Write down what is wrong now or worse than before, and what is over; each channel is to be told once.

        What stands already on the same level, and what does not stand, is left alone. Return how many changed.
        """

    def notices(self, channel: str, limit: int = 100) -> Sequence[Notice]:
        """Take what a channel is to be told now, oldest first; nobody else gets it for a minute."""

    def told(self, notices: Sequence[Notice]) -> None:
        """Write down that a channel was told."""

    def untold(self, notices: Sequence[Notice], failure: str, again: datetime) -> None:
        """Write down that a channel could not be told, and when it is tried again."""

    def mute(self) -> Sequence[Notice]:
        """Return what was tried and has reached nobody yet, the oldest of each channel."""

    def forget(self, channels: Collection[str], before: datetime) -> None:
        """Drop what was told before a time, and what is meant for channels other than these."""

    # --- facts
    def dead(self) -> Mapping[tuple[str, str, str], int]:
        """Return by (destination, reason, code) how many deliveries are dead; the destination may be empty."""

    def oldest_waiting(self) -> Mapping[str, datetime]:
        """Return for each destination when the oldest message came in that waits for it."""

    def handed_in(self, since: datetime, until: datetime) -> Mapping[str, Handed]:
        """Return what each sender has handed in within a span of time."""

    def last_handed_in(self, sender: str) -> datetime | None:
        """Return when a sender has handed in last."""

    # --- certificates
    def see(self, seen: Seen) -> None:
        """Remember the certificate that a peer has shown."""

    def seen(self) -> Sequence[Seen]:
        """Return the certificates that peers have shown last, by place."""

    def forget_certificates(self, but: Collection[str]) -> None:
        """Drop what was seen at places other than these."""

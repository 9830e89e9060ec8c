"""When certificates run out: those that peers show, and those that lie here. One ladder for all of them.

    60 ─ 30 ─ 14 ─ 7 ─ 1 days ─ over          each rung is told once

A certificate counts as of its earliest end: of a file with a chain, the first link that breaks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from hub.errors import StoreError, Unavailable
from hub.store.watch_api import Seen

RUNGS = (60, 30, 14, 7, 1, 0)  # days left
FILE_BYTES_MAX = 1 << 20
_BEGIN = b"-----BEGIN CERTIFICATE-----"


@dataclass(frozen=True, slots=True)
class Expiry:
    """A certificate of a place, and when it is over. ``role``: server, client, ca or secret."""

    places: tuple[str, ...]  # destinations and sources, by name
    role: str
    not_after: datetime
    file: str = ""

    @property
    def place(self) -> str:
        """The place in one word, however many share it."""
        more = len(self.places) - 1
        return self.places[0] + (f" and {more} more" if more else "")

    def days_left(self, now: datetime) -> int:
        """Return the whole days that are left; less than nothing once it is over."""
        return (self.not_after - now).days


def rung(expiry: Expiry, now: datetime) -> int:
    """Return how many rungs are passed: 0 as long as there is time, the last one when it is over."""
    return sum(1 for days in RUNGS if expiry.not_after - now <= timedelta(days=days))


def own(named: Iterable[tuple[str, str, str]], base: Path) -> Iterator[Expiry]:
    """Yield what lies in files, given as (place, role, path from ``base``); a file that many places share once.

    One that cannot be read is a matter of those who use it.
    """
    places: dict[tuple[str, str], list[str]] = {}
    for place, role, name in named:
        places.setdefault((role, name), []).append(place)
    for (role, name), of in places.items():
        try:
            with (base / name).open("rb") as file:
                body = file.read(FILE_BYTES_MAX)
        except OSError:
            continue
        if (end := earliest_end(body)) is not None:
            yield Expiry(tuple(dict.fromkeys(of)), role, end, name)


def shown(seen: Iterable[Seen]) -> Iterator[Expiry]:
    """Yield what peers have shown; a certificate that many destinations meet once."""
    places: dict[tuple[str, datetime], list[str]] = {}
    for one in seen:
        places.setdefault((one.sha256, one.not_after), []).append(one.place)
    for (_, end), of in places.items():
        yield Expiry(tuple(of), "server", end)


def earliest_end(pem: bytes) -> datetime | None:
    """Return when the first certificate of a PEM file is over; ``None`` if none stands there."""
    if _BEGIN not in pem:
        return None
    from cryptography import x509  # listings know certificates by their end alone, and start fast
    from cryptography.exceptions import UnsupportedAlgorithm

    try:
        found = x509.load_pem_x509_certificates(pem)
    except (ValueError, UnsupportedAlgorithm):
        return None
    return min((one.not_valid_after_utc for one in found), default=None)


def seen_of(place: str, der: bytes, now: datetime) -> Seen | None:
    """Return what is remembered of a certificate that a peer has shown; ``None`` if it cannot be read."""
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm

    try:
        certificate = x509.load_der_x509_certificate(der)
    except (ValueError, UnsupportedAlgorithm):
        return None
    end = certificate.not_valid_after_utc.astimezone(UTC)
    return Seen(place, end, hashlib.sha256(der).hexdigest(), now)


class Shown:
    """Remembers what peers show, a new certificate at once and a known one once a day."""

    def __init__(self, keep: Callable[[Seen], None], clock: Callable[[], datetime]) -> None:
        self._keep, self._clock = keep, clock
        self._known: dict[str, tuple[bytes, datetime]] = {}

    def note(self, place: str, der: bytes) -> None:
        """Note the certificate (DER) that was shown at a place."""
        now = self._clock()
        known = self._known.get(place)
        if known is not None and known[0] == der and (now - known[1]).days < 1:
            return
        seen = seen_of(place, der, now)
        try:
            if seen is not None:
                self._keep(seen)
        except (Unavailable, StoreError):
            return  # the next handshake says it again
        self._known[place] = (der, now)

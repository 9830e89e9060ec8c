"""How fast a sender may hand in. One rule: who is too fast is told when to come again, and no other sender notices.

A bucket of ``count`` tokens that fills up within ``per``, for each sender over all sources of this process: of several
nodes each counts for itself. Kept as one number, the time at which the bucket is full again.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from hub.errors import TooFast


@dataclass(frozen=True, slots=True)
class Rate:
    """So many documents within a time, all at once if they come so; written ``50/s``, ``600/m`` or ``10000/h``."""

    count: int
    per: timedelta


_PER = {"s": timedelta(seconds=1), "m": timedelta(minutes=1), "h": timedelta(hours=1)}


def read_rate(text: str) -> Rate:
    """Return the rate that is written so.

    Raises:
        ValueError: It is none.
    """
    match = re.fullmatch("([1-9][0-9]{0,8})/([smh])", text, re.ASCII)
    if match is None:
        raise ValueError(
            f"found {text!r}, expected a number of documents within a time, such as 50/s, 600/m or 10000/h"
        )
    return Rate(int(match[1]), _PER[match[2]])


class Rates:
    """Who handed in how much lately. Safe in threads; the wall clock plays no part."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._full_at: dict[str, float] = {}  # of senders of the configuration: their number is bounded
        self._lock = threading.Lock()

    def take(self, sender: str, rate: Rate | None) -> None:
        """Count one document of a sender; ``None``: it may hand in as fast as it likes.

        Raises:
            TooFast: It has no token left; nothing was counted.
        """
        if rate is None:
            return
        span = rate.per.total_seconds()
        with self._lock:
            now = self._clock()
            full_at = max(self._full_at.get(sender, now), now) + span / rate.count
            if full_at - now > span + 1e-9:  # what floats add up to
                raise TooFast(timedelta(seconds=full_at - now - span))
            self._full_at[sender] = full_at

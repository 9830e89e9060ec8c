"""Values of an acceptance that claims at once what can be tried at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from hub.delivery import Delivery
from hub.message import Receipt


@dataclass(frozen=True, slots=True)
class Taking:
    """Who tries a message's deliveries at once, so that they need no claim of their own, and to which destinations."""

    destinations: frozenset[str]
    owner: str
    lease: timedelta
    now: datetime


@dataclass(frozen=True, slots=True)
class Accepted:
    """The receipt, and what was claimed with it."""

    receipt: Receipt
    claimed: Sequence[Delivery] = ()

"""How destinations stand at one moment: what a listing of them reads. A value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from hub.store.api import Control
from hub.store.watch_api import Seen


@dataclass(frozen=True, slots=True)
class Situation:
    """How destinations stand at one moment."""

    controls: Sequence[Control]
    counts: Mapping[tuple[str, str], int]  # deliveries by (destination, state)
    oldest_waiting: Mapping[str, datetime]
    seen: Sequence[Seen]

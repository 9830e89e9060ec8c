"""What a store stands on: what opening it has made, for either database."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from hub.store.rows import RowMaker
from hub.store.turns import TurnTaker, alone
from hub.store.writer import Seal


@dataclass(frozen=True, slots=True)
class Foundation:
    """What a store stands on. ``lock`` tries to become the store's only daemon; ``give_up`` undoes everything."""

    writing: sa.Engine
    reading: sa.Engine
    maker: RowMaker
    clock: Callable[[], datetime]
    lock: Callable[[], bool]
    give_up: Callable[[], None]
    seal: Seal | None = None
    listen: Callable[[Callable[[Collection[str]], None], Callable[[], None]], None] = lambda _due, _jobs: None
    node: str = ""  # its name among several
    take_turn: TurnTaker = alone

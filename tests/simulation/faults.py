"""What happens to a program between two effects: it dies, or its store is away. One fault at a time, at a chosen effect.

An effect is a write to the store or a document at a procedure; every one of them goes through :class:`Faults`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hub.errors import Unavailable


class Died(BaseException):
    """The process is gone: nothing of it runs any more, no handler and no `except Exception`."""


@dataclass(frozen=True)
class Fault:
    """What happens, and at which effect from now on (0: the next one)."""

    kind: str
    at: int

    def __repr__(self) -> str:  # as it is written in a fixed test
        return f"Fault({self.kind!r}, {self.at})"


KINDS = ("dies-before", "dies-after", "away", "answer-lost")


class Faults:
    """Counts effects, and lets the fault happen that is armed."""

    def __init__(self) -> None:
        self._armed: Fault | None = None
        self._effects = 0
        self.happened = 0

    def arm(self, fault: Fault | None) -> None:
        """Let this happen once, from now on; or nothing."""
        self._armed, self._effects = fault, 0

    def effect(self, do: Callable[[], Any]) -> Any:
        """Do something that lasts, unless the fault is due before it, or after it."""
        due = self._armed if self._armed and self._armed.at == self._effects else None
        self._effects += 1
        if due is None:
            return do()
        self._armed = None
        self.happened += 1
        if due.kind == "dies-before":
            raise Died
        if due.kind == "away":
            raise Unavailable("away")
        do()
        if due.kind == "dies-after":
            raise Died
        raise Unavailable("the answer is lost")


WRITES = frozenset(
    {
        "accept", "accept_all", "add", "apply", "apply_all", "claim", "hold", "load", "load_all", "pass_canary",
        "reject", "release", "renew", "steer", "take",
    }
)  # fmt: skip


class FaultyStore:
    """The real store (or its book of jobs), between whose effects the program may die. What is written stays written."""

    def __init__(self, store: Any, faults: Faults) -> None:
        self._store, self._faults = store, faults

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        if name == "jobs":
            return FaultyStore(found, self._faults)
        if name not in WRITES:
            return found
        return lambda *given, **named: self._faults.effect(lambda: found(*given, **named))

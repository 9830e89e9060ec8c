"""What two globs have in common. ``*`` stands for any text, ``?`` for one character; nothing else is special."""

from __future__ import annotations

from functools import lru_cache
from itertools import product


@lru_cache(maxsize=65536)
def meet(one: str, other: str) -> bool:
    """Say whether some text fits both globs."""
    if not _is_glob(one) and not _is_glob(other):
        return one == other
    # reachable: positions in both at which some common text may have arrived
    reachable, queue = {(0, 0)}, [(0, 0)]
    while queue:
        left, right = queue.pop()
        if left == len(one) and right == len(other):
            return True
        for step in _steps(one, other, left, right):
            if step not in reachable:
                reachable.add(step)
                queue.append(step)
    return False


def _steps(one: str, other: str, left: int, right: int) -> list[tuple[int, int]]:
    here = one[left] if left < len(one) else ""
    there = other[right] if right < len(other) else ""
    steps = []
    if here == "*":
        steps.append((left + 1, right))
        if there and there != "*":
            steps.append((left, right + 1))
    if there == "*":
        steps.append((left, right + 1))
        if here and here != "*":
            steps.append((left + 1, right))
    if here and there and "*" not in (here, there) and (here == there or "?" in (here, there)):
        steps.append((left + 1, right + 1))
    return steps


@lru_cache(maxsize=65536)
def covers(wide: str, narrow: str) -> bool:
    """Say whether every text that fits ``narrow`` fits ``wide``. A ``*`` of ``narrow`` needs one of ``wide``."""
    states = _closed({0}, wide)
    for char in narrow:
        moved = set()
        for state in states:
            if state < len(wide) and wide[state] == "*":
                moved.add(state)
            elif state < len(wide) and char != "*" and (wide[state] == char or wide[state] == "?"):
                moved.add(state + 1)
        states = _closed(moved, wide)
    return len(wide) in states


def _closed(states: set[int], wide: str) -> set[int]:
    closed = set(states)
    for state in states:
        while state < len(wide) and wide[state] == "*":
            state += 1
            closed.add(state)
    return closed


def types_meet(one: str, other: str) -> bool:
    """Say whether some message type fits both, segment by segment."""
    return all(meet(left, right) for left, right in zip(segments(one), segments(other), strict=True))


def type_covers(wide: str, narrow: str) -> bool:
    return all(covers(left, right) for left, right in zip(segments(wide), segments(narrow), strict=True))


def segments(type_: str) -> tuple[str, str, str]:
    """Return the three globs of a type; missing trailing segments are ``*``."""
    parts = [*type_.split("/"), "*", "*"]
    return parts[0], parts[1], parts[2]


def any_meet(some: tuple[str, ...] | None, others: tuple[str, ...] | None) -> bool:
    """Say whether some text fits a glob of each side; ``None`` fits everything."""
    if some is None or others is None:
        return True
    return any(meet(one, other) for one, other in product(some, others))


def _is_glob(text: str) -> bool:
    return "*" in text or "?" in text

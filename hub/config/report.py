"""Collects the problems of one run. A problem never stops the reading, so that one run shows them all.

Everything here is addressed by file, line and column, both counted from 1. What may be a secret is covered up before
a line of the configuration is shown.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from hub.errors import Problem

LINE_SHOWN_MAX = 300
BREAK = re.compile("\r\n|[\r\n\x85\u2028\u2029]")  # what YAML 1.1 calls a line break


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands: a file, a position in it, and the path of keys that leads there."""

    file: str
    line: int
    column: int
    path: str


class Report:
    """The problems found so far, and the lines that they point at."""

    def __init__(self) -> None:
        self._lines: dict[str, list[str]] = {}
        self._covered: dict[tuple[str, int], int] = {}
        self._found: dict[tuple[str, int, int, str, str], str] = {}
        self._places: set[tuple[str, int, int]] = set()
        self._others: list[Problem] = []

    def know(self, file: str, text: str) -> None:
        """Remember a file's text, for the line and the caret."""
        self._lines.setdefault(file, BREAK.split(text))

    def add(self, place: Place, text: str, *, level: str = "error") -> None:
        """Note a problem. The same text at the same place counts once: a procedure serves many municipalities."""
        self._found.setdefault((place.file, place.line, place.column, text, level), place.path)
        self._places.add((place.file, place.line, place.column))

    def extend(self, problems: Sequence[Problem]) -> None:
        """Note problems that somebody else has found, as they are."""
        self._others.extend(problems)

    def cover(self, place: Place) -> None:
        """Cover up the line from this place on, wherever it is shown: a secret stands there."""
        key = (place.file, place.line)
        self._covered[key] = min(place.column, self._covered.get(key, place.column))

    def covers(self, place: Place) -> bool:
        """Say whether a secret was found at or before this place of its line."""
        return self._covered.get((place.file, place.line), place.column + 1) <= place.column

    def has(self, place: Place) -> bool:
        """Say whether something is wrong at exactly this place already."""
        return (place.file, place.line, place.column) in self._places

    @property
    def failed(self) -> bool:
        own = any(level == "error" for *_, level in self._found)
        return own or any(problem.level == "error" for problem in self._others)

    def problems(self) -> tuple[Problem, ...]:
        """Return what was found, file by file in the order of reading, from top to bottom."""
        order = {file: number for number, file in enumerate(self._lines)}
        found = sorted(self._found.items(), key=lambda item: (order.get(item[0][0], -1), *item[0][:3]))
        return (
            *(
                Problem(file, line, column, path, text, self._line(file, line, column), level)
                for (file, line, column, text, level), path in found
            ),
            *self._others,
        )

    def _line(self, file: str, line: int, column: int) -> str:
        lines = self._lines.get(file, [])
        if not 0 < line <= len(lines):
            return ""
        shown = lines[line - 1]
        covered = self._covered.get((file, line))
        if covered is not None:
            shown = shown[: covered - 1] + "***"
        if column > LINE_SHOWN_MAX:
            return ""
        # Control characters would reach the operator's terminal.
        return "".join(char if char.isprintable() else " " for char in shown[:LINE_SHOWN_MAX])

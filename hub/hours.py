"""When a destination is open: weekly hours in Berlin's wall time, minus maintenance windows. Pure.

    open: "Mo-Fr 06:00-20:00, Sa 08:00-12:00"     several spans, or a list of them; none: always
    maintenance: ["So 02:00-04:00", {from: 2026-12-24T12:00, until: 2026-12-27T06:00}]

A span that ends before it begins goes on into the next day (``Fr 22:00-02:00``); ``24:00`` is the end of the day.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

BERLIN = ZoneInfo("Europe/Berlin")
DAYS = ("Mo", "Di", "Mi", "Do", "Fr", "Sa", "So")
_ALSO = {"Tu": 1, "We": 2, "Th": 3, "Su": 6}
_NUMBER = {day: number for number, day in enumerate(DAYS)} | _ALSO
_DAY = "|".join(_NUMBER)
_SPAN = re.compile(rf"({_DAY})(?:-({_DAY}))? ([0-2][0-9]):([0-5][0-9])-([0-2][0-9]):([0-5][0-9])", re.ASCII)
_DAY_MINUTES = 24 * 60


@dataclass(frozen=True, slots=True)
class Weekly:
    """One span of each of some weekdays, in minutes since midnight; ``end`` may lie in the next day."""

    days: frozenset[int]
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Window:
    """One span of time, once."""

    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Hours:
    """When a destination is open. Without ``weekly`` it always is, but for maintenance."""

    weekly: tuple[Weekly, ...] = ()
    closed_weekly: tuple[Weekly, ...] = ()
    closed_once: tuple[Window, ...] = ()
    said: str = ""  # as people have written it

    def __bool__(self) -> bool:
        return bool(self.weekly or self.closed_weekly or self.closed_once)

    def why_closed(self, at: datetime) -> str:
        """Return why it is closed at a time (``hours`` or ``maintenance``), or nothing."""
        if any(one.start <= at < one.end for one in self.closed_once) or _holds(self.closed_weekly, at):
            return "maintenance"
        return "hours" if self.weekly and not _holds(self.weekly, at) else ""

    def opens(self, at: datetime) -> datetime | None:
        """Return when it is open next, at ``at`` or later; ``None``: not within a year."""
        return self._next(at, is_open=True)

    def closes(self, at: datetime) -> datetime | None:
        """Return when it is closed next, at ``at`` or later; ``None``: not within a year."""
        return self._next(at, is_open=False)

    def _next(self, at: datetime, *, is_open: bool) -> datetime | None:
        """Return the first time from ``at`` on with this state. Only beginnings and ends change it."""
        after = at
        for _ in range(54):
            if (self.why_closed(after) == "") is is_open:
                return after
            for edge in sorted({edge for edge in self._edges(after) if edge > after}):
                if (self.why_closed(edge) == "") is is_open:
                    return edge
                after = edge
        return None

    def _edges(self, at: datetime) -> Iterator[datetime]:
        """Yield beginnings and ends of the week from ``at`` on, and of all maintenance."""
        for span in self.closed_once:
            yield from (span.start, span.end)
        today = at.astimezone(BERLIN).date()
        for offset in range(-1, 9):
            for one in (*self.weekly, *self.closed_weekly):
                yield from _on(one, today + timedelta(days=offset)) or ()


def _holds(spans: Iterable[Weekly], at: datetime) -> bool:
    today = at.astimezone(BERLIN).date()
    found = (_on(one, day) for one in spans for day in (today - timedelta(days=1), today))
    return any(start <= at < end for start, end in filter(None, found))


def _on(span: Weekly, day: date) -> tuple[datetime, datetime] | None:
    """Return when a weekly span begins and ends that begins on a day."""
    if day.weekday() not in span.days:
        return None
    return _at(day, span.start), _at(day, span.end)


def _at(day: date, minutes: int) -> datetime:
    """Return a wall time of Berlin in UTC, in which times can be compared where the clocks change."""
    days, minutes = divmod(minutes, _DAY_MINUTES)
    wall = datetime.combine(day + timedelta(days=days), time(*divmod(minutes, 60)), BERLIN)
    return wall.astimezone(UTC)


def read_weekly(text: str) -> tuple[Weekly, ...]:
    """Return the spans of a text such as ``Mo-Fr 06:00-20:00, Sa 08:00-12:00``.

    Raises:
        ValueError: It says something else.
    """
    return tuple(_span(part.strip()) for part in text.split(","))


def _span(text: str) -> Weekly:
    expected = "expected hours such as Mo-Fr 06:00-20:00"
    found = _SPAN.fullmatch(text)
    if not found:
        raise ValueError(f"found {text[:60]!r}, {expected}")
    first = _NUMBER[found[1]]
    last = _NUMBER[found[2]] if found[2] else first
    start, end = (int(hour) * 60 + int(minute) for hour, minute in ((found[3], found[4]), (found[5], found[6])))
    if start >= _DAY_MINUTES or end > _DAY_MINUTES or start == end:
        raise ValueError(f"found {text!r}, {expected}, from 00:00 to 24:00")
    days = frozenset((first + step) % 7 for step in range((last - first) % 7 + 1))
    return Weekly(days, start, end if end > start else end + _DAY_MINUTES)

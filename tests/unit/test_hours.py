"""Hours of service in Berlin's wall time, through nights, weekends and both changes of the clocks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.hours import BERLIN, DAYS, Hours, Weekly, Window, read_weekly

OFFICE = Hours(read_weekly("Mo-Fr 06:00-20:00"))
MINUTE = timedelta(minutes=1)


def berlin(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN)


@pytest.mark.parametrize(
    ("hours", "at", "closed"),
    [
        ("Mo-Fr 06:00-20:00", "2026-11-20T19:59", ""),
        ("Mo-Fr 06:00-20:00", "2026-11-20T20:00", "hours"),
        ("Mo-Fr 06:00-20:00", "2026-11-23T05:59", "hours"),
        ("Mo-Fr 06:00-20:00", "2026-11-23T06:00", ""),
        ("Mo-Fr 06:00-20:00, Sa 08:00-12:00", "2026-11-21T11:00", ""),
        ("Fr 22:00-02:00", "2026-11-21T01:59", ""),
        ("Fr 22:00-02:00", "2026-11-21T02:00", "hours"),
        ("So-Mo 10:00-24:00", "2026-11-22T23:59", ""),
        ("So-Mo 10:00-24:00", "2026-11-23T00:00", "hours"),
        ("Tu-Th 10:00-11:00", "2026-11-25T10:30", ""),
        ("Mo-Fr 06:00-20:00", "2026-07-01T06:00", ""),
    ],
)  # fmt: skip
def test_open_or_closed(hours: str, at: str, closed: str) -> None:
    assert Hours(read_weekly(hours)).why_closed(berlin(at)) == closed


@pytest.mark.parametrize(
    ("at", "opens"),
    [
        ("2026-11-20T20:00", "2026-11-23T06:00"),
        ("2026-11-20T12:00", "2026-11-20T12:00"),
        ("2026-03-28T23:00", "2026-03-30T06:00"),
    ],
)
def test_when_it_opens_again(at: str, opens: str) -> None:
    assert OFFICE.opens(berlin(at)) == berlin(opens)


def test_when_it_closes_next() -> None:
    assert OFFICE.closes(berlin("2026-11-20T12:00")) == berlin("2026-11-20T20:00")
    assert OFFICE.closes(berlin("2026-11-21T12:00")) == berlin("2026-11-21T12:00")
    assert Hours().closes(berlin("2026-11-20T12:00")) is None


def test_maintenance_goes_before_the_hours() -> None:
    christmas = Window(berlin("2026-12-24T12:00"), berlin("2027-01-02T06:00"))
    hours = Hours(OFFICE.weekly, read_weekly("Mi 12:00-13:00"), (christmas,))

    assert hours.why_closed(berlin("2026-11-25T12:30")) == "maintenance"
    assert hours.opens(berlin("2026-11-25T12:30")) == berlin("2026-11-25T13:00")
    assert hours.why_closed(berlin("2026-12-28T12:00")) == "maintenance"
    assert hours.opens(berlin("2026-12-28T12:00")) == berlin("2027-01-04T06:00")
    assert hours.closes(berlin("2026-12-24T11:00")) == berlin("2026-12-24T12:00")


def test_the_day_on_which_an_hour_is_missing_and_the_one_that_has_two() -> None:
    night = Hours(read_weekly("So 02:30-04:00"))
    assert night.opens(berlin("2026-03-29T00:00")).astimezone(UTC).hour in (0, 1)  # 02:30 does not exist on that day
    assert night.closes(night.opens(berlin("2026-03-29T00:00"))) == berlin("2026-03-29T04:00")
    whole = Hours(read_weekly("So 00:00-24:00"))
    opens = whole.opens(berlin("2026-10-24T12:00"))
    assert opens is not None
    assert whole.closes(opens) - opens == timedelta(hours=25)


@pytest.mark.parametrize(
    "text",
    ["", "immer", "Mo-Fr", "Mo-Fr 6:00-20:00", "Mo-Fr 06:00-25:00", "Mo-Fr 24:00-06:00", "Mo 06:00-06:00", "Mo-Xx 06:00-07:00",
     "Mo-Fr 06:00-20:00;", "Mo-Fr 06:60-20:00"],
)  # fmt: skip
def test_what_is_not_said_well(text: str) -> None:
    with pytest.raises(ValueError, match="expected hours such as Mo-Fr 06:00-20:00"):
        read_weekly(text)


def test_a_span_over_the_end_of_the_week() -> None:
    (span,) = read_weekly("Sa-Di 10:00-11:00")
    assert {DAYS[day] for day in span.days} == {"Sa", "So", "Mo", "Di"}


spans = st.builds(
    lambda days, start, length: Weekly(frozenset(days), start, start + length),
    st.sets(st.integers(0, 6), min_size=1),
    st.integers(0, 1439),
    st.integers(1, 1440),
)
moments = st.integers(0, 730 * 1440).map(lambda minutes: datetime(2026, 1, 1, tzinfo=UTC) + minutes * MINUTE)  # fmt: skip


@given(st.lists(spans, max_size=3), st.lists(spans, max_size=2), moments)
def test_next_changes_are_the_first_ones(weekly: list[Weekly], closed: list[Weekly], at: datetime) -> None:
    hours = Hours(tuple(weekly), tuple(closed))

    for ask, is_open in ((hours.opens, True), (hours.closes, False)):
        found = ask(at)
        if found is None:
            assert all((hours.why_closed(at + step * 47 * MINUTE) == "") is not is_open for step in range(300))
            continue
        assert (hours.why_closed(found) == "") is is_open
        if found > at:
            assert (hours.why_closed(found - MINUTE) == "") is not is_open
            steps = min(int((found - at) / MINUTE) // 37, 300)
            assert all((hours.why_closed(at + step * 37 * MINUTE) == "") is not is_open for step in range(steps))

"""So many documents within a time, for each sender: the next one is told when to come again."""

from __future__ import annotations

import sys
import threading
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.errors import TooFast, Unavailable
from hub.rate import Rate, Rates, read_rate

RATE = Rate(3, timedelta(seconds=1))


class Ticks:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def ticks() -> Ticks:
    return Ticks()


@pytest.fixture
def rates(ticks: Ticks) -> Rates:
    return Rates(ticks)


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("50/s", Rate(50, timedelta(seconds=1))),
        ("600/m", Rate(600, timedelta(minutes=1))),
        ("10000/h", Rate(10_000, timedelta(hours=1))),
    ],
)
def test_a_rate_is_written_as_a_number_within_a_time(text: str, rate: Rate) -> None:
    assert read_rate(text) == rate


@pytest.mark.parametrize("text", ["", "0/s", "-1/s", "1.5/s", "1/d", "1 / s", "1/s ", "٣/s", "1" * 10 + "/s", "s"])
def test_what_is_no_rate_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="such as 50/s"):
        read_rate(text)


def test_so_many_may_come_at_once_and_the_next_is_told_when(rates: Rates, ticks: Ticks) -> None:
    for _ in range(3):
        rates.take("portal", RATE)

    with pytest.raises(TooFast) as told:
        rates.take("portal", RATE)

    assert isinstance(told.value, Unavailable)
    assert told.value.retry_after.total_seconds() == pytest.approx(1 / 3)
    ticks.now += told.value.retry_after.total_seconds() + 1e-6
    rates.take("portal", RATE)


def test_one_sender_s_haste_is_no_other_s_loss(rates: Rates) -> None:
    for _ in range(3):
        rates.take("portal", RATE)

    rates.take("amt", RATE)
    for _ in range(100):
        rates.take("ohne", None)


def test_what_is_refused_costs_nothing(rates: Rates, ticks: Ticks) -> None:
    for _ in range(3):
        rates.take("portal", RATE)
    for _ in range(1000):
        with pytest.raises(TooFast):
            rates.take("portal", RATE)

    ticks.now += 1

    for _ in range(3):
        rates.take("portal", RATE)


@given(st.lists(st.floats(0, 2), min_size=1, max_size=200))
def test_never_more_than_twice_the_count_within_the_time(pauses: list[float]) -> None:
    ticks = Ticks()
    rates, taken = Rates(ticks), []
    for pause in pauses:
        ticks.now += pause
        try:
            rates.take("portal", RATE)
        except TooFast:
            continue
        taken.append(ticks.now)

    for start in taken:
        assert sum(start <= at < start + 1 for at in taken) <= 2 * RATE.count


def test_many_threads_get_no_token_twice() -> None:
    rates, taken = Rates(lambda: 0.0), []
    rate = Rate(500, timedelta(hours=1))

    def run() -> None:
        for _ in range(200):
            try:
                rates.take("portal", rate)
            except TooFast:
                return
            taken.append(1)

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sys.setswitchinterval(before)

    assert len(taken) == 500

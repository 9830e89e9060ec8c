"""What is wrong, from facts alone: each cause is one alert, quiet where somebody wants it so."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from hub.alerts.rules import Facts, NodeFacts, Silence, judge, judge_node
from hub.alerts.settings import AlertSettings
from hub.certificates import Expiry, rung
from hub.store.api import Control
from hub.store.watch_api import Handed

NOW = datetime(2026, 11, 22, 2, 0, tzinfo=UTC)
USUAL = AlertSettings()
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


def found(settings: AlertSettings = USUAL, **facts: object) -> list[tuple[str, str]]:
    return [(one.name, one.object) for one in judge(Facts(NOW, **facts), settings)]  # type: ignore[arg-type]


def held(kind: str, reason: str = "peer_tls", destination: str = "a/x") -> Control:
    return Control(destination, kind, reason, NOW - HOUR, "hub")  # type: ignore[arg-type]


def test_all_is_well() -> None:
    assert found() == []


@pytest.mark.parametrize(("kind", "alerts"), [("blocked", 1), ("paused", 0), ("closed", 0), ("failing", 0)])
def test_a_blocked_destination_is_told_and_no_other_hold(kind: str, alerts: int) -> None:
    assert found(controls=[held(kind)]) == [("blocked", "a/x")] * alerts


def test_four_hundred_dead_of_one_cause_are_one_alert() -> None:
    dead = {(f"town-{number}/x", "transform_failed", "step-1"): 20 for number in range(20)}
    (alert,) = judge(Facts(NOW, dead=dead), USUAL)

    assert (alert.name, alert.object) == ("dead_letters", "transform_failed step-1")
    assert alert.text == "400 deliveries are dead, to 20 destinations: transform_failed step-1"
    assert len(found(dead=dead | {("a/x", "refused", "rc-17"): 1})) == 2


@pytest.mark.parametrize(("kind", "alerts"), [(None, 1), ("failing", 1), ("blocked", 0), ("paused", 0), ("closed", 0)])
def test_what_waits_too_long_is_told_unless_somebody_wants_it_so(kind: str | None, alerts: int) -> None:
    controls = [held(kind)] if kind else []

    waits = [one for one in found(controls=controls, waiting={"a/x": 2 * HOUR}) if one[0] == "oldest_waiting"]

    assert len(waits) == alerts
    assert found(waiting={"a/x": HOUR}) == []
    assert found(AlertSettings(oldest_waiting=3 * HOUR), waiting={"a/x": 2 * HOUR}) == []


@pytest.mark.parametrize(
    ("left", "passed"),
    [(61 * DAY, 0), (60 * DAY, 1), (31 * DAY, 1), (30 * DAY, 2), (14 * DAY, 3), (7 * DAY, 4), (DAY, 5), (HOUR, 5),
     (timedelta(0), 6), (-DAY, 6)],
    ids=str,
)  # fmt: skip
def test_the_ladder_of_certificates(left: timedelta, passed: int) -> None:
    expiry = Expiry(("a/x",), "server", NOW + left)

    assert rung(expiry, NOW) == passed
    levels = [one.level for one in judge(Facts(NOW, certificates=[expiry]), USUAL)]
    assert levels == ([passed] if passed else [])


def test_a_certificate_behind_a_block_is_told_by_the_block_alone() -> None:
    over = Expiry(("a/x",), "server", NOW - DAY)
    shared = Expiry(("a/x", "b/x"), "client", NOW - DAY, "tls/hub.pem")

    assert found(controls=[held("blocked")], certificates=[over, shared]) == [
        ("blocked", "a/x"), ("certificate", "a/x client tls/hub.pem"),
    ]  # fmt: skip


def test_a_sender_is_silent_only_against_what_it_usually_does() -> None:
    def silent(*usual: int) -> list[tuple[str, str]]:
        return found(silent=[Silence("portal", NOW - DAY, usual)])

    assert silent(40, 38, 41) == [("silence", "portal")]
    assert silent(40, 0, 41) == []  # a holiday, a weekend
    assert silent(4, 4, 4) == []
    assert found(AlertSettings(silence=False), silent=[Silence("portal", NOW - DAY, (40, 40, 40))]) == []


@pytest.mark.parametrize(
    ("accepted", "rejected", "told"), [(0, 10, True), (9, 10, True), (10, 10, False), (0, 9, False), (1000, 11, False)]
)
def test_the_rate_of_rejections(accepted: int, rejected: int, told: bool) -> None:
    assert found(handed_in={"portal": Handed(accepted, rejected)}) == [("rejected_rate", "portal")] * told


def test_a_node_tells_of_its_disk_and_of_its_workers() -> None:
    def told(**facts: object) -> list[tuple[str, int]]:
        return [(one.name, one.level) for one in judge_node(NodeFacts("hub-1", **facts), USUAL)]  # type: ignore[arg-type]

    assert told() == []
    assert told(worker_deaths=2, free=10**12) == []
    assert told(worker_deaths=3, free=10**9) == [("worker_deaths", 0), ("disk", 0)]
    assert told(free=10**12, low=True) == [("disk", 1)]


@pytest.mark.parametrize(
    ("age", "told"),
    [(timedelta(seconds=40), "40 seconds"), (25 * timedelta(minutes=1), "25 minutes"), (3 * HOUR, "3 hours"),
     (50 * HOUR, "2 days")],
    ids=["seconds", "minutes", "hours", "days"],
)  # fmt: skip
def test_how_long_something_waits_is_said_in_units_that_tell_something(age: timedelta, told: str) -> None:
    (alert,) = judge(Facts(NOW, waiting={"a/x": age}), AlertSettings(oldest_waiting=timedelta(seconds=20)))

    assert alert.text == f"something has been waiting for a/x for {told}"


def test_nobody_is_told_to_renew_the_certificate_of_somebody_else() -> None:
    own = Expiry(("a/x",), "client", NOW + DAY, "tls/hub.pem")
    peers = Expiry(("a/x",), "server", NOW + DAY)

    told = [one.next for one in judge(Facts(NOW, certificates=[own, peers]), USUAL)]

    assert told == ["renew the file; it is taken without a reload", "tell those who run it: it is theirs to renew"]

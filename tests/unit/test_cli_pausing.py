"""``pause``, ``resume`` and the hours of a destination."""

from datetime import UTC, datetime

import pytest

from hub.cli import actions
from hub.store.api import Control
from tests.command import REASON, TOWN


def test_a_paused_destination_goes_on_when_it_is_resumed(office):
    office.keep(office.message())

    paused = office("pause", TOWN, "--reason", "Wartung", "--until", "2h")
    store = office.store()
    (control,) = store.controls(actions.now())
    store.close()
    resumed, again = office("resume", TOWN, *REASON), office("resume", TOWN, *REASON)

    assert (paused.code, resumed.code, again.code) == (0, 0, 1)
    assert (control.destination, control.kind, control.reason) == (TOWN, "paused", "Wartung")
    assert 7000 < (control.until - actions.now()).total_seconds() <= 7200
    assert "was not held back" in again.err
    (audited,) = [one for one in office.audits() if one.action == "pause"]
    assert audited.result == f"until {control.until:%Y-%m-%dT%H:%M:%S}.{control.until.microsecond // 1000:03}Z"


@pytest.mark.parametrize("until", ["2020-01-01", "0m", "bald", "9999999999d"])
def test_a_pause_ends_in_the_future(office, until):
    office.keep()

    assert office("pause", TOWN, "--reason", "Wartung", "--until", until).code == 2


@pytest.mark.parametrize("command", ["pause", "resume"])
def test_a_destination_that_nobody_knows_is_refused(office, command):
    office.keep()

    done = office(command, "musterstadt/antarg", *REASON)

    assert done.code == 1
    assert "there is no destination musterstadt/antarg" in done.err
    assert office.audits() == []


def test_a_destination_that_is_configured_no_more_can_be_held_back(office):
    office.keep(office.message(destinations=("frueher/antrag",)))

    assert office("pause", "frueher/antrag", *REASON).code == 0


def test_a_pause_works_with_a_broken_configuration(office):
    office.keep(office.message())
    office.change("version: 1", "version: 2")

    done = office("pause", TOWN, *REASON)

    assert done.code == 0
    assert "routes.yaml cannot be used" in done.err


def test_who_resumes_what_is_outside_its_hours_hears_until_when(office):
    store = office.store()
    store.hold(Control(TOWN, "closed", "maintenance", datetime.now(UTC), "hub", datetime(2099, 1, 1, tzinfo=UTC)))
    store.close()

    done = office("resume", TOWN, *REASON)

    assert done.code == 1
    assert f"{TOWN} was not held back; it is closed until 2099-01-01" in done.err


def test_a_destination_shows_its_maintenance_beside_its_hours(office):
    office.change(
        '    adapter: folder\n    path: "ausgang/{municipality}"',
        '    adapter: folder\n    path: "ausgang/{municipality}"\n    open: Mo-Fr 06:00-20:00\n'
        "    maintenance: [So 02:00-04:00, {from: 2026-12-24T12:00, until: 2026-12-27T06:00}]",
    )
    office.keep()

    shown = office("destinations", "show", TOWN).out

    assert "Mo-Fr 06:00-20:00, but not So 02:00-04:00, 2026-12-24 12:00 to 2026-12-27 06:00" in shown

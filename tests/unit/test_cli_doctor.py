"""``doctor``: what needs a person is exit code 1, what somebody wanted is not."""

from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

from hub.job import Job
from hub.store import migrate, open_store
from hub.store.api import Control
from tests.command import TOWN, VILLAGE
from tests.servers import fresh_database
from tests.storing import acceptance

NOW = datetime.now(UTC)
LONG_AGO = NOW - timedelta(hours=2)


def asked(office, *arguments):
    done = office("doctor", "--json", *arguments)
    return done.code, {one["what"]: one for one in done.json["items"]}


def asked_of(office, store):
    done = office("doctor", "--json", XOEV_HUB_STORE=store)
    return done.code, {one["what"]: one for one in done.json["items"]}


def test_a_healthy_hub_needs_nobody(office):
    office.keep()

    assert asked(office) == (0, {})
    assert office("doctor").out == "nothing needs a person\n"


def test_what_waits_without_a_daemon_is_said_and_needs_a_person_in_the_end(office):
    office.keep(office.message())
    just_now = asked(office)
    long_ago = NOW - timedelta(hours=2)
    office.keep(acceptance(destinations=(VILLAGE,), received_at=long_ago, due_at=long_ago))
    later = asked(office)

    assert (just_now[0], later[0]) == (0, 1)
    assert just_now[1].keys() == later[1].keys() == {"daemon"}
    assert later[1]["daemon"]["next"].startswith("xoev-hub run")


def test_a_database_that_no_daemon_works_on_is_said(office):
    with fresh_database() as url:
        bare = asked_of(office, url)
        migrate(url)
        nobody = asked_of(office, url)
        with closing(open_store(url, state_dir=office.folder / "var", mode="daemon")) as store:
            store.accept(acceptance(destinations=(VILLAGE,), received_at=LONG_AGO, due_at=LONG_AGO))
            waits = asked_of(office, url)
            store.announce("0" * 64, [])
            elsewhere = asked_of(office, url)

    assert (bare[0], nobody[0], waits[0], elsewhere[0]) == (1, 0, 1, 0)
    assert bare[1]["store"]["next"].startswith("xoev-hub store migrate")
    assert nobody[1]["daemon"]["text"] == "none runs on this store: nothing is taken in"
    assert waits[1]["daemon"]["text"].startswith("none runs on this store, and deliveries wait since ")
    assert waits[1]["daemon"]["next"].startswith("xoev-hub run")
    assert elsewhere[1] == {}


def test_a_store_that_is_not_there_is_said(office):
    code, found = asked(office)

    assert code == 1
    assert found.keys() == {"store"}
    assert f"{office.folder}/var/hub.db" in found["store"]["text"]
    assert not (office.folder / "var" / "hub.db").exists()


def test_a_disk_without_room_is_said(office):
    office.keep()
    (office.folder / "hub.toml").write_text('keep_free = "999999GB"\n')
    code, found = asked(office)

    assert code == 1
    assert found.keys() == {"disk"}


def test_dead_letters_are_counted_by_destination_and_reason(office):
    office.keep(*(office.message(dead="refused") for _ in range(3)))

    code, found = asked(office)

    assert code == 1
    assert found["dead letters"]["text"] == f"3 to {TOWN}: refused"
    assert found["dead letters"]["next"] == f"xoev-hub messages list --state dead --reason refused --destination {TOWN}"
    assert found["dead letters"]["needs_person"] is True


@pytest.mark.parametrize(("kind", "code"), [("blocked", 1), ("paused", 0)])
def test_a_blocked_destination_needs_a_person_and_a_paused_one_is_wanted(office, kind, code):
    store = office.store()
    store.hold(Control(TOWN, kind, "peer_auth", NOW, "hub", NOW + timedelta(hours=1)))
    store.close()

    ended, found = asked(office)

    assert ended == code
    assert found[kind]["needs_person"] is (code == 1)
    assert f"xoev-hub resume {TOWN}" in found[kind]["next"]


def test_a_broken_configuration_is_said_beside_what_the_store_says(office):
    office.keep(office.message(dead="refused"))
    office.change("version: 1", "version: 2")

    code, found = asked(office)

    assert code == 1
    assert found.keys() == {"configuration", "dead letters"}
    assert "routes.yaml:" in found["configuration"]["text"]


def test_broken_settings_do_not_end_it(office):
    (office.folder / "hub.toml").write_text("workers = 0\n")

    code, found = asked(office)

    assert (code, found.keys()) == (1, {"configuration"})


def test_deliveries_for_a_destination_that_is_gone_are_said(office):
    office.keep(office.message(destinations=("frueher/antrag",)))

    code, found = asked(office)

    assert code == 1
    assert "frueher/antrag" in found["route gone"]["text"]
    assert "--destination frueher/antrag --state waiting" in found["route gone"]["next"]


def test_a_job_that_has_not_run_is_information(office):
    store = office.store()
    store.jobs.add(Job("01a20104-3a88-770c-80d3-230e6fb12b06", "resend", "erika", "Test", NOW), ["x"])
    store.close()

    code, found = asked(office)

    assert code == 0
    assert found["job"]["text"] == "resend of erika: 0 of 1 done"


def test_people_are_told_the_next_step(office):
    office.keep(office.message(dead="refused"))

    done = office("doctor")

    assert done.code == 1
    assert done.out == (
        f"dead letters: 1 to {TOWN}: refused\n"
        f"    next: xoev-hub messages list --state dead --reason refused --destination {TOWN}\n"
    )

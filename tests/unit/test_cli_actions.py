"""``replay``, ``resend``, ``close``, ``replan``: what becomes of deliveries."""

import json
import sqlite3

import pytest

from hub.cli import jobs
from hub.message import new_id
from tests.command import REASON, TOWN, VILLAGE, states

CLOSE = ("close", "--as", "cancelled")


# --- replay


def test_a_replay_plans_anew_and_closes_what_it_replaces(office):
    (kept,) = office.keep(office.message(dead="refused"))

    done = office("replay", kept.message.id, *REASON, "--json", SUDO_USER="erika")

    assert done.code == 0, done.err
    job = done.json
    assert (job["kind"], job["state"], job["count"], job["actor"]) == ("replay", "done", 1, "erika")
    assert job["reason"] == "Fachverfahren läuft wieder"
    (result,) = job["results"]
    assert (result["item"], result["result"]) == (kept.deliveries[0].id, "done")
    (message,) = office.listed()
    old, new = message["deliveries"]
    assert (old["state"], old["reason"]) == ("closed", "superseded")
    assert (new["id"], new["state"], new["replay_of"]) == (result["detail"], "waiting", old["id"])


def test_a_delivery_can_be_named_itself(office):
    (kept,) = office.keep(office.message(dead="refused", destinations=(TOWN, VILLAGE)))

    office("replay", kept.deliveries[0].id, *REASON)

    assert states(office) == ["closed", "dead", "waiting"]


def test_a_message_stands_for_its_dead_deliveries_only(office):
    waiting, dead = office.keep(office.message(), office.message(dead="refused"))

    nothing = office("replay", waiting.message.id, *REASON)
    both = office("replay", waiting.message.id, dead.message.id, *REASON)

    assert nothing.code == 1
    assert f"{waiting.message.id}: has no delivery that replay applies to" in nothing.err
    assert both.code == 0
    assert states(office) == ["waiting", "closed", "waiting"]


def test_filters_choose_like_those_of_a_listing(office):
    office.keep(
        office.message(dead="refused"),
        office.message(dead="gave_up"),
        office.message(dead="refused", destinations=(VILLAGE,)),
    )

    done = office("replay", "--state", "dead", "--because", "refused", "--destination", TOWN, *REASON)

    assert done.code == 0
    assert states(office) == ["closed", "waiting", "dead", "dead"]


def test_a_state_that_is_asked_for_counts(office):
    office.keep(office.message(), office.message(dead="refused"))

    done = office("replay", "--state", "waiting", *REASON)

    assert done.code == 0
    assert states(office) == ["closed", "waiting", "dead"]


def test_a_rejected_message_is_handed_in_once_more(office):
    office("send", str(office.bad), "--sender", "portal")
    (rejected,) = office.listed()
    office.change("checks: [xsd]  ", "checks: []  ")
    office.change("expect: {rejected: schema_violation}", "expect: {route: antraege, deliver_to: [musterstadt/antrag]}")

    done = office("replay", "--state", "rejected", *REASON)

    assert done.code == 0, done.err
    fresh, old = office.listed()
    assert (old["id"], old["status"]) == (rejected["id"], "rejected")
    assert (fresh["parent_id"], fresh["status"]) == (rejected["id"], "open")


def test_what_still_fails_is_a_failure_with_its_reason(office):
    office("send", str(office.bad), "--sender", "portal")
    (rejected,) = office.listed()

    done = office("replay", rejected["id"], *REASON)

    assert done.code == 1
    assert "failed rejected: schema_violation" in done.err


def test_a_replay_needs_a_configuration_and_touches_nothing_without(office):
    (kept,) = office.keep(office.message(dead="refused"))
    office.change("version: 1", "version: 2")

    done = office("replay", kept.message.id, *REASON)

    assert done.code == 78
    store = office.store()
    assert list(store.jobs.unfinished()) == []
    store.close()
    assert states(office) == ["dead"]


def test_resend_and_close_need_no_configuration(office):
    one, other = office.keep(office.message(dead="refused"), office.message(dead="refused"))
    office.change("version: 1", "version: 2")

    assert office("resend", one.message.id, *REASON).code == 0
    assert office(*CLOSE, other.message.id, *REASON).code == 0
    assert states(office) == ["waiting", "closed"]


# --- resend, close


def test_a_resend_is_the_same_delivery_again(office):
    (kept,) = office.keep(office.message(dead="refused"))

    done = office("resend", kept.message.id, *REASON, "--json")

    assert (done.code, done.json["kind"]) == (0, "resend")
    (message,) = office.listed()
    assert [(one["id"], one["state"]) for one in message["deliveries"]] == [(kept.deliveries[0].id, "waiting")]


@pytest.mark.parametrize("how", ["cancelled", "superseded", "delivered-otherwise"])
def test_a_closed_delivery_says_how(office, how):
    (kept,) = office.keep(office.message())

    done = office("close", kept.message.id, "--as", how, *REASON)

    assert done.code == 0
    assert [(one["state"], one["reason"]) for one in office.listed()[0]["deliveries"]] == [("closed", how)]


@pytest.mark.parametrize("command", [CLOSE, ("resend",), ("replay",)])
def test_what_is_being_sent_is_left_alone_and_the_exit_code_says_that_it_is_pending(office, command):
    (kept,) = office.keep(office.message())
    office.claim()

    done = office(*command, kept.deliveries[0].id, *REASON)

    assert done.code == 75, done.err
    assert "it is being sent" in done.err
    assert states(office) == ["sending"]


@pytest.mark.parametrize(
    "arguments",
    [["--reason", "x"], ["--as", "vergessen", "--reason", "x"], ["--as", "cancelled", "--reason", "x", "--again"]],
)
def test_close_demands_how(office, arguments):
    (kept,) = office.keep(office.message())

    assert office("close", kept.message.id, *arguments).code == 2
    assert states(office) == ["waiting"]


def test_what_has_moved_on_is_said(office):
    (kept,) = office.keep(office.message(dead="refused"))
    first = office("resend", kept.deliveries[0].id, *REASON)

    again = office("resend", kept.deliveries[0].id, *REASON)

    assert (first.code, again.code) == (0, 0)
    assert "skipped it is waiting" in again.err
    assert states(office) == ["waiting"]


# --- beside a daemon that has the store, or somebody else who has its lock


def test_a_job_that_has_not_run_yet_is_pending(office, monkeypatch):
    (kept,) = office.keep(office.message(dead="refused"))
    monkeypatch.setattr(jobs, "WAIT_SECONDS", 0.2)
    daemon = office.store()

    done = office("resend", kept.message.id, *REASON, "--json")

    assert done.code == 75
    assert (done.json["state"], done.json["results"]) == ("open", [])
    (job,) = daemon.jobs.unfinished()
    assert job.id == done.json["id"]
    assert [one.item for one in daemon.jobs.items(job.id)] == [kept.deliveries[0].id]
    daemon.close()
    assert states(office) == ["dead"]


def test_results_are_json_on_stdout_and_nothing_else(office):
    (kept,) = office.keep(office.message(dead="refused"))

    done = office("replay", kept.message.id, *REASON, "--json")

    assert json.loads(done.out)["results"][0]["result"] == "done"
    assert done.err == ""


def test_an_id_named_twice_counts_once(office):
    (kept,) = office.keep(office.message(dead="refused"))

    done = office("resend", kept.message.id, kept.message.id, kept.deliveries[0].id, *REASON, "--json")

    assert (done.code, done.json["count"]) == (0, 1)


def test_an_id_that_no_one_has_is_refused_for_every_kind(office):
    office.keep()

    for command in (["replay"], ["resend"], [*CLOSE]):
        assert office(*command, new_id(), *REASON).code == 1


def test_replan_is_for_what_waits(office):
    waiting, dead = office.keep(office.message(), office.message(dead="refused"))

    done = office("replan", waiting.message.id, *REASON)
    nothing = office("replan", dead.message.id, *REASON)

    assert (done.code, nothing.code) == (0, 1)
    assert states(office) == ["closed", "waiting", "dead"]


def arrived_and_erased(office):
    """Leave every delivery as it is when its message's bytes were erased some time after it had arrived."""
    with sqlite3.connect(office.folder / "var" / "hub.db") as connection:
        connection.execute("update delivery set state = 'delivered', attempts = 1, revision = 2, payload_id = null")
        connection.execute("delete from payload")
    connection.close()


def test_a_resend_of_what_is_erased_does_not_advise_a_replay(office):
    (kept,) = office.keep(office.message())
    arrived_and_erased(office)

    done = office("resend", kept.deliveries[0].id, "--again", *REASON)

    assert done.code == 1
    assert done.err.endswith("failed there are no bytes to send: they are erased\n")

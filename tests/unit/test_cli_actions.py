"""``replay``, ``resend``, ``close``, ``pause``, ``resume``: what changes something, and what must not change a thing."""

import json
import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import pytest

from hub.cli import actions, jobs
from hub.message import new_id
from hub.store.api import Control
from tests.command import TOWN, VILLAGE

CASES = Path(__file__).parents[1] / "hostile" / "cases"
REASON = ("--reason", "Fachverfahren läuft wieder")
CLOSE = ("close", "--as", "cancelled")


def states(office):
    return [one["state"] for message in reversed(office.listed()) for one in message["deliveries"]]


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


# --- what must not happen by accident


@pytest.mark.parametrize("command", [["replay"], ["resend"], [*CLOSE], ["pause", TOWN], ["resume", TOWN]])
@pytest.mark.parametrize("reason", [[], ["--reason", ""], ["--reason", " \t"], ["--reason", "x" * 501]])
def test_nothing_is_changed_without_a_reason(office, command, reason):
    (kept,) = office.keep(office.message(dead="refused"))
    ids = [kept.message.id] if command[0] not in ("pause", "resume") else []

    done = office(*command, *ids, *reason)

    assert done.code == 2
    assert "--reason" in done.err
    assert states(office) == ["dead"]
    assert office.audits() == []


@pytest.mark.parametrize("command", [["replay"], ["resend"], [*CLOSE]])
def test_everything_is_never_meant_by_saying_nothing(office, command):
    office.keep(office.message(dead="refused"))

    done = office(*command, *REASON)

    assert done.code == 2
    assert "expected ids" in done.err
    assert states(office) == ["dead"]


@pytest.mark.parametrize("case", ["r01_ids_shell", "r02_ids_sql", "r03_ids_path"])
@pytest.mark.parametrize("command", [["replay"], ["resend"], [*CLOSE]])
def test_what_is_no_id_does_nothing(office, command, case, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (kept,) = office.keep(office.message(dead="refused"))
    hostile = (CASES / f"{case}.txt").read_text().splitlines()

    by_argument = [office(*command, *REASON, "--", kept.message.id, id_) for id_ in hostile if id_]
    by_pipe = office(*command, *REASON, "-", stdin=f"{kept.message.id}\n{chr(10).join(hostile)}\n".encode())

    assert {done.code for done in (*by_argument, by_pipe)} == {2}
    assert "nothing was done" in by_pipe.err
    assert states(office) == ["dead"]
    assert list(tmp_path.rglob("*.owned")) == []
    assert office.audits() == []


def test_an_unknown_id_among_known_ones_does_nothing(office):
    unknown = (CASES / "r04_ids_unknown_mixed.txt").read_text().split()
    (kept,) = office.keep(office.message(dead="refused"))

    done = office("replay", kept.message.id, *unknown, *REASON)

    assert done.code == 1
    assert f"nothing was done: there is no message or delivery {', '.join(unknown)}" in done.err
    assert states(office) == ["dead"]
    assert office.audits() == []


def test_a_million_ids_are_refused_at_once(office):
    office.keep()
    many = "".join(f"{number:08x}-0000-4000-8000-000000000000\n" for number in range(1_000_000)).encode()

    done = office("replay", "-", *REASON, stdin=many)

    assert done.code == 2
    assert "more than 10000; nothing was done" in done.err


def test_ids_come_through_a_pipe(office):
    kept = office.keep(office.message(dead="refused"), office.message(dead="refused"))

    done = office("replay", "-", *REASON, stdin="\n".join(one.message.id for one in kept).encode())

    assert done.code == 0
    assert states(office) == ["closed", "waiting", "closed", "waiting"]


def test_an_empty_pipe_means_nothing_and_not_everything(office):
    office.keep(office.message(dead="refused"))

    done = office("replay", "-", *REASON, stdin=b"")

    assert "replay: nothing fits, so nothing is done" in done.err

    assert done.code == 0
    assert states(office) == ["dead"]


def test_a_dry_run_says_what_would_be_done(office):
    office.keep(*(office.message(dead="refused") for _ in range(3)))

    told = office("replay", "--state", "dead", *REASON, "--dry-run")
    listed = office("replay", "--state", "dead", *REASON, "--dry-run", "--json")

    assert (told.code, listed.code) == (0, 0)
    assert "replay: 3 would be done" in told.err
    assert told.out.splitlines()[1].split() == ["musterstadt", TOWN, "dead", "refused", "3"]
    assert len(listed.json["items"]) == 3
    assert states(office) == ["dead"] * 3
    assert office.audits() == []


@pytest.mark.parametrize("by", ["filter", "ids"])
def test_a_limit_takes_the_oldest(office, by):
    kept = office.keep(*(office.message(dead="refused") for _ in range(3)))
    chosen = ["--state", "dead"] if by == "filter" else [one.message.id for one in kept]

    office("resend", *chosen, "--limit", "2", *REASON)

    assert states(office) == ["waiting", "waiting", "dead"]


def test_more_than_twenty_must_be_confirmed_by_their_number(office):
    office.keep(*(office.message(dead="refused") for _ in range(21)))
    asked = ("resend", "--state", "dead", *REASON)

    plain, wrong = office(*asked), office(*asked, "--confirm", "20")
    before = states(office)
    confirmed = office(*asked, "--confirm", "21")

    assert (plain.code, wrong.code, confirmed.code) == (2, 2, 0)
    assert "nothing was done: these are 21; say --confirm 21" in plain.err
    assert before == ["dead"] * 21
    assert states(office) == ["waiting"] * 21


def test_delivered_ones_are_meant_only_by_saying_again(office):
    office.keep(office.message(dead="refused"))
    office("close", office.listed()[0]["id"], "--as", "delivered-otherwise", *REASON)

    without = office("replay", "--route", "antraege", *REASON, "--dry-run", "--json")
    closed = office("replay", "--state", "closed", *REASON, "--dry-run", "--json")

    assert without.json["items"] == []
    assert len(closed.json["items"]) == 1


def test_a_reason_cannot_forge_a_line_of_the_audit(office):
    hostile = (CASES / "r10_reason_injection.txt").read_text()
    (kept,) = office.keep(office.message(dead="refused"))

    done = office("resend", kept.message.id, "--reason", hostile, SUDO_USER="erika\x1b[8m")

    assert done.code == 0
    (audit,) = office.audits()
    assert audit.reason == hostile.strip().replace("\n", "\\u000a").replace("\x1b", "\\u001b")
    assert audit.actor == "erika\\u001b[8m"
    assert audit.reason.isprintable()
    assert "\x1b" not in office("messages", "show", kept.message.id).out


def test_everything_that_was_done_is_audited(office):
    (kept,) = office.keep(office.message(dead="refused"))
    office("resend", kept.message.id, "--reason", "eins", SUDO_USER="erika")
    office("pause", TOWN, "--reason", "zwei", SUDO_USER="erika")
    office("resume", TOWN, "--reason", "drei", SUDO_USER="erika")

    audits = reversed(office.audits())

    assert [(one.actor, one.via, one.action, one.reason) for one in audits] == [
        ("erika", "cli", "resend", "eins"),
        ("erika", "cli", "pause", "zwei"),
        ("erika", "cli", "resume", "drei"),
    ]


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


# --- pause, resume


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


# --- what is meant


def arrived_and_erased(office):
    """Leave every delivery as it is when its message's bytes were erased some time after it had arrived."""
    with sqlite3.connect(office.folder / "var" / "hub.db") as connection:
        connection.execute("update delivery set state = 'delivered', attempts = 1, revision = 2, payload_id = null")
        connection.execute("delete from payload")
    connection.close()


def test_two_values_for_one_filter_are_refused_and_not_the_last_one_taken(office):
    office.keep(office.message(dead="refused"), office.message(dead="refused", destinations=(VILLAGE,)))

    done = office("replay", "--destination", TOWN, "--destination", VILLAGE, *REASON)
    listed = office("messages", "list", "--state", "dead", "--state", "waiting")

    assert (done.code, listed.code) == (2, 2)
    assert "'--destination': given more than once" in done.err
    assert states(office) == ["dead", "dead"]


def test_ids_and_filters_together_are_refused_and_the_filter_is_not_ignored(office):
    (kept,) = office.keep(office.message(dead="refused", destinations=(TOWN, VILLAGE)))

    done = office("replay", kept.message.id, "--destination", TOWN, *REASON)

    assert done.code == 2
    assert "one of the two" in done.err
    assert states(office) == ["dead", "dead"]


@pytest.mark.parametrize("name", ["destination", "route", "municipality", "sender"])
def test_a_name_that_nobody_knows_is_named_when_nothing_fits(office, name):
    office.keep(office.message(dead="refused"))

    done = office("replay", "--state", "dead", f"--{name}", "musterstatt", *REASON)

    assert done.code == 0
    assert f"there is no {name} musterstatt" in done.err
    assert "there is no" not in office("replay", "--state", "waiting", "--destination", TOWN, *REASON).err


def test_a_resend_of_what_is_erased_does_not_advise_a_replay(office):
    (kept,) = office.keep(office.message())
    arrived_and_erased(office)

    done = office("resend", kept.deliveries[0].id, "--again", *REASON)

    assert done.code == 1
    assert done.err.endswith("failed there are no bytes to send: they are erased\n")


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

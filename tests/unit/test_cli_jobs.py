"""What an operator sees of many deliveries at once: the preview, the count to confirm, ``jobs``, ``--diff``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from hub.cli import jobs
from hub.job import Job, Steering
from hub.message import new_id
from hub.store.sql import SqlStore
from tests.command import REASON, TOWN, VILLAGE, Office
from tests.storing import NOW


def states(office: Office) -> list[str]:
    return [one["state"] for message in reversed(office.listed()) for one in message["deliveries"]]


@pytest.fixture
def beside(office: Office, monkeypatch: pytest.MonkeyPatch) -> Callable[[], SqlStore]:
    """Give what opens the store as a daemon has it: commands beside it only write jobs down, and wait a moment."""
    monkeypatch.setattr(jobs, "WAIT_SECONDS", 0.2)
    return office.store


# --- before -------------------------------------------------------------------------------------------------------


def test_a_preview_says_how_many_of_whom_where_to_and_since_when(office: Office) -> None:
    office.keep(
        *(office.message(dead="refused") for _ in range(2)),
        office.message(dead="unclear", destinations=(VILLAGE,), owner="musterdorf"),
    )

    told = office("replay", "--state", "dead", *REASON, "--dry-run")
    shown = office("replay", "--state", "dead", *REASON, "--dry-run", "--json").json

    assert "replay: 3 would be done" in told.err
    assert "received 20" in told.err
    assert len(shown["items"]) == shown["preview"]["count"] == 3
    assert shown["preview"]["first_received_at"] <= shown["preview"]["last_received_at"]
    assert shown["preview"]["groups"] == [
        {"municipality": "musterstadt", "destination": TOWN, "state": "dead", "reason": "refused", "count": 2},
        {"municipality": "musterdorf", "destination": VILLAGE, "state": "dead", "reason": "unclear", "count": 1},
    ]


def test_a_preview_warns_of_what_was_delivered_or_may_have_been(office: Office) -> None:
    office("send", str(office.good), "--sender", "portal")
    (message,) = office.listed()
    office.claim()
    store = office.store()
    from hub.delivery import Event, EventKind
    from hub.store.api import Change, Settlement

    (sending,) = store.message(message["id"]).deliveries  # type: ignore[union-attr]
    (waiting,) = store.apply(Change((Settlement(sending, Event(EventKind.DEFERRED, NOW, NOW, reason="worker_lost")),)))
    store.apply(Change((Settlement(waiting, Event(EventKind.CLAIMED, NOW)),)))
    (sending,) = store.message(message["id"]).deliveries  # type: ignore[union-attr]
    store.apply(Change((Settlement(sending, Event(EventKind.DELIVERED, NOW)),)))
    store.close()

    told = office("resend", "--state", "delivered", "--again", *REASON, "--dry-run")
    preview = office("resend", "--state", "delivered", "--again", *REASON, "--dry-run", "--json").json["preview"]

    assert (preview["delivered"], preview["unclear"]) == (1, 1)
    assert "1 of them their destination has had already" in told.err
    assert "1 of them may have arrived: an attempt ended unclear" in told.err


def test_the_preview_of_rejected_messages_says_their_codes(office: Office) -> None:
    office("send", str(office.bad), "--sender", "portal")

    shown = office("replay", "--state", "rejected", *REASON, "--dry-run", "--json").json

    assert [(one["state"], one["reason"], one["count"]) for one in shown["preview"]["groups"]] == [
        ("rejected", "schema_violation", 1)
    ]


@pytest.mark.parametrize(
    ("environment", "count", "code"),
    [({}, 3, 0), ({"XOEV_HUB_CONFIRM_ABOVE": "2"}, 3, 2), ({"XOEV_HUB_CONFIRM_ABOVE": "0"}, 1, 2)],
    ids=["20", "2", "0"],
)
def test_where_a_count_is_asked_for_is_a_setting(
    office: Office, environment: dict[str, str], count: int, code: int
) -> None:
    office.keep(*(office.message(dead="refused") for _ in range(count)))

    done = office("resend", "--state", "dead", *REASON, **environment)

    assert done.code == code, done.err


def test_a_number_that_is_not_the_count_is_refused_however_small(office: Office) -> None:
    """400 were previewed; meanwhile somebody else has done most of them: that is another list."""
    office.keep(*(office.message(dead="refused") for _ in range(2)))

    wrong = office("resend", "--state", "dead", *REASON, "--confirm", "400")
    right = office("resend", "--state", "dead", *REASON, "--confirm", "2")

    assert (wrong.code, right.code) == (2, 0)
    assert "nothing was done: these are 2; say --confirm 2" in wrong.err


@pytest.mark.parametrize("command", [("replay",), ("resend",), ("close", "--as", "cancelled")])
def test_a_selection_may_be_a_filter_for_every_kind(office: Office, command: tuple[str, ...]) -> None:
    office.keep(office.message(dead="refused"), office.message(dead="gave_up"))

    done = office(*command, "--state", "dead", "--because", "refused", *REASON, "--json")

    assert (done.code, done.json["count"], done.json["progress"]["done"]) == (0, 1, 1)


@pytest.mark.parametrize("rate", ["0", "-1/s", "5/min", "5000/s", "schnell", "1e3", "٣"])
def test_a_rate_that_is_none_is_refused(office: Office, rate: str) -> None:
    (kept,) = office.keep(office.message(dead="refused"))

    assert office("resend", kept.message.id, *REASON, "--rate", rate).code == 2
    assert states(office) == ["dead"]


@pytest.mark.parametrize(("said", "meant"), [("5/s", 5.0), ("5", 5.0), ("0.5/s", 0.5), ("1000/s", 1000.0)])
def test_a_rate_is_so_many_per_second(office: Office, beside: Callable[[], SqlStore], said: str, meant: float) -> None:
    (kept,) = office.keep(office.message(dead="refused"))
    store = beside()

    done = office("resend", kept.message.id, *REASON, "--rate", said, "--canary", "1", "--json")

    assert (done.code, done.json["rate"], done.json["canary"], done.json["canary_passed"]) == (75, meant, 1, False)
    store.close()


def test_a_close_has_no_canary(office: Office) -> None:
    (kept,) = office.keep(office.message(dead="refused"))

    assert office("close", kept.message.id, "--as", "cancelled", *REASON, "--canary", "1").code == 2


# --- asked twice --------------------------------------------------------------------------------------------------


def test_the_same_command_again_shows_the_same_job(office: Office, beside: Callable[[], SqlStore]) -> None:
    office.keep(*(office.message(dead="refused") for _ in range(21)))
    store = beside()
    command = ("resend", "--state", "dead", *REASON, "--json")

    first = office(*command, "--confirm", "21")
    again = office(*command, "--confirm", "21")
    short = office(*command)  # that job is there: nothing is left to confirm

    assert [one.code for one in (first, again, short)] == [75, 75, 75]
    assert len({one.json["id"] for one in (first, again, short)}) == 1
    assert f"that is job {first.json['id']}, which is open already" in again.err
    assert len(store.jobs.unfinished()) == 1
    store.close()


# --- without a daemon ---------------------------------------------------------------------------------------------


def test_without_a_daemon_the_canary_is_released_and_the_others_wait_for_its_delivery(office: Office) -> None:
    office.keep(*(office.message(dead="refused") for _ in range(3)))

    done = office("resend", "--state", "dead", *REASON, "--canary", "1")

    assert done.code == 75
    assert "1 of 3 done so far" in done.err
    assert "the others follow when its canary is delivered" in done.err
    assert states(office) == ["waiting", "dead", "dead"]


def test_without_a_daemon_a_slow_job_leaves_the_store_to_one_soon(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hub.cli import actions

    monkeypatch.setattr(actions, "WAIT_SECONDS", 0.0)
    monkeypatch.setattr(jobs, "WAIT_SECONDS", 0.0)
    office.keep(*(office.message(dead="refused") for _ in range(3)))

    done = office("resend", "--state", "dead", *REASON, "--rate", "0.1/s")

    assert (done.code, states(office).count("waiting")) == (75, 0)


# --- jobs ---------------------------------------------------------------------------------------------------------


def job_of(office: Office, count: int = 3, **more: Any) -> Job:
    """Write a job down that nobody runs."""
    kept = office.keep(*(office.message(dead="refused") for _ in range(count)))
    store = office.store()
    made = store.jobs.add(Job(new_id(), "resend", "erika", "Test", NOW, **more), [one.deliveries[0].id for one in kept])
    store.close()
    return made


def test_jobs_are_listed_and_shown(office: Office) -> None:
    job = job_of(office, arguments={"rate": "5", "canary": "1"})

    listed, told = office("jobs", "list", "--json").json, office("jobs", "list")
    shown, page = office("jobs", "show", job.id), office("jobs", "show", job.id, "--json", "--limit", "2").json

    assert [(one["id"], one["state"], one["count"]) for one in listed["items"]] == [(job.id, "open", 3)]
    assert listed["items"][0]["progress"] == {
        "done": 0, "skipped": 0, "failed": 0, "sending": 0, "cancelled": 0, "left": 3,
    }  # fmt: skip
    assert "3 left" in told.out
    assert f"job        {job.id}  resend  open" in shown.out
    assert "5 per second, 1 first (the others follow when delivered)" in shown.out
    assert shown.out.count(" left") == 4
    assert (page["rate"], page["canary"], page["next"]) == (5.0, 1, 2)


def test_a_listing_of_jobs_has_pages_and_states(office: Office) -> None:
    first, second = job_of(office), job_of(office)
    office("jobs", "cancel", first.id, *REASON)

    page = office("jobs", "list", "--limit", "1", "--json").json
    rest = office("jobs", "list", "--limit", "1", "--json", "--after", page["next"]).json
    cancelled = office("jobs", "list", "--state", "cancelled", "--json").json

    assert [one["id"] for one in (*page["items"], *rest["items"])] == [second.id, first.id]
    assert [one["id"] for one in cancelled["items"]] == [first.id]


def test_the_results_of_a_job_are_read_page_by_page_and_by_kind(office: Office) -> None:
    kept = office.keep(*(office.message(dead="refused") for _ in range(5)))
    office("resend", kept[2].message.id, *REASON)
    made = office("resend", *(one.deliveries[0].id for one in kept), *REASON, "--json").json

    pages, after = [], "0"
    while after is not None:
        page = office("jobs", "show", made["id"], "--json", "--limit", "2", "--after", str(after)).json
        pages.append([one["item"] for one in page["results"]])
        after = page["next"]
    skipped = office("jobs", "show", made["id"], "--json", "--result", "skipped").json

    assert [item for page in pages for item in page] == [one.deliveries[0].id for one in kept]
    assert [len(page) for page in pages] == [2, 2, 1]
    assert [(one["item"], one["detail"]) for one in skipped["results"]] == [(kept[2].deliveries[0].id, "it is waiting")]


def test_a_job_is_paused_resumed_and_cancelled_with_a_reason(office: Office) -> None:
    job = job_of(office)

    done = [office("jobs", verb, job.id, "--reason", verb, SUDO_USER="otto") for verb in ("pause", "resume", "cancel")]
    late = office("jobs", "resume", job.id, *REASON)

    assert [one.code for one in done] == [0, 0, 0]
    said = office("jobs", "cancel", job.id, *REASON, "--json")
    assert (said.code, said.json["state"]) == (1, "cancelled")
    assert (late.code, f"nothing was done: job {job.id} is cancelled" in late.err) == (1, True)
    shown = office("jobs", "show", job.id, "--json").json
    assert (shown["state"], shown["note"], shown["changed_by"]) == ("cancelled", "cancel", "otto")
    assert shown["progress"]["cancelled"] == 3
    assert [(one.action, one.actor, one.reason) for one in reversed(office.audits())][:3] == [
        ("pause_job", "otto", "pause"), ("resume_job", "otto", "resume"), ("cancel_job", "otto", "cancel"),
    ]  # fmt: skip


@pytest.mark.parametrize("verb", ["show", "pause", "resume", "cancel"])
@pytest.mark.parametrize("id_", ["../../etc/passwd", "1; DROP TABLE job", "", "01a20104"])
def test_what_is_no_id_of_a_job_does_nothing(office: Office, verb: str, id_: str) -> None:
    office.keep()

    done = office("jobs", verb, id_, *(REASON if verb != "show" else ()))

    assert done.code == 2


@pytest.mark.parametrize("verb", ["show", "pause", "resume", "cancel"])
def test_a_job_that_nobody_has_is_a_failure(office: Office, verb: str) -> None:
    office.keep()

    done = office("jobs", verb, new_id(), *(REASON if verb != "show" else ()))

    assert (done.code, "there is no job" in done.err) == (1, True)


@pytest.mark.parametrize("verb", ["pause", "resume", "cancel"])
def test_a_job_is_not_changed_without_a_reason(office: Office, verb: str) -> None:
    job = job_of(office)

    assert office("jobs", verb, job.id).code == 2
    assert office("jobs", "show", job.id, "--json").json["state"] == "open"


def test_a_paused_job_needs_a_person_and_doctor_says_so(office: Office) -> None:
    job = job_of(office)
    store = office.store()
    store.jobs.steer(Steering(job.id, "paused", "hub", "the canary failed", NOW))
    store.close()

    (found,) = [one for one in office("doctor", "--json").json["items"] if one["what"] == "job"]

    assert found["needs_person"]
    assert "paused: the canary failed" in found["text"]
    assert f"xoev-hub jobs resume {job.id}" in found["next"]


def test_watching_a_job_ends_with_it_and_says_how_it_ended(office: Office) -> None:
    office.keep(*(office.message(dead="refused") for _ in range(2)))
    made = office("resend", "--state", "dead", *REASON, "--json").json
    halted = job_of(office)
    office("jobs", "pause", halted.id, *REASON)

    done, paused = office("jobs", "show", made["id"], "--watch"), office("jobs", "show", halted.id, "--watch")

    assert (done.code, paused.code) == (0, 1)
    assert "2 of 2: 2 done" in done.err


def test_many_results_are_counted_and_only_the_bad_ones_named(office: Office) -> None:
    office.keep(office.message())
    office.claim()
    office.keep(*(office.message(dead="refused") for _ in range(25)))
    ids = [one["id"] for message in office.listed() for one in message["deliveries"]]

    done = office("resend", *ids, *REASON, "--confirm", "26", "--json")
    told = office("close", "--as", "cancelled", *ids, *REASON, "--confirm", "26")

    assert (done.code, done.json["progress"]["done"], done.json["progress"]["sending"]) == (75, 25, 1)
    assert told.code == 75
    assert "25 done, 1 sending" in told.err
    assert len(told.err.splitlines()) == 2

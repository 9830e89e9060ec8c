"""What an action is done to: what a selection means, and what must not happen by accident."""

from pathlib import Path

import pytest

from tests.command import REASON, TOWN, VILLAGE, states

CASES = Path(__file__).parents[1] / "hostile" / "cases"
CLOSE = ("close", "--as", "cancelled")


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

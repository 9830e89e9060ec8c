"""The proof on the user's own machine: where it kills, and what its report says."""

from __future__ import annotations

import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from hub.selftest.checker import KINDS, Verdict, Violation
from hub.selftest.crash import PLACES, RANDOM, Outcome, _plan
from hub.selftest.report import SHOWN_MAX, lines, report

NOW = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)
FIGURES = {"receipts": 1, "lost": 0, "altered": 0, "duplicates": 0}


def outcome(*violations: Violation) -> Outcome:
    verdict = Verdict(violations, FIGURES | {"lost": len(violations)}, {"probe/akte": {"delivered": 3, "dead": 1}})
    return Outcome(4711, verdict, {RANDOM: 2, "after-read": 1}, 5, (1.5, 2.25), NOW, NOW + timedelta(minutes=1))


@pytest.mark.parametrize("kills", [10, 11, 12, 20, 21, 200])
def test_every_place_is_killed_at_before_any_is_forgotten(kills: int) -> None:
    plan = Counter(_plan(kills, random.Random(kills)))

    assert plan.total() == kills
    assert set(PLACES) <= set(plan)
    assert plan["during-migration"] == 1


def test_few_kills_begin_with_the_one_that_only_a_new_store_has() -> None:
    assert _plan(1, random.Random(1)) == ["during-migration"]
    assert _plan(0, random.Random(1)) == []


def test_a_report_says_seed_machine_figures_and_verdict(tmp_path: Path) -> None:
    told = report(outcome(), tmp_path)
    text = "\n".join(lines(told))

    assert (told["verdict"], told["seed"], told["kills"]["all"]) == ("kept", 4711, 3)
    assert told["machine"]["cores"] >= 1
    for said in ("seed 4711", "3  times killed", "2.2  seconds", "4  probe/akte = 1 dead, 3 delivered"):
        assert said in text
    assert "Verdict: every promise was kept." in text
    assert "BROKEN" not in text


def test_a_report_of_a_broken_promise_names_it(tmp_path: Path) -> None:
    told = report(outcome(*(Violation("lost", f"id-{number}") for number in range(SHOWN_MAX + 5))), tmp_path)
    text = "\n".join(lines(told))

    assert told["verdict"] == "broken"
    assert f"BROKEN  lost: {KINDS['lost']} (id-0)" in text
    assert "and 5 more" in text
    assert "Verdict: a promise was broken." in text

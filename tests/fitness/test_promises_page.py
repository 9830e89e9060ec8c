"""docs/promises.md says what the proofs have recorded, and nothing else."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.proving.record import record

DOCS = Path(__file__).parents[2] / "docs"
sys.path.insert(0, str(DOCS))

import promises  # noqa: E402  # the script that writes the page

TEXTS = {name: {"text": f"Promise {name}."} for name in promises.PROMISES}


@pytest.fixture
def proofs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XOEV_HUB_PROOFS", str(tmp_path / "proofs"))
    return tmp_path / "proofs"


def test_the_page_is_that_of_its_figures() -> None:
    assert promises.PAGE.read_text("utf-8") == promises.written(), "run docs/promises.py"


def test_every_figure_of_the_page_was_recorded() -> None:
    for one in promises.known()["proofs"]:
        assert set(one) == promises.KEYS
        assert one["command"]
        assert one["figures"]


def test_what_was_recorded_stands_on_the_page_with_the_command_that_repeats_it(proofs: Path) -> None:
    record("P1", "kill -9", {"kills": 20, "receipts": 21_113, "seconds_until_ready": 1.5}, "make storm")
    page = promises.page(promises.collect(proofs, {}), TEXTS)

    assert "| kill -9 | suite, " in page
    assert "| 20 kills, 21,113 receipts, 1.5 seconds until ready | `make storm` |" in page
    assert page.count("No figure of the last run.") == len(promises.PROMISES) - 1


def test_a_later_run_replaces_what_it_has_proved_again_and_leaves_the_rest(proofs: Path) -> None:
    old: dict[str, Any] = {"proofs": [entry("P1", "old"), entry("P1", "large", run="storm"), entry("P2", "other")]}
    record("P1", "new", {"kills": 3}, "make test")
    found = promises.collect(proofs, old)["proofs"]

    assert [(one["promise"], one["attack"]) for one in found] == [("P1", "large"), ("P1", "new"), ("P2", "other")]


def test_what_is_no_record_is_refused(proofs: Path) -> None:
    proofs.mkdir()
    (proofs / "p1.json").write_text(json.dumps({"promise": "P1", "figures": {"lost": 0}}))

    with pytest.raises(ValueError, match="no record"):
        promises.collect(proofs, {})


def test_every_promise_has_its_sentence() -> None:
    with pytest.raises(LookupError, match="P7"):
        promises.page({}, {name: text for name, text in TEXTS.items() if name != "P7"})


def entry(promise: str, attack: str, run: str = "suite") -> dict[str, Any]:
    return {
        "promise": promise,
        "attack": attack,
        "figures": {"n": 1},
        "command": "make",
        "run": run,
        "at": "2026-11-22",
    }

"""What proofs write down."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.proving.record import record


def test_a_record_says_what_was_done_and_a_later_one_of_the_same_size_replaces_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XOEV_HUB_PROOFS", str(tmp_path / "proofs"))

    record("P1", "kill -9", {"kills": 3}, "make test")
    record("P1", "kill -9", {"kills": 20, "lost": 0}, "make test")
    record("P2", "power loss", {"losses": 40}, "make test")

    told = {(one["promise"], one["attack"]): one for one in map(_read, (tmp_path / "proofs").iterdir())}
    assert told.keys() == {("P1", "kill -9"), ("P2", "power loss")}
    assert told["P1", "kill -9"]["figures"] == {"kills": 20, "lost": 0}


def test_a_promise_that_nobody_made_is_not_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XOEV_HUB_PROOFS", str(tmp_path))

    with pytest.raises(AssertionError):
        record("P26", "kill -9", {}, "make test")

    assert not list(tmp_path.iterdir())


def _read(path: Path) -> dict[str, object]:
    read: dict[str, object] = json.loads(path.read_text("utf-8"))
    return read

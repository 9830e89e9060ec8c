"""The example as it is shipped: usable without the extra, and with it by one line that stands in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from hub.demo.stage import add_rules, copied
from hub.xml import saxon
from tests.command import command

MESSAGE = Path(__file__).parents[1] / "messages/gewerbeanmeldung-wolfsburg.xml"


def test_without_the_extra_the_example_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saxon, "available", lambda: False)

    done = command("check", cwd=copied(tmp_path))

    assert done.code == 0, done.err


def test_without_the_extra_check_says_what_its_commented_line_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saxon, "available", lambda: False)
    add_rules(copied(tmp_path))

    done = command("check", cwd=tmp_path)

    assert done.code == 78
    assert "routes.rechnung.checks[1]" in done.err
    assert f"schematron {saxon.MISSING}" in done.err


@pytest.mark.skipif(not saxon.available(), reason="the extra xslt3 is not installed")
def test_with_the_extra_it_is_checked_with_that_line(tmp_path: Path) -> None:
    add_rules(copied(tmp_path))

    done = command("check", cwd=tmp_path)

    assert done.code == 0, done.err


@pytest.mark.skipif(not saxon.available(), reason="the extra xslt3 is not installed")
def test_a_look_at_one_document_names_the_snapshot_of_all_standards_and_adapters(tmp_path: Path) -> None:
    """It compiles no rules for invoices, looks for nothing in a WSDL, and has read the same files all the same."""
    add_rules(folder := copied(tmp_path))

    checked = command("check", cwd=folder)
    explained = command("explain", str(MESSAGE), "--json", cwd=folder)

    assert (checked.code, explained.code) == (0, 0), checked.err + explained.err
    assert f"snapshot {explained.json['snapshot'][:12]}" in checked.err


def test_a_wsdl_that_does_not_fit_stops_the_hub_and_no_look_at_a_document(tmp_path: Path) -> None:
    folder = copied(tmp_path)
    wsdl = folder / "wsdl/fachverfahren.wsdl"
    wsdl.write_text(wsdl.read_text(encoding="utf-8").replace('"Uebergeben"', '"Abgeben"'), encoding="utf-8")

    checked = command("check", cwd=folder)
    explained = command("explain", str(MESSAGE), cwd=folder)

    assert (checked.code, explained.code) == (78, 0), explained.err
    assert "expected one of Abgeben" in checked.err

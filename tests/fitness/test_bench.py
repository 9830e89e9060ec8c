"""The benchmark works from end to end. No figure is asked for: they are the machine's, and a test must not flap."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from lxml import etree

from bench import inspecting, messages
from bench.inspecting import Inspected
from bench.measuring import Measured
from bench.report import Report
from bench.scenarios import BASE, SCENARIOS

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("kilobytes", [10, 100])
def test_a_document_has_its_size_is_valid_and_tells_when_it_was_due(kilobytes: int) -> None:
    schema = etree.XMLSchema(etree.parse(messages.SCHEMA))
    transform = etree.XSLT(etree.parse(messages.DATA / "map.xsl"))

    body = messages.Template.of(messages.document(kilobytes)).fill(7, town=3, at=1_795_000_000.25)

    assert schema.validate(document := etree.fromstring(body))
    assert 0.95 < len(body) / (kilobytes * 1000) < 1.1
    assert messages.due_at(etree.tostring(transform(document))) == 1_795_000_000.25


def test_the_smallest_scenario_runs_to_its_end(tmp_path: Path) -> None:
    file = tmp_path / "bench.json"

    done = subprocess.run(
        [sys.executable, "-m", "bench", "--only", "folder-10k", "--seconds", "2", "--json", str(file)],
        cwd=ROOT, capture_output=True, text=True, timeout=110,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout + done.stderr
    assert "folder-10k" in done.stdout
    (measured,) = json.loads(file.read_text("utf-8"))["measured"]
    assert measured["accepted"] == measured["delivered"] > 0
    assert measured["not_accepted"] == 0
    assert measured["notes"] == []
    assert all(measured[name] > 0 for name in ("per_second", "cpu_us", "pss_mb", "receipt_p99", "arrival_p99"))


def test_the_inspection_is_measured_against_bare_parse_and_validate() -> None:
    found = inspecting.measured()

    assert found[0].document == "the invented message"
    assert all(one.inspect_us > one.bare_us > 0 for one in found)
    report = Report(inspected=[Inspected("good", 9000, 100.0, 249.0), Inspected("bad", 9000, 100.0, 260.0)])
    assert [(met, text) for _, text, met in report.aims()] == [(True, "2.49"), (False, "2.60")]
    assert len(json.loads(json.dumps(report.document()))["inspected"]) == 2


def test_a_name_that_no_scenario_has_is_refused() -> None:
    done = subprocess.run([sys.executable, "-m", "bench", "--only", "soap"], cwd=ROOT, capture_output=True, text=True)

    assert done.returncode == 2
    assert "soap-10k" in done.stderr


def test_the_ratio_is_that_of_neighbours_and_a_missed_aim_is_called_so() -> None:
    report = Report(scenarios=[SCENARIOS[0]])
    for hub, prototype in ((500.0, 1000.0), (100.0, 200.0)):  # the machine was five times slower the second time
        report.measured.append(Measured(BASE, "hub", 300.0, per_second=hub, cpu_us=30, receipt_p99=8, pss_mb=100))
        report.measured.append(
            Measured(BASE, "yardstick", 300.0, per_second=prototype, cpu_us=20, receipt_p99=3, pss_mb=50)
        )

    against, ratios = report.ratios(BASE) or ("", {})

    assert against == "yardstick"
    assert ratios["per_second"] == pytest.approx(0.5)
    assert [met for _, _, met in report.aims()] == [False, True, True, True]

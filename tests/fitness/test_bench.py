"""The benchmark works from end to end. No figure is asked for: they are the machine's, and a test must not flap."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from dataclasses import replace
from pathlib import Path

import pytest
from lxml import etree

from bench import __main__, explaining, inspecting, listings, messages, peers, processes, sinks
from bench.explaining import Explained
from bench.inspecting import Inspected
from bench.listings import Listed
from bench.measuring import Measured
from bench.peers import PEERS
from bench.report import Report
from bench.scenarios import BASE, SCENARIOS
from bench.sinks import Missing, connect
from tests.servers import amqp_url

ROOT = Path(__file__).parents[2]


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the URL of the broker that the benchmark uses in this test."""
    monkeypatch.setattr(sinks, "BROKER", url := amqp_url())
    return url


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


def test_explain_is_measured_against_the_start_of_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explaining, "ROUNDS", 1)

    found = next(explaining.measured())

    assert found.document == "the example"
    assert found.explain_ms > found.version_ms > 0
    assert found.explain_ms > found.compile_ms
    report = Report(explained=[Explained("good", 100.0, 240.0, 50.0), Explained("bad", 100.0, 260.0, 50.0)])
    assert [(met, text[:4]) for _, text, met in report.aims()] == [(True, "1.90"), (False, "2.10")]
    assert len(json.loads(json.dumps(report.document()))["explained"]) == 2


def test_listings_are_measured_against_the_program_s_own_start():
    asked = ["messages list --type xselten/*", "stats", "groups list --fingerprint FINGERPRINT"]

    found = list(listings.measured(deliveries=1200, rounds=1, listings=asked))

    assert [one.listing for one in found] == asked
    assert set(asked[:2]) < set(listings.LISTINGS)
    assert all(one.listing_ms > 0 < one.version_ms for one in found)
    report = Report(listed=[Listed("messages list", 80, 300), Listed("stats", 80, 400)])
    assert [(met, text) for _, text, met in report.aims()] == [(True, "220 ms (80 ms)"), (False, "320 ms (80 ms)")]
    assert json.loads(json.dumps(report.document()))["listed"][1]["beyond_ms"] == 320


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

    ratios = report.ratios(BASE)

    assert list(ratios) == ["yardstick"]
    assert ratios["yardstick"]["per_second"] == pytest.approx(0.5)
    assert [met for _, _, met in report.aims()] == [False, True, True, True]


def test_a_peer_stands_in_a_row_of_its_own_and_a_round_without_it_is_left_out() -> None:
    report = Report(scenarios=[SCENARIOS[0]])
    for hub, peer in ((500.0, 250.0), (100.0, 0.0)):
        report.measured.append(Measured(BASE, "hub", 300.0, per_second=hub, cpu_us=30, pss_mb=100))
        report.measured.append(Measured(BASE, "celery", 300.0, per_second=peer, cpu_us=peer and 60, pss_mb=peer and 50))

    assert report.ratios(BASE)["celery"]["per_second"] == pytest.approx(2)
    (row,) = [line.split() for line in report.lines() if line.startswith(f"{BASE}  celery")]
    assert row[2:4] == ["2.00", "0.50"]
    assert report.document()["ratios"][BASE]["celery"]["pss_mb"] == 2
    assert [text for _, text, _ in report.aims()] == ["100 MB"]  # no aim looks at a peer


def test_a_peer_that_cannot_run_here_is_skipped_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "proto" / "chain.py"
    application = tmp_path / "peers" / "dramatiq" / "app.py"
    application.parent.mkdir(parents=True)
    application.touch()
    report = Report(scenarios=[SCENARIOS[0]], measured=[Measured(BASE, "hub", 300.0)])
    monkeypatch.setenv("XOEV_BENCH_PEERS_PYTHON", str(tmp_path / "no-python"))

    assert __main__._peers(program, report.scenarios, report) == {}

    assert "no-python does not run" in report.skipped["dramatiq"]
    assert "peers/celery/app.py" in report.skipped["celery"]
    said = "\n".join(report.lines())
    assert f"{BASE}  dramatiq  " in said
    assert f"dramatiq: skipped, {report.document()['skipped']['dramatiq']}" in said
    monkeypatch.delenv("XOEV_BENCH_PEERS_PYTHON")
    with pytest.raises(Missing, match="has no no_such_module, no_other"):
        peers.find(replace(PEERS[0], modules=("lxml", "no_such_module", "no_other")), program)
    with pytest.raises(Missing, match="no yardstick"):
        peers.find(PEERS[0], None)


@pytest.mark.usefixtures("broker")
def test_a_queue_that_a_peer_would_use_and_that_is_there_already_is_not_touched() -> None:
    name = f"xoev-hub-test-{uuid.uuid4().hex[:8]}"
    with connect() as connection:
        channel = connection.channel()
        channel.queue_declare(name, exclusive=False, auto_delete=False)
        try:
            channel.basic_publish("", name, b"somebody's")

            with pytest.raises(Missing, match=name), peers.queue(replace(PEERS[0], queues=(name,))):
                pytest.fail("the queue was given")

            assert channel.basic_get(name, auto_ack=True)[2] == b"somebody's"
        finally:
            channel.queue_delete(name)


def test_a_peer_is_ready_when_its_workers_consume_and_ends_with_all_its_processes(tmp_path: Path, broker: str) -> None:
    name = f"xoev-hub-test-{uuid.uuid4().hex[:8]}"
    (tmp_path / "app.py").write_text(PEER, encoding="utf-8")
    peer = replace(PEERS[0], worker=f'"$PYTHON" -m app {name} {broker}', queues=(name,), consumers=1)

    try:
        subject = peers.start(peer, tmp_path, tmp_path)
        below = processes.tree(subject.process.pid)
        listens = processes.answers(subject.port)
        subject.end()
    finally:
        with connect() as connection:
            connection.channel().queue_delete(name)

    assert len(below) >= 3
    assert listens
    assert not [pid for pid in below if Path(f"/proc/{pid}").exists()]


PEER = """\
import sys

import pika


async def app(scope, receive, send):
    raise NotImplementedError("nothing is sent to it")


if __name__ == "__main__":
    channel = pika.BlockingConnection(pika.URLParameters(sys.argv[2])).channel()
    channel.queue_declare(sys.argv[1])
    channel.basic_consume(sys.argv[1], print)
    channel.start_consuming()
"""

"""One scenario: start, warm up, a burst with its drain, a low rate with every time noted, end.

Throughput is what has arrived, from the first document sent to the last one arrived. CPU is that of the subject's whole
tree over burst and drain. Times are taken at a rate far below what it can do: in a burst they are the queue's length.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import psycopg
import psycopg.sql
from pika.exceptions import AMQPError

from bench import messages, peers, processes
from bench.load import Load, Order
from bench.messages import DATA, ROOT
from bench.peers import Peer
from bench.scenarios import Scenario
from bench.sinks import Folder, Missing, Procedure, Queue, Sink
from bench.subjects import Subject, start_hub, start_yardstick

DRAIN_SECONDS = 45.0
SETTLE_SECONDS = 0.5
POSTGRES = "postgres@127.0.0.1:5432"


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is sent per measurement."""

    seconds: float = 3.0
    count: int = 6000
    rate: float = 25.0  # of 10 KB; a third of it of larger ones
    rate_seconds: float = 5.0


@dataclass(slots=True)
class Measured:
    """What one subject did in one round; milliseconds, unless it says otherwise."""

    scenario: str
    subject: str
    n_us: float  # the calibration right before
    start_seconds: float = 0.0
    accepted: int = 0
    not_accepted: int = 0
    delivered: int = 0
    per_second: float = 0.0
    cpu_us: float = 0.0
    pss_mb: float = 0.0
    receipt_p50: float = 0.0
    receipt_p99: float = 0.0
    arrival_p50: float = 0.0
    arrival_p99: float = 0.0
    notes: list[str] = field(default_factory=list)


def measure(
    scenario: Scenario, effort: Effort, yardstick: Path | None, others: Mapping[Peer, Path]
) -> Iterator[Measured]:
    """Yield what was measured, hub, yardstick and peers in turn.

    Raises:
        Missing: The scenario cannot run here.
    """
    for _ in range(scenario.rounds):
        with _folder() as folder, _sink(scenario, folder) as sink, _store(scenario) as store:
            slow = _slow_disk(scenario, folder)
            hub = start_hub(
                folder, sink, towns=scenario.towns, workers=scenario.workers, store=store, releases=scenario.releases,
                environment=slow,
            )  # fmt: skip
            yield _measured(scenario, "hub", hub, sink, effort)
        if scenario.yardstick and yardstick:
            with _folder() as folder, _sink(scenario, folder) as sink:
                assert isinstance(sink, Queue)
                slow = _slow_disk(scenario, folder)
                prototype = start_yardstick(yardstick, folder, sink.name, slow)
                yield _measured(scenario, "yardstick", prototype, sink, effort)
        for peer, application in others.items() if scenario.peers else ():
            yield _of_peer(scenario, peer, application, effort)


def _of_peer(scenario: Scenario, peer: Peer, application: Path, effort: Effort) -> Measured:
    """Return what was measured; what keeps a peer from running is noted, and costs nobody else his figures."""
    try:
        with _folder() as folder, peers.queue(peer) as sink:
            return _measured(scenario, peer.name, peers.start(peer, application, folder), sink, effort)
    except (Missing, RuntimeError, TimeoutError, AMQPError) as error:
        return Measured(scenario.name, peer.name, 0.0, notes=[f"not measured: {error}"])


def _measured(scenario: Scenario, name: str, subject: Subject, sink: Sink, effort: Effort) -> Measured:
    try:
        found = Measured(scenario.name, name, messages.calibrate(3), subject.start_seconds, notes=subject.notes)
        if not scenario.starts_only:
            order = Order(subject.port, subject.path, subject.token, scenario.kilobytes, towns=scenario.towns)
            _warm_up(order, sink)
            _burst(found, order, subject, sink, effort)
            _low_rate(found, order, sink, effort)
        found.pss_mb = processes.pss_megabytes(subject.process.pid)
        return found
    except (RuntimeError, TimeoutError) as error:
        code = subject.process.poll()
        state = "still runs" if code is None else f"has ended with {code}"
        raise RuntimeError(f"{error}; the {name} {state}") from error
    finally:
        subject.end()


def _warm_up(order: Order, sink: Sink) -> None:
    load = _load(order, seconds=1.0, count=200)
    _arrived(sink, load.accepted)


def _burst(found: Measured, order: Order, subject: Subject, sink: Sink, effort: Effort) -> None:
    sink.clear()
    used, started = processes.cpu_seconds(subject.process.pid), time.monotonic()
    load = _load(order, seconds=effort.seconds, count=effort.count)
    ended = _arrived(sink, load.accepted)
    time.sleep(SETTLE_SECONDS)  # what has arrived is not yet settled; that work counts as well
    found.accepted, found.not_accepted, found.delivered = load.accepted, load.sent - load.accepted, sink.count()
    found.per_second = found.delivered / (ended - started)
    used = processes.cpu_seconds(subject.process.pid) - used
    found.cpu_us = used / max(found.delivered, 1) * 1e6
    if found.delivered != load.accepted:
        found.notes.append(f"{load.accepted} accepted and {found.delivered} delivered")
    if found.not_accepted:
        found.notes.append(f"answered: {load.statuses}")


def _low_rate(found: Measured, order: Order, sink: Sink, effort: Effort) -> None:
    sink.clear()
    with sink.watch() as took:
        rate = effort.rate if order.kilobytes <= 10 else effort.rate / 3
        load = _load(order, seconds=effort.rate_seconds * 2, count=int(rate * effort.rate_seconds), rate=rate)
        if isinstance(sink, Queue):
            processes.until(lambda: len(took) >= load.accepted, "the consumer has all", DRAIN_SECONDS)
        else:
            _arrived(sink, load.accepted)
    found.receipt_p50, found.receipt_p99 = _percentile(load.receipts, 0.5), _percentile(load.receipts, 0.99)
    found.arrival_p50, found.arrival_p99 = _percentile(took, 0.5), _percentile(took, 0.99)


def summary(found: Measured) -> str:
    """Return a measurement in one line, for whoever waits."""
    started = f"{found.scenario}, {found.subject}: started in {found.start_seconds:.1f} s, N {found.n_us:.0f} µs"
    if not found.delivered:
        return started
    return (
        f"{started}, {found.per_second:.0f}/s, {found.cpu_us:.0f} µs CPU,"
        f" receipt {found.receipt_p50:.1f}/{found.receipt_p99:.1f} ms,"
        f" arrival {found.arrival_p50:.1f}/{found.arrival_p99:.1f} ms, {found.pss_mb:.0f} MB"
    )


def _percentile(seconds: Sequence[float], share: float) -> float:
    """Return a percentile in milliseconds."""
    ordered = sorted(seconds)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] * 1000 if ordered else 0.0


def _arrived(sink: Sink, count: int) -> float:
    """Wait until so many have arrived, or no more come; return when the last one was seen."""
    seen, last = -1, time.monotonic()
    while seen < count and time.monotonic() - last < DRAIN_SECONDS / 5:
        now = sink.count()
        if now != seen:
            seen, last = now, time.monotonic()
        if seen < count:
            time.sleep(0.03)
    return last


def _load(order: Order, *, seconds: float, count: int, rate: float | None = None) -> Load:
    """Send from a process of its own: what it costs is not the subject's, nor this process's."""
    said = asdict(order) | {"seconds": seconds, "count": count, "rate": rate}
    done = subprocess.run(
        [sys.executable, "-m", "bench.load"], cwd=ROOT, input=json.dumps(said).encode(), capture_output=True,
        check=False, timeout=seconds + 120,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"the load generator failed: {done.stderr.decode()[-500:]}")
    return Load(**json.loads(done.stdout))


# --- what a scenario stands on


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="xoev-hub-bench-", ignore_cleanup_errors=True) as name:
        yield Path(name)


@contextmanager
def _sink(scenario: Scenario, folder: Path) -> Iterator[Sink]:
    sink: Sink
    match scenario.sink:
        case "amqp":
            sink = Queue(f"xoev-hub-bench-{uuid.uuid4().hex[:8]}")
        case "soap":
            sink = Procedure()
        case "folder":
            sink = Folder(folder / "out")
    try:
        yield sink
    finally:
        sink.close()


@contextmanager
def _store(scenario: Scenario) -> Iterator[str]:
    """Give the URL of a new database, dropped afterwards; nothing for SQLite, which the hub makes itself."""
    if scenario.store == "sqlite":
        yield ""
        return
    name = f"hub_bench_{uuid.uuid4().hex[:8]}"
    try:
        server = psycopg.connect(f"postgresql://{POSTGRES}/postgres", autocommit=True, connect_timeout=3)
    except psycopg.Error as error:
        raise Missing(f"no PostgreSQL on 127.0.0.1:5432 ({type(error).__name__})") from None
    with server:
        server.execute(psycopg.sql.SQL("CREATE DATABASE {}").format(psycopg.sql.Identifier(name)))
        try:
            yield f"postgresql+psycopg://{POSTGRES}/{name}"
        finally:
            server.execute(psycopg.sql.SQL("DROP DATABASE {} WITH (FORCE)").format(psycopg.sql.Identifier(name)))


def _slow_disk(scenario: Scenario, folder: Path) -> Mapping[str, str]:
    """Return the environment in which every fsync takes longer.

    Raises:
        Missing: There is no C compiler.
    """
    if not scenario.sync_us:
        return {}
    compiler = shutil.which("cc")
    if compiler is None:
        raise Missing("no C compiler (cc) for the shim that slows fsync")
    shim = folder / "slowsync.so"
    command = [compiler, "-shared", "-fPIC", "-O2", "-o", str(shim), str(DATA / "slowsync.c"), "-ldl"]
    subprocess.run(command, check=True, capture_output=True, timeout=60)  # noqa: S603  a fixed command
    return {"LD_PRELOAD": str(shim), "SLOWSYNC_US": str(scenario.sync_us)}


def as_document(measured: Measured) -> Mapping[str, object]:
    """Return a measurement as it stands in the JSON."""
    return {name: round(value, 2) if isinstance(value, float) else value for name, value in asdict(measured).items()}

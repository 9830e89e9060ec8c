"""Worker processes: a document that kills its worker harms nobody else, and none outlives the daemon."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

import hub.config
from hub import workerend
from hub.errors import ConfigError, Unavailable
from hub.files import Files
from hub.inspection import Plan, Rejection
from hub.message import Incoming, MessageId, new_id
from hub.pool import Order, Pool
from tests.daemon import until
from tests.world import ROOT, antrag

ROUTES = """
version: 1
senders: {formular: {}}
inbound:
  online: {adapter: folder, path: in, sender: formular}
municipalities:
  wolfsburg:
    name: Stadt Wolfsburg
    ags: 03103000
    procedures:
      antraege: {adapter: folder, path: out}
      kaputt: {adapter: folder, path: out}
routes:
  antrag:
    match: {type: antrag/1.0}
    deliver_to:
      - "{municipality}/antraege"
      - {to: "{municipality}/kaputt", steps: [{python: "schritte.kaputt:stirb"}]}
"""

STEP = """
import ctypes
import os
from hub.plugin import Outgoing


def stirb(outgoing: Outgoing) -> Outgoing:
    if b"Stirb" in outgoing.body:
        os._exit(9)
    if b"Absturz" in outgoing.body:
        ctypes.string_at(0)
    if b"Schleife" in outgoing.body:
        while True:
            pass
    if b"Hunger" in outgoing.body:
        eaten = []
        while True:
            eaten.append(bytearray(os.urandom(1 << 20)))
    return outgoing
"""


@pytest.fixture
def deployment(tmp_path: Path) -> Path:
    (tmp_path / "routes.yaml").write_text(ROUTES, encoding="utf-8")
    (tmp_path / "schritte").mkdir()
    (tmp_path / "schritte" / "__init__.py").touch()
    (tmp_path / "schritte" / "kaputt.py").write_text(STEP, encoding="utf-8")
    return tmp_path


def order(folder: Path) -> Order:
    return Order(folder, "routes.yaml", "production", folder / "var", size=2)


@pytest.fixture
def pool(deployment: Path) -> Iterator[Pool]:
    made = Pool(order(deployment))
    yield made
    made.close()


def incoming(name: str = "Jürgen Müßig") -> Incoming:
    id_ = MessageId(new_id())
    body = antrag(name=name, uuid_=str(uuid.uuid4()))
    return Incoming(body, "online", "formular", id=id_, received_at=datetime(2026, 11, 22, tzinfo=UTC))


def test_a_plan_from_a_worker_is_the_plan_of_the_same_snapshot(pool: Pool) -> None:
    document = incoming()

    first, second = pool.inspect(document), pool.inspect(document)

    assert isinstance(first, Plan)
    assert first == second
    assert first.verdict.snapshot == pool.proof.digest
    assert [one.heading.destination for one in first.deliveries] == ["wolfsburg/antraege", "wolfsburg/kaputt"]


def test_steps_that_kill_their_worker_kill_only_their_own_delivery(pool: Pool) -> None:
    plan = pool.inspect(incoming("Stirb"))

    assert isinstance(plan, Plan)
    good, bad = plan.deliveries
    assert (good.heading.destination, good.reason) == ("wolfsburg/antraege", "")
    assert (bad.reason, bad.code) == ("transform_failed", "worker_lost")
    assert isinstance(pool.inspect(incoming()), Plan)
    until(lambda: pool.alive == 2, "both workers are there")


def test_a_worker_that_is_killed_is_replaced_and_its_document_gets_through(pool: Pool) -> None:
    os.kill(pids(pool)[0], signal.SIGKILL)

    plans = [pool.inspect(incoming()) for _ in range(6)]

    assert all(isinstance(plan, Plan) for plan in plans)
    until(lambda: pool.alive == 2, "both workers are there")


@pytest.fixture
def backtracking(deployment: Path) -> Path:
    """A deployment in which many a's and no b take a step of the inspection forever."""
    folder = deployment / "schemas" / "xoev" / "antrag" / "1.0"
    shutil.copytree(ROOT / "schemas" / "xoev" / "antrag" / "1.0", folder)
    profile = (folder / "profile.yaml").read_text("utf-8")
    endless = 'keys: {name: {xpath: /a:antrag.0101/a:inhalt/a:name, pattern: "(a+)+b"}}'
    (folder / "profile.yaml").write_text(profile.replace("keys: {}", endless), encoding="utf-8")
    return deployment


def test_a_document_that_hangs_two_workers_before_the_verdict_is_rejected(
    backtracking: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workerend, "DOCUMENT_SECONDS", 1.0)
    pool = Pool(order(backtracking))

    try:
        answer = pool.inspect(incoming("a" * 60))
        until(lambda: pool.alive == 2, "both workers are there")
        after = pool.inspect(incoming("aab"))
    finally:
        pool.close()

    assert isinstance(answer, Rejection)
    assert answer.code == "inspection_failed"
    assert isinstance(after, Plan)


def test_documents_that_hang_all_workers_keep_no_other_waiting(
    backtracking: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workerend, "DOCUMENT_SECONDS", 60.0)
    pool = Pool(order(backtracking))
    stalled = threading.Semaphore(0)
    hanging = [
        threading.Thread(target=_inspect_and_forget, args=(pool, incoming("a" * 60), stalled.release), daemon=True)
        for _ in range(2)
    ]

    try:
        for thread in hanging:
            thread.start()
        for _ in hanging:
            assert stalled.acquire(timeout=60), "it takes long"
        plans = [pool.inspect(incoming("aab")) for _ in range(3)]
    finally:
        pool.close()

    assert all(isinstance(plan, Plan) for plan in plans)
    for thread in hanging:
        thread.join(60)
        assert not thread.is_alive()


def _inspect_and_forget(pool: Pool, document: Incoming, on_stall: Callable[[], None]) -> None:
    with suppress(Unavailable):  # the pool closes in the end
        pool.inspect(document, on_stall)


def test_workers_serve_what_was_proved_whatever_happens_on_disk(pool: Pool, deployment: Path) -> None:
    (deployment / "routes.yaml").write_text("version: 1\nroutes: kaputt\n", encoding="utf-8")
    (deployment / "schritte" / "kaputt.py").write_text("raise SystemExit(3)\n", encoding="utf-8")

    for _ in range(2):
        pool.inspect(incoming("Stirb"))

    until(lambda: pool.alive == 2, "both workers are there")
    assert isinstance(pool.inspect(incoming()), Plan)


def test_a_configuration_that_was_read_is_not_read_again(deployment: Path) -> None:
    files = Files(deployment)
    reading = hub.config.read(files)
    whole = Pool(order(deployment))
    whole.close()
    (deployment / "routes.yaml").unlink()

    pool = Pool(replace(order(deployment), deployment=reading.deployment, read=files.contents))
    try:
        plan = pool.inspect(incoming())
    finally:
        pool.close()

    assert isinstance(plan, Plan)
    assert pool.proof.digest == whole.proof.digest
    assert pool.proof.files.keys() == whole.proof.files.keys()


def test_a_snapshot_that_cannot_be_compiled_starts_no_pool(deployment: Path) -> None:
    (deployment / "schritte" / "kaputt.py").write_text("stirb = 3 +\n", encoding="utf-8")

    with pytest.raises(ConfigError) as error:
        Pool(order(deployment))

    assert any(problem.line for problem in error.value.problems)


@pytest.mark.parametrize("name", ["Absturz", "Schleife", "Hunger"])
def test_a_step_that_crashes_loops_or_eats_memory_delays_nobody_else(
    deployment: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workerend, "DOCUMENT_SECONDS", 3.0)
    pool = Pool(replace(order(deployment), memory=100 << 20))
    bad: list[Plan | Rejection] = []
    thread = threading.Thread(target=lambda: bad.append(pool.inspect(incoming(name))))

    try:
        thread.start()
        good = [pool.inspect(incoming()) for _ in range(20)]
        thread.join(60)
    finally:
        pool.close()

    assert all(isinstance(plan, Plan) and not any(one.reason for one in plan.deliveries) for plan in good)
    (plan,) = bad
    assert isinstance(plan, Plan)
    assert [(one.reason, one.code) for one in plan.deliveries] == [("", ""), ("transform_failed", "worker_lost")]


def test_workers_that_end_while_idle_are_no_documents_fault_and_are_counted(deployment: Path) -> None:
    deaths: list[None] = []
    pool = Pool(order(deployment), on_death=lambda: deaths.append(None))
    idle = set(pids(pool))
    for pid in idle:
        os.kill(pid, signal.SIGKILL)
    until(lambda: pool.alive == 2 and not set(pids(pool)) & idle, "others are there")

    assert isinstance(pool.inspect(incoming()), Plan)
    assert len(deaths) == 2
    pool.close()


def test_a_worker_set_that_is_killed_comes_again_with_the_same_snapshot(pool: Pool, deployment: Path) -> None:
    digest = pool.proof.digest
    (deployment / "routes.yaml").write_text("kaputt", encoding="utf-8")
    before = pids(pool)

    pool._set.process.kill()

    until(lambda: pool.alive == 2 and not set(pids(pool)) & set(before), "others are there")
    plan = pool.inspect(incoming())
    assert isinstance(plan, Plan)
    assert plan.verdict.snapshot == digest
    until(lambda: not any(is_there(pid) for pid in before), "the former ones have gone")


def test_a_failing_route_test_refuses_a_reload_and_warns_at_a_start(deployment: Path) -> None:
    (deployment / "antrag.xml").write_bytes(antrag(uuid_=str(uuid.uuid4())))
    test = """
tests:
  - {name: falsch, message: antrag.xml, sender: formular, expect: {rejected: schema_violation}}
"""
    (deployment / "routes.yaml").write_text(ROUTES + test, encoding="utf-8")

    with pytest.raises(ConfigError) as error:
        Pool(replace(order(deployment), strict=True))
    pool = Pool(order(deployment))
    pool.close()

    assert "falsch: expected rejected schema_violation, got route antrag" in str(error.value)
    assert [problem.level for problem in pool.proof.warnings] == ["warning"]


def test_a_closed_pool_takes_nothing_and_leaves_no_process(deployment: Path) -> None:
    pool = Pool(order(deployment))
    workers = pids(pool)

    pool.close()

    assert pool._set.process.poll() is not None
    until(lambda: not any(is_there(pid) for pid in workers), "they have gone")
    with pytest.raises(Unavailable):
        pool.inspect(incoming())


def test_workers_share_what_was_compiled(pool: Pool) -> None:
    pool.inspect(incoming())

    for pid in pids(pool):
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text("ascii")
        kib = {line.split()[0]: int(line.split()[1]) for line in rollup.splitlines()[1:]}
        assert kib["Private_Dirty:"] < 0.5 * kib["Rss:"]


def pids(pool: Pool) -> list[int]:
    with pool._lock:
        return [worker.pid for worker in pool._workers]


def is_there(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False

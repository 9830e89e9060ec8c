"""Large documents in worker processes: one of their own each, by a spool file, and nothing of it stays."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from hub import pool as pool_module
from hub.errors import Unavailable
from hub.inspection import Plan, Rejection
from hub.message import Incoming, MessageId, new_id
from hub.pool import Order, Pool
from hub.spool import FOLDER, Spool
from tests.anlagen import MB, Anlagen, antrag, pdf
from tests.daemon import until
from tests.leinen import folder_out, leinen

FOLDERS = {service: folder_out(f"out/{service}") for service in ("akten", "roh", "kaputt")}
STEP = """
import os
import time
from dataclasses import replace

from hub.plugin import Outgoing


def kaputt(outgoing: Outgoing) -> Outgoing:
    if b"<!-- stirb -->" in outgoing.body:
        os._exit(9)
    while os.path.exists("{gate}") and b"<!-- warte -->" in outgoing.body:
        time.sleep(0.01)
    return replace(outgoing, body=outgoing.body + b"<!-- " + b"x" * 2_000_000 + b" -->")
"""


@pytest.fixture
def deployment(tmp_path: Path) -> Path:
    made = Anlagen(tmp_path, {"nordheim": folder_out("out/klein")}, FOLDERS, mapped=frozenset({"akten"}))
    made.file("schritte/__init__.py", "")
    made.file("schritte/kaputt.py", STEP.replace("{gate}", str(tmp_path / "gate")))
    made.routes["routes"]["anlage"]["deliver_to"][-1] = {
        "to": "{municipality}/kaputt",
        "steps": [{"python": "schritte.kaputt:kaputt"}],
    }
    made.write()
    return tmp_path


@pytest.fixture
def pool(deployment: Path) -> Iterator[Pool]:
    made = Pool(Order(deployment, "routes.yaml", "production", deployment / "var", size=1))
    yield made
    made.close()


def incoming(body: bytes) -> Incoming:
    at = datetime(2026, 11, 22, tzinfo=UTC)
    return Incoming(body, "online", "portal", id=MessageId(new_id()), received_at=at)


def large(comment: bytes = b"") -> Incoming:
    return incoming(antrag(pdf(2 * MB)).replace(b"</antrag>", comment + b"</antrag>"))


def test_large_bodies_come_and_go_byte_for_byte_and_leave_no_file(pool: Pool, deployment: Path) -> None:
    document = large()

    plan = pool.inspect(document)

    assert isinstance(plan, Plan)
    akten, roh, kaputt = plan.deliveries
    assert akten.body is not None and document.body[500:2_000_000] in akten.body
    assert roh.body is None
    assert kaputt.body == document.body + b"<!-- " + b"x" * 2_000_000 + b" -->"
    assert list((deployment / "var" / FOLDER).iterdir()) == []
    assert not held_files(os.getpid())


def test_a_large_document_has_a_worker_of_its_own_and_the_small_go_on_beside_it(pool: Pool, deployment: Path) -> None:
    gate, plans = deployment / "gate", list[Plan | Rejection]()
    gate.touch()
    thread = threading.Thread(target=lambda: plans.append(pool.inspect(large(b"<!-- warte -->"))))

    thread.start()
    until(lambda: len(workers(pool)) == 2, "an extra worker has come")
    small = [pool.inspect(incoming(leinen())) for _ in range(20)]  # there is one standing worker only
    assert not plans, "the large one is still in work"
    gate.unlink()
    thread.join(60)

    assert all(isinstance(plan, Plan) for plan in [*small, *plans])
    assert len(plans) == 1
    until(lambda: len(workers(pool)) == 1, "the extra worker has ended with its document")
    assert pool.alive == 1


def test_of_large_documents_one_per_two_workers_is_in_work_at_once(
    pool: Pool, deployment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "IDLE_WORKER_SECONDS", 0.2)
    gate, plans = deployment / "gate", list[Plan | Rejection]()
    gate.touch()
    thread = threading.Thread(target=lambda: plans.append(pool.inspect(large(b"<!-- warte -->"))))

    thread.start()
    until(lambda: len(workers(pool)) == 2, "an extra worker has come")
    with pytest.raises(Unavailable):
        pool.inspect(large())
    gate.unlink()
    thread.join(60)
    monkeypatch.undo()

    assert len(plans) == 1
    assert isinstance(pool.inspect(large()), Plan)


def test_a_large_document_that_kills_its_worker_kills_that_delivery_only(pool: Pool) -> None:
    plan = pool.inspect(large(b"<!-- stirb -->"))

    assert isinstance(plan, Plan)
    assert [(one.reason, one.code) for one in plan.deliveries] == [
        ("", ""),
        ("", ""),
        ("transform_failed", "worker_lost"),
    ]
    until(lambda: len(workers(pool)) == 1, "the dead are gone, and nobody has taken their place")
    assert isinstance(pool.inspect(incoming(leinen())), Plan)


def test_a_worker_set_that_dies_takes_no_wish_for_a_worker_with_it(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = pool_module._Set.ask_extra
    killed: list[int] = []

    def kill_first(self: pool_module._Set) -> None:
        if not killed:
            killed.append(self.process.pid)
            self.process.kill()
            self.process.wait()
        asked(self)

    monkeypatch.setattr(pool_module._Set, "ask_extra", kill_first)

    assert isinstance(pool.inspect(large()), Plan)
    assert killed


def test_without_room_on_the_disk_a_large_document_is_unavailable_and_the_small_go_on(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_self: Spool, _body: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Spool, "write", full)
    with pytest.raises(Unavailable):
        pool.inspect(large())
    monkeypatch.undo()

    assert isinstance(pool.inspect(incoming(leinen())), Plan)
    assert isinstance(pool.inspect(large()), Plan)


def workers(pool: Pool) -> list[int]:
    """Return the worker processes that the set has now, extra ones included."""
    path = Path(f"/proc/{pool._set.process.pid}/task/{pool._set.process.pid}/children")
    try:
        return [pid for pid in map(int, path.read_text("ascii").split()) if _lives(pid)]
    except OSError:
        return []


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def held_files(pid: int) -> list[str]:
    """Return the spool files that a process has open."""
    links = [entry for entry in Path(f"/proc/{pid}/fd").iterdir() if entry.is_symlink()]
    return [name for name in (os.readlink(link) for link in links) if f"/{FOLDER}/" in name]


def test_a_killed_process_leaves_nothing_on_the_disk(deployment: Path) -> None:
    """The kernel frees a file that nobody has open: there is none whose name could be left."""
    spool, (outlet, inlet) = Spool(deployment / "var"), os.pipe()
    child = os.fork()
    if child == 0:
        held = spool.write(b"x" * 5 * MB)
        os.write(inlet, b"!")
        signal.pause()
        held.close()
    os.read(outlet, 1)
    assert len(held_files(child)) == 1

    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)

    assert list((deployment / "var" / FOLDER).iterdir()) == []
    os.close(outlet)
    os.close(inlet)

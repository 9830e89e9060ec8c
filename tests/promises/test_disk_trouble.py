"""P3: nothing is accepted that cannot be stored; the refusal is visible, and what is here goes on.

A full disk is a small one (tmpfs) of the hub's own, in a mount namespace; a read-only disk and one whose syncs fail are
made by tests/proving/disk.c. Whoever supervises a hub starts it again when it ends: so does the test.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import pytest
import requests

from hub.selftest.checker import Given, Verdict, check
from hub.selftest.ledgers import SenderLedger
from hub.selftest.scratch import AGS, NAMESPACE, SOAP, Scratch, probe
from hub.simulate import Answers, Ledger
from hub.simulate.soap import SoapProcedure
from hub.store.accounting import count_states, read_account
from tests.daemon import ROOT, until
from tests.proving.disk import Disk
from tests.proving.record import record

COMMAND = "make test ARGS=tests/promises/test_disk_trouble.py"
DISK_BYTES = 96_000_000
KEEP_FREE, BALLAST = 24_000_000, 8_000_000
WAITING = 40  # deliveries that wait while the disk fills
AGAIN_SECONDS = 60.0  # the figure says how long it is; a machine that does other things takes longer

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def procedure(tmp_path: Path) -> Iterator[SoapProcedure]:
    made = SoapProcedure(SOAP, {}, Answers(), Ledger(tmp_path / "procedure.jsonl"))
    made.start()
    yield made
    made.stop()


class Sender:
    """Hands in one after the other, and notes each answer before the next."""

    def __init__(self, hub: Scratch, ledger: SenderLedger) -> None:
        self.hub, self.ledger = hub, ledger
        self.answers: Counter[object] = Counter()
        self.slowest_refusal = 0.0

    def hand_in(self, body: bytes | None = None) -> int | None:
        body = body or probe(2_000)
        digest = hashlib.sha256(body).hexdigest()
        began = time.monotonic()
        with self.hub.session() as http:
            try:
                answer = http.post(self.hub.url, data=body, timeout=60)
            except requests.RequestException:
                self.answers["no hub"] += 1
                return None
        if answer.status_code == 503:
            self.slowest_refusal = max(self.slowest_refusal, time.monotonic() - began)
        given = answer.status_code in (200, 202)
        self.ledger.answered(digest, answer.status_code, answer.json()["id"] if given else None)
        self.answers[answer.status_code] += 1
        return answer.status_code

    def until_taken(self) -> float:
        """Hand in until a receipt is given; return how many seconds that took."""
        began = time.monotonic()
        until(lambda: self.hand_in() == 202, "the hub takes again", AGAIN_SECONDS)
        return time.monotonic() - began


def verdict_of(hub: Scratch, sender: Sender, procedure: SoapProcedure, killed: int = 0) -> Verdict:
    given = [
        Given(one["procedure"], one["delivery"], one["sha256"], one["taken"]) for one in procedure.ledger.entries()
    ]
    account = read_account(hub.store, hub.state)
    return check(sender.ledger.receipts(), account, [*given, *hub.filed()], repeated_max=4 * killed)


# --- full ---------------------------------------------------------------------------------------------------------


class Full:
    """A hub on a small disk of its own, which others fill."""

    def __init__(self, hub: Scratch) -> None:
        self.hub = hub

    @property
    def state(self) -> Path:
        """The state directory as the hub sees it."""
        assert self.hub.process is not None
        return Path(f"/proc/{self.hub.process.pid}/root{self.hub.state}")

    def free(self) -> int:
        found = os.statvfs(self.state)
        return found.f_bavail * found.f_frsize

    def fill(self, leave: int) -> None:
        """Fill the disk until so many bytes are left."""
        with (self.state / "somebody-elses").open("ab") as file:
            while (more := self.free() - leave) > 0:
                try:
                    file.write(bytes(min(more, 1_000_000)))
                    file.flush()
                except OSError:
                    return

    def empty(self) -> None:
        (self.state / "somebody-elses").unlink()

    def is_at_rest(self) -> bool:
        """Whether nothing waits and nothing is being sent, by the hub's own metrics: SQLite would follow the way into
        the namespace back to the folder outside of it.
        """
        told = re.findall(r'(?m)^xoev_hub_deliveries\{.*state="(\w+)"\} ([0-9.]+)$', self.hub.metrics())
        return bool(told) and not any(float(count) for state, count in told if state in ("waiting", "sending"))

    def copy(self, into: Path) -> None:
        """End the hub, and copy the store out of its disk, which is gone with its last process."""
        assert self.hub.process is not None
        holder = subprocess.Popen([*_enter(self.hub), "sleep", "300"])
        try:
            inside = Path(f"/proc/{holder.pid}/root{self.hub.state}")
            until((inside / "hub.db").exists, "somebody else is in the namespace")
            assert self.hub.stop() == 0
            shutil.copytree(inside, into, ignore=shutil.ignore_patterns("control.sock", "ballast"))
        finally:
            holder.kill()
            holder.wait()


@contextmanager
def small_disk(folder: Path, procedure: SoapProcedure) -> Iterator[Full]:
    state = folder / "hub" / "state"
    mount = f'mkdir -p {state} && mount -t tmpfs -o size={DISK_BYTES} tmpfs {state} && exec "$@"'
    before = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mount, "sh"]
    if shutil.which("unshare") is None or subprocess.run([*before[:4], "true"], capture_output=True).returncode != 0:
        pytest.skip("this machine lets nobody have a mount namespace of his own")
    settings = {"XOEV_HUB_KEEP_FREE": f"{KEEP_FREE}B", "XOEV_HUB_BALLAST": f"{BALLAST}B"}
    with Scratch(folder / "hub", procedure.address, settings, before=before) as hub:
        hub.start()
        yield Full(hub)


def test_a_disk_that_fills_takes_nothing_more_in_and_what_is_here_is_delivered_and_erased(
    tmp_path: Path, procedure: SoapProcedure
) -> None:
    with small_disk(tmp_path, procedure) as disk:
        hub = disk.hub
        sender = Sender(hub, SenderLedger(tmp_path / "senders.jsonl"))
        until((disk.state / "ballast").exists, "the ballast is there")
        rejected = f'<p:probe xmlns:p="{NAMESPACE}"><p:id>x</p:id><p:leser>{AGS}</p:leser></p:probe>'.encode()
        assert sender.hand_in(rejected) == 422
        procedure.answers.set(["down"])
        for _ in range(WAITING):
            assert sender.hand_in() == 202

        disk.fill(leave=KEEP_FREE - 4_000_000)  # below the watermark
        assert sender.hand_in() == 503
        assert not hub.ready()
        procedure.answers.set(["ok"])
        until(disk.is_at_rest, "what is here is delivered below the watermark")

        disk.empty()
        until(lambda: sender.hand_in() == 202, "it takes again")
        procedure.answers.set(["down"])
        for _ in range(WAITING):
            assert sender.hand_in() == 202
        disk.fill(leave=0)
        until(lambda: not (disk.state / "ballast").exists(), "the ballast is thrown off")
        assert sender.hand_in() == 503
        erased = erase(hub)
        procedure.answers.set(["ok"])
        until(disk.is_at_rest, "what is here is delivered on a full disk")
        assert sender.hand_in() == 503

        disk.empty()
        again = sender.until_taken()
        until((disk.state / "ballast").exists, "the ballast is taken on again")
        until(disk.is_at_rest, "everything is delivered")
        disk.copy(tmp_path / "after")
        hub.store, hub.state = f"sqlite:///{tmp_path / 'after' / 'hub.db'}", tmp_path / "after"
        verdict = verdict_of(hub, sender, procedure)

    assert erased == "1"
    assert verdict.violations == ()
    assert verdict.figures["delivered"] == 2 * verdict.figures["receipts"]
    figures = {
        "receipts": verdict.figures["receipts"], "lost": verdict.figures["lost"], "refused": sender.answers[503],
        "refused_within_seconds": round(sender.slowest_refusal, 2), "delivered_while_full": WAITING,
        "erased_while_full": int(erased), "takes_again_after_seconds": round(again, 2),
    }  # fmt: skip
    record("P3", "a full disk (tmpfs): watermark and ballast", figures, COMMAND)


def _enter(hub: Scratch) -> list[str]:
    assert hub.process is not None
    return ["nsenter", "--target", str(hub.process.pid), "--user", "--mount", "--preserve-credentials"]


ERASE = """
import sys
from datetime import datetime, UTC, timedelta
from pathlib import Path
from hub.store import open_store
store = open_store(sys.argv[1], state_dir=Path(sys.argv[2]), mode="cli")
print(store.erase_rejected("eingang", before=datetime.now(UTC) + timedelta(days=1), up_to=0))
store.close()
"""


def erase(hub: Scratch) -> str:
    """Erase the rejected documents as the hub's own deadline does, on its disk and beside it; return how many."""
    done = subprocess.run(
        [*_enter(hub), sys.executable, "-c", ERASE, hub.store, str(hub.state)], capture_output=True, text=True, timeout=60,
        env={**hub.environment, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


# --- read-only, and syncs that fail -------------------------------------------------------------------------------


class Supervised:
    """Starts the hub again whenever it ends, as systemd does with Restart=on-failure."""

    def __init__(self, hub: Scratch) -> None:
        self.hub, self.starts = hub, 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._ended.set()
        self._thread.join(30)

    def _run(self) -> None:
        while not self._ended.wait(0.1):  # RestartSec
            if not self.hub.running:
                self.hub.spawn()
                self.starts += 1


@pytest.mark.parametrize("kind", ["R", "E", "F"], ids=["read-only", "failing syncs", "full at once"])
def test_a_disk_that_fails_takes_nothing_in_and_the_hub_comes_back_by_itself(
    tmp_path: Path, procedure: SoapProcedure, kind: str
) -> None:
    state = tmp_path / "hub" / "state"
    with Disk(tmp_path / "disk", state) as disk, Scratch(tmp_path / "hub", procedure.address, disk.environment) as hub:
        sender = Sender(hub, SenderLedger(tmp_path / "senders.jsonl"))
        hub.start()
        with Supervised(hub) as supervisor:
            for _ in range(20):
                assert sender.hand_in() == 202
            disk.fault(kind)
            began = time.monotonic()
            until(lambda: sender.hand_in() != 202, "it refuses", 20)
            refusal = time.monotonic() - began
            refused = [sender.hand_in() for _ in range(10)]
            receipts = len(sender.ledger.receipts())
            until(
                lambda: sender.hand_in() in (503, None) and supervisor.starts + (kind == "F") > 0, "it is refused", 60
            )
            assert len(sender.ledger.receipts()) == receipts
            disk.fault("")
            again = sender.until_taken()
            until(lambda: not {"waiting", "sending"} & count_states(hub.store).keys(), "everything is delivered", 90)
        hub.kill()
        verdict = verdict_of(hub, sender, procedure, killed=supervisor.starts)

    assert set(refused) <= {503, None}
    assert verdict.violations == ()
    figures = {
        "receipts": verdict.figures["receipts"], "lost": verdict.figures["lost"], "refused": sender.answers[503],
        "refused_within_seconds": round(max(refusal, sender.slowest_refusal), 2), "starts": supervisor.starts,
        "takes_again_after_seconds": round(again, 2),
    }  # fmt: skip
    attack = {"R": "a disk that becomes read-only", "E": "syncs that fail (EIO)", "F": "no write finds room (ENOSPC)"}
    record("P3", attack[kind], figures, COMMAND)


def test_a_file_that_may_not_grow_ends_the_hub_and_loses_nothing(tmp_path: Path, procedure: SoapProcedure) -> None:
    """``ulimit -f``: a limit of the process that no room on the disk helps against."""
    limit = ["sh", "-c", 'ulimit -f 6000 && exec "$@"', "sh"]  # 3 MB in blocks of 512 bytes
    with Scratch(tmp_path / "hub", procedure.address, before=limit) as limited:
        sender = Sender(limited, SenderLedger(tmp_path / "senders.jsonl"))
        limited.start()
        until(lambda: sender.hand_in(probe(60_000)) != 202, "a file has reached its limit", 60)
        refused = [sender.hand_in() for _ in range(3)]
        until(lambda: not limited.running, "the hub has ended", 60)
        code = limited.process.returncode if limited.process else None
        limited.before = ()
        limited.start()
        again = sender.until_taken()
        until(lambda: not {"waiting", "sending"} & count_states(limited.store).keys(), "everything is delivered", 90)
        assert limited.stop() == 0
        verdict = verdict_of(limited, sender, procedure, killed=1)

    assert set(refused) <= {503, None}
    assert code == 1
    assert verdict.violations == ()
    figures = {
        "receipts": verdict.figures["receipts"], "lost": verdict.figures["lost"], "exit_code": code,
        "takes_again_after_seconds": round(again, 2),
    }  # fmt: skip
    record("P3", "a file that may not grow (ulimit -f)", figures, COMMAND)

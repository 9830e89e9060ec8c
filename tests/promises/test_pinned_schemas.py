"""P18: a schema that is gone, cut or replaced on the disk never makes a document valid.

The hub judges by what it has read and proved, whatever happens to the files; workers that die come again with the
same. A reload or a start with a damaged schema is refused, and with the schema everything resumes by itself.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemon import Daemon, until
from tests.leinen import PROFILE, XSD, Leinen, folder_out, leinen
from tests.proving.record import STORM, record

COMMAND = "make test ARGS=tests/promises/test_pinned_schemas.py"
BUNDLE = "schemas/xoev/leinen/1.0"
LAX = XSD.replace('type="xs:unsignedByte"', 'type="xs:string"')
PER_ATTACK = 200 if STORM else 15  # documents of each kind that are judged while an attack lasts


def remove(hub: Daemon) -> None:
    (hub.deployment.folder / BUNDLE / "leinen.xsd").unlink()


def truncate(hub: Daemon) -> None:
    os.truncate(hub.deployment.folder / BUNDLE / "leinen.xsd", len(XSD) // 2)


def empty(hub: Daemon) -> None:
    os.truncate(hub.deployment.folder / BUNDLE / "leinen.xsd", 0)


def remove_profile(hub: Daemon) -> None:
    (hub.deployment.folder / BUNDLE / "profile.yaml").unlink()


def replace(hub: Daemon) -> None:
    hub.deployment.file(f"{BUNDLE}/leinen.xsd", LAX)


ATTACKS = {one.__name__: one for one in (remove, truncate, empty, remove_profile, replace)}


def mend(hub: Daemon) -> None:
    hub.deployment.file(f"{BUNDLE}/leinen.xsd", XSD)
    hub.deployment.file(f"{BUNDLE}/profile.yaml", PROFILE)


class Load(threading.Thread):
    """Hands in valid and invalid documents in turn, and counts what they were told."""

    def __init__(self, hub: Daemon) -> None:
        super().__init__(daemon=True)
        self.hub, self.done = hub, threading.Event()
        self.valid: Counter[int] = Counter()
        self.invalid: Counter[int] = Counter()

    def run(self) -> None:
        while not self.done.is_set():
            self.valid[self.hub.hand_in(leinen()).status_code] += 1
            self.invalid[self.hub.hand_in(leinen(alter="alt")).status_code] += 1

    def judged(self) -> int:
        return min(self.valid.total(), self.invalid.total())


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Daemon]:
    with Daemon(Leinen(tmp_path, {"nordheim": folder_out("out")})) as running:
        yield running


@pytest.mark.timeout(400)
def test_what_happens_to_schemas_on_the_disk_makes_no_document_valid(hub: Daemon) -> None:
    load = Load(hub)
    load.start()
    refused = 0
    for attack in ATTACKS.values():
        attack(hub)
        for pid in hub.workers():  # those that come after them must not read what is on the disk now
            os.kill(pid, signal.SIGKILL)
        until(lambda: len(hub.workers()) == 2, "the workers are there again")
        if attack is not replace:  # a whole schema is a configuration like any other, and a reload would take it
            done = hub.cli("reload")
            assert done.returncode == 78, done.stderr
            refused += 1
        wanted = load.judged() + PER_ATTACK
        until(lambda wanted=wanted: load.judged() >= wanted, "documents were judged meanwhile", 90)
        mend(hub)
    load.done.set()
    load.join(60)

    assert set(load.invalid) == {422}, load.invalid
    assert set(load.valid) == {202}, load.valid
    until(lambda: not hub.messages("--state", "open"), "everything is delivered")
    arrived = [path.read_bytes() for path in (hub.deployment.folder / "out").glob("*.xml")]
    assert len(arrived) == load.valid[202]
    unvalidated = sum(b">alt<" in body for body in arrived)
    assert unvalidated == 0
    figures = {
        "attacks": len(ATTACKS), "judged": load.valid.total() + load.invalid.total(), "delivered_unvalidated": unvalidated,
        "reloads_refused": refused,
    }  # fmt: skip
    record("P18", "schema removed, cut, emptied, replaced on the disk under load, workers killed", figures, COMMAND)


def test_a_hub_does_not_start_without_its_schema_and_resumes_with_it(hub: Daemon) -> None:
    hub.cli("pause", "nordheim/leinen", "--reason", "Probe")
    assert hub.hand_in(leinen()).status_code == 202
    hub.signal()
    assert hub.wait() == 0
    remove(hub)

    hub.process = hub.spawn()
    code = hub.wait()
    assert code == 78
    assert "leinen.xsd" in hub.log.read_text("utf-8")

    mend(hub)
    began = time.monotonic()
    hub.start()
    assert hub.hand_in(leinen(alter="alt")).status_code == 422
    assert hub.cli("resume", "nordheim/leinen", "--reason", "Probe").returncode == 0
    until(lambda: len(list((hub.deployment.folder / "out").glob("*.xml"))) == 1, "what waited is delivered")
    figures = {"exit_code_without_it": code, "resumed_after_seconds": round(time.monotonic() - began, 1)}
    record("P18", "a start without the schema", figures, COMMAND)

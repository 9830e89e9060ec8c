"""Steps that loop, eat, crash: in the running daemon each costs its own delivery and delays no neighbour.

The stylesheets are those of the corpus in ``tests/hostile`` (group xslt).
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemon import Daemon, until
from tests.leinen import Leinen, folder_out, leinen
from tests.proving.record import record

HOSTILE = Path(__file__).parent.parent / "hostile"
CASES = {
    case["id"].lower(): (HOSTILE / "cases" / case["file"]).read_text("utf-8")
    for case in json.loads((HOSTILE / "cases.json").read_text("utf-8"))["cases"]
    if case["group"] == "xslt"
}
REFUSED = ("t02", "t05", "t16")  # found when the configuration is read; see test_hostile_xslt
HARMLESS = ("t10", "t15")  # libexslt pads with 100,000 characters at most; T15 is of XSLT 2, another processor's
STEPS = """
import ctypes
import os


def crash(outgoing):
    ctypes.string_at(0)


def loop(outgoing):
    while True:
        pass


def eat(outgoing):
    eaten = []
    while True:
        eaten.append(bytearray(os.urandom(1 << 20)))


def leave(outgoing):
    raise SystemExit(3)
"""
PYTHON = ("crash", "loop", "eat", "leave")
XSLT = tuple(sorted(set(CASES) - {*REFUSED, *HARMLESS}))
TOWNS = ("ruhig", *PYTHON, *XSLT)
CALM = 60  # receipts of the neighbour while nothing else goes on
LATE_SECONDS = 1.0


class Neighbour(threading.Thread):
    """Hands in one harmless document after the other, and remembers how long each receipt took."""

    def __init__(self, hub: Daemon) -> None:
        super().__init__(daemon=True)
        self.hub, self.done = hub, threading.Event()
        self.seconds: list[float] = []
        self.refused: list[int] = []

    def run(self) -> None:
        while not self.done.is_set():
            begun = time.monotonic()
            answer = self.hub.hand_in(leinen(0))
            self.seconds.append(time.monotonic() - begun)
            if answer.status_code != 202:
                self.refused.append(answer.status_code)
            time.sleep(0.02)  # a sender like others, not a load test


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    settings = {town: folder_out(f"out/{town}") for town in TOWNS}
    for name in PYTHON:
        settings[name]["steps"] = [{"python": f"steps:{name}"}]
    for name in XSLT:
        settings[name]["steps"] = [{"xslt": f"transforms/{name}.xsl"}]
    deployment = Leinen(tmp_path_factory.mktemp("hub"), settings)
    deployment.file("steps.py", STEPS)
    for name in XSLT:
        deployment.file(f"transforms/{name}.xsl", CASES[name])
    with Daemon(deployment, XOEV_HUB_WORKER_MEMORY="200MB") as running:
        yield running


def slow(seconds: list[float]) -> float:
    """Return what nine of ten receipts came within."""
    return sorted(seconds)[int(len(seconds) * 0.9)]


@pytest.mark.timeout(600)
def test_hostile_steps_cost_their_own_delivery_and_delay_no_neighbour(hub: Daemon) -> None:
    assert hub.process is not None
    daemon, neighbour = hub.process.pid, Neighbour(hub)
    neighbour.start()
    until(lambda: len(neighbour.seconds) >= CALM, "a calm phase")
    calm = neighbour.seconds[:]

    answers = {town: hub.hand_in(leinen(TOWNS.index(town))) for town in (*PYTHON, *XSLT)}
    neighbour.done.set()
    neighbour.join(60)

    stormy = neighbour.seconds[len(calm) :]
    assert {answer.status_code for answer in answers.values()} == {202}
    assert neighbour.refused == []
    assert slow(stormy) - slow(calm) < LATE_SECONDS, (slow(calm), slow(stormy), max(stormy))
    told = hub.show_all(answer.json()["id"] for answer in answers.values())
    shown = {town: message["deliveries"] for town, message in zip(answers, told, strict=True)}
    dead = {town: [(one["state"], one["reason"]) for one in deliveries] for town, deliveries in shown.items()}
    killers = {town: one["code"] for town, (one,) in shown.items() if one["code"] == "worker_lost"}
    assert [town for town, ends in dead.items() if ends != [("dead", "transform_failed")]] == []
    assert {"crash", "loop", "eat"} <= set(killers) <= {"crash", "loop", "eat", "t07", "t08", "t09"}
    assert hub.process.pid == daemon
    assert hub.running and hub.ready()
    until(lambda: len(hub.workers()) == 2, "both workers are there again")
    assert "Jürgen" not in hub.log.read_text("utf-8")
    figures = {
        "hostile_steps": len(answers), "killed_their_worker": len(killers), "dead_with_a_reason": len(dead),
        "neighbours_refused": len(neighbour.refused), "neighbours_later_by_seconds_p90": round(max(slow(stormy) - slow(calm), 0.0), 2),
    }  # fmt: skip
    command = "make test ARGS=tests/promises/test_workers_in_service.py"
    record("P16", "steps that crash, loop, eat memory or leave, beside good traffic", figures, command)


def test_what_is_refused_with_the_configuration_is_refused_by_a_reload(hub: Daemon) -> None:
    kept = hub.deployment.routes["procedures"]["ruhig-leinen"]
    for name in REFUSED:
        hub.deployment.file(f"transforms/{name}.xsl", CASES[name])
        hub.deployment.routes["procedures"]["ruhig-leinen"] = kept | {"steps": [{"xslt": f"transforms/{name}.xsl"}]}
        hub.deployment.write()

        done = hub.cli("reload")

        assert done.returncode == 78, (name, done.stderr)
        assert f"transforms/{name}.xsl" in done.stderr
    hub.deployment.routes["procedures"]["ruhig-leinen"] = kept
    hub.deployment.write()
    assert hub.hand_in(leinen(0)).status_code == 202


def test_workers_killed_all_at_once_with_the_process_that_keeps_them_are_there_again(hub: Daemon) -> None:
    assert hub.process is not None
    before = hub.group() - {hub.process.pid}
    neighbour = Neighbour(hub)
    neighbour.start()
    until(lambda: len(neighbour.seconds) > 10, "traffic")

    for pid in before:
        os.kill(pid, signal.SIGKILL)

    until(lambda: len(hub.workers()) == 2 and not hub.group() & before, "new ones have come")
    reached = len(neighbour.seconds)
    until(lambda: len(neighbour.seconds) > reached + 10, "traffic goes on")
    neighbour.done.set()
    neighbour.join(60)
    assert neighbour.refused == []
    assert hub.ready()


def test_a_daemon_killed_in_the_middle_of_hostile_steps_leaves_no_process(hub: Daemon) -> None:
    assert hub.process is not None
    for _ in range(2):
        threading.Thread(target=_hand_in_and_forget, args=(hub, "loop"), daemon=True).start()
    ticks: dict[int, int] = {}
    until(lambda: sum(_runs(pid, ticks) for pid in hub.workers()) == 2, "both workers are at it")
    group = hub.group()

    hub.process.kill()  # the daemon alone
    hub.wait()

    until(lambda: not hub.group(), f"nothing is left of {sorted(group)}")
    hub.start()
    assert hub.hand_in(leinen(0)).status_code == 202


def _hand_in_and_forget(hub: Daemon, town: str) -> None:
    try:
        hub.hand_in(leinen(TOWNS.index(town)))
    except OSError:
        return


def _runs(pid: int, ticks: dict[int, int]) -> bool:
    """Tell whether a process has run for half a second since it was first looked at."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    except OSError:
        return False
    now = int(fields[11]) + int(fields[12])
    return now - ticks.setdefault(pid, now) >= os.sysconf("SC_CLK_TCK") / 2

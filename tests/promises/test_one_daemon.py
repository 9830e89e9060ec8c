"""P12: a second daemon on one SQLite file ends with 1, whatever name it has for the file; a dead one's lock stops nobody.

50 attempts: a few as whole daemons, the others as the part of a daemon that opens the store. All 50 are whole daemons by
``make storm``.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemon import ROOT, Daemon
from tests.leinen import Leinen, folder_out, leinen
from tests.proving.record import STORM, record

ATTEMPTS = 50
WHOLE = 50 if STORM else 4
COMMAND = "make test ARGS=tests/promises/test_one_daemon.py"
OPEN = """\
import sys, time
from datetime import UTC, datetime
from pathlib import Path
from hub.errors import StoreBusy
from hub.store import open_store
for name in sys.argv[1:]:
    started = time.monotonic()
    try:
        open_store("sqlite:///" + name, state_dir=Path(name).parent, mode="daemon", clock=lambda: datetime.now(UTC))
        print("opened", 0)
    except StoreBusy:
        print("busy", time.monotonic() - started)
"""

pytestmark = pytest.mark.timeout(900)


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Daemon]:
    with Daemon(Leinen(tmp_path / "hub", {"nordheim": folder_out("out")})) as running:
        yield running


def names_of(database: Path, folder: Path) -> list[str]:
    """Return the ways to name one file: itself, links to it and to its folder, detours."""
    folder.mkdir()
    (folder / "file.db").symlink_to(database)
    (folder / "folder").symlink_to(database.parent, target_is_directory=True)
    (folder / "twice.db").symlink_to(folder / "file.db")
    return [
        str(database),
        str(folder / "file.db"),
        str(folder / "folder" / database.name),
        str(folder / "twice.db"),
        f"{database.parent}/../{database.parent.name}/{database.name}",
    ]


def test_a_second_daemon_on_one_file_is_refused_whatever_it_calls_it(hub: Daemon, tmp_path: Path) -> None:
    (database,) = hub.state.glob("*.db")
    names = names_of(database, tmp_path / "names")

    asked = [names[number % len(names)] for number in range(ATTEMPTS - WHOLE)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", OPEN, *asked], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    told = [line.split() for line in done.stdout.splitlines() if line.startswith(("busy", "opened"))]
    assert [word for word, _ in told] == ["busy"] * len(asked)
    refused = len(told)

    for number in range(WHOLE):
        hub.environment["XOEV_HUB_STORE"] = f"sqlite:///{names[number % len(names)]}"
        second = hub.spawn()
        assert second.wait(60) == 1
        refused += 1

    assert refused == ATTEMPTS
    assert hub.hand_in(leinen()).status_code == 202, "the first one did not notice"
    slowest = max((float(seconds) for _, seconds in told), default=0)
    figures = {"attempts": ATTEMPTS, "refused": refused, "slowest refusal, seconds": round(slowest, 3)}
    record("P12", "a second daemon on one SQLite file, by five names", figures, COMMAND)


def test_the_lock_of_a_killed_daemon_stops_nobody(hub: Daemon) -> None:
    for _ in range(3):
        hub.kill()
        hub.start()
        assert hub.hand_in(leinen()).status_code == 202


def test_of_many_that_start_at_once_exactly_one_has_the_store(tmp_path: Path) -> None:
    (tmp_path / "var").mkdir()
    database = str(tmp_path / "var" / "hub.db")
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    program = OPEN + "sys.stdout.flush()\ntime.sleep(600)\n"  # it holds what it has until it is killed
    racing = [
        subprocess.Popen([sys.executable, "-c", program, database], env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(5)
    ]
    told = [_word(one) for one in racing]
    for one in racing:
        one.send_signal(signal.SIGKILL)
        one.wait()

    assert sorted(told) == ["busy"] * 4 + ["opened"]
    started = time.monotonic()
    again = subprocess.run([sys.executable, "-c", OPEN, database], env=environment, capture_output=True, text=True)
    assert "opened" in again.stdout
    assert time.monotonic() - started < 60


def _word(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(("busy", "opened")):
            return line.split()[0]
    return "nothing"

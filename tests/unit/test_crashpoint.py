"""Places to die at: refused in service, and each of them is really in the program."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hub import crashpoint
from hub.errors import ConfigError

ROOT = Path(__file__).parents[2]
ARM_AND_GO = """
import os, sys
from hub import crashpoint
crashpoint.arm(os.environ, "test")
for _ in range(3):
    crashpoint.reached("after-read")
    crashpoint.reached("before-insert")
    print("alive", flush=True)
"""


def go(at: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), crashpoint.VARIABLE: at}
    return subprocess.run([sys.executable, "-c", ARM_AND_GO], env=environment, capture_output=True, text=True)


def test_it_dies_there_and_by_the_signal_that_nobody_can_catch() -> None:
    done = go("before-insert")

    assert (done.returncode, done.stdout) == (-signal.SIGKILL, "")


def test_it_dies_at_the_time_that_is_asked_for() -> None:
    done = go("after-read:3")

    assert (done.returncode, done.stdout.split()) == (-signal.SIGKILL, ["alive", "alive"])


def test_elsewhere_it_lives() -> None:
    done = go("during-reload")

    assert (done.returncode, done.stdout.split()) == (0, ["alive"] * 3)


def test_in_service_it_is_refused() -> None:
    with pytest.raises(ConfigError, match="kills the hub"):
        crashpoint.arm({crashpoint.VARIABLE: "after-read"}, "production")


@pytest.mark.parametrize("asked", ["after-reading", "after-read:0", "after-read:x", "after-read:", "AFTER-READ", ":1"])
def test_a_place_that_is_none_is_refused(asked: str) -> None:
    with pytest.raises(ConfigError, match="expected one of after-read"):
        crashpoint.arm({crashpoint.VARIABLE: asked}, "test")


def test_every_place_is_in_the_program() -> None:
    found: set[str] = set()
    for path in [*(ROOT / "hub").rglob("*.py"), *(ROOT / "adapters").rglob("*.py")]:
        found.update(re.findall(r"crashpoint\.reached\(\"([a-z-]+)\"\)", path.read_text("utf-8")))

    assert found == set(crashpoint.PLACES)

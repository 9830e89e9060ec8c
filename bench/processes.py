"""What a tree of processes costs, from /proc: CPU time of all, also of those that have ended, and memory."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from bench.messages import ROOT

_TICK = os.sysconf("SC_CLK_TCK")
_PSS = re.compile(r"^Pss:\s+(\d+) kB", re.MULTILINE)


def as_installed() -> dict[str, str]:
    """Return the environment in which the checkout's program starts as an installed one does: with its bytecode.

    Where none may be written, each call would compile the hub's own sources anew.
    """
    own = {name: text for name, text in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return own | {"PYTHONPATH": str(ROOT)}


def tree(root: int) -> list[int]:
    """Return a process and everything below it."""
    found, below = [], [root]
    while below:
        pid = below.pop()
        found.append(pid)
        below += [int(child) for path in Path(f"/proc/{pid}/task").glob("*/children") for child in _text(path).split()]
    return found


def cpu_seconds(root: int) -> float:
    """Return the CPU time that a tree has used, with that of children which were waited for."""
    ticks = 0
    for pid in tree(root):
        fields = _text(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()
        ticks += sum(map(int, fields[11:15]))
    return ticks / _TICK


def pss_megabytes(root: int) -> float:
    """Return the memory of a tree; what its processes share is counted once."""
    texts = (_text(Path(f"/proc/{pid}/smaps_rollup")) for pid in tree(root))
    return sum(int(found[1]) for text in texts if (found := _PSS.search(text))) / 1024


def end(process: subprocess.Popen[bytes], seconds: float = 20) -> None:
    """End a process that was started in a session of its own, with all that is in it."""
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # what it has left behind
    process.wait()


def answers(port: int) -> bool:
    """Tell whether somebody listens on a port of the loopback."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def until(come: Callable[[], bool], what: str, seconds: float) -> None:
    """Wait for a condition.

    Raises:
        TimeoutError: It does not come.
    """
    deadline = time.monotonic() + seconds
    while not come():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds:.0f} s: {what}")
        time.sleep(0.02)


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return ""

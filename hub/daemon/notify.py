"""What systemd is told, over the socket that it names (sd_notify(3)): ready, reloading, stopping, and that we live.

READY=1 ─▶ WATCHDOG=1 … ─▶ RELOADING=1 + MONOTONIC_USEC ─▶ READY=1 ─▶ STOPPING=1
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Mapping


class Notifier:
    """Tells the supervisor that started this process; nobody, if there is none."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        path = environ.get("NOTIFY_SOCKET", "")
        self._path = "\0" + path[1:] if path.startswith("@") else path  # @: in the abstract namespace
        usec = environ.get("WATCHDOG_USEC", "")
        mine = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        self._watchdog = int(usec) / 1_000_000 if usec.isdecimal() and mine else 0.0
        self._stop = threading.Event()

    def ready(self, text: str = "") -> None:
        """Say that everything is served, at the start and after each reload."""
        self._say("READY=1", f"STATUS={text or 'ready'}")

    def reloading(self) -> None:
        """Say that a reload begins; ``ready`` ends it, however it went."""
        self._say("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}", "STATUS=reloading")

    def stopping(self) -> None:
        """Say that the hub drains; whoever watches it must still hear of it."""
        self._say("STOPPING=1", "STATUS=draining")

    def watch(self, alive: Callable[[], bool]) -> None:
        """From now on say twice per watchdog interval that the hub lives, as long as ``alive`` says so."""
        if self._path and self._watchdog:
            threading.Thread(target=self._beat, args=(alive,), name="watchdog", daemon=True).start()

    def close(self) -> None:
        """Say nothing more."""
        self._stop.set()

    def _beat(self, alive: Callable[[], bool]) -> None:
        while not self._stop.wait(self._watchdog / 2):
            if alive():
                self._say("WATCHDOG=1")

    def _say(self, *lines: str) -> None:
        if not self._path:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
                sock.sendto("\n".join(lines).encode(), self._path)
        except OSError:
            return  # nobody listens any more; a supervisor that misses us acts by its own rules

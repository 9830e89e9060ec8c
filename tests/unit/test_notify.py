"""What systemd is told, over a socket as systemd makes it."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from hub.daemon.notify import Notifier


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.settimeout(30)
        yield sock


def heard(supervisor: socket.socket) -> dict[str, str]:
    return dict(line.split("=", 1) for line in supervisor.recv(4096).decode().splitlines())


def test_ready_reloading_ready_stopping(supervisor: socket.socket) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": supervisor.getsockname()})
    notifier.ready()
    notifier.reloading()
    notifier.ready()
    notifier.stopping()

    assert heard(supervisor)["READY"] == "1"
    reloading = heard(supervisor)
    assert reloading["RELOADING"] == "1"
    assert int(reloading["MONOTONIC_USEC"]) > 0  # Type=notify-reload wants it
    assert heard(supervisor)["READY"] == "1"
    assert heard(supervisor)["STOPPING"] == "1"


def test_a_hub_that_does_not_live_says_nothing(supervisor: socket.socket) -> None:
    alive, asked = threading.Event(), threading.Event()
    alive.set()

    def is_alive() -> bool:
        asked.set()
        return alive.is_set()

    notifier = Notifier({"NOTIFY_SOCKET": supervisor.getsockname(), "WATCHDOG_USEC": "100000"})
    notifier.watch(is_alive)
    assert heard(supervisor) == {"WATCHDOG": "1"}

    alive.clear()
    asked.clear()
    assert asked.wait(30)
    asked.clear()
    assert asked.wait(30)  # a whole round in which it was asked and said nothing more
    supervisor.setblocking(False)
    while True:
        try:
            supervisor.recv(100)  # what was said before
        except BlockingIOError:
            break
    asked.clear()
    assert asked.wait(30)
    with pytest.raises(BlockingIOError):
        supervisor.recv(100)
    notifier.close()


def test_the_abstract_namespace_and_nobody() -> None:
    name = f"\0xoev-hub-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(name)
        sock.settimeout(30)
        Notifier({"NOTIFY_SOCKET": "@" + name[1:]}).ready()
        assert b"READY=1" in sock.recv(100)
    Notifier({"NOTIFY_SOCKET": "/nirgendwo"}).ready()
    Notifier({}).ready()


def test_the_watchdog_of_another_process_is_not_ours(supervisor: socket.socket) -> None:
    environ = {"NOTIFY_SOCKET": supervisor.getsockname(), "WATCHDOG_USEC": "1000", "WATCHDOG_PID": "1"}
    notifier = Notifier(environ)
    notifier.watch(lambda: True)
    notifier.ready()

    assert heard(supervisor)["READY"] == "1"

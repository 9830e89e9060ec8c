"""Ports for what is started beside a hub: two processes never get the same, and no connection comes from one."""

from __future__ import annotations

import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

from hub import loopback
from hub.loopback import free_port

MANY = "from hub.loopback import free_port; import sys; print(*[free_port() for _ in range(300)]); sys.stdin.read()"


def test_processes_that_live_at_the_same_time_never_get_the_same_port() -> None:
    processes = [
        subprocess.Popen([sys.executable, "-c", MANY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    try:
        given = [process.stdout.readline().split() for process in processes if process.stdout]
    finally:
        for process in processes:
            process.communicate("")

    assert [len(ports) for ports in given] == [300] * 4
    assert len({port for ports in given for port in ports}) == 1_200


def test_what_a_process_had_is_given_again_when_it_has_ended() -> None:
    ended = subprocess.check_output([sys.executable, "-c", MANY], stdin=subprocess.DEVNULL, text=True)
    blocks = {
        loopback.LOWEST + (int(port) - loopback.LOWEST) // loopback.BLOCK * loopback.BLOCK for port in ended.split()
    }

    assert any(loopback._take(block) for block in blocks)  # another one may have been given some of them meanwhile


def test_it_is_no_port_that_the_system_gives_to_connections() -> None:
    lowest = loopback._first_given_away()

    with ThreadPoolExecutor(8) as threads:
        ports = list(threads.map(lambda _: free_port(), range(200)))

    assert len(set(ports)) == 200
    assert max(ports) < lowest


def test_a_port_that_somebody_listens_on_is_not_given() -> None:
    with socket.create_server(("127.0.0.1", free_port())) as server:
        taken = server.getsockname()[1]

        assert not loopback._is_free(taken)
    assert loopback._is_free(taken)

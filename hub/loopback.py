"""Ports of the loopback for what is started beside a hub: demo, self-test, tests."""

from __future__ import annotations

import random
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

LOWEST = 10_000
BLOCK = 40  # ports that a process takes for itself at a time
RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")

_lock = threading.Lock()
_names: list[socket.socket] = []  # of the blocks that are ours, as long as this process lives


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on, and that no other process is given while this one lives.

    It lies below those that the system gives to connections. One of these could be taken by any of them before it is
    listened on, and who calls such a port again and again while nobody listens comes to be connected with himself.

    Raises:
        OSError: There is none.
    """
    with _lock:
        for port in _ports:
            if _is_free(port):
                return port
    raise OSError("no port of 127.0.0.1 is free below those that the system gives to connections")


def _each() -> Iterator[int]:
    blocks = range(LOWEST, max(_first_given_away(), LOWEST + 1_000) - BLOCK, BLOCK)
    for block in random.SystemRandom().sample(blocks, len(blocks)):
        if _take(block):
            yield from range(block, block + BLOCK)


_ports = _each()


def _first_given_away() -> int:
    try:
        return int(RANGE.read_text("ascii").split()[0])
    except (OSError, ValueError, IndexError):
        return 32_768  # Linux as it is shipped


def _take(block: int) -> bool:
    """Take the name of a block; it is the kernel's and goes with the process, however that ends (unix(7), abstract)."""
    name = socket.socket(socket.AF_UNIX)
    try:
        name.bind(f"\0xoev-hub-ports-{block}")
    except OSError:
        name.close()
        return False
    _names.append(name)
    return True


def _is_free(port: int) -> bool:
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # what was closed a moment ago is free
        try:
            sock.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True

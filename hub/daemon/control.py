"""The daemon's own door for its operators: a socket in the state directory, whose mode says who may use it.

◀─ one JSON line: {"do": "reload", "actor": …}
─▶ one JSON line: {"ok": true, …}  |  {"ok": false, "error": …, "problems": […]}
"""

from __future__ import annotations

import json
import os
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

NAME = "control.sock"
LINE_BYTES_MAX = 65536
ANSWER_SECONDS = 180.0  # proving a large snapshot takes its time

Answer = Mapping[str, Any]


class ControlDoor:
    """Answers what operators ask, one at a time."""

    def __init__(self, state_dir: Path, answer: Callable[[Mapping[str, Any]], Answer]) -> None:
        """Open the door. A former daemon's socket is replaced: the store's lock says that it is gone."""
        self._path = state_dir / NAME
        self._path.unlink(missing_ok=True)
        with _address(state_dir) as address:
            self._server = _Server(address, _Request)
        self._path.chmod(0o600)
        self._server.answer = answer
        self._thread = threading.Thread(target=self._server.serve_forever, name="control", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._path.unlink(missing_ok=True)


class _Server(socketserver.UnixStreamServer):
    answer: Callable[[Mapping[str, Any]], Answer]


class _Request(socketserver.StreamRequestHandler):
    server: _Server
    timeout = 5

    def handle(self) -> None:
        try:
            asked = json.loads(self.rfile.readline(LINE_BYTES_MAX))
            answer = self.server.answer(asked) if isinstance(asked, dict) else {"ok": False, "error": "no request"}
        except (ValueError, OSError):
            return
        self.wfile.write(json.dumps(answer).encode() + b"\n")


@contextmanager
def _address(state_dir: Path) -> Iterator[str]:
    """Give the socket's address, which is short wherever the folder is: 107 bytes at most (unix(7))."""
    folder = os.open(state_dir, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{NAME}"
    finally:
        os.close(folder)


def ask(state_dir: Path, request: Mapping[str, Any]) -> Answer:
    """Ask the running daemon of a state directory.

    Raises:
        OSError: No daemon answers there.
    """
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(ANSWER_SECONDS)
        with _address(state_dir) as address:
            sock.connect(address)
        sock.sendall(json.dumps(request).encode() + b"\n")
        with sock.makefile("rb") as lines:
            line = lines.readline()
    if not line:
        raise ConnectionResetError(104, "the daemon ended while it was asked", str(state_dir / NAME))
    answer: Answer = json.loads(line)
    return answer

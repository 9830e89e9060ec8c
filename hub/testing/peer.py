"""A peer that answers as a test says: an HTTP server on the loopback address that can also be silent, cut off or reset.

with ScriptedPeer(Answer(200, b"<ok/>", {"Content-Type": "text/xml"}), Reset()) as peer:
    ...peer.url...
assert peer.requests[0].body == ...
"""

from __future__ import annotations

import socket
import ssl
import struct
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar, Self


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer. ``cut`` bytes of its body are sent, then the connection ends; ``None``: all of it."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: int | None = None


@dataclass(frozen=True, slots=True)
class Silence:
    """No answer until the client gives up or the peer is closed."""


@dataclass(frozen=True, slots=True)
class Reset:
    """The connection is reset after the request was read."""


@dataclass(frozen=True, slots=True)
class Request:
    """What a client sent. Names of headers are lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


Move = Answer | Silence | Reset


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a client that gives up is what many tests are about."""


class ScriptedPeer:
    """Answers the requests in their order by ``script``; after its end by ``after``. Threads may ask at once."""

    def __init__(self, *script: Move, after: Move | None = None, tls: ssl.SSLContext | None = None) -> None:
        self.script = list(script)
        self.after = after or Answer()
        self.requests: list[Request] = []
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        if tls:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.port = int(self._server.server_address[1])
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, request: Request) -> Move:
        """Keep the request and return what comes next in the script."""
        with self._lock:
            self.requests.append(request)
            return self.script.pop(0) if self.script else self.after

    def wait_closed(self) -> None:
        """Return when the peer is closed."""
        self._closed.wait(60)


def _handler(peer: ScriptedPeer) -> type[BaseHTTPRequestHandler]:
    class Connection(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 60
        scripted: ClassVar[ScriptedPeer] = peer

        def do_POST(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            move = peer.answer(Request(self.command, self.path, headers, _body(self)))
            match move:
                case Answer():
                    self._send(move)
                case Silence():
                    peer.wait_closed()
                    self.close_connection = True
                case Reset():
                    # A linger of 0 s makes close() send RST instead of FIN.
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    self.connection.close()
                    self.close_connection = True

        do_GET = do_PUT = do_POST  # noqa: N815  named by http.server

        def _send(self, answer: Answer) -> None:
            self.send_response(answer.status)
            for name, value in {"Content-Length": str(len(answer.body)), **answer.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.body[: answer.cut])
            if answer.cut is not None:
                self.close_connection = True

        def log_message(self, *_: Any) -> None:
            """Say nothing: the log belongs to the adapter under test."""

    return Connection


def _body(connection: BaseHTTPRequestHandler) -> bytes:
    if connection.headers.get("Transfer-Encoding", "").lower() != "chunked":
        return connection.rfile.read(int(connection.headers.get("Content-Length", "0")))
    chunks = []
    while size := int(connection.rfile.readline().split(b";")[0], 16):
        chunks.append(connection.rfile.read(size))
        connection.rfile.readline()
    connection.rfile.readline()
    return b"".join(chunks)

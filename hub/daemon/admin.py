"""``/livez``, ``/readyz`` and ``/metrics`` for the machine's own monitoring."""

from __future__ import annotations

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

READ_SECONDS = 5


class Admin:
    """A small server on the admin address; it knows no messages and takes no commands."""

    def __init__(self, listen: str, ready: Callable[[], str | None], metrics: Callable[[], bytes]) -> None:
        """Bind the address. ``ready`` returns why the hub is not ready, or ``None``.

        Raises:
            OSError: The address cannot be bound.
        """
        host, _, port = listen.rpartition(":")
        self._server = _Server((host.strip("[]"), int(port)), _Request)
        self._server.ready, self._server.metrics = ready, metrics
        self._thread = threading.Thread(target=self._server.serve_forever, name="admin", daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    ready: Callable[[], str | None]
    metrics: Callable[[], bytes]


class _Request(BaseHTTPRequestHandler):
    server: _Server
    timeout = READ_SECONDS
    server_version = "xoev-hub"
    sys_version = ""

    def do_GET(self) -> None:
        """Answer what monitoring asks; a HEAD gets the same without the body, as balancers ask that way."""
        match self.path:
            case "/livez":
                self._answer(200, b"ok\n")
            case "/readyz":
                why = self.server.ready()
                self._answer(503 if why else 200, f"{why or 'ok'}\n".encode())
            case "/metrics":
                self._answer(200, self.server.metrics(), "text/plain; version=0.0.4; charset=utf-8")
            case _:
                self._answer(404, b"not found\n")

    do_HEAD = do_GET  # noqa: N815  # http.server calls it so

    def _answer(self, status: int, body: bytes, media_type: str = "text/plain; charset=utf-8") -> None:
        self.send_response(status)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: probes come every few seconds."""

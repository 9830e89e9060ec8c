"""The daemon's end of one worker process: a document goes in, a plan or a rejection comes out, or nothing in time."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from hub import wire
from hub.inspection import Plan, Rejection
from hub.message import Incoming
from hub.page import Page
from hub.spool import Spool
from hub.wire import Kind

DOCUMENT_SECONDS = 5.0  # for a document, and
MEGABYTE_SECONDS = 0.2  # for each megabyte of it
STALL_SECONDS = 0.05  # from then on others do not wait for it


class _Patience:
    """How long the daemon waits for a worker: anew with each step that it comes on."""

    def __init__(self, page: Page, seconds: float, on_stall: Callable[[], None]) -> None:
        self._page, self._seconds, self._on_stall = page, seconds, on_stall
        self._moves = -1
        self._end = 0.0

    def __call__(self) -> None:
        """Look, after nothing has come for a while.

        Raises:
            TimeoutError: It takes too long.
        """
        first = self._moves < 0
        if self._page.moves != self._moves:
            self._moves, self._end = self._page.moves, time.monotonic() + self._seconds
        elif time.monotonic() >= self._end:
            raise TimeoutError
        if first:
            self._on_stall()


class Worker:
    """The daemon's end of one worker process. An ``extra`` one is there for one large document and ends with it."""

    def __init__(self, pid: int, sock: socket.socket, page: Page, spool: Spool, *, extra: bool) -> None:
        self.pid, self.page, self.extra = pid, page, extra
        # The kernel's own times: waiting by poll() would be one more call for each document.
        sock.setblocking(True)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _timeval(STALL_SECONDS))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _timeval(DOCUMENT_SECONDS))
        self._line = wire.Line(sock, spool)
        self.rejection: Rejection | None = None  # told; the same in its standard's form may still come

    def inspect(
        self, incoming: Incoming, more: Mapping[str, Any], on_stall: Callable[[], None] = lambda: None
    ) -> Plan | Rejection:
        """Inspect one document, of which ``more`` is known. ``on_stall`` is called once, should it take long.

        Raises:
            wire.Closed, TimeoutError: The worker died, or takes too long.
            wire.Spoiled: A spool file cannot be written or read.
        """
        self.rejection = None
        self.page.clear()
        head, blobs = wire.pack_incoming(incoming)
        self._line.send({"incoming": head, **more}, blobs, Kind.ORDER)
        seconds = DOCUMENT_SECONDS + MEGABYTE_SECONDS * len(incoming.body) / 1_000_000
        patience = _Patience(self.page, seconds, on_stall)
        while True:
            frame = self._line.receive(patience)
            match frame.kind:
                case Kind.PLAN:
                    return wire.unpack_plan(frame.head, frame.blobs)
                case Kind.REJECTION:
                    return wire.REJECTION.validate_json(frame.head)
                case Kind.TOLD:
                    self.rejection = wire.REJECTION.validate_json(frame.head)
                case Kind.DOCUMENT if self.rejection is not None:
                    return replace(self.rejection, document=frame.blobs[0])
                case _:
                    raise wire.Spoiled

    def close(self) -> None:
        self._line.close()
        self.page.close()


def _timeval(seconds: float) -> bytes:
    return struct.pack("@ll", int(seconds), int(seconds % 1 * 1_000_000))

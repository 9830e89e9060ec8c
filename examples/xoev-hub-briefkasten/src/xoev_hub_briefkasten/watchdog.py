"""Keeps the deadline: a time limit per read would let a peer drip one byte after the other."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from http.client import HTTPConnection
from typing import Self


class Watchdog:
    """Cuts a connection after some seconds, whatever it is waiting for. ``fired`` says that it did."""

    def __init__(self, connection: HTTPConnection, seconds: float) -> None:
        self.fired = False
        self._connection = connection
        self._timer = threading.Timer(seconds, self._cut)
        self._timer.daemon = True

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()

    def _cut(self) -> None:
        self.fired = True
        sock = self._connection.sock
        if sock is not None:
            with suppress(OSError):  # it has ended by itself
                socket.socket.shutdown(sock, socket.SHUT_RDWR)  # not SSLSocket's: that one would read on in the clear

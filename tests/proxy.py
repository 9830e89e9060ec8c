"""A TCP proxy on loopback that does to a connection what networks do. Any protocol; nothing but the standard library.

    with Proxy(upstream_port) as proxy:
        proxy.set("cut_down", 50)      # the answer is cut after 50 bytes, with a reset
        ... 127.0.0.1:proxy.port ...
        proxy.clear()

    refuse          nobody listens              reset_now       accepted, then reset
    blackhole       accepted, then nothing      latency S       each piece comes S seconds later
    slow N          N bytes per second          stall_down S    the answer begins S seconds later
    cut_up N        reset after N bytes of the request          cut_down N      reset after N bytes of the answer
    end_up N        orderly end after N bytes of the request    end_down N      orderly end after N bytes of the answer
    trickle N       N bytes per second of the answer            mute            nothing of the answer comes
    garbage         the answer's bytes are others               twice           each piece of the answer comes twice
    once            after the first answer the connection is reset when the next request comes

A toxic counts for what is read after it was set, on open connections too.
"""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self

TOXICS = frozenset(
    {
        "blackhole", "cut_down", "cut_up", "end_down", "end_up", "garbage", "latency", "mute", "once", "refuse",
        "reset_now", "slow", "stall_down", "trickle", "twice",
    }
)  # fmt: skip
GARBAGE = bytes(range(255, 127, -1))
PIECE = 16_384


class Proxy:
    """Forwards 127.0.0.1:``port`` to 127.0.0.1:``upstream``, through the toxics that are set."""

    def __init__(self, upstream: int) -> None:
        self.port = 0
        self.connections = 0
        self.sent_up = 0  # bytes that reached the upstream
        self.sent_down = 0
        self._upstream = ("127.0.0.1", upstream)
        self._toxics: dict[str, float] = {}
        self._stopping = threading.Event()
        self._open: set[socket.socket] = set()
        self._listener: socket.socket | None = None

    def __enter__(self) -> Self:
        self._listen()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._close_listener()
        for sock in list(self._open):
            _end(sock)

    def set(self, toxic: str, value: float = 0) -> None:
        """Add a toxic."""
        assert toxic in TOXICS, toxic
        self._toxics[toxic] = value
        if toxic == "refuse":
            self._close_listener()

    def clear(self) -> None:
        """Remove all toxics."""
        self._toxics.clear()
        if self._listener is None:
            self._listen()

    def _listen(self) -> None:
        listener = socket.create_server(("127.0.0.1", self.port))
        self.port = listener.getsockname()[1]
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def _close_listener(self) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            _end(listener)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._converse, args=(client,), daemon=True).start()

    def _converse(self, client: socket.socket) -> None:
        if "reset_now" in self._toxics:
            _reset(client)
            return
        self._open.add(client)
        if "blackhole" in self._toxics:
            with suppress(OSError):
                while client.recv(PIECE):
                    pass
            _end(client)
            return
        try:
            server = socket.create_connection(self._upstream, 5)
        except OSError:
            _reset(client)
            return
        server.settimeout(None)
        self._open.add(server)
        for sock in (client, server):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        up = threading.Thread(target=self._pump, args=(client, server, "up"), daemon=True)
        up.start()
        self._pump(server, client, "down")
        up.join()
        _end(client)
        _end(server)
        self._open -= {client, server}

    def _pump(self, source: socket.socket, target: socket.socket, way: str) -> None:
        passed = 0
        with suppress(OSError):
            while data := source.recv(PIECE):
                if passed == 0 and way == "down":
                    self._stopping.wait(self._toxics.get("stall_down", 0))
                self._stopping.wait(self._toxics.get("latency", 0))
                for how, end in (("cut", _reset), ("end", _end)):
                    limit = self._toxics.get(f"{how}_{way}")
                    if limit is not None and passed + len(data) > limit:
                        self._pass(target, data[: max(0, int(limit) - passed)], way)
                        end(target)
                        _reset(source)
                        return
                if way == "up" and "once" in self._toxics and self.sent_down:
                    _reset(target)
                    _reset(source)
                    return
                self._pass(target, self._spoilt(data) if way == "down" else data, way)
                passed += len(data)
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    def _spoilt(self, data: bytes) -> bytes:
        if "mute" in self._toxics:
            return b""
        if "garbage" in self._toxics:
            return (GARBAGE * (len(data) // len(GARBAGE) + 1))[: len(data)]
        return data * 2 if "twice" in self._toxics else data

    def _pass(self, target: socket.socket, data: bytes, way: str) -> None:
        rate = self._toxics.get("slow") or (self._toxics.get("trickle") if way == "down" else None)
        step = max(1, int(rate / 20)) if rate else len(data) or 1
        for start in range(0, len(data), step):
            piece = data[start : start + step]
            target.sendall(piece)
            if way == "up":
                self.sent_up += len(piece)
            else:
                self.sent_down += len(piece)
            if rate:
                self._stopping.wait(len(piece) / rate)


def _reset(sock: socket.socket) -> None:
    """Close with a reset, so that the peer sees ECONNRESET and no orderly end."""
    with suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.shutdown(socket.SHUT_RD)  # wakes the other pump without a word to the peer: the reset waits for it
    sock.close()


def _end(sock: socket.socket) -> None:
    """Close, and wake up whoever waits on it."""
    with suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
    sock.close()

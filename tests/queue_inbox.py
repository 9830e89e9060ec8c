"""A queue to take from, one for rejections, and a way to the broker on which everything that is said is read along.

with running(inbox, context, accept):
    id_ = inbox.publish(body)
    inbox.until("acked", id_)
"""

from __future__ import annotations

import socket
import struct
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pika
from pika import frame, spec

from adapters.amqp_in import AmqpIn, AmqpListener
from hub.plugin import Accept, Context
from tests.rabbit import Proxy, Topology, eventually

STOP_SECONDS = 20.0


class Wire(Proxy):
    """Keeps what the hub says of messages: (``delivered | acked | withheld | given back``, message id).

    While ``deaf_to_acks`` is set, no acknowledgement reaches the broker.
    """

    def __init__(self, broker_url: str) -> None:
        self.said: list[tuple[str, str]] = []
        self.heartbeats = 0  # of the hub
        self.deaf_to_acks = threading.Event()
        self._tags: dict[socket.socket, dict[int, str]] = {}
        self._last_tag: dict[socket.socket, int] = {}
        super().__init__(broker_url)

    def _pass_on(self, source: socket.socket, sink: socket.socket, mute: threading.Event | None) -> None:
        up = mute is None
        buffer = b""
        try:
            while data := source.recv(65536):
                pieces, buffer = _frames(buffer + data)
                for raw, value in pieces:
                    heard = self._up(source, value) if up else self._down(sink, value)
                    if heard and (up or mute is None or not mute.is_set()):
                        sink.sendall(raw)
        except OSError:
            pass
        source.close()
        sink.close()

    def _down(self, client: socket.socket, value: Any) -> bool:
        method = getattr(value, "method", None)
        if isinstance(method, spec.Basic.Deliver):
            self._last_tag[client] = int(method.delivery_tag or 0)
        elif isinstance(value, frame.Header) and client in self._last_tag:
            id_ = str(value.properties.message_id)
            self._tags.setdefault(client, {})[self._last_tag.pop(client)] = id_
            self.said.append(("delivered", id_))
        return True

    def _up(self, client: socket.socket, value: Any) -> bool:
        method = getattr(value, "method", None)
        tags = self._tags.get(client, {})
        if isinstance(method, spec.Basic.Ack):
            kept = self.deaf_to_acks.is_set()
            self.said.append(("withheld" if kept else "acked", tags.get(int(method.delivery_tag or 0), "?")))
            return not kept
        if isinstance(method, spec.Basic.Nack | spec.Basic.Reject | spec.Basic.Recover):
            self.said.append(("given back", tags.get(int(getattr(method, "delivery_tag", 0) or 0), "?")))
        self.heartbeats += isinstance(value, frame.Heartbeat)
        return True


def _frames(data: bytes) -> tuple[list[tuple[bytes, Any]], bytes]:
    """Return the whole frames, each with what it says as far as it can be read, and the rest."""
    found: list[tuple[bytes, Any]] = []
    while len(data) >= 8:
        size = 8 if data.startswith(b"AMQP") else 8 + struct.unpack_from(">BHL", data)[2]
        if len(data) < size:
            break
        raw, data = data[:size], data[size:]
        found.append((raw, _read(raw)))
    return found, data


def _read(raw: bytes) -> Any:
    try:
        return frame.decode_frame(raw)[1]
    except (RecursionError, ArithmeticError, ValueError, OSError):
        kind, channel, _ = struct.unpack_from(">BHL", raw)
        return frame.Header(channel, 0, pika.BasicProperties(message_id="unreadable")) if kind == 2 else None


class Inbox:
    """The queue ``in``, and ``rejected`` behind an exchange of its own; all of it goes with the test."""

    def __init__(self, broker_url: str, **arguments: Any) -> None:
        self._lock = threading.Lock()
        self.topology = Topology(broker_url)
        self.queue = self.topology.queue("in", **arguments)
        self.topology.queue("rejected")
        self.topology.channel.confirm_delivery()
        self.wire = Wire(broker_url)

    def settings(self, **changes: Any) -> AmqpIn:
        usual = {"url": "env:AMQP_URL", "queue": self.queue, "reject_to": f"{self.topology.exchange}/rejected"}
        return AmqpIn(**(usual | changes))

    def publish(self, body: bytes, **properties: Any) -> str:
        """Publish a message as an online service does; return its id, of the test's choice and of no meaning."""
        usual = {"message_id": str(uuid.uuid4()), "content_type": "application/xml", "delivery_mode": 2}
        written = pika.BasicProperties(**(usual | properties))
        with self._lock:
            self.topology.channel.basic_publish(self.topology.exchange, "in", body, written, mandatory=True)
        return str(written.message_id)

    def rejected(self) -> list[tuple[pika.BasicProperties, bytes]]:
        """Return what was rejected since the last look."""
        with self._lock:
            return self.topology.messages("rejected")

    def depth(self) -> int:
        """Return how many messages wait that nobody holds."""
        with self._lock:
            return int(self.topology.depth("in"))

    def was(self, what: str, id_: str) -> bool:
        return (what, id_) in self.wire.said

    def until(self, what: str, *ids: str) -> None:
        """Wait until this was said of every message."""
        eventually(lambda: all(self.was(what, id_) for id_ in ids))

    def count(self, what: str) -> int:
        return sum(said == what for said, _ in self.wire.said)

    def delete(self) -> None:
        self.wire.close()
        self.topology.delete()


@contextmanager
def running(inbox: Inbox, context: Context, accept: Accept, **settings: Any) -> Iterator[threading.Event]:
    """Let a listener run in a thread of its own; it must end by itself, and has never given a message back.

    Gives the signal that ends it, which is set at the end in any case.
    """
    listener, stop = AmqpListener(inbox.settings(**settings), context), threading.Event()
    thread = threading.Thread(target=listener.listen, args=(accept, stop), daemon=True)
    thread.start()
    try:
        yield stop
    finally:
        stop.set()
        thread.join(STOP_SECONDS)
    assert not thread.is_alive(), "listen() goes on although stop is set"
    assert inbox.count("given back") == 0

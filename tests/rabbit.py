"""RabbitMQ as a test needs it: queues that go with the test, and a way to the broker that can be disturbed."""

from __future__ import annotations

import socket
import ssl
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pika
import trustme
from pika import frame

from adapters.amqp import AmqpAdapter, AmqpSettings
from hub.plugin import Context, Outgoing
from hub.testing import outgoing

WAIT_SECONDS = 20.0


def build(topology: Topology, context: Context, **settings: Any) -> AmqpAdapter:
    """Return an adapter, not opened, for this test's exchange."""
    values = {"url": "env:AMQP_URL", "exchange": topology.exchange, "routing_key": "bau", **settings}
    return AmqpAdapter(AmqpSettings(**values), context)


def soon(number: int = 1, seconds: float = 10, **changes: Any) -> Outgoing:
    """Return the delivery with this number, due in some seconds."""
    return outgoing(number, deadline=time.monotonic() + seconds, **changes)


def eventually(condition: Callable[[], bool]) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        threading.Event().wait(0.01)


class Topology:
    """An exchange and queues of this test, gone after it."""

    def __init__(self, url: str) -> None:
        self.name = f"test-{uuid.uuid4()}"
        self.exchange = self.name
        parameters = pika.URLParameters(url)
        parameters.heartbeat = 0  # a test that waits for something else for minutes answers none
        self._connection = pika.BlockingConnection(parameters)
        self.channel = self._connection.channel()
        self.channel.exchange_declare(self.exchange, exchange_type="direct", durable=True)
        self._queues: list[str] = []

    def queue(self, key: str = "bau", **arguments: Any) -> str:
        name = f"{self.name}.{key}"
        self.channel.queue_declare(name, durable=True, arguments=arguments)
        self.channel.queue_bind(name, self.exchange, key)
        self._queues.append(name)
        return name

    def messages(self, key: str = "bau") -> list[tuple[pika.BasicProperties, bytes]]:
        """Return what lies in a queue, and leave it empty."""
        found = []
        while True:
            method, properties, body = self.channel.basic_get(f"{self.name}.{key}", auto_ack=True)
            if method is None:
                return found
            found.append((properties, body))

    def depth(self, key: str) -> int:
        return self.channel.queue_declare(f"{self.name}.{key}", passive=True).method.message_count

    def has(self, key: str) -> bool:
        """Return whether there is such a queue."""
        with self._connection.channel() as asking:
            try:
                asking.queue_declare(f"{self.name}.{key}", passive=True)
            except pika.exceptions.ChannelClosedByBroker:
                return False
            return True

    def delete(self) -> None:
        for queue in self._queues:
            self.channel.queue_delete(queue)
        self.channel.exchange_delete(self.exchange)
        self._connection.close()


class Proxy:
    """A way to the broker that can be cut. While it is ``mute``, nothing of the broker comes back."""

    def __init__(self, broker_url: str) -> None:
        parts = urlsplit(broker_url)
        self._target = (parts.hostname, parts.port or 5672)
        self._server = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self.mute = threading.Event()
        self.connections = 0
        self.url = broker_url.replace(f"{parts.hostname}:{parts.port}", f"127.0.0.1:{self._server.getsockname()[1]}")
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        for end in self._open:
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:  # it has ended by itself
                continue
        self._open.clear()

    def say(self, *frames: frame.Frame) -> None:
        """Say something to the hub in the broker's name."""
        client = self._open[-2]
        for one in frames:
            client.sendall(one.marshal())

    def close(self) -> None:
        self._server.close()
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
                broker = socket.create_connection(self._target)
            except OSError:
                return
            self._open += [client, broker]
            self.connections += 1
            threading.Thread(target=self._pass_on, args=(client, broker, None), daemon=True).start()
            threading.Thread(target=self._pass_on, args=(broker, client, self.mute), daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket, mute: threading.Event | None) -> None:
        try:
            while data := source.recv(65536):
                if mute is None or not mute.is_set():
                    sink.sendall(data)
        except OSError:
            pass
        source.close()
        sink.close()


def tls_server(authority: trustme.CA, broker_url: str | None = None) -> tuple[int, Callable[[], None]]:
    """Serve one TLS connection, passed on to the broker if there is one."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        try:
            client = context.wrap_socket(server.accept()[0], server_side=True)
        except OSError:  # the client trusts it not, and goes
            return
        if broker_url is not None:
            shuttle(client, broker_url)

    threading.Thread(target=serve, daemon=True).start()
    return server.getsockname()[1], server.close


def shuttle(client: ssl.SSLSocket, broker_url: str) -> None:
    """Pass bytes on in both directions from one thread: an SSL socket does not stand two."""
    parts = urlsplit(broker_url)
    broker = socket.create_connection((parts.hostname, parts.port or 5672))
    client.settimeout(0.01)
    broker.settimeout(0.01)
    while True:
        for source, sink in ((client, broker), (broker, client)):
            try:
                data = source.recv(65536)
            except TimeoutError:
                continue
            except OSError:
                data = b""
            if not data:
                client.close()
                broker.close()
                return
            sink.sendall(data)

"""What is on its way to one exchange, over a channel of its own: a wrong exchange closes its own channel only.

A broker names no message when it closes a channel. So the first message of a channel goes alone: what the broker
refuses then is known for certain, and is no reason to doubt the others.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pika
from pika import spec
from pika.adapters.select_connection import SelectConnection
from pika.channel import Channel
from pika.exceptions import AMQPError, ChannelClosedByBroker

from hub.plugin import Blocked, Deferred, Delivered, Outcome, Phase, Reason, Refused, Unclear

WINDOW = 200  # messages without a confirm; more do not make it faster
ALONE_SECONDS = 1.0  # longer does not the first message go alone: its queue may be the one that is stuck
TOGETHER_BYTES = 64_000
DETAIL_CHARACTERS_MAX = 500


@dataclass(eq=False, slots=True)
class Publication:
    """One message for an exchange. Its future is running from the moment that it is written."""

    exchange: str
    routing_key: str
    body: bytes = field(repr=False)
    properties: pika.BasicProperties = field(repr=False)
    future: Future[Outcome] = field(default_factory=Future, repr=False)
    returned: str | None = None  # why the broker found no queue for it

    def end_unwritten(self, outcome: Outcome) -> None:
        """Settle it, unless it was taken back."""
        if self.future.set_running_or_notify_cancel():
            self.future.set_result(outcome)


class Encoded(pika.BasicProperties):
    """Properties that are encoded once, where they are made: the I/O thread, which all share, only sends them."""

    def __init__(self, **properties: Any) -> None:
        """Encode them.

        Raises:
            AMQPError: They cannot be.
        """
        super().__init__(**properties)  # type: ignore[no-untyped-call]  # generated, without types
        self.pieces: list[bytes] = super().encode()  # type: ignore[no-untyped-call]  # likewise

    def encode(self) -> list[bytes]:
        return self.pieces


class Broker(SelectConnection):
    """A connection that sends what is written together with few calls of the kernel: pika takes three for a message."""

    _held: bytearray | None = None  # bytes that wait for more

    @contextmanager
    def together(self) -> Iterator[None]:
        """Send what the block writes at its end, and whenever it has become much."""
        self._held = bytearray()
        try:
            yield
        finally:
            self._send_held()
            self._held = None

    def _adapter_emit_data(self, data: bytes) -> None:
        if self._held is None:
            super()._adapter_emit_data(data)
            return
        self._held += data
        if len(self._held) > TOGETHER_BYTES:
            self._send_held()

    def _send_held(self) -> None:
        if self._held:
            super()._adapter_emit_data(bytes(self._held))
            self._held.clear()


class Lane:
    """The channel of one exchange. ``room`` is called when there may be room for more."""

    def __init__(self, exchange: str, room: Callable[[], None]) -> None:
        self.waiting: deque[Publication] = deque()
        self._exchange = exchange
        self._room = room
        self._channel: Channel | None = None
        self._written: dict[int, Publication] = {}  # by delivery tag, in the order of writing
        self._tag = 0
        self._window = 0
        self._abandoned = 0  # the last tag given up of which nothing shows yet that the broker has read it

    def pump(self, connection: Broker) -> None:
        """Write what waits, as far as the window allows."""
        if self.waiting and self._channel is None:
            self._open(connection)
        with connection.together():
            while self.waiting and self._channel is not None and len(self._written) < self._window:
                publication = self.waiting.popleft()
                if publication.future.set_running_or_notify_cancel():
                    self._write(self._channel, publication)

    def _write(self, channel: Channel, publication: Publication) -> None:
        self._tag += 1
        self._written[self._tag] = publication
        channel.basic_publish(
            self._exchange, publication.routing_key, publication.body, publication.properties, mandatory=True
        )

    def refuse_waiting(self, outcome: Outcome) -> None:
        """Settle what is not written."""
        while self.waiting:
            self.waiting.popleft().end_unwritten(outcome)

    def abandon(self, publication: Publication) -> None:
        """Forget a written message; a confirm that comes later finds nothing."""
        for tag, written in self._written.items():
            if written is publication:
                del self._written[tag]
                self._abandoned = tag
                return

    def lost(self, code: str) -> None:
        """Settle everything: nobody knows about what is written, the rest was never sent."""
        written = self._forget_channel()
        for publication in written:
            publication.future.set_result(Unclear(Reason.UNCLEAR, code=code))
        self.refuse_waiting(Deferred(Reason.UNREACHABLE, code=code))

    # --- the life of the channel

    def _open(self, connection: Broker) -> None:
        try:
            self._channel = connection.channel(on_open_callback=self._opened)
        except AMQPError:
            self.refuse_waiting(Deferred(Reason.BUSY, code="no-channel"))
            return
        self._channel.add_on_close_callback(self._closed)
        self._channel.add_on_return_callback(self._returned)

    def _opened(self, channel: Channel) -> None:
        channel.confirm_delivery(self._confirmed, callback=self._ready)

    def _ready(self, _: Any) -> None:
        channel = self._channel
        self._tag = 0
        self._window = 1
        if channel is not None:
            channel.connection.ioloop.call_later(ALONE_SECONDS, lambda: self._widen(channel))
        self._room()

    def _widen(self, channel: Channel) -> None:
        if channel is self._channel:
            self._window = WINDOW
            self._room()

    def _closed(self, _: Channel, reason: BaseException) -> None:
        """Settle everything by the broker's reason. It concerns one message; which one is clear only if it is alone."""
        if not isinstance(reason, ChannelClosedByBroker):
            self.lost("connection-lost")
            return
        code = f"amqp-{reason.reply_code}"
        alone = len(self._written) == 1 and not self._abandoned
        written = self._forget_channel()
        if alone:
            written[0].future.set_result(_closing(reason))
        else:
            for publication in written:
                publication.future.set_result(Unclear(Reason.UNCLEAR, code=code))
        self.refuse_waiting(Deferred(Reason.UNREACHABLE, code=code, phase=Phase.CONNECTED))

    def _forget_channel(self) -> list[Publication]:
        written = list(self._written.values())
        self._written.clear()
        self._channel = None
        self._window = 0
        self._abandoned = 0
        return written

    # --- what the broker says of messages

    def _returned(self, _: Channel, method: spec.Basic.Return, properties: pika.BasicProperties, __: bytes) -> None:
        for publication in self._written.values():
            if publication.properties.message_id == properties.message_id:
                publication.returned = str(method.reply_text)
                return

    def _confirmed(self, frame: Any) -> None:
        method = frame.method
        tags = [method.delivery_tag]
        if method.multiple:
            tags = [tag for tag in self._written if tag <= method.delivery_tag]
        for tag in tags:
            publication = self._written.pop(tag, None)
            if publication is not None:
                publication.future.set_result(_confirm(publication, taken=isinstance(method, spec.Basic.Ack)))
        if method.delivery_tag > self._abandoned:  # read in the order of writing, so the broker had no fault to find
            self._abandoned = 0
        self._window = WINDOW
        self._room()


def _confirm(publication: Publication, *, taken: bool) -> Outcome:
    phase = Phase.RESPONSE_PARSED
    if publication.returned is not None:
        return Blocked(Reason.PEER_PROTOCOL, _short(publication.returned), phase=phase, code="unroutable")
    if not taken:
        return Deferred(Reason.BUSY, code="nack", phase=phase)
    return Delivered(str(publication.properties.message_id), phase=phase)


def _closing(reason: ChannelClosedByBroker) -> Outcome:
    """Return what the closing of a channel says about the only message without a confirm."""
    detail, phase, code = _short(reason.reply_text), Phase.RESPONSE_PARSED, f"amqp-{reason.reply_code}"
    match reason.reply_code:
        case 404:
            return Blocked(Reason.PEER_PROTOCOL, detail, phase=phase, code="no-exchange")
        case 403:
            return Blocked(Reason.PEER_AUTH, detail, phase=phase, code=code)
        case 406:  # larger than the broker takes
            return Refused(Reason.REFUSED, detail, phase=phase, code=code)
        case _:
            return Unclear(Reason.UNCLEAR, detail, phase=phase, code=code)


def refusal(error: BaseException | str) -> Deferred | Blocked:
    """Return what a connection that could not be made says about the broker.

    pika guesses at causes (a connection closed early is a "probable authentication error") and keeps the real one as
    text inside, so the text decides.
    """
    text = repr(error)
    if "SSLError(" in text or "SSLCertVerificationError(" in text:
        return Blocked(Reason.PEER_TLS, code="tls")
    if "ConnectionClosedByBroker: (403)" in text:
        return Blocked(Reason.PEER_AUTH, code="amqp-403", phase=Phase.CONNECTED)
    if "ConnectionClosedByBroker: (530)" in text:  # no such virtual host, or no right to it
        return Blocked(Reason.PEER_AUTH, code="amqp-530", phase=Phase.CONNECTED)
    if "AuthenticationError: Server and client" in text:  # no common mechanism
        return Blocked(Reason.PEER_AUTH, code="mechanism", phase=Phase.CONNECTED)
    return Deferred(Reason.UNREACHABLE, code="no-connection")


def _short(text: object) -> str:
    return str(text)[:DETAIL_CHARACTERS_MAX]

"""Consumes one queue over one connection, which is made again whenever it was lost.

    delivered ─▶ taken, in one of a few threads ─┬─ done ─▶ acknowledged
         ▲                                       └─ held ─┐
         └──────────────── after a pause ◀────────────────┘

Nothing is ever given back: no nack, no reject. Quorum queues count returns, and drop a message after the twentieth. Nor
is the consumer cancelled: pika rejects what arrives before the cancel is confirmed. What is held keeps its place in the
prefetch instead, so a hub that can take nothing gets nothing more, and one bad message stops no other.

Everything here runs in the thread of :meth:`Consumer.run`, but for the taking itself.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeAlias

import pika
from pika import frame, spec
from pika.adapters.select_connection import IOLoop, SelectConnection
from pika.channel import Channel
from pika.exceptions import AMQPError, ChannelClosedByBroker, ConnectionClosedByClient

from adapters.amqp_arrival import UNREADABLE, Arrival, Held, arrived
from adapters.amqp_lane import refusal
from hub.plugin import Blocked, Context, StopSignal

THREADS_MAX = 32
TICK_SECONDS = 0.1  # how soon a stop is seen
RECONNECT_SECONDS = (0.1, 5.0)  # the first pause, and the longest
HOLD_SECONDS = (0.5, 30.0)
FINISH_SECONDS = 25.0  # for what is being taken when the stop comes
GOODBYE_SECONDS = 2.0

Dial: TypeAlias = Callable[[], pika.ConnectionParameters | Blocked]
Take: TypeAlias = Callable[[Arrival], Held | None]


@dataclass(eq=False, slots=True)
class _Delivery:
    """An arrival, and what to acknowledge it by."""

    channel: Channel
    tag: int
    arrival: Arrival


class Consumer:
    """Lives for one :meth:`run`. ``take`` is called from several threads at once."""

    def __init__(self, context: Context, queue: str, prefetch: int, dial: Dial, take: Take) -> None:
        self._source, self._log, self._room = context.name, context.log, context.room
        self._queue, self._prefetch, self._dial, self._take = queue, prefetch, dial, take
        self._loop = IOLoop()
        self._threads = ThreadPoolExecutor(min(prefetch, THREADS_MAX), thread_name_prefix=f"accept {context.name}")
        self._connection: SelectConnection | None = None
        self._channel: Channel | None = None
        self._running: set[Future[Held | None]] = set()
        self._held: set[_Delivery] = set()  # tried in vain, and not acknowledged since
        self._waiting: list[_Delivery] = []  # those of them that the next round tries again
        self._rounds = 0  # in a row without a success
        self._failures = 0  # connections in a row that came to nothing
        self._told: set[tuple[str, str]] = set()  # warned of, and not over yet
        self._closing = False

    def run(self, stop: StopSignal) -> None:
        """Consume until ``stop`` is set; what is being taken then is finished and acknowledged."""
        try:
            self._connect()
            self._tick(stop)
            self._loop.start()
        finally:
            self._threads.shutdown(wait=False, cancel_futures=True)
            self._loop.close()

    @property
    def failure(self) -> str:
        """Why nothing is taken now, empty while it is; asked from another thread."""
        return next((f"{event.replace('_', ' ')}: {code}" for event, code in sorted(self._told)), "")

    # --- messages

    def _delivered(
        self, channel: Channel, method: spec.Basic.Deliver, properties: pika.BasicProperties, body: bytes
    ) -> None:
        if not self._closing:
            self._start(_Delivery(channel, int(method.delivery_tag or 0), arrived(properties, body, self._room)))

    def _start(self, delivery: _Delivery) -> None:
        future = self._threads.submit(self._taken, delivery)
        self._running.add(future)
        # The callback does not name the future that holds it: such a circle would keep the body in memory.
        future.add_done_callback(lambda done: self._loop.add_callback_threadsafe(lambda: self._settle(delivery, done)))

    def _taken(self, delivery: _Delivery) -> Held | None:
        if delivery.channel.is_open:
            return self._take(delivery.arrival)
        return Held("lost")  # the broker delivers it again; there is nothing to acknowledge here

    def _settle(self, delivery: _Delivery, future: Future[Held | None]) -> None:
        self._running.discard(future)
        if delivery.channel is self._channel and delivery.channel.is_open and not future.cancelled():
            held = self._verdict(future)
            if held is None:
                self._acknowledge(delivery)
            else:
                self._hold(delivery, held)
        if self._closing and not self._running:
            self._say_goodbye()

    def _verdict(self, future: Future[Held | None]) -> Held | None:
        error = future.exception()
        if error is None:
            return future.result()
        # A bug, ours or a plugin's. Its text may quote the document, so only its kind is shown.
        return Held("crashed", type(error).__name__)

    def _acknowledge(self, delivery: _Delivery) -> None:
        delivery.channel.basic_ack(delivery.tag)
        self._rounds = 0
        if delivery in self._held:
            self._held.discard(delivery)
            if not self._held:
                self._over("consuming_paused")
                self._log.info("consuming_resumed", source=self._source)

    def _hold(self, delivery: _Delivery, held: Held) -> None:
        self._warn("consuming_paused", f"{held.reason} {held.code}".strip(), reason=held.reason)
        self._held.add(delivery)
        if not self._waiting:
            self._loop.call_later(_pause(self._rounds, *HOLD_SECONDS), self._try_again)
        self._waiting.append(delivery)

    def _try_again(self) -> None:
        self._rounds += 1
        waiting, self._waiting = self._waiting, []
        for delivery in waiting:
            if delivery in self._held and not self._closing:
                self._start(delivery)

    # --- the life of the connection

    def _connect(self) -> None:
        if self._closing:
            return
        parameters = self._dial()
        if isinstance(parameters, Blocked):
            self._failed(parameters.code)
            return
        self._connection = TolerantConnection(
            parameters,
            on_open_callback=self._opened,
            on_open_error_callback=lambda _, error: self._failed(refusal(error).code),
            on_close_callback=self._lost,
            custom_ioloop=self._loop,
        )

    def _opened(self, connection: Any) -> None:
        connection.channel(on_open_callback=self._channel_opened)

    def _channel_opened(self, channel: Channel) -> None:
        self._channel = channel
        channel.add_on_close_callback(self._channel_closed)
        channel.add_on_cancel_callback(self._cancelled)
        channel.basic_qos(prefetch_count=self._prefetch, callback=lambda _: self._consume(channel))

    def _consume(self, channel: Channel) -> None:
        channel.basic_consume(self._queue, self._delivered, auto_ack=False, callback=self._consuming)

    def _consuming(self, _: Any) -> None:
        self._failures = 0
        self._over("source_unreachable")
        self._log.info("source_consuming", source=self._source)

    def _cancelled(self, _: Any) -> None:
        """The broker has ended it: the queue was deleted, or its node has gone."""
        self._give_up("cancelled")

    def _channel_closed(self, _: Channel, reason: BaseException) -> None:
        self._channel = None
        if isinstance(reason, ChannelClosedByBroker):  # no such queue, no right to it, or a message kept for too long
            self._give_up(f"amqp-{reason.reply_code}")

    def _give_up(self, code: str) -> None:
        """Begin anew with a new connection."""
        self._warn("source_unreachable", code)
        if self._connection is not None and self._connection.is_open:
            self._connection.close()

    def _lost(self, _: Any, reason: BaseException) -> None:
        if isinstance(reason, ConnectionClosedByClient):  # by ourselves, and it is said why
            self._failed(None)
        else:
            self._failed("lost")

    def _failed(self, code: str | None) -> None:
        """Forget what belonged to the connection, and make another after a pause."""
        self._connection = self._channel = None
        self._held.clear()
        self._over("consuming_paused")
        if self._closing:
            if not self._running:
                self._loop.stop()
            return
        if code is not None:
            self._warn("source_unreachable", code)
        self._loop.call_later(_pause(self._failures, *RECONNECT_SECONDS), self._connect)
        self._failures += 1

    # --- the end

    def _tick(self, stop: StopSignal) -> None:
        if not stop.is_set():
            self._loop.call_later(TICK_SECONDS, lambda: self._tick(stop))
            return
        self._closing = True
        self._loop.call_later(FINISH_SECONDS, self._say_goodbye)
        for future in list(self._running):
            future.cancel()  # what has not begun: the broker keeps it
        if not self._running:
            self._say_goodbye()

    def _say_goodbye(self) -> None:
        """End the connection; the broker then has back at once what is not acknowledged, in its old place."""
        self._loop.call_later(GOODBYE_SECONDS, self._loop.stop)
        if self._connection is not None and self._connection.is_open:
            self._connection.close()
        else:
            # pika 1.4.4 fails on an assertion when a connection is closed while it opens.
            self._loop.stop()

    # --- what the log is told: each thing once, until it is over

    def _warn(self, event: str, code: str, **keys: str) -> None:
        if not self._closing and (event, code) not in self._told:
            self._told.add((event, code))
            self._log.warning(event, source=self._source, code=code, **keys)

    def _over(self, event: str) -> None:
        self._told = {one for one in self._told if one[0] != event}


def _pause(failures: int, first: float, longest: float) -> float:
    """Return how long to wait: the longer, the more often in a row it was in vain."""
    seconds = min(first * 2 ** min(failures, 16), longest)
    return random.uniform(seconds / 2, seconds)  # noqa: S311 - spreads load only


class TolerantConnection(SelectConnection):
    """A connection that survives what publishers put into properties.

    pika decodes them on the way in, and what it cannot decode ends the connection: tables within tables deeper than
    Python's stack, a time after the year 9999, an unknown type. The broker would deliver the message again, for ever.
    """

    def _read_frame(self) -> tuple[int, frame.Frame | frame.ProtocolHeader | None]:
        try:
            return super()._read_frame()
        except (RecursionError, ArithmeticError, ValueError, LookupError, OSError, struct.error, AMQPError):
            kind, channel, size = struct.unpack_from(">BHL", self._frame_buffer)
            end = spec.FRAME_HEADER_SIZE + size
            if kind != spec.FRAME_HEADER or self._frame_buffer[end] != spec.FRAME_END:
                raise
            _, _, body_size = struct.unpack_from(">HHQ", self._frame_buffer, spec.FRAME_HEADER_SIZE)
            return end + spec.FRAME_END_SIZE, frame.Header(channel, body_size, UNREADABLE)

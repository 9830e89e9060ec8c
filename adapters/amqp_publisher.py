"""Confirmed publishing: one connection per broker, in one thread of its own, for all destinations of the process.

    publish() ─▶ waiting ──written──▶ without confirm ──ack────────────▶ Delivered; Blocked if it was returned before
                    │                       ├────────────nack──────────▶ Deferred(busy)
                    │                       ├────────────channel closed▶ the broker's reason if alone, else Unclear
                    │                       └────────────connection lost▶ Unclear
                    └──no connection, blocked, channel closed──────────▶ Deferred(unreachable), or why it is refused

Only the methods of :class:`Publisher` may be called from other threads; everything else runs in the thread of the I/O
loop, as pika demands. It connects when there is something to write, and never writes a message twice.
"""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeAlias

import pika
from pika.adapters.select_connection import IOLoop

from adapters.amqp_lane import Broker, Lane, Publication, refusal
from hub.plugin import Blocked, Deferred, Outcome, Reason, Unclear

PAUSE_SECONDS_FIRST = 0.1
PAUSE_SECONDS_MAX = 5.0  # the default of timeout.connect, so that a waiting delivery sees the next try
GOODBYE_SECONDS = 2.0

Dial: TypeAlias = Callable[[], pika.ConnectionParameters | Blocked]
"""Returns how to reach the broker, read anew for every connection, or why that cannot be known."""


class PublisherLog(Protocol):
    """The part of the hub's log that a publisher writes."""

    def info(self, event: str, **keys: Any) -> Any: ...
    def warning(self, event: str, **keys: Any) -> Any: ...


class Publisher:
    """Writes to one broker for any number of threads. ``name`` stands in the log, so it must not hold a secret."""

    def __init__(self, name: str, dial: Dial, log: PublisherLog) -> None:
        self._name = name
        self._dial = dial
        self._log = log
        self._lock = threading.Lock()
        self._inbox: deque[Publication] = deque()
        self._connection: _Connection | None = None  # None: no thread runs
        self._thread: threading.Thread | None = None
        self._closed = False

    def start(self) -> None:
        """Begin to connect, without waiting for it."""
        with self._lock:
            self._running()

    def publish(self, *publications: Publication) -> None:
        """Write them as soon as the broker is there; the future of each becomes its outcome.

        What waits here is bounded by its deliverers: each waits for its futures, and cancels one to take it back.
        """
        with self._lock:
            connection = self._running()
            if connection is not None:
                self._inbox.extend(publications)
                connection.loop.add_callback_threadsafe(connection.take_in)
        if connection is None:
            for publication in publications:
                publication.end_unwritten(Deferred(Reason.UNREACHABLE, code="publisher-ended"))

    def deliver(self, several: Sequence[tuple[Publication, float]], connect_seconds: float) -> Sequence[Outcome]:
        """Publish, and wait for the outcome of each by its deadline (``time.monotonic()``).

        Waits up to ``connect_seconds`` for the broker, and takes back what is not written by then.
        """
        now = time.monotonic()
        if in_time := [publication for publication, deadline in several if deadline > now]:
            self.publish(*in_time)
        connected = now + connect_seconds
        return [
            self._outcome(publication, deadline, connected)
            if deadline > now
            else Deferred(Reason.UNREACHABLE, code="no-time")
            for publication, deadline in several
        ]

    def _outcome(self, publication: Publication, deadline: float, connected: float) -> Outcome:
        """Wait for one outcome: until ``connected`` to have it written, until ``deadline`` to have it confirmed."""
        try:
            return publication.future.result(_until(min(deadline, connected)))
        except TimeoutError:
            if publication.future.cancel():
                return Deferred(Reason.UNREACHABLE, code="not-written")
        try:
            return publication.future.result(_until(deadline))
        except TimeoutError:
            self.abandon(publication)
            return Unclear(Reason.TIMEOUT, code="no-confirm")

    def abandon(self, publication: Publication) -> None:
        """Wait no longer for its confirm, so that it keeps no place in the window."""
        with self._lock:
            connection = self._connection
            if connection is not None:
                connection.loop.add_callback_threadsafe(lambda: connection.abandon(publication))

    def close(self) -> None:
        """End the connection and its thread. Safe to call twice."""
        with self._lock:
            self._closed = True
            connection, thread = self._connection, self._thread
            if connection is not None:
                connection.loop.add_callback_threadsafe(connection.close)
        if thread is not None:
            thread.join(2 * GOODBYE_SECONDS)

    def _running(self) -> _Connection | None:
        """Return what takes publications. A thread that died of a bug in the library is replaced."""
        if self._connection is None and not self._closed:
            self._connection = _Connection(self._name, self._dial, self._log, self._take)
            self._thread = threading.Thread(
                target=self._run, args=(self._connection,), name=f"amqp {self._name}", daemon=True
            )
            self._thread.start()
        return self._connection

    def _run(self, connection: _Connection) -> None:
        try:
            connection.run()
        finally:
            with self._lock:
                self._connection = None
            connection.end()

    def _take(self) -> list[Publication]:
        with self._lock:
            taken = list(self._inbox)
            self._inbox.clear()
        return taken


def _until(deadline: float) -> float:
    return max(0.0, deadline - time.monotonic())


class _Connection:
    """The I/O loop with at most one connection, made again when it was lost and somebody wants to write."""

    def __init__(self, name: str, dial: Dial, log: PublisherLog, take: Callable[[], list[Publication]]) -> None:
        self.loop = IOLoop()
        self._name = name
        self._dial = dial
        self._log = log
        self._take = take
        self._lanes: dict[str, Lane] = {}
        self._connection: Broker | None = None
        self._pausing = False
        self._failures = 0
        self._blocked = False
        self._closing = False

    def run(self) -> None:
        """Work until :meth:`close`."""
        self._connect()
        self.loop.start()

    def end(self) -> None:
        """Settle what is left after the loop has ended, and release it."""
        self._sort_in()
        for lane in self._lanes.values():
            lane.lost("publisher-ended")
        self.loop.close()

    def take_in(self) -> None:
        """Take what other threads have left, and write as much of it as may be."""
        self._sort_in()
        if self._blocked:
            self._refuse_waiting(Deferred(Reason.UNREACHABLE, code="broker-blocked"))
        elif self._connection is None:
            self._connect_if_wanted()
        elif self._connection.is_open:
            for lane in self._lanes.values():
                lane.pump(self._connection)

    def abandon(self, publication: Publication) -> None:
        """Free the place of a publication that nobody waits for any more."""
        self._lanes[publication.exchange].abandon(publication)
        self.take_in()

    def close(self) -> None:
        """Say goodbye to the broker and end the loop; soon, even if the broker does not answer."""
        self._closing = True
        self.loop.call_later(GOODBYE_SECONDS, self.loop.stop)
        if self._connection is not None and self._connection.is_open:
            self._connection.close()
        else:
            # pika 1.4.4 fails on an assertion when a connection is closed while it opens.
            self.loop.stop()

    def _sort_in(self) -> None:
        for publication in self._take():
            lane = self._lanes.setdefault(publication.exchange, Lane(publication.exchange, self.take_in))
            lane.waiting.append(publication)

    def _refuse_waiting(self, outcome: Outcome) -> None:
        for lane in self._lanes.values():
            lane.refuse_waiting(outcome)

    # --- the life of the connection

    def _connect_if_wanted(self) -> None:
        if self._connection is None and not self._pausing and any(lane.waiting for lane in self._lanes.values()):
            self._connect()

    def _connect(self) -> None:
        parameters = self._dial()
        if isinstance(parameters, Blocked):
            self._failed(parameters)
            return
        self._connection = Broker(
            parameters,
            on_open_callback=self._opened,
            on_open_error_callback=self._not_opened,
            on_close_callback=self._lost,
            custom_ioloop=self.loop,
        )
        self._connection.add_on_connection_blocked_callback(self._was_blocked)
        self._connection.add_on_connection_unblocked_callback(self._was_unblocked)

    def _opened(self, _: Any) -> None:
        self._failures = 0
        self._log.info("broker_connected", broker=self._name)
        self.take_in()

    def _not_opened(self, _: Any, error: BaseException | str) -> None:
        self._failed(refusal(error))

    def _failed(self, outcome: Deferred | Blocked) -> None:
        self._connection = None
        self._failures += 1
        if not self._closing:
            self._log.warning("broker_unreachable", broker=self._name, reason=outcome.reason, code=outcome.code)
        self._sort_in()
        self._refuse_waiting(outcome)
        self._pause()

    def _lost(self, _: Any, reason: BaseException) -> None:
        self._connection = None
        self._blocked = False
        for lane in self._lanes.values():
            lane.lost("connection-lost")
        if not self._closing:
            self._log.warning("broker_lost", broker=self._name, code=type(reason).__name__)
        self._pause()

    def _pause(self) -> None:
        """Let some time pass before the next connection: the longer, the more often in a row it has failed."""
        if self._closing:
            self.loop.stop()
            return
        longest = min(PAUSE_SECONDS_FIRST * 2 ** min(self._failures, 16), PAUSE_SECONDS_MAX)
        self._pausing = True
        self.loop.call_later(random.uniform(longest / 2, longest), self._pause_over)  # noqa: S311 - spreads load only

    def _pause_over(self) -> None:
        self._pausing = False
        self._connect_if_wanted()

    # --- a broker short of memory or disk says so and reads nothing until it has recovered

    def _was_blocked(self, *_: Any) -> None:
        self._blocked = True
        self._log.warning("broker_blocked", broker=self._name)
        self.take_in()

    def _was_unblocked(self, *_: Any) -> None:
        self._blocked = False
        self._log.info("broker_unblocked", broker=self._name)
        self.take_in()

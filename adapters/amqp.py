"""Delivers to an exchange of RabbitMQ, confirmed, mandatory and persistent. ``message_id`` is the delivery's id.

A confirm without a return says that every queue the message was routed to has taken it over. pika is imported with the
first connection, never with this module.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from pydantic import Field

from adapters.amqp_broker import EXCHANGE, ROUTING_KEY, SHARED, BrokerSettings, parameters, plain_problem
from hub.plugin import Adapter, Blocked, Context, Deferred, Look, Outcome, Outgoing, Reason, Refused, look_at_peer

if TYPE_CHECKING:
    import pika

    from adapters.amqp_lane import Publication
    from adapters.amqp_publisher import Publisher

HEADER_NAME = re.compile(r"[A-Za-z0-9_.-]{1,100}", re.ASCII)
PROPERTIES_BYTES_MAX = 64_000  # RabbitMQ closes the connection above 128 kB, and with it everybody else's messages
TYPE_BYTES_MAX = 255


class AmqpSettings(BrokerSettings):
    """What ``adapter: amqp`` takes."""

    exchange: str
    routing_key: str
    headers: Mapping[str, str] = Field(default_factory=dict)


class AmqpAdapter:
    """Delivers through the publisher that all destinations of the same broker share."""

    def __init__(self, settings: AmqpSettings, context: Context) -> None:
        self._settings = settings
        self._context = context
        self._lock = threading.Lock()
        self._publisher: Publisher | None = None

    def open(self) -> None:
        """Begin to connect. Whether the broker is there shows in the first delivery."""
        with self._lock:
            if self._publisher is None:
                self._publisher = SHARED.borrow(self._settings, self._context)

    def deliver(self, outgoing: Outgoing) -> Outcome:
        """Publish once and wait for the confirm.

        Waits up to ``timeout.connect`` for the broker, and takes the message back if it is not written by then.
        """
        (outcome,) = self.deliver_all([outgoing])
        return outcome

    def deliver_all(self, several: Sequence[Outgoing]) -> Sequence[Outcome]:
        """Publish each once, and wait for all confirms: one way to the broker and back for all."""
        from adapters.amqp_lane import Publication

        with self._lock:
            publisher = self._publisher
        if publisher is None:
            return [Deferred(Reason.UNREACHABLE, code="not-open")] * len(several)
        limits = self._context.limits
        latest = time.monotonic() + limits.total.total_seconds()
        made = [_publication(self._settings, one) for one in several]
        outcomes = publisher.deliver(
            [
                (publication, min(outgoing.deadline, latest))
                for publication, outgoing in zip(made, several, strict=True)
                if isinstance(publication, Publication)
            ],
            limits.connect.total_seconds(),
        )
        found = iter(outcomes)
        return [next(found) if isinstance(one, Publication) else one for one in made]

    def probe(self) -> Iterator[Look]:
        """Look at the broker, log in, and ask whether the exchange is there. Publishes nothing."""
        reach = parameters(self._settings, self._context)
        if isinstance(reach, Blocked):
            yield Look("secret", ok=False, text=f"the broker cannot be reached: {reach.code}")
            return
        options = reach.ssl_options
        for one in look_at_peer(reach.host, reach.port, (lambda: options.context) if options else None):
            yield one
            if not one.ok:
                return
        yield _call(reach, self._settings.exchange)

    def close(self) -> None:
        """Give the publisher back; its connection ends with the last of its destinations."""
        with self._lock:
            publisher, self._publisher = self._publisher, None
        if publisher is not None:
            SHARED.give_back(publisher)


def _call(reach: pika.ConnectionParameters, exchange: str) -> Look:
    import pika
    from pika.exceptions import AMQPError, ChannelClosedByBroker

    try:
        connection = pika.BlockingConnection(reach)
        try:
            if exchange:
                connection.channel().exchange_declare(exchange, passive=True)
        finally:
            connection.close()
    except ChannelClosedByBroker as error:
        return Look("call", ok=False, text=f"the exchange {exchange} cannot be used: {error.reply_code}")
    except (AMQPError, OSError) as error:
        return Look("call", ok=False, text=f"no session: {type(error).__name__}")
    return Look("call", ok=True, text="logged in, the exchange is there" if exchange else "logged in")


def _publication(settings: AmqpSettings, outgoing: Outgoing) -> Publication | Refused:
    from pika.exceptions import AMQPError

    from adapters.amqp_lane import Encoded, Publication

    if outgoing.parts:
        return Refused(Reason.TRANSFORM_FAILED, "AMQP carries one body, no attachments beside it", code="parts")
    type_ = str(outgoing.message.header.type)
    # Here it is seen whether they can be encoded: in the I/O thread it would hurt the neighbours.
    try:
        properties = Encoded(
            content_type=outgoing.content_type,
            headers={**settings.headers, **outgoing.headers},
            delivery_mode=2,
            message_id=outgoing.delivery_id,
            type=type_ if len(type_.encode()) <= TYPE_BYTES_MAX else None,
            app_id="xoev-hub",
        )
    except AMQPError:
        return Refused(Reason.TRANSFORM_FAILED, "a property cannot be encoded", code="properties")
    size = sum(map(len, properties.pieces))
    if size > PROPERTIES_BYTES_MAX:
        return Refused(Reason.TRANSFORM_FAILED, f"headers of {size} bytes", code="headers-too-large")
    return Publication(settings.exchange, settings.routing_key, outgoing.body, properties)


def _check(settings: AmqpSettings, context: Context) -> Iterable[tuple[tuple[str, ...], str]]:
    problem = plain_problem(settings, context)
    if problem is not None:
        yield ("url",), problem
    if not EXCHANGE.fullmatch(settings.exchange):
        yield ("exchange",), "expected at most 127 characters without control characters"
    if not ROUTING_KEY.fullmatch(settings.routing_key):
        found = ascii(settings.routing_key[:40])
        yield ("routing_key",), f"expected 1 to 200 characters of A-Z a-z 0-9 _ . -, found {found}"
    for name in settings.headers:
        if not HEADER_NAME.fullmatch(name):
            yield ("headers", name), "expected a name of 1 to 100 characters of A-Z a-z 0-9 _ . -"


ADAPTER = Adapter(name="amqp", settings=AmqpSettings, outbound=AmqpAdapter, check=_check)

"""Delivers to an exchange of RabbitMQ, confirmed, mandatory and persistent. ``message_id`` is the delivery's id.

A confirm without a return says that every queue the message was routed to has taken it over.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterable, Mapping

import pika
from pika.exceptions import AMQPError
from pydantic import Field

from adapters.amqp_broker import EXCHANGE, ROUTING_KEY, SHARED, BrokerSettings, plain_problem
from adapters.amqp_lane import Publication
from adapters.amqp_publisher import Publisher
from hub.plugin import Adapter, Context, Deferred, Outcome, Outgoing, Reason, Refused

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
        with self._lock:
            publisher = self._publisher
        if publisher is None:
            return Deferred(Reason.UNREACHABLE, code="not-open")
        publication = _publication(self._settings, outgoing)
        if isinstance(publication, Refused):
            return publication
        limits = self._context.limits
        deadline = min(outgoing.deadline, time.monotonic() + limits.total.total_seconds())
        if deadline <= time.monotonic():
            return Deferred(Reason.UNREACHABLE, code="no-time")
        return publisher.deliver(publication, deadline, limits.connect.total_seconds())

    def close(self) -> None:
        """Give the publisher back; its connection ends with the last of its destinations."""
        with self._lock:
            publisher, self._publisher = self._publisher, None
        if publisher is not None:
            SHARED.give_back(publisher)


def _publication(settings: AmqpSettings, outgoing: Outgoing) -> Publication | Refused:
    if outgoing.parts:
        return Refused(Reason.TRANSFORM_FAILED, "AMQP carries one body, no attachments beside it", code="parts")
    type_ = str(outgoing.message.header.type)
    properties = pika.BasicProperties(
        content_type=outgoing.content_type,
        headers={**settings.headers, **outgoing.headers},
        delivery_mode=2,
        message_id=outgoing.delivery_id,
        type=type_ if len(type_.encode()) <= TYPE_BYTES_MAX else None,
        app_id="xoev-hub",
    )
    # Encoded here once to see that it can be: in the I/O thread it would hurt the neighbours.
    try:
        pieces: list[bytes] = properties.encode()
    except AMQPError:
        return Refused(Reason.TRANSFORM_FAILED, "a property cannot be encoded", code="properties")
    size = sum(len(piece) for piece in pieces)
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

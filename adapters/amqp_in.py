"""Takes messages from a queue of RabbitMQ. Acknowledged is what is on disk, and what its sender was told of.

    inbound:
      antragsportal-queue:
        adapter: amqp
        sender: antragsportal               # whoever may publish to the queue is this sender
        url: env:AMQP_URL
        queue: hub.in
        reject_to: rejected/antragsportal   # EXCHANGE/KEY; "/NAME" means the queue of that name

- A message carries its document as body, ``content_type`` application/xml or text/xml, no ``content_encoding``, and if
  need be the headers ``idempotency-key``, ``sender-reference`` and ``recipient``, as over HTTP.
- A rejected one goes to ``reject_to``, byte for byte, with ``x-hub-code``, ``x-hub-id`` (where it is on record) and
  ``x-hub-findings`` (JSON: rule, path, line). It may come there twice: a lost connection repeats it.
- With ``on_accept: standard`` the standard's own receipt goes to ``receipt_to`` (left out: ``reject_to``), with
  ``x-hub-receipt`` and ``x-hub-id``, once the message is on disk. A repetition gets it again.
- Where nothing can be stored, or ``reject_to`` takes nothing, at most ``prefetch`` messages stay unacknowledged here.
- The broker gives out again what was held for longer than its ``consumer_timeout`` (30 minutes). Quorum queues count
  that: set ``x-delivery-limit`` to -1 or a dead letter exchange, or RabbitMQ 4 drops a message after 20 times.
- Queue, exchange and bindings are made by whoever runs the broker. It sends up to ``prefetch`` messages unasked: those
  above 1 MB wait on the hub's disk until there is room for them in memory.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, Field

from adapters.amqp_broker import EXCHANGE, ROUTING_KEY, SHARED, BrokerSettings, parameters, plain_problem
from hub.plugin import Accept, Adapter, Context, StopSignal

if TYPE_CHECKING:
    from adapters.amqp_consumer import Consumer

_QUEUE = re.compile(r"[^\x00-\x1f\x7f]{1,127}")


def _target(what: str, value: str) -> str:
    exchange, slash, key = value.rpartition("/")
    if not slash or not EXCHANGE.fullmatch(exchange) or not ROUTING_KEY.fullmatch(key):
        raise ValueError(
            f"expected EXCHANGE/KEY, where {what} go, such as rejected/portal; the key is 1 to 200 "
            f"characters of A-Z a-z 0-9 _ . -, found {value[:60]!a}"
        )
    return value


class AmqpIn(BrokerSettings):
    """Which queue to take from, and where rejections go, and receipts in the standard's own form."""

    queue: str
    prefetch: int = Field(default=20, ge=1, le=1000)
    reject_to: Annotated[str, AfterValidator(partial(_target, "rejected messages"))]
    receipt_to: Annotated[str, AfterValidator(partial(_target, "receipts"))] | None = None

    @property
    def rejections(self) -> tuple[str, str]:
        """Return exchange and routing key for what is rejected."""
        return _parts(self.reject_to)

    @property
    def receipts(self) -> tuple[str, str]:
        """Return exchange and routing key for the standard's own receipts."""
        return _parts(self.receipt_to or self.reject_to)


def _parts(target: str) -> tuple[str, str]:
    exchange, _, key = target.rpartition("/")
    return exchange, key


class AmqpListener:
    """Consumes one queue. A broker that is away is no failure: it is tried until it is there."""

    def __init__(self, settings: AmqpIn, context: Context) -> None:
        self._settings = settings
        self._context = context
        self._consumer: Consumer | None = None

    @property
    def failure(self) -> str:
        """Why nothing is taken now; empty while it is."""
        return self._consumer.failure if self._consumer else ""

    def listen(self, accept: Accept, stop: StopSignal) -> None:
        """Take messages until ``stop`` is set, then let those in hand finish."""
        from adapters.amqp_arrival import Reception  # with pika, which the configuration does not need
        from adapters.amqp_consumer import Consumer

        settings, context = self._settings, self._context
        publisher = SHARED.borrow(settings, context)
        try:
            reception = Reception(context, accept, publisher, settings.rejections, settings.receipts)
            dial = partial(parameters, settings, context)
            self._consumer = Consumer(context, settings.queue, settings.prefetch, dial, reception.take)
            self._consumer.run(stop)
        finally:
            self._consumer = None
            SHARED.give_back(publisher)


def _check(settings: AmqpIn, context: Context) -> Iterable[tuple[tuple[str, ...], str]]:
    problem = plain_problem(settings, context)
    if problem is not None:
        yield ("url",), problem
    if not _QUEUE.fullmatch(settings.queue):
        yield ("queue",), "expected the name of a queue: 1 to 127 characters without control characters"
    if settings.rejections == ("", settings.queue):
        yield ("reject_to",), "is the queue itself: what is rejected would come back for ever"
    elif settings.receipts == ("", settings.queue):
        yield ("receipt_to",), "is the queue itself: receipts would come in as messages"


ADAPTER_IN = Adapter(name="amqp", settings=AmqpIn, listener=AmqpListener, check=_check)

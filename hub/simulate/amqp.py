"""A specialist procedure that takes its documents from a queue: the ledger first, then the acknowledgement.

``requeue`` gives the message back, ``hang`` does so after its time, ``down`` stops consuming, and ``taken-then-cut``
drops the connection after the ledger, so that the same delivery comes again. A queue carries no reply: every other
answer acknowledges if the procedure has the document after it, and rejects for good if not.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping
from typing import Any

import pika
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import AMQPError
from pika.spec import Basic, BasicProperties

from hub.simulate.script import Answer, Answers, Ledger

PREFETCH = 20
PAUSE_SECONDS = 0.2
START_SECONDS_MAX = 15.0


class AmqpProcedure:
    """Consumes one queue in a thread of its own.

    ``settings``: ``url`` and ``queue``; ``exchange`` and ``routing_key`` (default: the queue's name) if the queue is
    to be bound; ``type: classic | quorum``; ``temporary: true`` deletes at the end what it has declared.
    """

    def __init__(self, name: str, settings: Mapping[str, Any], answers: Answers, ledger: Ledger) -> None:
        self.name = name
        self._url = str(settings["url"])
        self._queue = str(settings["queue"])
        self._exchange = str(settings.get("exchange", ""))
        self._routing_key = str(settings.get("routing_key", self._queue))
        self._type = str(settings.get("type", "classic"))
        self._temporary = str(settings.get("temporary", "false")).lower() == "true"
        self._answers = answers
        self._ledger = ledger
        self._consuming = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Declare, bind and consume; returns when documents can arrive.

        Raises:
            OSError: The broker is not there, or refuses.
        """
        self._stopping.clear()
        try:
            with pika.BlockingConnection(self._parameters()) as connection:
                self._declare(connection.channel())
        except AMQPError as error:
            raise ConnectionError(f"{self.name}: no broker: {type(error).__name__}") from error
        self._thread = threading.Thread(target=self._run, name=f"procedure {self.name}", daemon=True)
        self._thread.start()
        if not self._consuming.wait(START_SECONDS_MAX):
            raise ConnectionError(f"{self.name}: the broker lets nobody consume {self._queue}")

    def stop(self) -> None:
        """Consume no longer. Safe to call twice."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(START_SECONDS_MAX)
            self._thread = None
            if self._temporary:
                self._delete()

    def _parameters(self) -> pika.URLParameters:
        parameters = pika.URLParameters(self._url)
        parameters.connection_attempts = 1
        parameters.socket_timeout = 5
        parameters.stack_timeout = 10
        parameters.heartbeat = 15
        parameters.blocked_connection_timeout = 30
        return parameters

    def _declare(self, channel: BlockingChannel) -> None:
        channel.queue_declare(self._queue, durable=True, arguments={"x-queue-type": self._type})
        if self._exchange:
            channel.exchange_declare(self._exchange, exchange_type="direct", durable=True)
            channel.queue_bind(self._queue, self._exchange, self._routing_key)

    def _delete(self) -> None:
        try:
            with pika.BlockingConnection(self._parameters()) as connection:
                channel = connection.channel()
                channel.queue_delete(self._queue)
                if self._exchange:
                    channel.exchange_delete(self._exchange, if_unused=True)
        except AMQPError:
            return  # a broker that has gone took nothing of ours that matters; an exchange in use stays

    # --- the consumer's thread

    def _run(self) -> None:
        while not self._stopping.is_set():
            if self._answers.current().kind == "down":
                self._stay_down()
                continue
            try:
                with pika.BlockingConnection(self._parameters()) as connection:
                    self._consume(connection)
            except AMQPError:
                self._stopping.wait(PAUSE_SECONDS)
        self._consuming.clear()

    def _stay_down(self) -> None:
        answer = self._answers.current()
        self._consuming.set()  # as far as it will ever come
        if answer.wait:
            self._stopping.wait(answer.wait.total_seconds())
            self._answers.skip(answer)
        else:
            self._stopping.wait(PAUSE_SECONDS)

    def _consume(self, connection: pika.BlockingConnection) -> None:
        channel = connection.channel()
        self._declare(channel)
        channel.basic_qos(prefetch_count=PREFETCH)
        channel.basic_consume(self._queue, self._take, auto_ack=False)
        self._consuming.set()
        while not self._stopping.is_set() and channel.is_open and self._answers.current().kind != "down":
            connection.process_data_events(time_limit=0.1)

    def _take(self, channel: BlockingChannel, method: Basic.Deliver, properties: BasicProperties, body: bytes) -> None:
        if self._stopping.is_set() or self._answers.current().kind == "down":
            channel.basic_nack(method.delivery_tag, requeue=True)
            return
        answer = self._answers.next()
        if answer.kind == "slow":
            channel.connection.sleep(answer.wait.total_seconds())  # heartbeats go on
        self._ledger.write(
            self.name,
            str(properties.message_id),
            sha256=hashlib.sha256(body).hexdigest(),
            size=len(body),
            answer=answer,
        )
        self._answer(channel, method.delivery_tag, answer)

    def _answer(self, channel: BlockingChannel, tag: int, answer: Answer) -> None:
        match answer.kind:
            case "requeue":
                channel.basic_nack(tag, requeue=True)
            case "hang":
                self._stopping.wait(answer.wait.total_seconds())
                channel.basic_nack(tag, requeue=True)
            case "taken-then-cut":
                channel.connection.close()
            case _ if answer.taken:
                channel.basic_ack(tag)
            case _:
                channel.basic_reject(tag, requeue=False)

"""P14: a broker that is killed again and again loses no message between it and the hub, in neither direction.

The broker is the tests' own. What a portal has published and the broker has confirmed reaches the hub; what the hub
calls delivered has reached the procedure behind the broker. 3 kills in the suite, 50 by ``make storm``.
"""

from __future__ import annotations

import hashlib
import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pika
import pika.exceptions
import pytest

from hub.selftest.checker import Given, check
from hub.selftest.ledgers import Receipt
from hub.simulate import Answers, Ledger
from hub.simulate.amqp import AmqpProcedure
from hub.store.accounting import count_states, read_account
from tests.broker import Broker
from tests.daemon import Daemon, until
from tests.leinen import Leinen, leinen
from tests.proving.record import STORM, record, seed

KILLS = 50 if STORM else 3
PER_KILL = 40
SEED = seed()
COMMAND = f"XOEV_HUB_TEST_SEED={SEED} {'XOEV_HUB_STORM=1 ' if STORM else ''}make test ARGS=tests/promises/test_broker_storm.py"
IN, OUT, BACK = "proof.in", "proof.out", "proof.rejected"
TOWN = "nordheim"

pytestmark = pytest.mark.timeout(240 + 90 * KILLS)


@pytest.fixture
def broker() -> Iterator[Broker]:
    with Broker() as running:
        with pika.BlockingConnection(pika.URLParameters(running.url)) as connection:
            channel = connection.channel()
            for queue in (IN, BACK):
                channel.queue_declare(queue, durable=True, arguments={"x-queue-type": "quorum"})
        yield running


class Portal(threading.Thread):
    """Publishes one document after the other and keeps what the broker has confirmed; the rest it publishes again."""

    def __init__(self, broker: Broker) -> None:
        super().__init__(daemon=True)
        self.broker, self.done = broker, threading.Event()
        self.confirmed: list[bytes] = []
        self.unconfirmed = 0

    def run(self) -> None:
        body = leinen()
        while not self.done.is_set():
            try:
                with pika.BlockingConnection(parameters(self.broker.url)) as connection:
                    channel = connection.channel()
                    channel.confirm_delivery()
                    while not self.done.is_set():
                        channel.basic_publish("", IN, body, PERSISTENT, mandatory=True)
                        self.confirmed.append(body)
                        body = leinen()
            except (pika.exceptions.AMQPError, OSError):
                self.unconfirmed += 1
                self.done.wait(0.2)


PERSISTENT = pika.BasicProperties(delivery_mode=2, content_type="application/xml")


def parameters(url: str) -> pika.URLParameters:
    made = pika.URLParameters(url)
    made.socket_timeout = made.stack_timeout = made.blocked_connection_timeout = 5
    return made


def deployment(folder: Path) -> Leinen:
    out = {
        "adapter": "amqp", "url": "env:AMQP_URL", "exchange": "proof", "routing_key": "out",
        "retry": {"first": "200ms", "ceiling": "1s"}, "on_unclear": "retry",
    }  # fmt: skip
    made = Leinen(folder, {TOWN: out})
    made.routes["inbound"]["queue"] = {
        "adapter": "amqp", "sender": "amt", "url": "env:AMQP_URL", "queue": IN, "prefetch": "20",
        "reject_to": f"/{BACK}",
    }  # fmt: skip
    return made


def test_a_broker_that_is_killed_again_and_again_costs_no_message_in_either_direction(
    broker: Broker, tmp_path: Path
) -> None:
    print(f"XOEV_HUB_TEST_SEED={SEED}")
    chance = random.Random(SEED)
    ledger = Ledger(tmp_path / "ledger.jsonl")
    settings = {"url": broker.url, "queue": OUT, "exchange": "proof", "routing_key": "out", "type": "quorum"}
    procedure = AmqpProcedure(f"{TOWN}/leinen", settings, Answers(), ledger)
    procedure.start()
    portal, receipts, slowest = Portal(broker), list[Receipt](), 0.0
    with Daemon(deployment(tmp_path / "hub"), AMQP_URL=broker.url) as hub:
        portal.start()
        for _ in range(KILLS):
            wanted = len(portal.confirmed) + chance.randint(1, 2 * PER_KILL)
            until(lambda wanted=wanted: len(portal.confirmed) >= wanted, "the portal has published", 120)
            broker.kill()
            for _ in range(3):  # the way over HTTP does not notice
                body = leinen()
                began = time.monotonic()
                answer = hub.hand_in(body)
                slowest = max(slowest, time.monotonic() - began)
                assert answer.status_code == 202
                receipts.append(Receipt(answer.json()["id"], hashlib.sha256(body).hexdigest()))
            broker.start()
        wanted = len(portal.confirmed) + PER_KILL
        until(lambda: len(portal.confirmed) >= wanted, "the portal publishes again", 120)
        portal.done.set()
        portal.join(30)
        store = f"sqlite:///{hub.state / 'hub.db'}"
        until(lambda: digests(portal) <= taken(ledger), "everything has arrived", 180)
        until(lambda: not {"waiting", "sending"} & count_states(store).keys(), "the hub knows it", 120)
        hub.signal()
        assert hub.wait() == 0
    procedure.stop()

    given = [Given(one["procedure"], one["delivery"], one["sha256"], one["taken"]) for one in ledger.entries()]
    verdict = check(receipts, read_account(store, hub.state), given, repeated_max=20 * KILLS * 2)
    assert verdict.violations == ()
    assert digests(portal) <= taken(ledger)
    assert verdict.figures["rejected"] == 0
    assert slowest < 30
    figures = {
        "kills": KILLS, "confirmed_by_the_broker": len(portal.confirmed), "receipts_over_http": len(receipts),
        "delivered": verdict.figures["delivered"], "lost": verdict.figures["lost"],
        "duplicates": verdict.figures["duplicates"], "slowest_receipt_seconds": round(slowest, 2), "seed": SEED,
    }  # fmt: skip
    record("P14", "kill -9 of RabbitMQ under load, in front of the hub and behind it", figures, COMMAND)


def digests(portal: Portal) -> set[str]:
    return {hashlib.sha256(body).hexdigest() for body in list(portal.confirmed)}


def taken(ledger: Ledger) -> set[str]:
    return {one["sha256"] for one in ledger.entries() if one["taken"]}

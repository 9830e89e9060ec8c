"""The procedure behind RabbitMQ that stands in for a real one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pika
import pytest

from hub.loopback import free_port
from hub.simulate.amqp import AmqpProcedure
from hub.simulate.script import Answers, Ledger
from tests.rabbit import Topology, eventually
from tests.servers import amqp_url

Start = Callable[..., AmqpProcedure]


@pytest.fixture(scope="module")
def broker_url() -> str:
    return amqp_url()


@pytest.fixture
def topology(broker_url: str) -> Iterator[Topology]:
    topology = Topology(broker_url)
    topology.queue("kept")  # so that the exchange is in use, and no procedure deletes it
    yield topology
    topology.delete()


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "ledger.jsonl")


@pytest.fixture
def start(topology: Topology, broker_url: str, ledger: Ledger) -> Iterator[Start]:
    started: list[AmqpProcedure] = []

    def start(answers: Answers, **settings: str) -> AmqpProcedure:
        values = {"url": broker_url, "queue": f"{topology.name}.bau", "temporary": "true", **settings}
        values |= {"exchange": topology.exchange, "routing_key": "bau"}
        procedure = AmqpProcedure("gifhorn-bau", values, answers, ledger)
        started.append(procedure)
        procedure.start()
        return procedure

    yield start
    for one in started:
        one.stop()


def send(topology: Topology, *deliveries: str) -> None:
    for delivery in deliveries:
        properties = pika.BasicProperties(message_id=delivery, delivery_mode=2)
        topology.channel.basic_publish(topology.exchange, "bau", b"<antrag/>", properties, mandatory=True)


@pytest.mark.parametrize("kind", ["classic", "quorum"])
def test_what_it_takes_stands_in_the_ledger(start: Start, topology: Topology, ledger: Ledger, kind: str) -> None:
    start(Answers(["ok"]), type=kind)

    send(topology, "a", "b", "c")

    eventually(lambda: ledger.taken("gifhorn-bau") == {"a", "b", "c"})
    assert [(entry["size"], entry["answer"]) for entry in ledger.entries()] == [(9, "ok")] * 3


def test_it_refuses_gives_back_and_breaks_off(start: Start, topology: Topology, ledger: Ledger) -> None:
    start(Answers(["reject", "requeue", "taken-then-cut", "ok"]))

    send(topology, "rejected")
    eventually(lambda: len(ledger.entries()) == 1)
    send(topology, "taken")

    eventually(lambda: len(ledger.entries()) == 4)
    assert [entry["answer"] for entry in ledger.entries()] == ["reject", "requeue", "taken-then-cut", "ok"]
    assert [entry["delivery"] for entry in ledger.entries()] == ["rejected", "taken", "taken", "taken"]
    assert ledger.taken() == {"taken"}


@pytest.mark.parametrize("answer", ["garbage", "taken-then-fault"])
def test_what_it_has_taken_never_comes_again_whatever_it_would_answer(
    start: Start, topology: Topology, ledger: Ledger, answer: str
) -> None:
    procedure = start(Answers([answer]), temporary="false")
    send(topology, "once")
    eventually(lambda: ledger.taken() == {"once"})

    procedure.stop()

    assert topology.depth("bau") == 0
    topology.channel.queue_delete(f"{topology.name}.bau")


def test_one_that_is_down_takes_nothing_until_it_is_up(start: Start, topology: Topology, ledger: Ledger) -> None:
    answers = Answers(["down"])
    start(answers)
    send(topology, "a")
    eventually(lambda: topology.depth("bau") == 1)
    assert ledger.entries() == []

    answers.set(["ok"])

    eventually(lambda: ledger.taken() == {"a"})


def test_a_temporary_one_leaves_no_queue_behind(start: Start, topology: Topology) -> None:
    start(Answers(["ok"])).stop()

    assert not topology.has("bau")


def test_a_broker_that_is_away_is_an_error_at_the_start(topology: Topology, ledger: Ledger) -> None:
    settings = {"url": f"amqp://127.0.0.1:{free_port()}", "queue": "q"}

    with pytest.raises(OSError, match="gifhorn-bau"):
        AmqpProcedure("gifhorn-bau", settings, Answers(["ok"]), ledger).start()

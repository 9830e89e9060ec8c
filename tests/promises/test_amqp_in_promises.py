"""What a queue may rely on: acknowledged is what is on disk, nothing is lost, nothing is given back, nothing stops it."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pika
import pytest

from adapters.amqp_arrival import Arrival
from adapters.amqp_consumer import Consumer
from hub.inspection import Plan, Rejection
from hub.loopback import free_port
from hub.plugin import Context, Incoming, Receipt, Rejected, Unavailable
from hub.store.api import Filter
from hub.testing import RecordedLog, ScriptedIntake, make_context, samples
from tests.queue_inbox import Inbox, running
from tests.rabbit import eventually
from tests.servers import amqp_url
from tests.world import World, antrag

pytestmark = pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
WAIT = 20.0


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    inbox = Inbox(amqp_url())
    yield inbox
    inbox.delete()


@pytest.fixture
def log() -> RecordedLog:
    return RecordedLog()


@pytest.fixture
def secrets(inbox: Inbox) -> dict[str, str]:
    return {"env:AMQP_URL": inbox.wire.url}


@pytest.fixture
def context(tmp_path: Path, log: RecordedLog, secrets: dict[str, str]) -> Context:
    return make_context(tmp_path, name="online", log=log, sender="formular", secrets=secrets)


class Hub(World):
    """A hub with real inspection and a real store. Inspects one document at a time, as a worker does."""

    def __init__(self, folder: Path) -> None:
        self.one_at_a_time = threading.Lock()
        self.receipts: list[Receipt] = []
        super().__init__(folder)

    def inspect(self, incoming: Incoming, _on_stall: object = None) -> Plan | Rejection:
        with self.one_at_a_time:
            return super().inspect(incoming)

    def take(self, incoming: Incoming) -> Receipt:
        receipt = self.intake.accept(incoming)
        self.receipts.append(receipt)
        return receipt

    def stored(self) -> list[str]:
        """Return the digest of every message on disk."""
        records, _ = self.store.find(Filter(), limit=1000)
        return [one.sha256 for one in records]


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    made = Hub(tmp_path)
    yield made
    made.store.close()


# --- on disk first


def test_a_message_cut_off_before_its_acknowledgement_comes_again_and_is_accepted_once(
    inbox: Inbox, context: Context, hub: Hub
) -> None:
    inbox.wire.deaf_to_acks.set()
    with running(inbox, context, hub.take):
        id_ = inbox.publish(antrag())
        inbox.until("withheld", id_)
        inbox.wire.deaf_to_acks.clear()
        inbox.wire.cut()
        inbox.until("acked", id_)

    first, second = hub.receipts
    assert (first.duplicate, second.duplicate) == (False, True)
    assert first.message_id == second.message_id
    assert inbox.depth() == 0


def test_nothing_is_acknowledged_that_is_not_on_disk_when_the_hub_is_cut_off(inbox: Inbox, context: Context) -> None:
    arrived, go_on = threading.Event(), threading.Event()

    def wait(_: Incoming) -> None:
        arrived.set()
        assert go_on.wait(WAIT)

    intake = ScriptedIntake(before=wait)
    with running(inbox, context, intake.accept):
        id_ = inbox.publish(samples.BODY)
        assert arrived.wait(WAIT)
        acknowledged_early = inbox.was("acked", id_)
        inbox.wire.cut()
        eventually(lambda: len(intake.offered) == 2)
        go_on.set()
        inbox.until("acked", id_)

    assert not acknowledged_early
    assert [one.body for one in intake.offered] == [samples.BODY] * 2
    assert inbox.depth() == 0


def test_five_hundred_messages_over_three_lost_connections_are_each_accepted_exactly_once(
    inbox: Inbox, context: Context, hub: Hub
) -> None:
    documents = [antrag() for _ in range(500)]
    rest = iter(documents)
    with running(inbox, context, hub.take):
        sent = []
        for _ in range(3):
            sent += [inbox.publish(one) for one in islice(rest, 100)]
            inbox.until("acked", *sent[:50])
            withheld = inbox.count("withheld")
            inbox.wire.deaf_to_acks.set()  # what follows is accepted, and the broker never learns it
            sent += [inbox.publish(one) for one in islice(rest, 50)]
            eventually(lambda withheld=withheld: inbox.count("withheld") > withheld)
            inbox.wire.cut()
            inbox.wire.deaf_to_acks.clear()
        sent += [inbox.publish(one) for one in rest]
        inbox.until("acked", *sent)

    assert sorted(hub.stored()) == sorted(hashlib.sha256(one).hexdigest() for one in documents)
    assert any(one.duplicate for one in hub.receipts)
    assert inbox.depth() == 0


# --- nothing can be stored


def test_while_nothing_can_be_stored_everything_stays_and_afterwards_everything_is_taken(
    inbox: Inbox, context: Context, log: RecordedLog
) -> None:
    full = threading.Event()
    full.set()

    def store(_: Incoming) -> None:
        if full.is_set():
            raise Unavailable

    intake = ScriptedIntake(before=store)
    with running(inbox, context, intake.accept, prefetch=5):
        sent = [inbox.publish(b"<a>%d</a>" % number) for number in range(12)]
        eventually(lambda: len(intake.offered) > 10)  # what is held is tried again
        held = (inbox.count("delivered"), inbox.count("acked"), inbox.depth())
        full.clear()
        inbox.until("acked", *sent)

    assert held == (5, 0, 7)
    assert {one.body for one in intake.offered} == {b"<a>%d</a>" % number for number in range(12)}
    assert log.events("warning") == ["consuming_paused"]
    assert log.events("info").count("consuming_resumed") == 1
    assert inbox.count("delivered") == 12


def test_no_more_is_in_hand_than_the_prefetch_says(inbox: Inbox, context: Context) -> None:
    go_on, three = threading.Event(), threading.Barrier(3, timeout=WAIT)
    intake = ScriptedIntake(before=lambda _: go_on.is_set() or (three.wait(), go_on.wait(WAIT)))

    with running(inbox, context, intake.accept, prefetch=3):
        sent = [inbox.publish(samples.BODY) for _ in range(10)]
        eventually(lambda: len(intake.offered) == 3)
        in_hand = (len(intake.offered), inbox.count("delivered"), inbox.depth())
        go_on.set()
        inbox.until("acked", *sent)

    assert in_hand == (3, 3, 7)


def test_one_message_that_a_bug_does_not_let_in_stops_no_other(
    inbox: Inbox, context: Context, log: RecordedLog
) -> None:
    def stumble(incoming: Incoming) -> None:
        if incoming.body == b"<poison/>":
            raise RuntimeError(samples.MARKER)

    with running(inbox, context, ScriptedIntake(before=stumble).accept, prefetch=2):
        poison = inbox.publish(b"<poison/>")
        inbox.until("acked", *[inbox.publish(samples.BODY) for _ in range(20)])

    assert not inbox.was("acked", poison)
    assert inbox.depth() == 1
    assert (
        "warning",
        "consuming_paused",
        {"source": "online", "code": "crashed RuntimeError", "reason": "crashed"},
    ) in (log.entries)
    assert samples.MARKER not in log.text


# --- rejections


def test_a_rejection_that_no_queue_takes_keeps_the_message_until_one_does(
    inbox: Inbox, context: Context, log: RecordedLog
) -> None:
    intake = ScriptedIntake(Rejected("schema_violation", id="0192"))
    topology = inbox.topology
    nowhere = f"{topology.exchange}/nowhere"

    with running(inbox, context, intake.accept, reject_to=nowhere):
        id_ = inbox.publish(samples.BODY)
        eventually(lambda: "consuming_paused" in log.events("warning"))
        acknowledged_early = inbox.was("acked", id_)
        topology.channel.queue_bind(f"{topology.name}.rejected", topology.exchange, "nowhere")
        inbox.until("acked", id_)

    assert not acknowledged_early
    assert [body for _, body in inbox.rejected()] == [samples.BODY]
    assert len(intake.offered) == 1, "the verdict is kept: judging it again would put a second rejection on record"
    codes = [keys["code"] for _, event, keys in log.entries if event == "consuming_paused"]
    assert codes == ["reject_to unroutable"]


def test_rejections_that_cannot_be_told_stop_no_good_message(inbox: Inbox, context: Context, log: RecordedLog) -> None:
    def judge(incoming: Incoming) -> None:
        if incoming.body == b"<bad/>":
            raise Rejected("schema_violation")

    with running(inbox, context, ScriptedIntake(before=judge).accept, reject_to="no-such-exchange/x"):
        bad = inbox.publish(b"<bad/>")
        inbox.until("acked", *[inbox.publish(samples.BODY) for _ in range(5)])
        eventually(lambda: "consuming_paused" in log.events("warning"))

    assert not inbox.was("acked", bad)
    assert inbox.depth() == 1
    assert [keys["code"] for _, event, keys in log.entries if event == "consuming_paused"] == ["reject_to no-exchange"]


# --- the broker


def test_a_broker_that_is_away_at_the_start_is_waited_for(
    inbox: Inbox, context: Context, log: RecordedLog, secrets: dict[str, str]
) -> None:
    url, secrets["env:AMQP_URL"] = secrets["env:AMQP_URL"], f"amqp://127.0.0.1:{free_port()}"
    id_ = inbox.publish(samples.BODY)

    with running(inbox, context, ScriptedIntake().accept):
        eventually(lambda: "source_unreachable" in log.events("warning"))
        secrets["env:AMQP_URL"] = url
        inbox.until("acked", id_)

    assert [keys["code"] for _, event, keys in log.entries if event == "source_unreachable"] == ["no-connection"]


def test_a_broker_away_for_long_is_one_warning(
    inbox: Inbox, context: Context, log: RecordedLog, secrets: dict[str, str]
) -> None:
    secrets.clear()
    tried = 0

    def secret(_: object) -> str:
        nonlocal tried
        tried += 1
        raise KeyError

    with running(inbox, replace(context, secret=secret), ScriptedIntake().accept):
        eventually(lambda: tried >= 4)

    assert log.events("warning").count("source_unreachable") == 1


def test_a_queue_that_is_missing_is_waited_for(inbox: Inbox, context: Context, log: RecordedLog) -> None:
    inbox.topology.channel.queue_delete(inbox.queue)

    with running(inbox, context, ScriptedIntake().accept):
        eventually(lambda: "source_unreachable" in log.events("warning"))
        inbox.topology.queue("in")
        inbox.until("acked", inbox.publish(samples.BODY))

    assert {keys["code"] for _, event, keys in log.entries if event == "source_unreachable"} == {"amqp-404"}


def test_a_queue_that_is_deleted_and_made_again_is_taken_from_again(
    inbox: Inbox, context: Context, log: RecordedLog
) -> None:
    with running(inbox, context, ScriptedIntake().accept):
        eventually(lambda: "source_consuming" in log.events("info"))
        inbox.topology.channel.queue_delete(inbox.queue)
        eventually(lambda: "source_unreachable" in log.events("warning"))
        inbox.topology.queue("in")
        inbox.until("acked", inbox.publish(samples.BODY))

    assert "cancelled" in {keys["code"] for _, event, keys in log.entries if event == "source_unreachable"}


def test_the_connection_lives_on_while_a_message_takes_its_time(
    inbox: Inbox, context: Context, secrets: dict[str, str]
) -> None:
    parameters = pika.URLParameters(secrets["env:AMQP_URL"])
    parameters.heartbeat = 1
    stop, bodies = threading.Event(), []

    def take(arrival: Arrival) -> None:
        bodies.append(arrival.body)
        eventually(lambda: inbox.wire.heartbeats >= 5)

    consumer = Consumer(context, inbox.queue, 1, lambda: parameters, take)
    thread = threading.Thread(target=consumer.run, args=(stop,), daemon=True)
    thread.start()
    inbox.until("acked", inbox.publish(samples.BODY))
    stop.set()
    thread.join(WAIT)

    assert bodies == [samples.BODY]
    assert inbox.wire.connections == 1


# --- the end


def test_a_stop_finishes_what_is_in_hand_and_leaves_the_rest_in_its_place(inbox: Inbox, context: Context) -> None:
    stopping = threading.Event()
    intake = ScriptedIntake(before=lambda _: stopping.wait(WAIT))
    sent = [inbox.publish(b"<a>%d</a>" % number) for number in range(300)]

    with running(inbox, context, intake.accept, prefetch=2) as stop:
        eventually(lambda: len(intake.offered) == 2)
        stop.set()
        stopping.set()

    taken = len(intake.offered)
    assert {id_ for id_ in sent if inbox.was("acked", id_)} == set(sent[:taken])
    assert 2 <= taken < 300
    eventually(lambda: inbox.depth() == 300 - taken)
    left = [properties.message_id for properties, _ in inbox.topology.messages("in")]
    assert left == sent[taken:]


def test_the_slowest_message_in_hand_is_waited_for_at_a_stop(
    inbox: Inbox, context: Context, secrets: dict[str, str]
) -> None:
    quick, slow, stop = threading.Event(), threading.Event(), threading.Event()

    def take(arrival: Arrival) -> None:
        assert (quick if arrival.body == b"<quick/>" else slow).wait(WAIT)

    parameters = pika.URLParameters(secrets["env:AMQP_URL"])
    consumer = Consumer(context, inbox.queue, 2, lambda: parameters, take)
    thread = threading.Thread(target=consumer.run, args=(stop,), daemon=True)
    thread.start()
    first, second = inbox.publish(b"<quick/>"), inbox.publish(b"<slow/>")
    inbox.until("delivered", first, second)
    eventually(lambda: len(consumer._running) == 2)
    stop.set()
    eventually(lambda: consumer._closing)
    quick.set()
    inbox.until("acked", first)
    slow.set()
    inbox.until("acked", second)
    thread.join(WAIT)

    assert not thread.is_alive()

"""Delivering over RabbitMQ: the contract of all outbound adapters, and each row of the outcome table, live."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from pika import frame, spec

from adapters.amqp import AmqpAdapter
from hub.loopback import free_port
from hub.plugin import Blocked, Context, Deferred, Delivered, Limits, Part, Reason, Refused, Unclear
from hub.testing import MARKER, Arrived, OutboundContract, RecordedLog, make_context, outgoing
from tests.rabbit import Proxy, Topology, build, eventually, soon
from tests.servers import amqp_url

pytestmark = pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")


@pytest.fixture(scope="module")
def broker_url() -> str:
    return amqp_url()


@pytest.fixture
def topology(broker_url: str) -> Iterator[Topology]:
    topology = Topology(broker_url)
    topology.queue()
    yield topology
    topology.delete()


@pytest.fixture
def log() -> RecordedLog:
    return RecordedLog()


@pytest.fixture
def secrets(broker_url: str) -> dict[str, str]:
    return {"env:AMQP_URL": broker_url}


@pytest.fixture
def context(tmp_path: Path, log: RecordedLog, secrets: dict[str, str]) -> Context:
    return make_context(tmp_path, log=log, secrets=secrets)


Make = Callable[..., AmqpAdapter]


@pytest.fixture
def make(topology: Topology, context: Context) -> Iterator[Make]:
    """Return a function that makes an adapter, opened, which ends with the test."""
    made: list[AmqpAdapter] = []

    def make(context_: Context = context, **settings: Any) -> AmqpAdapter:
        adapter = build(topology, context_, **settings)
        made.append(adapter)
        adapter.open()
        return adapter

    yield make
    for adapter in made:
        adapter.close()


@pytest.fixture
def proxy(broker_url: str) -> Iterator[Proxy]:
    proxy = Proxy(broker_url)
    yield proxy
    proxy.close()


# --- the contract of all outbound adapters


class TestContract(OutboundContract):
    @pytest.fixture
    def context(self, context: Context) -> Context:
        return context

    @pytest.fixture
    def adapter(self, topology: Topology, context: Context) -> AmqpAdapter:
        return build(topology, context)

    @pytest.fixture
    def arrived(self, topology: Topology) -> Arrived:
        found: list[tuple[str, bytes]] = []

        def arrived() -> Sequence[tuple[str, bytes]]:
            found.extend((properties.message_id, body) for properties, body in topology.messages())
            return found

        return arrived

    @pytest.fixture
    def unreachable(self, topology: Topology, context: Context) -> AmqpAdapter:
        return build(topology, context, url=f"amqp://127.0.0.1:{free_port()}")

    @pytest.fixture
    def silent(self, topology: Topology, context: Context) -> Iterator[AmqpAdapter]:
        with socket.create_server(("127.0.0.1", 0)) as server:
            yield build(topology, context, url=f"amqp://127.0.0.1:{server.getsockname()[1]}")


# --- what arrives


def test_a_message_says_what_it_is(make: Make, topology: Topology) -> None:
    adapter = make(headers={"mandant": "103"})

    outcome = adapter.deliver(soon(content_type="application/xml", headers={"aktenzeichen": "4711"}))

    [(properties, body)] = topology.messages()
    assert outcome == Delivered(soon().delivery_id)
    assert body == soon().body
    assert (properties.message_id, properties.content_type) == (soon().delivery_id, "application/xml")
    assert (properties.type, properties.app_id) == ("antrag/1.0/antrag.0101", "xoev-hub")
    assert properties.headers == {"mandant": "103", "aktenzeichen": "4711"}
    assert properties.delivery_mode == 2
    assert properties.timestamp is None


def test_two_thousand_deliveries_of_eight_threads_arrive_exactly_once(make: Make, topology: Topology) -> None:
    first, second = make(), make()
    sent = [soon(number, seconds=60) for number in range(2000)]

    with ThreadPoolExecutor(8) as threads:
        outcomes = list(
            threads.map(lambda pair: pair[0].deliver(pair[1]), zip([first, second] * 1000, sent, strict=True))
        )

    assert outcomes == [Delivered(one.delivery_id) for one in sent]
    assert sorted(properties.message_id for properties, _ in topology.messages()) == sorted(o.delivery_id for o in sent)


def test_destinations_of_one_broker_share_one_connection(make: Make, proxy: Proxy, secrets: dict[str, str]) -> None:
    secrets["env:AMQP_URL"] = proxy.url
    first, second = make(), make(routing_key="other")

    first.deliver(soon(1))
    second.deliver(soon(2))
    first.close()
    outcome = second.deliver(soon(3))

    assert proxy.connections == 1
    assert isinstance(outcome, Blocked), "the other destination still has its connection"


# --- a wrong destination is blocked, and hurts nobody else


def test_a_message_that_no_queue_takes_blocks_its_destination(make: Make) -> None:
    outcome = make(routing_key="nobody").deliver(soon())

    assert isinstance(outcome, Blocked)
    assert (outcome.reason, outcome.code) == (Reason.PEER_PROTOCOL, "unroutable")


def test_a_missing_exchange_blocks_its_destination_and_no_neighbour(make: Make, topology: Topology) -> None:
    good, bad = make(), make(exchange="no-such-exchange")
    sent = [(adapter, soon(number)) for number in range(200) for adapter in (good, bad)]

    with ThreadPoolExecutor(8) as threads:
        outcomes = list(threads.map(lambda pair: pair[0].deliver(pair[1]), sent))

    assert {type(outcome) for outcome in outcomes[0::2]} == {Delivered}
    assert {type(outcome) for outcome in outcomes[1::2]} <= {Blocked, Deferred}
    assert ("no-exchange", Reason.PEER_PROTOCOL) in {(outcome.code, outcome.reason) for outcome in outcomes[1::2]}
    assert len(topology.messages()) == 200


def test_an_exchange_that_appears_later_is_found(make: Make, topology: Topology) -> None:
    adapter = make(exchange=f"{topology.name}.later")
    before = adapter.deliver(soon(1))
    topology.channel.exchange_declare(f"{topology.name}.later", auto_delete=True)
    topology.channel.queue_bind(f"{topology.name}.bau", f"{topology.name}.later", "bau")

    after = adapter.deliver(soon(2))

    assert isinstance(before, Blocked)
    assert isinstance(after, Delivered)


def test_a_full_queue_defers(make: Make, topology: Topology) -> None:
    topology.queue("full", **{"x-max-length": 1, "x-overflow": "reject-publish"})
    adapter = make(routing_key="full")

    outcomes = [adapter.deliver(soon(number)) for number in range(3)]

    assert [type(outcome) for outcome in outcomes] == [Delivered, Deferred, Deferred]
    assert {(outcome.reason, outcome.code) for outcome in outcomes[1:]} == {(Reason.BUSY, "nack")}


def test_a_wrong_password_blocks_until_it_is_changed(make: Make, broker_url: str, secrets: dict[str, str]) -> None:
    secrets["env:AMQP_URL"] = broker_url.replace(":guest@", ":not-the-password@")
    adapter = make()
    before = adapter.deliver(soon(1))
    secrets["env:AMQP_URL"] = broker_url

    after = adapter.deliver(soon(2))

    assert isinstance(before, Blocked)
    assert before.reason is Reason.PEER_AUTH
    assert isinstance(after, Delivered)


def test_a_missing_virtual_host_blocks(make: Make, broker_url: str, secrets: dict[str, str]) -> None:
    secrets["env:AMQP_URL"] = urlsplit(broker_url)._replace(path="/no-such-vhost").geturl()

    outcome = make().deliver(soon())

    assert isinstance(outcome, Blocked)
    assert outcome.reason is Reason.PEER_AUTH


@pytest.mark.parametrize(
    ("secret", "reason"),
    [(None, Reason.PEER_AUTH), ("http://127.0.0.1", Reason.PEER_PROTOCOL), ("amqp://example.org", Reason.PEER_TLS)],
)
def test_an_address_that_cannot_be_used_blocks_without_a_connection(
    make: Make, secrets: dict[str, str], secret: str | None, reason: Reason
) -> None:
    del secrets["env:AMQP_URL"]
    if secret is not None:
        secrets["env:AMQP_URL"] = secret

    outcome = make().deliver(soon())

    assert isinstance(outcome, Blocked)
    assert outcome.reason is reason


# --- a broker that is away, blocked or lost


def test_a_broker_that_is_away_defers_and_is_found_when_it_is_back(
    make: Make, broker_url: str, secrets: dict[str, str]
) -> None:
    secrets["env:AMQP_URL"] = f"amqp://guest:guest@127.0.0.1:{free_port()}"
    adapter = make()
    before = adapter.deliver(soon(1))
    secrets["env:AMQP_URL"] = broker_url

    after = adapter.deliver(soon(2))

    assert isinstance(before, Deferred)
    assert before.reason is Reason.UNREACHABLE
    assert isinstance(after, Delivered)


def test_a_connection_cut_before_the_confirm_is_unclear_and_comes_back_by_itself(
    make: Make, proxy: Proxy, secrets: dict[str, str], topology: Topology
) -> None:
    secrets["env:AMQP_URL"] = proxy.url
    adapter = make()
    adapter.deliver(soon(1))
    proxy.mute.set()

    with ThreadPoolExecutor(1) as thread:
        pending = thread.submit(adapter.deliver, soon(2))
        eventually(lambda: topology.depth("bau") == 2)
        proxy.cut()
        unclear = pending.result()
    proxy.mute.clear()
    after = adapter.deliver(soon(3))

    assert isinstance(unclear, Unclear)
    assert (unclear.reason, unclear.code) == (Reason.UNCLEAR, "connection-lost")
    assert isinstance(after, Delivered)
    assert proxy.connections == 2


def test_a_confirm_that_does_not_come_in_time_is_unclear(
    make: Make, proxy: Proxy, secrets: dict[str, str], topology: Topology
) -> None:
    secrets["env:AMQP_URL"] = proxy.url
    adapter = make()
    adapter.deliver(soon(1))
    proxy.mute.set()

    outcome = adapter.deliver(soon(2, seconds=0.5))

    assert isinstance(outcome, Unclear)
    assert (outcome.reason, outcome.code) == (Reason.TIMEOUT, "no-confirm")
    eventually(lambda: topology.depth("bau") == 2)


def test_an_attempt_without_time_writes_nothing(make: Make, topology: Topology) -> None:
    adapter = make()
    adapter.deliver(soon(1))

    outcomes = [adapter.deliver(soon(number, seconds=-1)) for number in range(2, 50)]

    adapter.close()
    assert {type(outcome) for outcome in outcomes} == {Deferred}
    assert len(topology.messages()) == 1


def test_the_total_timeout_counts_where_the_hub_sets_no_deadline(
    make: Make, context: Context, proxy: Proxy, secrets: dict[str, str]
) -> None:
    secrets["env:AMQP_URL"] = proxy.url
    adapter = make(replace(context, limits=Limits(total=timedelta(seconds=0.5))))
    adapter.deliver(outgoing(1))
    proxy.mute.set()

    outcome = adapter.deliver(outgoing(2))

    assert isinstance(outcome, Unclear)
    assert outcome.reason is Reason.TIMEOUT


def test_a_broker_short_of_memory_defers_before_anything_is_written(
    make: Make, proxy: Proxy, secrets: dict[str, str], topology: Topology, log: RecordedLog
) -> None:
    secrets["env:AMQP_URL"] = proxy.url
    adapter = make()
    adapter.deliver(soon(1))
    proxy.say(frame.Method(0, spec.Connection.Blocked("low on memory")))
    eventually(lambda: "broker_blocked" in log.events("warning"))

    blocked = adapter.deliver(soon(2))
    proxy.say(frame.Method(0, spec.Connection.Unblocked()))
    eventually(lambda: "broker_unblocked" in log.events("info"))
    after = adapter.deliver(soon(3))

    assert isinstance(blocked, Deferred)
    assert (blocked.reason, blocked.code) == (Reason.UNREACHABLE, "broker-blocked")
    assert isinstance(after, Delivered)
    assert len(topology.messages()) == 2


def test_the_connection_ends_with_its_last_destination(make: Make, secrets: dict[str, str], proxy: Proxy) -> None:
    secrets["env:AMQP_URL"] = proxy.url
    first, second = make(), make()
    first.deliver(soon(1))

    first.close()
    second.close()

    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("amqp ")] == []


# --- what cannot be sent


def test_attachments_are_refused_and_not_left_out(make: Make, topology: Topology) -> None:
    outcome = make().deliver(soon(parts=(Part("plan.pdf", "application/pdf", b"%PDF"),)))

    assert isinstance(outcome, Refused)
    assert outcome.code == "parts"
    assert topology.messages() == []


@pytest.mark.parametrize("headers", [{"a": "x" * 70_000}, {"a" * 300: "x"}])
def test_headers_that_would_end_the_connection_of_all_are_refused(make: Make, headers: dict[str, str]) -> None:
    adapter = make()

    refused = adapter.deliver(soon(1, headers=headers))
    after = adapter.deliver(soon(2))

    assert isinstance(refused, Refused)
    assert refused.reason is Reason.TRANSFORM_FAILED
    assert isinstance(after, Delivered)


# --- a look without a delivery


def test_a_probe_logs_in_and_names_an_exchange_that_is_not_there(make: Make, topology: Topology) -> None:
    there, lacking = (list(make(exchange=name).probe()) for name in (topology.exchange, "gibt-es-nicht"))

    assert [one.ok for one in there] == [True] * len(there)
    assert [one.ok for one in lacking] == [True] * (len(there) - 1) + [False]
    assert lacking[-1].text == "the exchange gibt-es-nicht cannot be used: 404"
    assert topology.messages() == []


# --- what the log may know


def test_neither_payload_nor_password_nor_headers_reach_the_log(
    make: Make, log: RecordedLog, secrets: dict[str, str], broker_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    make(headers={"kennwort": "canary-header"}).deliver(soon(1))
    make(routing_key="nobody", headers={"kennwort": "canary-header"}).deliver(soon(2))
    secrets["env:OTHER"] = broker_url.replace(":guest@", ":canary-password@")
    outcome = make(url="env:OTHER").deliver(soon(3))

    written = log.text + caplog.text + repr(outcome)
    assert isinstance(outcome, Blocked)
    assert "broker_unreachable" in written
    assert [canary for canary in (MARKER, "canary-header", "canary-password") if canary in written] == []

"""RabbitMQ over TLS."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from hub.plugin import Blocked, Delivered, Reason
from hub.testing import make_context
from tests.rabbit import Topology, build, soon, tls_server
from tests.servers import amqp_url


@pytest.fixture(scope="module")
def broker_url() -> str:
    return amqp_url()


@pytest.fixture
def topology(broker_url: str) -> Iterator[Topology]:
    topology = Topology(broker_url)
    topology.queue()
    yield topology
    topology.delete()


def test_a_broker_with_a_certificate_of_a_stranger_blocks(topology: Topology, tmp_path: Path) -> None:
    port, stop = tls_server(trustme.CA())
    trusting = ssl.create_default_context()
    trustme.CA().configure_trust(trusting)
    adapter = build(topology, make_context(tmp_path, client_tls=trusting), url=f"amqps://127.0.0.1:{port}")
    adapter.open()

    outcome = adapter.deliver(soon())

    adapter.close()
    stop()
    assert isinstance(outcome, Blocked)
    assert (outcome.reason, outcome.code) == (Reason.PEER_TLS, "tls")


def test_a_broker_over_tls_takes_deliveries(topology: Topology, tmp_path: Path, broker_url: str) -> None:
    authority = trustme.CA()
    port, stop = tls_server(authority, broker_url)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    adapter = build(topology, make_context(tmp_path, client_tls=trusting), url=f"amqps://127.0.0.1:{port}")
    adapter.open()

    outcome = adapter.deliver(soon())

    adapter.close()
    stop()
    assert isinstance(outcome, Delivered)

"""The SOAP adapter keeps the contract of outbound adapters, against the simulated procedure."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from adapters.soap import ADAPTER, SoapDestination
from hub.plugin import Context, OutboundAdapter
from hub.simulate import Answers, Ledger
from hub.simulate.soap import SoapProcedure
from hub.testing import OutboundContract, RecordedLog
from hub.testing.outbound import Arrived
from tests.soap_peer import settings, soap_context

PASSWORD = "geheim-und-lang-genug"
SECURITY = {"kind": "basic", "username": "hub", "password": "env:PASSWORD"}


class TestSoap(OutboundContract):
    @pytest.fixture
    def context(self, tmp_path: Path, log: RecordedLog) -> Context:
        return soap_context(tmp_path, log=log, secrets={"env:PASSWORD": PASSWORD})

    @pytest.fixture
    def procedure(self, tmp_path: Path) -> Iterator[SoapProcedure]:
        require = {"username": "hub", "password": PASSWORD}
        made = SoapProcedure("gewerbe", {"require": require}, Answers(), Ledger(tmp_path / "ledger.jsonl"))
        made.start()
        yield made
        made.stop()

    @pytest.fixture
    def adapter(self, context: Context, procedure: SoapProcedure) -> OutboundAdapter:
        return SoapDestination(settings(procedure.address, security=SECURITY), context)

    @pytest.fixture
    def arrived(self, procedure: SoapProcedure) -> Arrived:
        return lambda: [(received.delivery, received.document) for received in procedure.received]

    @pytest.fixture
    def unreachable(self, context: Context) -> OutboundAdapter:
        with socket.create_server(("127.0.0.1", 0)) as gone:
            port = gone.getsockname()[1]
        return SoapDestination(settings(f"http://127.0.0.1:{port}/ws", security=SECURITY), context)

    @pytest.fixture
    def silent(self, context: Context) -> Iterator[OutboundAdapter]:
        listener = socket.create_server(("127.0.0.1", 0))
        taken: list[socket.socket] = []

        def accept() -> None:
            with suppress(OSError):
                while True:
                    taken.append(listener.accept()[0])

        threading.Thread(target=accept, daemon=True).start()
        yield SoapDestination(settings(f"http://127.0.0.1:{listener.getsockname()[1]}/ws", security=SECURITY), context)
        listener.close()
        for connection in taken:
            connection.close()


def test_the_entry_point_is_an_outbound_adapter_of_version_1(tmp_path: Path) -> None:
    context = soap_context(tmp_path)
    given = settings("https://gewerbe.wolfsburg.example/ws")

    assert (ADAPTER.name, ADAPTER.direction, ADAPTER.api_version) == ("soap", "out", 1)
    assert ADAPTER.outbound is not None
    assert isinstance(ADAPTER.outbound(given, context), SoapDestination)
    assert ADAPTER.check is not None
    assert ADAPTER.prove is not None
    assert [*ADAPTER.check(given, context), *ADAPTER.prove(given, context)] == []

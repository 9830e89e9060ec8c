"""A daemon that is watched: systemd hears of its life, metrics say what is so, hours are kept, renewed files count."""

from __future__ import annotations

import json
import re
import signal
import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
import trustme

from hub.loopback import free_port
from hub.simulate import Answers, Ledger
from hub.simulate.soap import SoapProcedure
from tests.daemon import Daemon, until
from tests.leinen import Leinen, folder_out, leinen, soap

TOWNS = ["nordheim", "suedheim", "westheim"]


class Supervisor:
    """Hears what systemd would, line by line."""

    def __init__(self, path: Path) -> None:
        self.lines: list[str] = []
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._sock.bind(str(path))
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while True:
            self.lines += self._sock.recv(4096).decode().splitlines()

    def heard(self, *wanted: str) -> bool:
        """Tell whether these came, in this order."""
        at = iter(list(self.lines))
        return all(any(one == line for line in at) for one in wanted)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("watched")


@pytest.fixture(scope="module")
def procedure(folder: Path) -> Iterator[SoapProcedure]:
    ca = trustme.CA()
    (folder / "tls").mkdir()
    ca.cert_pem.write_to_path(str(folder / "tls" / "ca.pem"))
    issued = ca.issue_cert("127.0.0.1", not_after=datetime.now(UTC) + timedelta(days=10))
    issued.private_key_and_cert_chain_pem.write_to_path(str(folder / "tls" / "procedure.pem"))
    tls = {"certificate": str(folder / "tls" / "procedure.pem"), "key": str(folder / "tls" / "procedure.pem")}
    made = SoapProcedure(TOWNS[0], {"listen": f"127.0.0.1:{free_port()}", "tls": tls}, Answers(["ok"]), Ledger(folder / "l"))  # fmt: skip
    made.start()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def supervisor(folder: Path) -> Supervisor:
    return Supervisor(folder / "notify")


@pytest.fixture(scope="module")
def opens(folder: Path) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=40)


@pytest.fixture(scope="module")
def hub(folder: Path, procedure: SoapProcedure, supervisor: Supervisor, opens: datetime) -> Iterator[Daemon]:
    ended = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    settings: dict[str, Any] = {
        TOWNS[0]: soap(procedure.address, tls={"ca": "tls/ca.pem"}),
        TOWNS[1]: folder_out("out/suedheim") | {"maintenance": [{"from": ended, "until": opens.isoformat()}]},
        TOWNS[2]: folder_out("out/westheim"),
    }
    deployment = Leinen(folder / "hub", settings)
    deployment.file("tls/ca.pem", (folder / "tls" / "ca.pem").read_text("ascii"))
    with Daemon(deployment, NOTIFY_SOCKET=str(folder / "notify"), WATCHDOG_USEC="500000") as running:
        yield running


def metric(hub: Daemon, name: str) -> dict[str, float]:
    lines = re.findall(rf"^xoev_hub_{name}({{[^}}]*}})? (\S+)$", hub.asked("/metrics"), re.MULTILINE)
    return {labels: float(value) for labels, value in lines}


def items(hub: Daemon, *arguments: str) -> list[dict[str, Any]]:
    done = hub.cli(*arguments, "--json")
    return list(json.loads(done.stdout)["items"])


def test_outside_its_hours_a_destination_waits_and_then_goes_on_by_itself(hub: Daemon, opens: datetime) -> None:
    id_ = hub.hand_in(leinen(1)).json()["id"]
    assert metric(hub, "destination_held") == {'{destination="suedheim/leinen",state="closed"}': 1.0}

    (closed,) = items(hub, "destinations", "list", "--state", "closed")
    assert (closed["name"], closed["reason"], closed["by"]) == ("suedheim/leinen", "maintenance", "hub")
    assert datetime.fromisoformat(closed["until"]) == opens.replace(microsecond=opens.microsecond // 1000 * 1000)
    (delivery,) = hub.show(id_)["deliveries"]
    assert (delivery["state"], delivery["reason"], delivery["attempts"]) == ("waiting", "closed_hours", 0)

    delivered = '{destination="suedheim/leinen",state="delivered"}'
    until(lambda: metric(hub, "deliveries").get(delivered), "it opens by itself", 90)
    assert metric(hub, "destination_held") == {}


def test_the_certificate_that_a_procedure_shows_is_on_the_ladder(hub: Daemon, procedure: SoapProcedure) -> None:
    hub.hand_in(leinen(0))
    until(lambda: procedure.received, "it has arrived")

    def seen() -> list[dict[str, Any]]:
        (one,) = (one for one in items(hub, "destinations", "list") if one["name"] == "nordheim/leinen")
        return [certificate for certificate in one["certificates"] if certificate["role"] == "server"]

    (certificate,) = until(seen, "it was seen in the handshake of the attempt")
    assert certificate["days_left"] in (9, 10)
    complaints = [one for one in items(hub, "doctor") if one["what"] == "certificate"]
    assert [("server of nordheim/leinen" in one["text"], one["needs_person"]) for one in complaints] == [(True, True)]
    left = metric(hub, "certificate_expiry_seconds")['{place="nordheim/leinen",role="server"}']
    assert 9 * 86400 < left < 10 * 86400


def test_metrics_say_what_is_so_now(hub: Daemon) -> None:
    assert metric(hub, "workers") == {"": 2.0}
    assert metric(hub, "disk_free_bytes")[""] > 0
    assert hub.cli("pause", "westheim/leinen", "--reason", "Wartung").returncode == 0
    id_ = hub.hand_in(leinen(2)).json()["id"]

    held = metric(hub, "destination_held")
    assert held['{destination="westheim/leinen",state="paused"}'] == 1.0
    assert metric(hub, "oldest_waiting_seconds")['{destination="westheim/leinen"}'] > 0
    assert hub.cli("resume", "westheim/leinen", "--reason", "fertig").returncode == 0
    delivered = '{destination="westheim/leinen",state="delivered"}'
    until(lambda: metric(hub, "deliveries").get(delivered), "it flows on")
    assert "westheim" not in str(metric(hub, "oldest_waiting_seconds"))
    assert id_ not in hub.asked("/metrics")


def test_probes_of_folders_and_of_what_is_not_there(hub: Daemon) -> None:
    (look,) = items(hub, "destinations", "probe", "westheim/leinen")
    assert (look["what"], look["ok"]) == ("folder", True)
    assert hub.cli("destinations", "probe", "gibt/es-nicht").returncode == 1
    looks = items(hub, "destinations", "probe", "nordheim/leinen")
    assert [(one["what"], one["ok"]) for one in looks] == [
        ("dns", True), ("tcp", True), ("tls", True), ("call", True), ("wsdl", True),
    ]  # fmt: skip


def test_the_supervisor_hears_of_start_reload_and_end(
    hub: Daemon, supervisor: Supervisor, procedure: SoapProcedure
) -> None:
    until(lambda: supervisor.heard("READY=1", "WATCHDOG=1"), "ready, and alive")
    assert hub.cli("reload").returncode == 0
    until(lambda: supervisor.heard("READY=1", "RELOADING=1", "READY=1", "WATCHDOG=1"), "a reload has an end")

    procedure.answers = Answers([{"hang": "4s"}])
    hub.hand_in(leinen(0))
    until(lambda: metric(hub, "deliveries").get('{destination="nordheim/leinen",state="sending"}'), "it is in hand")
    hub.signal(signal.SIGTERM)
    until(lambda: supervisor.heard("STOPPING=1"), "it drains")
    try:
        drained = requests.get(hub.admin + "/readyz", timeout=10)
        assert (drained.status_code, drained.text) == (503, "draining\n")
    except requests.ConnectionError:
        assert hub.wait() == 0  # it was quicker than we were
    assert hub.wait() == 0

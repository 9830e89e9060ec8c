"""A procedure's certificate expires at night: everything waits, nothing dies, one destination is blocked, one alert.

And it flows on by itself when the certificate is there, without a restart, a reload or a command. Told by the command
line, as an operator sees it. STORY=400 for the figure of the promise; the suite takes fewer.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme

from hub.loopback import free_port
from hub.simulate import Answers, Ledger
from hub.simulate.soap import SoapProcedure
from tests.accounts import Sender, account, entries, missing
from tests.daemon import Daemon, until
from tests.leinen import Leinen, leinen, soap

COUNT = int(os.environ.get("STORY", "40"))
TOWN = "nordheim"
DESTINATION = f"{TOWN}/leinen"


class Certificates:
    """The procedure's certificate on its disk, and the CA that the hub trusts."""

    def __init__(self, folder: Path) -> None:
        self.ca = trustme.CA()
        self.path = folder / "procedure.pem"
        self.issue(datetime.now(UTC) - timedelta(hours=1))

    def issue(self, until: datetime) -> None:
        issued = self.ca.issue_cert("127.0.0.1", not_after=until)
        issued.private_key_and_cert_chain_pem.write_to_path(str(self.path))


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return Certificates(tmp_path)


@pytest.fixture
def procedure(tmp_path: Path, certificates: Certificates) -> Iterator[SoapProcedure]:
    made = start(tmp_path, certificates, free_port())
    yield made
    made.stop()


def start(folder: Path, certificates: Certificates, port: int) -> SoapProcedure:
    """Start the procedure with the certificate that lies there now; its ledger goes on."""
    tls = {"certificate": str(certificates.path), "key": str(certificates.path)}
    settings = {"listen": f"127.0.0.1:{port}", "tls": tls}
    made = SoapProcedure(TOWN, settings, Answers(["ok"]), Ledger(folder / "ledger.jsonl"))
    made.start()
    return made


@pytest.fixture
def hub(tmp_path: Path, procedure: SoapProcedure, certificates: Certificates) -> Iterator[Daemon]:
    settings = {TOWN: soap(procedure.address, tls={"ca": "tls/ca.pem"}, on_unclear="hold")}
    deployment = Leinen(tmp_path / "hub", settings)
    deployment.file("tls/ca.pem", certificates.ca.cert_pem.bytes().decode())
    deployment.routes["alerts"] = {"tell": {"betrieb": {"command": ["/bin/sh", "-c", f"cat >> {tmp_path / 'alerts'}; echo >> {tmp_path / 'alerts'}"]}}}  # fmt: skip
    with Daemon(deployment) as running:
        yield running


def controls(hub: Daemon) -> list[dict[str, Any]]:
    done = hub.cli("destinations", "list", "--json")
    assert done.returncode == 0, done.stderr
    return [one for one in json.loads(done.stdout)["items"] if one["state"] != "ready"]


def told(folder: Path) -> list[dict[str, Any]]:
    """Return what the channel was told, one alert after the other."""
    path = folder / "alerts"
    lines = path.read_text("utf-8").splitlines() if path.exists() else []
    return [alert for line in lines if line.strip() for alert in json.loads(line)["alerts"]]


def test_a_certificate_that_has_expired_costs_nothing_but_time(
    tmp_path: Path, hub: Daemon, procedure: SoapProcedure, certificates: Certificates
) -> None:
    sender = Sender(hub)
    for number in range(COUNT):
        assert sender.hand_in(leinen(alter=str(number % 200)))

    (blocked,) = until(lambda: [one for one in controls(hub) if one["waiting"] == COUNT], "all wait, none is in hand")
    assert (blocked["name"], blocked["state"], blocked["reason"], blocked["code"]) == (
        DESTINATION, "blocked", "peer_tls", "tls-expired",
    )  # fmt: skip
    assert blocked["by"] == "hub"
    assert blocked["next_probe"] > blocked["since"]
    assert blocked["waiting"] == COUNT
    until(lambda: dict(account(hub, sender, procedure)) == {"waiting": COUNT}, "none is dead, none is lost")
    until(lambda: told(tmp_path), "somebody is told")

    looked = hub.cli("destinations", "probe", DESTINATION, "--json")
    assert looked.returncode == 69
    assert [(one["what"], one["ok"]) for one in json.loads(looked.stdout)["items"]] == [
        ("dns", True), ("tcp", True), ("tls", False),
    ]  # fmt: skip
    assert "expired" in json.loads(looked.stdout)["items"][-1]["text"]

    doctor = hub.cli("doctor", "--json")
    assert doctor.returncode == 1
    (complaint,) = [one for one in json.loads(doctor.stdout)["items"] if one["needs_person"]]
    assert complaint["what"] == "blocked"
    assert DESTINATION in complaint["text"]

    # The procedure's people renew it. Nobody touches the hub.
    certificates.issue(datetime.now(UTC) + timedelta(days=400))
    procedure.stop()
    renewed = start(tmp_path, certificates, int(procedure.address.split(":")[2].split("/")[0]))
    try:
        until(lambda: not missing(sender, renewed), "everything has arrived", 90)
        until(lambda: dict(account(hub, sender, renewed)) == {"delivered": COUNT}, "everything is written down", 60)
        assert len(entries(renewed)) == COUNT, "something came twice"
        assert controls(hub) == []
        assert hub.cli("doctor").returncode == 0
        assert hub.cli("destinations", "probe", DESTINATION).returncode == 0
        until(lambda: len(told(tmp_path)) > 1, "the end of the alert is told")
        assert [(one["name"], one["object"], one["what"]) for one in told(tmp_path)] == [
            ("blocked", DESTINATION, "raised"), ("blocked", DESTINATION, "cleared"),
        ]  # fmt: skip
    finally:
        renewed.stop()

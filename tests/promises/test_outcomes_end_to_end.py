"""What a procedure can do wrong, seen from the operator's chair: never "delivered", each in its class and phase.

The table of the outcomes is proved byte for byte elsewhere; here it arrives in `messages show`, `doctor` and at the
procedure again once somebody has mended what was wrong.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
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

FLOW_SECONDS = 20.0
PASSWORD = "richtig-und-lang"


@dataclass(frozen=True)
class Case:
    """What a procedure does, and how its delivery stands then: state, reason, phase, code, the message's status."""

    answer: Any
    told: tuple[str, str, str, str, str]
    settings: Mapping[str, Any] = field(default_factory=dict)


CASES = {
    "code": Case({"code": "17"}, ("dead", "refused", "response_parsed", "rc-17", "attention")),
    "unlisted": Case({"code": "99"}, ("dead", "unclear", "response_parsed", "rc-unlisted", "attention")),
    "busy": Case({"code": "23"}, ("waiting", "busy", "response_parsed", "rc-23", "open")),
    "html": Case("html", ("dead", "unclear", "response_read", "html", "attention")),
    "login": Case({"status": 401}, ("waiting", "peer_auth", "response_read", "http-401", "attention")),
    "nowhere": Case({"status": 404}, ("waiting", "peer_protocol", "response_read", "http-404", "attention")),
    "moved": Case("redirect", ("waiting", "peer_protocol", "response_read", "http-307", "attention")),
    "expired": Case(
        "ok", ("waiting", "peer_tls", "connected", "tls-expired", "attention"), {"tls": {"ca": "tls/ca.pem"}}
    ),
    "stranger": Case("ok", ("waiting", "peer_tls", "connected", "tls-unknown-ca", "attention")),
    "cut": Case("taken-then-cut", ("dead", "unclear", "request_sent", "reply-cut", "attention")),
    "garbage": Case("garbage", ("dead", "unclear", "response_read", "reply-not_well_formed", "attention")),
    "empty": Case("empty", ("dead", "unclear", "response_read", "reply-empty", "attention")),
    "element": Case("wrong-element", ("dead", "unclear", "response_parsed", "unexpected-element", "attention")),
    "server": Case("fault", ("dead", "unclear", "response_parsed", "soap-Server", "attention")),
    "client": Case({"fault": {"code": "Client"}}, ("dead", "refused", "response_parsed", "soap-Client", "attention")),
    "slow": Case(
        {"hang": "300s"}, ("dead", "unclear", "request_sent", "timeout", "attention"), {"timeout": {"total": "1s"}}
    ),
    "down": Case("down", ("waiting", "unreachable", "resolved", "connect-refused", "open")),
}
BLOCKED = {town for town, case in CASES.items() if case.told[1].startswith("peer_")} | {"html"}
MENDED = ("fifty", "at-once")
TOWNS = [*CASES, *MENDED]


def certificates(folder: Path) -> dict[str, dict[str, str]]:
    """Write a certificate that has run out, one of nobody we know, and our CA; return what procedures show."""
    ours, other = trustme.CA(), trustme.CA()
    made = {
        "expired": ours.issue_cert("127.0.0.1", not_after=datetime.now(UTC) - timedelta(days=1)),
        "stranger": other.issue_cert("127.0.0.1"),
    }
    folder.mkdir(parents=True)
    ours.cert_pem.write_to_path(str(folder / "ca.pem"))
    for name, certificate in made.items():
        certificate.private_key_and_cert_chain_pem.write_to_path(str(folder / f"{name}.pem"))
    return {name: {"certificate": str(folder / f"{name}.pem"), "key": str(folder / f"{name}.pem")} for name in made}


@pytest.fixture(scope="module")
def procedures(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, SoapProcedure]]:
    folder = tmp_path_factory.mktemp("procedures")
    shown = certificates(folder / "tls")
    made = {}
    for town in TOWNS:
        settings: dict[str, Any] = {"listen": f"127.0.0.1:{free_port()}"}
        if town in shown:
            settings["tls"] = shown[town]
        if town in MENDED:
            settings["require"] = {"username": "hub", "password": PASSWORD}
        answers = Answers([CASES[town].answer] if town in CASES else ["ok"])
        made[town] = SoapProcedure(town, settings, answers, Ledger(folder / "ledger.jsonl"))
        made[town].start()
    yield made
    for procedure in made.values():
        procedure.stop()


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory, procedures: dict[str, SoapProcedure]) -> Iterator[Daemon]:
    settings = {
        town: soap(procedures[town].address, on_unclear="hold", **case.settings) for town, case in CASES.items()
    }
    for town in MENDED:
        security = {"kind": "basic", "username": "hub", "password": f"file:secrets/{town}"}
        settings[town] = soap(procedures[town].address, security=security)
    deployment = Leinen(tmp_path_factory.mktemp("hub"), settings)
    for town in MENDED:
        deployment.file(f"secrets/{town}", "falsch")
    ca = (Path(procedures["expired"].ledger.path.parent) / "tls" / "ca.pem").read_text("ascii")
    deployment.file("tls/ca.pem", ca)
    with Daemon(deployment) as running:
        yield running


@pytest.fixture(scope="module")
def told(hub: Daemon) -> dict[str, dict[str, Any]]:
    """Hand one message in for each case, wait until it has been tried, and show them all."""
    ids = {town: hub.hand_in(leinen(TOWNS.index(town))).json()["id"] for town in CASES}
    for town, id_ in ids.items():
        until(lambda: hub.status(id_).json()["deliveries"][0]["reason"], f"{town} was tried")  # noqa: B023
    shown = dict(zip(ids, hub.show_all(ids.values()), strict=True))
    for town in ("busy", "down"):  # shown while they wait: the next attempt comes soon
        until(lambda: shown.update({town: hub.show(ids[town])}) or delivery(shown[town])["state"] == "waiting", town)  # noqa: B023
    return shown


def delivery(message: dict[str, Any]) -> dict[str, Any]:
    (one,) = message["deliveries"]
    return dict(one)


# --- each in its class --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("town", CASES)
def test_nothing_counts_as_delivered_that_is_not_and_each_failure_has_its_class(
    told: dict[str, dict[str, Any]], town: str
) -> None:
    found = delivery(told[town])

    shown = (*(found[key] for key in ("state", "reason", "phase", "code")), told[town]["status"])
    assert shown == CASES[town].told
    tried = [event for event in found["events"] if event["kind"] != "claimed"]
    assert {event["phase"] for event in tried} == {CASES[town].told[2]}
    assert all(event["duration_ms"] is not None for event in tried)
    assert (found["next_attempt_at"] is not None) == (found["state"] == "waiting")


def test_doctor_names_what_is_blocked_and_what_is_dead(hub: Daemon, told: dict[str, dict[str, Any]]) -> None:
    done = hub.cli("doctor", "--json")

    assert done.returncode == 1
    complaints = json.loads(done.stdout)["items"]
    for town in BLOCKED:
        (one,) = [one for one in complaints if one["what"] == "blocked" and f"{town}/leinen" in one["text"]]
        assert f"resume {town}/leinen" in one["next"]
    for town, case in CASES.items():
        dead = [one for one in complaints if one["what"] == "dead letters" and f"to {town}/leinen" in one["text"]]
        assert bool(dead) == (case.told[0] == "dead"), town


def test_a_dead_one_is_sent_again_by_hand_once_the_procedure_is_mended(
    hub: Daemon, told: dict[str, dict[str, Any]], procedures: dict[str, SoapProcedure]
) -> None:
    id_ = told["code"]["id"]
    procedures["code"].answers.set(["ok"])

    assert hub.cli("resend", id_, "--reason", "Fachverfahren berichtigt").returncode == 0

    until(lambda: hub.status(id_).json()["status"] == "delivered", "it is delivered")
    assert len({entry["delivery"] for entry in entries(procedures["code"])}) == 1


def test_a_blocked_destination_flows_on_by_hand(
    hub: Daemon, told: dict[str, dict[str, Any]], procedures: dict[str, SoapProcedure]
) -> None:
    # Paused first: else its next probe might find out by itself, before anybody has resumed it.
    assert hub.cli("pause", "login/leinen", "--reason", "Zugang wird freigeschaltet").returncode == 0
    procedures["login"].answers.set(["ok"])

    assert hub.cli("resume", "login/leinen", "--reason", "Zugang freigeschaltet").returncode == 0

    until(lambda: hub.status(told["login"]["id"]).json()["status"] == "delivered", "it is delivered")


# --- a wrong password ---------------------------------------------------------------------------------------------


def test_fifty_behind_a_wrong_password_wait_and_flow_on_once_its_file_is_mended(
    hub: Daemon, procedures: dict[str, SoapProcedure]
) -> None:
    procedure, sender = procedures["fifty"], Sender(hub)
    for _ in range(50):
        sender.hand_in(leinen(TOWNS.index("fifty")))
    until(lambda: waiting(hub, "fifty") == 50, "all wait")

    listed = hub.messages("--destination", "fifty/leinen")
    complaints = json.loads((done := hub.cli("doctor", "--json")).stdout)["items"]

    assert [message["status"] for message in listed] == ["attention"] * 50
    assert account(hub, sender, procedure) == {"waiting": 50}
    tries = [message["deliveries"][0]["attempts"] for message in listed]
    assert 1 <= sum(tries) <= 8, "one try tells it, and those that were under way"
    assert done.returncode == 1
    (blocked,) = [one for one in complaints if "fifty/leinen" in one["text"]]
    assert blocked["what"] == "blocked"
    assert "peer_auth" in blocked["text"]

    hub.deployment.file("secrets/fifty", PASSWORD)

    until(lambda: not missing(sender, procedure), "all fifty have arrived", FLOW_SECONDS)
    until(lambda: account(hub, sender, procedure) == {"delivered": 50}, "the hub knows it")
    assert "fifty/leinen" not in hub.cli("doctor").stdout


def test_a_password_that_is_mended_at_once_counts_too(hub: Daemon, procedures: dict[str, SoapProcedure]) -> None:
    procedure, sender = procedures["at-once"], Sender(hub)
    sender.hand_in(leinen(TOWNS.index("at-once")))
    (receipt,) = sender.receipts
    until(lambda: hub.status(receipt.id).json()["deliveries"][0]["reason"] == "peer_auth", "it is blocked")

    hub.deployment.file("secrets/at-once", PASSWORD)

    until(lambda: not missing(sender, procedure), "it has arrived", FLOW_SECONDS)


def waiting(hub: Daemon, town: str) -> int:
    """Return how many deliveries wait, as the metrics tell it."""
    line = f'xoev_hub_deliveries{{destination="{town}/leinen",state="waiting"}} '
    return next(
        (int(float(one.removeprefix(line))) for one in hub.asked("/metrics").splitlines() if one.startswith(line)), 0
    )

"""While a daemon runs, its operators work with the same commands: what they ask for, the daemon does."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hub.simulate import Answers, Ledger
from hub.simulate.soap import SoapProcedure
from tests.daemon import Daemon, until
from tests.leinen import Leinen, folder_out, leinen, soap

REASON = ("--reason", "Fachverfahren läuft wieder")


@pytest.fixture(scope="module")
def procedure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SoapProcedure]:
    made = SoapProcedure("nordheim", {}, Answers(), Ledger(tmp_path_factory.mktemp("procedure") / "ledger.jsonl"))
    made.start()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory, procedure: SoapProcedure) -> Iterator[Daemon]:
    deployment = Leinen(
        tmp_path_factory.mktemp("beside"),
        {"nordheim": soap(procedure.address), "suedheim": folder_out("out/suedheim"), "leer": folder_out("out/leer")},
    )
    with Daemon(deployment) as daemon:
        yield daemon


def send(hub: Daemon, folder: Path, body: bytes, *more: str) -> tuple[int, str, str]:
    (folder / "antrag.xml").write_bytes(body)
    done = hub.cli("send", str(folder / "antrag.xml"), "--sender", "portal", *more)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout, done.stderr


def dead(hub: Daemon, procedure: SoapProcedure) -> tuple[str, str]:
    """Return a message and its delivery that the procedure has refused."""
    procedure.answers.set([{"code": "17"}])
    id_ = hub.hand_in(leinen(0)).json()["id"]
    (delivery,) = until(lambda: having(hub, id_, "dead"), "the delivery is dead")
    procedure.answers.set(["ok"])
    return id_, delivery


def having(hub: Daemon, id_: str, state: str) -> list[str]:
    """Return the deliveries of a message that are in a state, as its sender is told."""
    return [one["id"] for one in hub.status(id_).json()["deliveries"] if one["state"] == state]


def test_what_is_sent_goes_through_the_running_hub(hub: Daemon, tmp_path: Path) -> None:
    body = leinen(1)

    code, out, _ = send(hub, tmp_path, body, "--reference", "AZ 4711/Ü")
    again = send(hub, tmp_path, body)

    id_ = out.split()[0]
    assert (code, again[0]) == (0, 0)
    assert again[1].startswith(f"{id_}  duplicate, ")
    assert [one["id"] for one in hub.messages("--reference", "AZ 4711/Ü")] == [id_]
    arrived = until(lambda: list((hub.deployment.folder / "out/suedheim").glob("*.xml")), "the file arrives")
    assert arrived[0].read_bytes() == body


def test_its_rejections_come_back_with_their_findings(hub: Daemon, tmp_path: Path) -> None:
    code, out, err = send(hub, tmp_path, leinen(1, alter="viele"))

    (listed,) = hub.messages("--state", "rejected", "--reason", "schema_violation")
    assert (code, out) == (65, "")
    assert f"rejected schema_violation {listed['id']}" in err
    assert "line 11 /l:anmeldung/l:hund/l:alter" in err


def test_other_content_under_the_same_key_is_a_conflict(hub: Daemon, tmp_path: Path) -> None:
    first = send(hub, tmp_path, leinen(1), "--idempotency-key", "k-1")
    other = send(hub, tmp_path, leinen(1), "--idempotency-key", "k-1")

    assert (first[0], other[0]) == (0, 65)
    assert "conflict" in other[2]


def test_a_wrong_token_is_not_permitted(hub: Daemon, tmp_path: Path) -> None:
    secret = hub.deployment.folder / "secrets" / "portal"
    token = secret.read_text()
    body = leinen(1)
    (tmp_path / "elsewhere").mkdir()
    stranger = Leinen(tmp_path / "elsewhere", {"nordheim": folder_out("out")})
    stranger.port = hub.deployment.port
    stranger.file("secrets/portal", "ein-anderes-token")
    stranger.write()
    (tmp_path / "antrag.xml").write_bytes(body)

    done = Daemon(stranger).cli("send", str(tmp_path / "antrag.xml"), "--sender", "portal", "--url", hub.url)

    assert done.returncode == 77
    assert "rejected unauthenticated" in done.stderr
    assert token not in done.stderr
    assert not (stranger.folder / "var" / "hub.db").exists()


@pytest.mark.parametrize("path", ["", "/", "/v1/messages"])
def test_the_hub_can_be_named_by_its_address(hub: Daemon, tmp_path: Path, path: str) -> None:
    url = hub.url.removesuffix("/v1/messages") + path

    assert send(hub, tmp_path, leinen(1), "--url", url)[0] == 0


@pytest.mark.parametrize("path", ["/anders", "/readyz"])
def test_an_address_that_is_no_hub_is_unavailable(hub: Daemon, tmp_path: Path, path: str) -> None:
    code, _, err = send(hub, tmp_path, leinen(1), "--url", hub.admin + path)

    assert code == 69
    assert "does not answer as a hub does" in err


def test_a_dead_delivery_is_replayed_by_the_daemon(hub: Daemon, procedure: SoapProcedure) -> None:
    id_, delivery = dead(hub, procedure)

    done = hub.cli("replay", id_, *REASON, "--json")

    job = json.loads(done.stdout)
    assert (done.returncode, job["state"]) == (0, "done")
    until(lambda: having(hub, id_, "delivered"), "the replay is delivered")
    old, new = hub.show(id_)["deliveries"]
    assert (old["id"], old["state"], old["reason"]) == (delivery, "closed", "superseded")
    assert (new["state"], new["replay_of"]) == ("delivered", delivery)


def test_a_dead_delivery_is_sent_again_under_its_own_id(hub: Daemon, procedure: SoapProcedure) -> None:
    id_, delivery = dead(hub, procedure)

    done = hub.cli("resend", delivery, *REASON)

    assert done.returncode == 0, done.stderr
    until(lambda: having(hub, id_, "delivered"), "it is delivered")
    shown = hub.show(id_)
    assert [one["id"] for one in shown["deliveries"]] == [delivery]
    assert [one["kind"] for one in shown["deliveries"][0]["events"]] == [
        "claimed", "died", "resent", "claimed", "delivered",
    ]  # fmt: skip


def test_a_dead_delivery_is_closed(hub: Daemon, procedure: SoapProcedure) -> None:
    id_, _ = dead(hub, procedure)

    done = hub.cli("close", id_, "--as", "delivered-otherwise", *REASON)

    assert done.returncode == 0, done.stderr
    assert hub.show(id_)["status"] == "closed"


def test_a_paused_destination_waits_until_it_is_resumed(hub: Daemon) -> None:
    paused = hub.cli("pause", "leer/leinen", "--reason", "Wartung")
    id_ = hub.hand_in(leinen(2)).json()["id"]
    other = hub.hand_in(leinen(1)).json()["id"]
    until(lambda: having(hub, other, "delivered"), "others are delivered")
    waiting = hub.show(id_)
    doctor = hub.cli("doctor", "--json")

    resumed = hub.cli("resume", "leer/leinen", *REASON)

    assert (paused.returncode, resumed.returncode) == (0, 0)
    assert (waiting["deliveries"][0]["state"], waiting["deliveries"][0]["reason"]) == ("waiting", "paused")
    assert [one["needs_person"] for one in json.loads(doctor.stdout)["items"] if one["what"] == "paused"] == [False]
    until(lambda: having(hub, id_, "delivered"), "it goes on")


def test_a_store_that_a_daemon_has_is_not_migrated(hub: Daemon) -> None:
    done = hub.cli("store", "migrate")

    assert done.returncode == 1
    assert "another daemon has the store" in done.stderr


def test_two_replays_of_one_delivery_make_one_new_delivery(hub: Daemon, procedure: SoapProcedure) -> None:
    id_, delivery = dead(hub, procedure)
    command = [
        sys.executable,
        "-m",
        "hub",
        "-c",
        str(hub.deployment.folder / "routes.yaml"),
        "replay",
        delivery,
        *REASON,
    ]
    both = [
        subprocess.Popen(command, cwd="/", env=hub.environment, stderr=subprocess.PIPE, text=True) for _ in range(2)
    ]

    said = [one.communicate(timeout=100)[1] for one in both]

    assert [one.returncode for one in both] == [0, 0]
    (new,) = [one["id"] for one in hub.show(id_)["deliveries"] if one["replay_of"] == delivery]
    # Both have the first one's job, or the second comes when it has ended.
    assert all(f"{delivery}: done {new}" in text or f"{delivery}: skipped it is closed" in text for text in said)


def test_what_would_be_planned_the_same_is_left_as_it_is_by_the_daemon(hub: Daemon) -> None:
    assert hub.cli("pause", "leer/leinen", "--reason", "Wartung").returncode == 0
    id_ = hub.hand_in(leinen(2)).json()["id"]

    done = hub.cli("replan", id_, *REASON, "--json")

    (result,) = json.loads(done.stdout)["results"]
    assert (result["result"], result["detail"]) == ("skipped", "its plan has not changed")
    (delivery,) = hub.show(id_)["deliveries"]
    assert (delivery["state"], delivery["reason"]) == ("waiting", "paused")
    assert hub.cli("resume", "leer/leinen", *REASON).returncode == 0
    until(lambda: having(hub, id_, "delivered") == [delivery["id"]], "it is delivered")


def test_a_payload_is_read_beside_the_daemon_with_a_reason_only(hub: Daemon) -> None:
    body = leinen(1)
    id_ = hub.hand_in(body).json()["id"]

    without = hub.cli("messages", "show", id_, "--payload", "received")
    read = hub.cli("messages", "show", id_, "--payload", "received", "--reason", "Ticket 4711")

    assert (without.returncode, without.stdout) == (2, "")
    assert (read.returncode, read.stdout.encode()) == (0, body)


def test_a_second_daemon_ends_and_the_first_one_goes_on(hub: Daemon) -> None:
    second = hub.cli("run")

    assert second.returncode == 1
    assert "another daemon has the store" in second.stderr
    assert hub.hand_in(leinen(1)).status_code == 202


def test_what_would_be_done_is_shown_and_not_done(hub: Daemon, procedure: SoapProcedure) -> None:
    id_, delivery = dead(hub, procedure)

    done = hub.cli("replay", id_, *REASON, "--dry-run", "--json")

    assert (done.returncode, [one["id"] for one in json.loads(done.stdout)["items"]]) == (0, [delivery])
    assert having(hub, id_, "dead") == [delivery]
    assert hub.cli("close", id_, "--as", "cancelled", *REASON).returncode == 0

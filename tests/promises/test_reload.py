"""A new configuration comes into service wholly or not at all, and no message notices."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemon import Daemon, until
from tests.leinen import Leinen, folder_out, leinen

RELOADS = 6


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Daemon]:
    deployment = Leinen(tmp_path, {"nordheim": folder_out("out/nord"), "suedheim": folder_out("out/sued")})
    with Daemon(deployment) as running:
        yield running


class Sender(threading.Thread):
    """Hands in one document after the other until it is told to stop; remembers what it was told."""

    def __init__(self, hub: Daemon, town: int) -> None:
        super().__init__(daemon=True)
        self.hub, self.town = hub, town
        self.done = threading.Event()
        self.receipts: list[str] = []
        self.other: list[str] = []

    def run(self) -> None:
        while not self.done.is_set():
            try:
                answer = self.hub.hand_in(leinen(self.town))
            except OSError as error:
                self.other.append(type(error).__name__)
                continue
            if answer.status_code == 202:
                self.receipts.append(answer.json()["id"])
            else:
                self.other.append(f"{answer.status_code} {answer.text[:200]}")


def test_reloads_under_load_lose_misroute_and_refuse_nothing(hub: Daemon) -> None:
    senders = [Sender(hub, 0), Sender(hub, 1)]
    for sender in senders:
        sender.start()
    routes = hub.deployment.routes
    before = hub.asked("/metrics")

    snapshots = set()
    for number in range(RELOADS):
        broken = number % 2 == 1
        # The source changes each time as well: its socket has to pass to the next listener.
        routes["inbound"]["online"]["max_body"] = f"{number + 1}MB"
        routes["routes"]["leinen"]["priority"] = "kaputt" if broken else str(number)
        hub.deployment.write()
        done = hub.cli("reload")
        if broken:
            assert done.returncode == 78, done.stderr
            assert "priority" in done.stderr
        else:
            assert done.returncode == 0, done.stderr
            snapshots.add(done.stderr.split()[-1])
        reached = [len(sender.receipts) for sender in senders]
        until(
            lambda reached=reached: all(len(s.receipts) > n for s, n in zip(senders, reached, strict=True)), "traffic"
        )
    for sender in senders:
        sender.done.set()
    for sender in senders:
        sender.join(60)

    assert before
    assert len(snapshots) == RELOADS / 2
    assert [sender.other for sender in senders] == [[], []]
    receipts = [id_ for sender in senders for id_ in sender.receipts]
    until(lambda: all(one["status"] == "delivered" for one in hub.messages()), "everything is delivered")
    found = {one["id"]: one for one in hub.messages()}
    assert set(receipts) == set(found)
    for sender, town, folder in zip(senders, ("nordheim", "suedheim"), ("nord", "sued"), strict=True):
        mine = [found[id_] for id_ in sender.receipts]
        assert {d["destination"] for one in mine for d in one["deliveries"]} == {f"{town}/leinen"}
        assert len(list((hub.deployment.folder / "out" / folder).glob("*.xml"))) == len(mine)


def test_a_broken_configuration_is_refused_with_its_place_and_the_old_one_goes_on(hub: Daemon) -> None:
    hub.deployment.file(
        "routes.yaml", "version: 1\nroutes: {leinen: {match: {type: leinen/1.0}, deliver_to: [nix/da]}}\n"
    )

    done = hub.cli("reload")

    assert done.returncode == 78
    assert "routes.yaml:2:" in done.stderr
    assert hub.ready()
    assert hub.hand_in(leinen()).status_code == 202


def test_a_failing_route_test_refuses_the_reload(hub: Daemon) -> None:
    hub.deployment.file("tests/hund.xml", leinen().decode())
    hub.deployment.routes["tests"] = [
        {
            "name": "falsch",
            "message": "tests/hund.xml",
            "expect": {"route": "leinen", "deliver_to": ["suedheim/leinen"]},
        }
    ]
    hub.deployment.write()

    done = hub.cli("reload")

    assert done.returncode == 78
    assert "falsch" in done.stderr
    assert hub.hand_in(leinen()).status_code == 202


def test_a_signal_reloads_as_the_command_does(hub: Daemon) -> None:
    town = {"name": "ostheim", "ags": "03990777", "values": {"mandant": "7"}, "procedures": {"leinen": {"like": "ost"}}}
    hub.deployment.routes["municipalities"]["ostheim"] = town
    hub.deployment.routes["procedures"]["ost"] = folder_out("out/ost")
    (hub.deployment.folder / "out" / "ost").mkdir(parents=True)
    assert hub.hand_in(leinen(leser="03990777")).status_code == 422
    hub.deployment.write()

    hub.signal(signal.SIGHUP)

    until(lambda: hub.hand_in(leinen(leser="03990777")).status_code == 202, "the new partner is served")
    until(lambda: list((hub.deployment.folder / "out" / "ost").glob("*.xml")), "its message arrives")


def without(hub: Daemon, town: str) -> None:
    """Take a town's destination out of the configuration, and reload."""
    del hub.deployment.routes["municipalities"][town]["procedures"]["leinen"]
    hub.deployment.write()
    done = hub.cli("reload")
    assert done.returncode == 0, done.stderr


def vanished(hub: Daemon, *, tried: bool = False) -> str:
    """Return a message that waits for a destination that has vanished since; perhaps it was tried before."""
    if tried:
        (hub.deployment.folder / "out" / "nord").rmdir()  # not mounted: deliveries wait
    else:
        assert hub.cli("pause", "nordheim/leinen", "--reason", "Wartung").returncode == 0
    id_: str = hub.hand_in(leinen()).json()["id"]
    if tried:
        until(lambda: hub.show(id_)["deliveries"][0]["attempts"], "a first attempt")
    without(hub, "nordheim")
    return id_


def test_a_destination_that_vanished_keeps_its_deliveries_and_every_listing_says_so(hub: Daemon) -> None:
    id_ = vanished(hub, tried=True)

    shown = hub.show(id_)
    (delivery,) = shown["deliveries"]
    assert (shown["status"], delivery["state"], delivery["reason"]) == ("attention", "waiting", "route_gone")
    assert [one["id"] for one in hub.messages("--reason", "route_gone")] == [id_]
    assert [one["id"] for one in hub.messages("--state", "attention")] == [id_]
    assert "route_gone" in hub.cli("messages", "list").stdout
    assert [one["reason"] for one in hub.status(id_).json()["deliveries"]] == ["route_gone"]
    doctor = hub.cli("doctor", "--json")
    assert doctor.returncode == 1
    (complaint,) = json.loads(doctor.stdout)["items"]
    assert (complaint["what"], complaint["needs_person"]) == ("route gone", True)
    assert "nordheim/leinen" in complaint["text"]
    resumed = hub.cli("resume", "nordheim/leinen", "--reason", "los")
    assert (resumed.returncode, "is not configured" in resumed.stderr) == (1, True)


def test_it_flows_on_when_the_destination_comes_back(hub: Daemon) -> None:
    id_ = vanished(hub, tried=True)
    hub.signal(signal.SIGTERM)
    hub.wait()
    hub.start()  # a new start without it changes nothing
    assert hub.show(id_)["deliveries"][0]["reason"] == "route_gone"
    hub.deployment.procedure("nordheim", "leinen", folder_out("out/nord"))
    hub.deployment.write()

    assert hub.cli("reload").returncode == 0

    until(lambda: hub.show(id_)["status"] == "delivered", "it is delivered")
    assert len(list((hub.deployment.folder / "out" / "nord").glob("*.xml"))) == 1
    assert hub.cli("doctor").returncode == 0


def test_what_waits_for_a_vanished_destination_can_be_planned_anew(hub: Daemon) -> None:
    id_ = vanished(hub)
    hub.deployment.procedure("nordheim", "leinen2", folder_out("out/neu"))
    hub.deployment.routes["routes"]["leinen"]["deliver_to"] = ["{municipality}/leinen2"]
    del hub.deployment.routes["municipalities"]["suedheim"]
    hub.deployment.write()
    assert hub.cli("reload").returncode == 0

    done = hub.cli("replan", id_, "--reason", "neues Verfahren")

    assert done.returncode == 0, done.stderr
    until(lambda: list((hub.deployment.folder / "out" / "neu").glob("*.xml")), "it arrives")
    old, new = hub.show(id_)["deliveries"]
    assert (old["state"], old["reason"], new["destination"]) == ("closed", "superseded", "nordheim/leinen2")
    assert hub.cli("resume", "nordheim/leinen", "--reason", "Wartung beendet").returncode == 0  # it was paused, too
    until(lambda: hub.cli("doctor").returncode == 0, "nothing waits any more, so nobody complains")


def test_what_waits_for_a_vanished_destination_can_be_closed(hub: Daemon) -> None:
    id_ = vanished(hub, tried=True)

    done = hub.cli("close", id_, "--as", "delivered-otherwise", "--reason", "per Fax")

    assert done.returncode == 0, done.stderr
    assert hub.show(id_)["status"] == "closed"
    until(lambda: hub.cli("doctor").returncode == 0, "nothing waits any more, so nobody complains")


def test_after_a_reload_explain_tells_what_was_decided_before(hub: Daemon) -> None:
    id_ = hub.hand_in(leinen()).json()["id"]
    hub.deployment.procedure("nordheim", "leinen2", folder_out("out/neu"))
    hub.deployment.routes["routes"]["leinen"]["deliver_to"] = ["{municipality}/leinen2"]
    del hub.deployment.routes["municipalities"]["suedheim"]
    hub.deployment.write()
    assert hub.cli("reload").returncode == 0

    done = hub.cli("explain", "--message", id_, "--json")

    assert done.returncode == 0, done.stderr
    assert "Jürgen Müßig" not in done.stdout + done.stderr
    shown = json.loads(done.stdout)
    assert shown["repeated"]["exactly"]
    assert [one["destination"] for one in shown["plan"]] == ["nordheim/leinen"]
    assert [one["destination"] for one in shown["today"]["plan"]] == ["nordheim/leinen2"]
    assert [(one["what"], one["destination"]) for one in shown["differences"]] == [
        ("destination", "nordheim/leinen"), ("destination", "nordheim/leinen2"),
    ]  # fmt: skip
    assert hub.hand_in(leinen()).status_code == 202


def test_without_a_daemon_reload_says_so(tmp_path: Path) -> None:
    hub = Daemon(Leinen(tmp_path, {"nordheim": folder_out("out/nord")}))
    hub.deployment.write()

    done = hub.cli("reload")

    assert done.returncode == 69
    assert "no daemon answers" in done.stderr

"""A hub that is killed loses nothing that it has given a receipt for, and a hub that is asked to end does so in order.

One daemon for all, a town for each test. Moments are random: each test prints its seed, XOEV_HUB_TEST_SEED repeats it.
"""

from __future__ import annotations

import os
import random
import signal
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from hub.simulate import Answers, Ledger
from hub.simulate.soap import SoapProcedure
from tests.accounts import Sender, account, entries, missing
from tests.daemon import Daemon, until
from tests.leinen import Leinen, leinen, soap

ARRIVE_SECONDS = 20.0
KILLS = 3
TOWNS = ("mitte", "warten", "nochmal", "halten", "worker", "ruhe", "schritt", "ende", "sofort")


@pytest.fixture(scope="module")
def procedures(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, SoapProcedure]]:
    ledger = Ledger(tmp_path_factory.mktemp("procedures") / "ledger.jsonl")
    made = {town: SoapProcedure(town, {}, Answers(), ledger) for town in TOWNS}
    for procedure in made.values():
        procedure.start()
    yield made
    for procedure in made.values():
        procedure.stop()


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory, procedures: dict[str, SoapProcedure]) -> Iterator[Daemon]:
    settings = {town: soap(procedure.address) for town, procedure in procedures.items()}
    settings["halten"]["on_unclear"] = "hold"
    settings["schritt"]["steps"] = [{"python": "steps:die"}]
    deployment = Leinen(tmp_path_factory.mktemp("hub"), settings)
    deployment.file("steps.py", "import os\n\n\ndef die(outgoing):\n    os.kill(os.getpid(), 9)\n")
    with Daemon(deployment) as running:
        yield running


@pytest.fixture
def hub(daemon: Daemon) -> Daemon:
    """The daemon, which runs at the beginning of each test."""
    if not daemon.running:
        daemon.start()
    return daemon


@pytest.fixture
def chance() -> random.Random:
    seed = int(os.environ.get("XOEV_HUB_TEST_SEED") or random.SystemRandom().randrange(1_000_000))
    print(f"XOEV_HUB_TEST_SEED={seed}")
    return random.Random(seed)


def announce(town: str) -> bytes:
    return leinen(TOWNS.index(town))


def receipts(sender: Sender, more: int) -> None:
    """Wait until so many more receipts were given."""
    wanted = len(sender.receipts) + more
    until(lambda: len(sender.receipts) >= wanted, f"{wanted} receipts")


def all_arrive(hub: Daemon, sender: Sender, procedure: SoapProcedure) -> None:
    """Wait until the procedure has everything that was promised, and then until the hub knows it."""
    until(lambda: not missing(sender, procedure), "everything has arrived", ARRIVE_SECONDS)
    until(lambda: account(hub, sender, procedure).keys() == {"delivered"}, "the hub knows it")


# --- kill -9 ------------------------------------------------------------------------------------------------------


def test_everything_acknowledged_arrives_after_kill_9_in_the_middle(
    hub: Daemon, procedures: dict[str, SoapProcedure], chance: random.Random
) -> None:
    procedure, sender = procedures["mitte"], Sender(hub)
    procedure.answers.set([{"slow": "10ms"}])  # so that something is always under way

    for _ in range(KILLS):
        with sender.streaming(partial(announce, "mitte")):
            receipts(sender, chance.randrange(1, 40))
            threading.Event().wait(chance.uniform(0, 0.05))  # the moment is what is tested, not waited for
            hub.kill()
        hub.start()
        sender.hand_in_again()

    all_arrive(hub, sender, procedure)
    assert not sender.refused
    assert not sender.unanswered
    assert account(hub, sender, procedure)["delivered"] >= len(sender.receipts) >= KILLS


def test_what_was_waiting_is_sent_after_kill_9_without_anybodys_help(
    hub: Daemon, procedures: dict[str, SoapProcedure]
) -> None:
    procedure, sender = procedures["warten"], Sender(hub)
    procedure.answers.set(["down"])
    for _ in range(30):
        sender.hand_in(announce("warten"))

    hub.kill()
    procedure.answers.set(["ok"])
    hub.start()

    all_arrive(hub, sender, procedure)
    assert account(hub, sender, procedure) == {"delivered": 30}


def test_what_was_being_sent_goes_out_again_under_the_same_id_unless_a_person_shall_be_asked(
    hub: Daemon, procedures: dict[str, SoapProcedure]
) -> None:
    again, hold = procedures["nochmal"], procedures["halten"]
    senders = {procedure.name: Sender(hub) for procedure in (again, hold)}
    for procedure in (again, hold):
        procedure.answers.set([{"hang": "300s"}, "ok"])
        senders[procedure.name].hand_in(announce(procedure.name))
        until(partial(entries, procedure), "the procedure has it")

    hub.kill()
    hub.start()

    all_arrive(hub, senders["nochmal"], again)
    assert [entry["answer"] for entry in entries(again)] == ["hang", "ok"]
    (message,) = hub.messages("--municipality", "nochmal")
    told = [(event["kind"], event["reason"]) for event in hub.show(message["id"])["deliveries"][0]["events"]]
    assert told == [("claimed", None), ("deferred", "worker_lost"), ("claimed", None), ("delivered", None)]
    (message,) = hub.messages("--municipality", "halten")
    assert message["status"] == "attention"
    assert [(one["state"], one["reason"]) for one in message["deliveries"]] == [("dead", "unclear")]
    assert len(entries(hold)) == 1


def test_no_process_outlives_a_killed_daemon(hub: Daemon) -> None:
    workers = hub.workers()
    assert len(workers) == 2
    assert hub.process is not None

    hub.process.kill()  # the daemon alone, not its group
    hub.wait()

    until(lambda: not any(_runs(pid) for pid in workers), "the workers have ended")


# --- workers ------------------------------------------------------------------------------------------------------


def test_a_killed_worker_costs_no_message_and_is_replaced(
    hub: Daemon, procedures: dict[str, SoapProcedure], chance: random.Random
) -> None:
    procedure, sender = procedures["worker"], Sender(hub)

    with sender.streaming(partial(announce, "worker")):
        for _ in range(4):
            receipts(sender, chance.randrange(5, 30))
            killed = chance.choice(sorted(hub.workers()))
            os.kill(killed, signal.SIGKILL)
            until(lambda: len(hub.workers()) == 2 and not _runs(killed), "the worker is replaced")  # noqa: B023

    assert not sender.refused
    all_arrive(hub, sender, procedure)


def test_workers_killed_while_idle_cost_no_message_and_are_replaced(hub: Daemon) -> None:
    before = hub.workers()
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    until(lambda: not any(_runs(pid) for pid in before), "they are dead")

    assert hub.hand_in(announce("ruhe")).status_code == 202

    until(lambda: len(hub.workers() - before) == 2, "both are replaced")
    assert hub.ready()


def test_a_step_that_kills_its_worker_costs_only_its_own_delivery(
    hub: Daemon, procedures: dict[str, SoapProcedure]
) -> None:
    receipt, sender = hub.hand_in(announce("schritt")), Sender(hub)
    sender.hand_in(announce("ruhe"))

    assert receipt.status_code == 202
    (delivery,) = hub.show(receipt.json()["id"])["deliveries"]
    assert (delivery["state"], delivery["reason"]) == ("dead", "transform_failed")
    assert not entries(procedures["schritt"])
    all_arrive(hub, sender, procedures["ruhe"])


# --- asked to end -------------------------------------------------------------------------------------------------


def test_sigterm_finishes_what_is_in_hand_and_loses_nothing(
    hub: Daemon, procedures: dict[str, SoapProcedure], chance: random.Random
) -> None:
    procedure, sender = procedures["ende"], Sender(hub)
    procedure.answers.set([{"slow": "50ms"}])

    with sender.streaming(partial(announce, "ende")):
        receipts(sender, chance.randrange(10, 40))
        hub.signal()
        assert hub.wait() == 0

    states = account(hub, sender, procedure)
    assert states.keys() <= {"delivered", "waiting"}
    assert states["delivered"] == len(entries(procedure))
    hub.start()
    sender.hand_in_again()
    all_arrive(hub, sender, procedure)
    assert not sender.refused
    deliveries = [entry["delivery"] for entry in entries(procedure)]
    assert len(deliveries) == len(set(deliveries)), "nothing was under way, so nothing comes twice"


def test_a_draining_hub_says_so_and_a_second_signal_ends_it_now(
    hub: Daemon, procedures: dict[str, SoapProcedure]
) -> None:
    procedure, sender = procedures["sofort"], Sender(hub)
    procedure.answers.set([{"hang": "300s"}, "ok"])
    sender.hand_in(announce("sofort"))
    until(lambda: entries(procedure), "the procedure has it")

    hub.signal()
    until(lambda: hub.asked("/readyz") == "draining\n", "it says that it drains")
    assert hub.asked("/livez") == "ok\n"
    hub.signal()

    assert hub.wait() == 1
    hub.start()
    all_arrive(hub, sender, procedure)


def test_a_sign_to_reload_harms_nothing(hub: Daemon) -> None:
    hub.signal(signal.SIGHUP)

    assert hub.hand_in(announce("ruhe")).status_code == 202
    assert hub.ready()


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False

"""Three nodes on one PostgreSQL database: P11, and what they share. Leases are of 5 s here, of 30 s in a storm."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hub.simulate import Answers, Ledger
from hub.simulate.soap import SoapProcedure
from hub.store import migrate
from tests.accounts import account, entries, missing
from tests.cluster import LEASE_SECONDS, Cluster, Node, Portal
from tests.daemon import until
from tests.leinen import leinen, soap
from tests.proving.record import record
from tests.queue_inbox import Inbox
from tests.servers import amqp_url, fresh_database

PATIENCE = LEASE_SECONDS + 110.0
COMMAND = "make test ARGS=tests/promises/test_cluster.py"
TOWNS = ("nordheim", "suedheim", "westheim", "ostheim")
LEASES = 3


@pytest.fixture(scope="module")
def procedures(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, SoapProcedure]]:
    """One procedure for each town, so that no test sees what another one sends."""
    folder = tmp_path_factory.mktemp("procedures")
    made = {town: SoapProcedure(town, {}, Answers(), Ledger(folder / f"{town}.jsonl")) for town in TOWNS}
    for one in made.values():
        one.start()
    yield made
    for one in made.values():
        one.stop()


@pytest.fixture(scope="module")
def inbox() -> Iterator[Inbox]:
    inbox = Inbox(amqp_url(), **{"x-queue-type": "quorum"})
    yield inbox
    inbox.delete()


@pytest.fixture(scope="module")
def cluster(
    procedures: dict[str, SoapProcedure], inbox: Inbox, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    settings = {town: soap(one.address, max_in_flight=4) for town, one in procedures.items()}
    queue = {
        "adapter": "amqp", "sender": "amt", "url": "env:AMQP_URL", "queue": inbox.queue, "prefetch": "10",
        "reject_to": f"{inbox.topology.exchange}/rejected",
    }  # fmt: skip
    with fresh_database() as url:
        migrate(url)
        made = Cluster(tmp_path_factory.mktemp("cluster"), url, 3, settings, AMQP_URL=inbox.wire.url)
        for node in made.nodes:
            node.deployment.routes["inbound"]["queue"] = queue
        with made:
            yield made


@pytest.fixture(autouse=True)
def all_awake(cluster: Cluster) -> Iterator[None]:
    """Whatever a test did to the nodes, the next one finds three."""
    yield
    for node in cluster.nodes:
        if node.asleep:
            node.wake()
        if not node.running:
            node.start()


def settled(cluster: Cluster, town: str) -> bool:
    """Tell whether everything for a town is delivered."""
    rows = cluster.ask(f"SELECT DISTINCT state FROM delivery WHERE destination = '{town}/leinen'")
    return rows == [("delivered",)]


def fell_asleep_while_sending(cluster: Cluster, node: Node) -> set[str]:
    """Put a node to sleep while it is sending something; return what that is."""
    while True:
        until(lambda: cluster.sending(node), "it is sending something", PATIENCE)
        node.sleep()
        if held := cluster.sending(node):
            return held
        node.wake()


def taken_over_of(cluster: Cluster, node: Node) -> set[str]:
    """Wait until the others have taken over all that a node is sending; return all that it was seen to be sending.

    Its last commit may come to its end in the server after it fell asleep.
    """
    seen: set[str] = set()

    def look() -> bool:
        now = cluster.sending(node)
        seen.update(now)
        return not now

    until(look, "the others have taken over", PATIENCE)
    return seen


def called_unclear(cluster: Cluster) -> set[str]:
    """Return what was settled as lost by its owner: these alone may have been sent twice.

    Those that the sleeper held, and on a machine that is starved of time perhaps others that were not renewed.
    """
    return {id_ for (id_,) in cluster.ask("SELECT delivery_id FROM event WHERE reason = 'worker_lost'")}


# --- P11 ----------------------------------------------------------------------------------------------------------


def test_a_node_that_sleeps_for_three_leases_loses_nothing_and_overwrites_nothing(
    cluster: Cluster, procedures: dict[str, SoapProcedure]
) -> None:
    procedure, sleeper = procedures["nordheim"], cluster.nodes[1]
    procedure.answers.set([{"slow": "150ms"}])
    sender = Portal(cluster)

    with sender.streaming(leinen, threads=4):
        held = fell_asleep_while_sending(cluster, sleeper)
        asleep = time.monotonic()
        held |= taken_over_of(cluster, sleeper)
        taken_over = time.monotonic() - asleep
        until(lambda: time.monotonic() - asleep > LEASES * LEASE_SECONDS, "three leases are over", PATIENCE * LEASES)
        sleeper.wake()
        until(sleeper.is_healthy, "it is there again", PATIENCE)
        wanted = len(sender.receipts) + 20
        until(lambda: len(sender.receipts) >= wanted, "receipts go on", PATIENCE)
    sender.hand_in_again()
    until(lambda: not missing(sender, procedure), "everything has arrived", PATIENCE)
    until(lambda: settled(cluster, "nordheim"), "the hub knows it", PATIENCE)

    assert not sender.refused
    states = account(cluster.nodes[0], sender, procedure)
    given = Counter(entry["delivery"] for entry in entries(procedure))
    doubled = {delivery for delivery, times in given.items() if times > 1}
    assert held <= (unclear := called_unclear(cluster))
    assert doubled <= unclear, "delivered twice, and its history does not say that it may have been"
    overwritten = cluster.ask(
        "SELECT delivery_id FROM event WHERE kind IN ('delivered', 'died') GROUP BY delivery_id HAVING count(*) > 1"
    )
    assert overwritten == []
    record(
        "P11",
        f"SIGSTOP of one node of three for {LEASES} leases",
        {
            "leases (s)": LEASE_SECONDS, "receipts": len(sender.receipts), "lost": 0, "delivered": states["delivered"],
            "held by the sleeper": len(held), "delivered twice, same id": len(doubled), "overwritten": 0,
            "taken over after (s)": round(taken_over, 1),
        },
        COMMAND,
    )  # fmt: skip


def test_when_one_of_three_is_killed_the_others_take_over_what_it_was_sending(
    cluster: Cluster, procedures: dict[str, SoapProcedure]
) -> None:
    procedure, victim = procedures["suedheim"], cluster.nodes[2]
    procedure.answers.set([{"slow": "150ms"}])
    sender = Portal(cluster)

    with sender.streaming(lambda: leinen(1), threads=4):
        until(lambda: cluster.sending(victim), "it is sending something", PATIENCE)
        victim.sleep()  # so that what it holds is known, and no answer comes in between
        held = cluster.sending(victim)
        victim.kill()
        killed = time.monotonic()
        wanted = len(sender.receipts) + 20
        held |= taken_over_of(cluster, victim)
        taken_over = time.monotonic() - killed
        until(lambda: len(sender.receipts) >= wanted, "receipts go on", PATIENCE)
    sender.hand_in_again()
    until(lambda: not missing(sender, procedure), "everything has arrived", PATIENCE)
    until(lambda: settled(cluster, "suedheim"), "the hub knows it", PATIENCE)

    account(cluster.nodes[0], sender, procedure)
    given = Counter(entry["delivery"] for entry in entries(procedure))
    doubled = {delivery for delivery, times in given.items() if times > 1}
    assert doubled <= called_unclear(cluster)
    record(
        "P11",
        "kill -9 of one node of three",
        {
            "leases (s)": LEASE_SECONDS, "receipts": len(sender.receipts), "lost": 0, "held by the killed": len(held),
            "delivered twice, same id": len(doubled), "taken over after (s)": round(taken_over, 1),
        },
        COMMAND,
    )  # fmt: skip


# --- ways in ------------------------------------------------------------------------------------------------------


def test_one_document_handed_to_all_nodes_at_once_is_one_message(cluster: Cluster) -> None:
    documents = [leinen(2) for _ in range(10)]

    with ThreadPoolExecutor(9) as threads:
        asked = [(node, document) for document in documents for node in cluster.nodes]
        answers = list(threads.map(lambda one: one[0].hand_in(one[1]), asked))

    assert {answer.status_code for answer in answers} <= {200, 202}
    ids = [{answer.json()["id"] for answer in answers[at : at + 3]} for at in range(0, 30, 3)]
    assert [len(one) for one in ids] == [1] * 10
    assert sum(answer.status_code == 202 for answer in answers) == 10
    (first,) = ids[0]
    assert [node.status(first).status_code for node in cluster.nodes] == [200] * 3


def test_nodes_compete_for_one_quorum_queue_and_each_message_is_stored_and_delivered_once(
    cluster: Cluster, procedures: dict[str, SoapProcedure], inbox: Inbox
) -> None:
    procedure, victim = procedures["westheim"], cluster.nodes[0]
    documents = [leinen(2) for _ in range(150)]
    before = {id_ for (id_,) in cluster.ask("SELECT id FROM message WHERE source = 'queue'")}

    for document in documents[:75]:
        inbox.publish(document)
    until(lambda: inbox.count("acked") >= 20, "some are taken", PATIENCE)
    victim.kill()
    for document in documents[75:]:
        inbox.publish(document)
    taken = "SELECT id FROM message WHERE source = 'queue' AND verdict = 'accepted'"
    until(lambda: len(cluster.ask(taken)) - len(before) >= len(documents), "all are stored", PATIENCE)
    until(lambda: settled(cluster, "westheim"), "all are delivered", PATIENCE)
    until(lambda: inbox.depth() == 0, "the queue is empty", PATIENCE)

    assert len(cluster.ask(taken)) - len(before) == len(documents)
    mine = {id_ for (id_,) in cluster.ask("SELECT d.id FROM delivery d JOIN message m ON m.id = d.message_id"
                                          " WHERE m.source = 'queue'")}  # fmt: skip
    assert mine <= {entry["delivery"] for entry in entries(procedure)}
    assert inbox.rejected() == []
    assert inbox.count("given back") == 0


# --- what they share ----------------------------------------------------------------------------------------------


def test_a_destination_that_is_paused_on_one_node_is_paused_on_all(
    cluster: Cluster, procedures: dict[str, SoapProcedure]
) -> None:
    first, second, third = cluster.nodes
    before = len(entries(procedures["ostheim"]))
    assert first.cli("pause", "ostheim/leinen", "--reason", "Wartung").returncode == 0

    ids = [node.hand_in(leinen(3)).json()["id"] for node in cluster.nodes for _ in range(3)]
    beside = [node.hand_in(leinen(2)).json()["id"] for node in cluster.nodes]
    until(lambda: all(second.status(id_).json()["status"] == "delivered" for id_ in beside), "others go on", PATIENCE)

    assert len(entries(procedures["ostheim"])) == before
    assert {one["reason"] for one in second.status(ids[0]).json()["deliveries"]} == {"paused"}
    assert third.cli("resume", "ostheim/leinen", "--reason", "Wartung beendet").returncode == 0
    until(lambda: all(second.status(id_).json()["status"] == "delivered" for id_ in ids), "all arrive", PATIENCE)


def test_a_destination_that_only_one_node_knows_is_served_by_that_node(cluster: Cluster, tmp_path: Path) -> None:
    """While one node after the other is given a new configuration."""
    new = cluster.nodes[2]
    town = SoapProcedure("neuheim", {}, Answers([{"slow": "1s"}]), Ledger(tmp_path / "neuheim.jsonl"))
    town.start()
    municipality = {"name": "neuheim", "ags": "03990004", "values": {"mandant": "4"}}
    deployment = new.deployment
    deployment.routes["municipalities"]["neuheim"] = municipality
    deployment.procedure("neuheim", "leinen", soap(town.address, max_in_flight=1))
    deployment.write()
    try:
        assert new.cli("reload").returncode == 0
        ids = [new.hand_in(leinen(leser="03990004")).json()["id"] for _ in range(4)]
        until(lambda: all(new.status(id_).json()["status"] == "delivered" for id_ in ids), "all arrive", PATIENCE)

        given = Counter(entry["delivery"] for entry in entries(town))
        assert sorted(given.values()) == [1] * 4
        assert cluster.ask("SELECT 1 FROM control WHERE destination = 'neuheim/leinen'") == []
    finally:
        town.stop()
        del deployment.routes["municipalities"]["neuheim"], deployment.routes["procedures"]["neuheim-leinen"]
        deployment.write()
        assert new.cli("reload").returncode == 0


def test_periodic_work_of_the_cluster_is_noted_in_the_database(cluster: Cluster) -> None:
    """What is done in turns is proved over the store; here, that the daemons do it so."""
    until(lambda: cluster.ask("SELECT 1 FROM setting WHERE name = 'turn retention'"), "one had the turn", PATIENCE)

    said = [json.loads(text[20:]) for (text,) in cluster.ask("SELECT value FROM setting WHERE name ~ '^node '")]
    assert len({one["snapshot"] for one in said}) >= 3
    errors = [line for node in cluster.nodes for line in log_lines(node) if line.get("event") == "periodic_job_failed"]
    assert errors == []


def log_lines(node: Node) -> list[dict[str, object]]:
    return [json.loads(line) for line in node.log.read_text("utf-8").splitlines() if line.startswith("{")]

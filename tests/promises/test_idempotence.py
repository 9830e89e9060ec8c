"""P6: the same again gets the same receipt, other content under the same identity a conflict; whatever comes between.

20 threads hand in the same documents in different orders, over HTTP, mixed with other contents under the same
identities; then again after a restart. A file and a queued message whose receipt the hub did not live to note are
handed in again by their sources. 100 identities in the suite, 500 by ``make storm``.
"""

from __future__ import annotations

import hashlib
import random
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from hub import crashpoint
from hub.selftest.checker import check
from hub.selftest.ledgers import Receipt
from hub.store.accounting import read_account
from tests.daemon import Daemon, until
from tests.leinen import TOKENS, Leinen, folder_out, leinen
from tests.proving.record import STORM, record, seed
from tests.queue_inbox import Inbox
from tests.servers import amqp_url

IDENTITIES, THREADS = (500, 20) if STORM else (100, 20)
SEED = seed()
COMMAND = (
    f"XOEV_HUB_TEST_SEED={SEED} {'XOEV_HUB_STORM=1 ' if STORM else ''}make test ARGS=tests/promises/test_idempotence.py"
)

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Daemon]:
    deployment = Leinen(tmp_path / "hub", {"nordheim": folder_out("out")})
    with Daemon(deployment) as running:
        yield running


class Answers:
    """What all threads were told, by the document that they handed in."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.receipts: dict[bytes, set[str]] = defaultdict(set)
        self.statuses: Counter[int] = Counter()

    def note(self, body: bytes, answer: requests.Response) -> None:
        with self._lock:
            self.statuses[answer.status_code] += 1
            if answer.status_code in (200, 202):
                self.receipts[body].add(answer.json()["id"])


def hand_in_all(hub: Daemon, pieces: list[tuple[bytes, str]], threads: int, answers: Answers) -> None:
    """Let each thread hand in everything once, in an order of its own."""

    def run(number: int) -> None:
        order = random.Random(f"{SEED}/{number}").sample(pieces, len(pieces))
        with requests.Session() as http:
            http.headers.update({"Content-Type": "application/xml", "Authorization": f"Bearer {TOKENS['portal']}"})
            for body, key in order:
                headers = {"Idempotency-Key": key} if key else {}
                answer = http.post(hub.url, data=body, headers=headers, timeout=60)
                while answer.status_code == 503:  # asked to come again, and does
                    answers.note(body, answer)
                    answer = http.post(hub.url, data=body, headers=headers, timeout=60)
                answers.note(body, answer)

    running = [threading.Thread(target=run, args=(number,), daemon=True) for number in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join(300)
    assert not any(thread.is_alive() for thread in running)


def test_the_same_handed_in_by_many_at_once_is_one_message_and_other_content_is_none(hub: Daemon) -> None:
    print(f"XOEV_HUB_TEST_SEED={SEED}")
    chance = random.Random(SEED)
    pieces: list[tuple[bytes, str]] = []  # a document, and the key it is handed in with
    rivals: list[tuple[bytes, bytes]] = []
    for number in range(IDENTITIES):
        body = leinen(id_=f"id-{number}")
        key = f"key-{number}" if chance.random() < 0.5 else ""
        pieces.append((body, key))
        if chance.random() < 0.2:  # somebody else's content under the same identity
            rival = leinen(id_=f"id-{number}", name="Hasso")
            pieces.append((rival, key))
            rivals.append((body, rival))
    answers = Answers()

    hand_in_all(hub, pieces, THREADS, answers)
    first = {body: set(ids) for body, ids in answers.receipts.items()}
    hub.kill()
    hub.start()
    hand_in_all(hub, pieces, 2, answers)

    assert {body: set(ids) for body, ids in answers.receipts.items()} == first, "a restart forgot a receipt"
    assert all(len(ids) == 1 for ids in answers.receipts.values())
    for body, rival in rivals:
        assert (body in answers.receipts) != (rival in answers.receipts), "two contents under one identity"
    assert len(answers.receipts) == IDENTITIES
    assert set(answers.statuses) <= {200, 202, 409, 503}
    assert answers.statuses[202] == IDENTITIES
    until(lambda: not hub.messages("--state", "open"), "everything is delivered")
    hub.kill()
    receipts = [Receipt(id_, hashlib.sha256(body).hexdigest()) for body, ids in answers.receipts.items() for id_ in ids]
    account = read_account(f"sqlite:///{hub.state / 'hub.db'}", hub.state)
    verdict = check(receipts, account, [], unheard=["nordheim/leinen"])
    assert verdict.violations == ()
    assert verdict.figures["accepted"] == IDENTITIES
    arrived = [path.read_bytes() for path in (hub.deployment.folder / "out").glob("*.xml")]
    assert sorted(arrived) == sorted(answers.receipts)
    figures = {
        "threads": THREADS, "identities": IDENTITIES, "handed_in": sum(answers.statuses.values()),
        "stored": verdict.figures["accepted"], "conflicts_told": answers.statuses[409],
        "answers_500": sum(number for status, number in answers.statuses.items() if status >= 500 and status != 503),
        "silent_drops": IDENTITIES - verdict.figures["accepted"], "seed": SEED,
    }  # fmt: skip
    record(
        "P6", "the same and rival contents by many threads at once, again after kill -9, over HTTP", figures, COMMAND
    )


def test_a_file_whose_receipt_was_not_noted_is_taken_again_as_the_same(tmp_path: Path) -> None:
    deployment = Leinen(tmp_path / "hub", {"nordheim": folder_out("out")})
    box = deployment.folder / "box"
    box.mkdir(parents=True)
    deployment.routes["inbound"]["box"] = {"adapter": "folder", "path": "box", "sender": "amt", "every": "100ms"}
    bodies = [leinen() for _ in range(5)]
    for number, body in enumerate(bodies):
        deployment.file(f"box/{number}.xml", body.decode())
    hub = Daemon(deployment, XOEV_HUB_STAGE="test")
    hub.deployment.write()

    hub.environment[crashpoint.VARIABLE] = "before-answer:3"  # after its commit, before the file is moved
    hub.process = hub.spawn()
    assert hub.wait() == -9
    assert len(list(box.glob("*.xml"))) == 3
    del hub.environment[crashpoint.VARIABLE]
    with hub:
        until(lambda: not list(box.glob("*.xml")), "all files are taken")
        until(lambda: not hub.messages("--state", "open"), "everything is delivered")
        listed = hub.messages()

    assert len(list((box / "done").iterdir())) == len(listed) == len(bodies)
    arrived = [path.read_bytes() for path in (deployment.folder / "out").glob("*.xml")]
    assert sorted(arrived) == sorted(bodies)
    record(
        "P6", "killed between the commit and the move of a file", {"files": len(bodies), "stored": len(listed)}, COMMAND
    )


def test_a_queued_message_whose_receipt_was_not_acknowledged_is_taken_again_as_the_same(tmp_path: Path) -> None:
    inbox = Inbox(amqp_url())
    try:
        deployment = Leinen(tmp_path / "hub", {"nordheim": folder_out("out")})
        deployment.routes["inbound"]["queue"] = {
            "adapter": "amqp", "sender": "amt", "url": "env:AMQP_URL", "queue": inbox.queue, "prefetch": "10",
            "reject_to": f"{inbox.topology.exchange}/rejected",
        }  # fmt: skip
        bodies = [leinen() for _ in range(5)]
        for body in bodies:
            inbox.publish(body)
        hub = Daemon(deployment, AMQP_URL=inbox.wire.url, XOEV_HUB_STAGE="test")
        hub.deployment.write()

        hub.environment[crashpoint.VARIABLE] = "before-answer:3"
        hub.process = hub.spawn()
        assert hub.wait() == -9
        del hub.environment[crashpoint.VARIABLE]
        with hub:
            until(lambda: len(hub.messages()) >= len(bodies), "everything is taken")
            until(lambda: not hub.messages("--state", "open"), "everything is delivered")
            listed = hub.messages()
        rejected = inbox.rejected()
    finally:
        inbox.delete()

    assert len(listed) == len(bodies)
    assert rejected == []
    arrived = [path.read_bytes() for path in (deployment.folder / "out").glob("*.xml")]
    assert sorted(arrived) == sorted(bodies)
    record(
        "P6",
        "killed between the commit and the acknowledgement to the broker",
        {"messages": len(bodies), "stored": len(listed)},
        COMMAND,
    )

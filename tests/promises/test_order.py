"""P9: of each order key the procedure gets one after the other, whatever fails, is tried again, or dies in between.

10 keys × 20 messages in the suite, 100 × 200 by ``make storm``. The procedure refuses to take now every fifth one, and
the hub is killed in between. What counts is when a document first came to the procedure.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import random
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from hub.simulate import Answers, Ledger
from hub.simulate.soap import SoapProcedure
from tests.daemon import Daemon, until
from tests.leinen import PROFILE, Leinen, leinen, soap
from tests.proving.record import STORM, record

KEYS, MESSAGES, KILLS = (100, 200, 10) if STORM else (10, 20, 2)
SEED = int(os.environ.get("XOEV_HUB_TEST_SEED") or random.SystemRandom().randrange(1_000_000))
SECONDS = 4 * 3600 if STORM else 240
COMMAND = f"XOEV_HUB_TEST_SEED={SEED} {'XOEV_HUB_STORM=1 ' if STORM else ''}make test ARGS=tests/promises/test_order.py"

pytestmark = pytest.mark.timeout(SECONDS + 60)


@pytest.fixture
def procedure(tmp_path: Path) -> Iterator[SoapProcedure]:
    chance = random.Random(SEED)
    hard = [{"code": "23"}, {"fault": {"code": "Server"}}, "taken-then-cut", {"status": 503}]
    answers = [chance.choice(hard) if chance.random() < 0.2 else "ok" for _ in range(2 * KEYS * MESSAGES)]
    made = SoapProcedure("nordheim", {}, Answers([*answers, "ok"]), Ledger(tmp_path / "ledger.jsonl"))
    made.start()
    yield made
    made.stop()


@pytest.fixture
def hub(tmp_path: Path, procedure: SoapProcedure) -> Iterator[Daemon]:
    settings = soap(procedure.address, ordered_by="key:chip", retry={"first": "50ms", "ceiling": "200ms"})
    deployment = Leinen(tmp_path / "hub", {"nordheim": settings})
    key = '\nkeys: {chip: {xpath: /l:anmeldung/l:hund/@chip, pattern: "[0-9]{15}"}}\n'
    deployment.file("schemas/xoev/leinen/1.0/profile.yaml", PROFILE + key)
    with Daemon(deployment) as running:
        yield running


def hand_in_all(hub: Daemon, key: int) -> None:
    """Hand in all of one key: each after the receipt of the one before, again until it has one."""
    for number in range(MESSAGES):
        body = leinen(chip=f"{key:015}", id_=f"{key}-{number}", name=str(number))

        def accepted(body: bytes = body) -> bool:
            try:
                return hub.hand_in(body).status_code in (200, 202)
            except requests.RequestException:
                return False  # killed meanwhile

        until(accepted, "a receipt", SECONDS)


def test_no_document_overtakes_another_of_its_key(hub: Daemon, procedure: SoapProcedure) -> None:
    print(f"XOEV_HUB_TEST_SEED={SEED}")
    chance, wanted = random.Random(SEED), KEYS * MESSAGES

    with ThreadPoolExecutor(min(KEYS, 20)) as threads:
        senders = [threads.submit(hand_in_all, hub, key) for key in range(KEYS)]
        for kill in range(KILLS):
            many = wanted * (kill + 1) // (KILLS + 2) + chance.randrange(5)
            until(lambda many=many: len(procedure.ledger.entries()) >= many, "some have come", SECONDS)
            hub.kill()
            hub.start()
        for sender in senders:
            sender.result()
    until(lambda: len(first_receipts(procedure)) == wanted, "all have come", SECONDS)
    until(lambda: open_deliveries(hub) == 0, "the hub knows it", SECONDS)

    arrived: dict[str, list[int]] = defaultdict(list)
    order = {sent(key, number): (key, number) for key in range(KEYS) for number in range(MESSAGES)}
    for sha256 in first_receipts(procedure):
        key, number = order[sha256]
        arrived[str(key)].append(number)
    inversions = sum(a > b for numbers in arrived.values() for a, b in itertools.pairwise(numbers))
    tries = len(procedure.ledger.entries())
    assert inversions == 0
    assert all(numbers == list(range(MESSAGES)) for numbers in arrived.values())
    assert tries > wanted, "nothing had to be tried again: this proves little"
    figures = {"keys": KEYS, "messages each": MESSAGES, "attempts": tries, "kills": KILLS, "inversions": inversions}
    record("P9", "order keys, with retries and kill -9", figures, COMMAND)


def sent(key: int, number: int) -> str:
    return hashlib.sha256(leinen(chip=f"{key:015}", id_=f"{key}-{number}", name=str(number))).hexdigest()


def first_receipts(procedure: SoapProcedure) -> list[str]:
    """Return what came to the procedure, by its digest, in the order of its first coming."""
    return list(dict.fromkeys(entry["sha256"] for entry in procedure.ledger.entries()))


def open_deliveries(hub: Daemon) -> int:
    """Return how many deliveries are not delivered yet, as the metrics tell it."""
    lines = [line for line in hub.asked("/metrics").splitlines() if line.startswith("xoev_hub_deliveries{")]
    done = 'state="delivered"'
    return sum(int(float(line.rpartition(" ")[2])) for line in lines if done not in line) if lines else -1

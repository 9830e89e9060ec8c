"""P22: a hub that is asked to end, again and again under load, ends in order: nothing is lost and nothing comes twice.

10 SIGTERMs in the suite, 100 by ``make storm``.
"""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from hub.simulate import Answers, Ledger
from hub.simulate.soap import SoapProcedure
from tests.accounts import Sender, account, entries, missing
from tests.daemon import Daemon, until
from tests.leinen import Leinen, leinen, soap
from tests.proving.record import STORM, record

SIGNALS = 100 if STORM else 10
DRAIN_SECONDS = 30.0
SEED = int(os.environ.get("XOEV_HUB_TEST_SEED") or random.SystemRandom().randrange(1_000_000))
COMMAND = f"XOEV_HUB_TEST_SEED={SEED} make test ARGS=tests/promises/test_sigterm_storm.py"

pytestmark = pytest.mark.timeout(60 + 60 * SIGNALS)


@pytest.fixture
def procedure(tmp_path: Path) -> Iterator[SoapProcedure]:
    answers = Answers([{"slow": "40ms"}])  # so that something is under way whenever the signal comes
    made = SoapProcedure("nordheim", {}, answers, Ledger(tmp_path / "ledger.jsonl"))
    made.start()
    yield made
    made.stop()


def test_ten_times_asked_to_end_nothing_is_lost_and_nothing_comes_twice(
    tmp_path: Path, procedure: SoapProcedure
) -> None:
    print(f"XOEV_HUB_TEST_SEED={SEED}")
    chance, slowest = random.Random(SEED), 0.0
    with Daemon(Leinen(tmp_path / "hub", {"nordheim": soap(procedure.address)})) as hub:
        sender = Sender(hub)
        for _ in range(SIGNALS):
            with sender.streaming(partial(leinen, 0)):
                wanted = len(sender.receipts) + chance.randrange(5, 40)
                until(lambda wanted=wanted: len(sender.receipts) >= wanted, "receipts")
                started = time.monotonic()
                hub.signal()
                assert hub.wait() == 0
                slowest = max(slowest, time.monotonic() - started)
            hub.start()
            sender.hand_in_again()

        until(lambda: not missing(sender, procedure), "everything has arrived", 600 if STORM else 60)
        until(lambda: account(hub, sender, procedure).keys() == {"delivered"}, "the hub knows it")

    came = Counter(entry["delivery"] for entry in entries(procedure))
    doubled = sum(count - 1 for count in came.values())
    assert not sender.refused
    assert doubled == 0
    assert slowest < DRAIN_SECONDS
    figures = {"SIGTERMs": SIGNALS, "receipts": len(sender.receipts), "lost": 0, "came twice": doubled}
    record("P22", "SIGTERM under load", figures | {"slowest end, seconds": round(slowest, 1)}, COMMAND)

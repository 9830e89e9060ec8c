"""P10: a clock that jumps by an hour or a day, forth and back while the hub works, loses nothing and doubles nothing.

The wall clock of the daemon and of its workers is set by tests/proving/clock.c; monotonic clocks go on, as on a machine
whose time somebody has set. What was put off while the clock was ahead waits for that time: so the last jump goes there.
12 jumps and one restart in the suite, 100 and 10 by ``make storm``.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from hub.simulate import Answers, Ledger
from hub.simulate.soap import SoapProcedure
from hub.store import migrate
from tests.accounts import Sender, account, entries, missing
from tests.daemon import Daemon, until
from tests.leinen import Leinen, leinen, soap
from tests.proving.clock import ShiftedClock
from tests.proving.record import STORM, record
from tests.servers import fresh_database

JUMPS, RESTARTS = (100, 10) if STORM else (12, 1)
HOUR, DAY = 3600, 86_400
SEED = int(os.environ.get("XOEV_HUB_TEST_SEED") or random.SystemRandom().randrange(1_000_000))
SECONDS = 600.0 if STORM else 120.0
COMMAND = f"XOEV_HUB_TEST_SEED={SEED} make test ARGS=tests/promises/test_clocks.py"

pytestmark = pytest.mark.timeout(1800 if STORM else 300)


@pytest.fixture
def procedure(tmp_path: Path) -> Iterator[SoapProcedure]:
    chance = random.Random(SEED)
    answers = [{"code": "23"} if chance.random() < 0.3 else {"slow": "50ms"} for _ in range(5000)]
    made = SoapProcedure("nordheim", {}, Answers([*answers, "ok"]), Ledger(tmp_path / "ledger.jsonl"))
    made.start()
    yield made
    made.stop()


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest) -> Iterator[dict[str, str]]:
    if request.param == "sqlite":
        yield {}
        return
    with fresh_database() as url:
        migrate(url)
        yield {"XOEV_HUB_STORE": url}


def test_jumps_of_the_clock_lose_nothing_and_double_nothing(
    tmp_path: Path, procedure: SoapProcedure, store: dict[str, str], request: pytest.FixtureRequest
) -> None:
    print(f"XOEV_HUB_TEST_SEED={SEED}")
    clock, chance = ShiftedClock(tmp_path / "clock"), random.Random(SEED)
    deployment = Leinen(tmp_path / "hub", {"nordheim": soap(procedure.address)})
    with Daemon(deployment, **clock.environment, **store) as hub:
        sender = Sender(hub)
        for restart in range(RESTARTS + 1):
            with sender.streaming(partial(leinen, 0), threads=2):
                for _ in range(JUMPS // (RESTARTS + 1)):
                    clock.shift(chance.choice([-DAY, -HOUR, 0, HOUR, DAY]))
                    wanted = len(sender.receipts) + chance.randrange(2, 8)
                    until(lambda wanted=wanted: len(sender.receipts) >= wanted, "receipts go on", SECONDS)
            if restart < RESTARTS:
                hub.signal()
                assert hub.wait() == 0
                clock.shift(-DAY)  # it starts in a time at which much of what it knows lies in the future
                hub.start()
        clock.shift(DAY + 60)

        until(lambda: not missing(sender, procedure), "everything has arrived", SECONDS)
        until(lambda: account(hub, sender, procedure).keys() == {"delivered"}, "the hub knows it", SECONDS)
        days = {message["received_at"][:10] for message in hub.messages()}
        told = hub.show_all([receipt.id for receipt in sender.receipts][:50])

    taken = Counter(entry["delivery"] for entry in entries(procedure) if entry["taken"])
    doubled = sum(count - 1 for count in taken.values())
    assert len(days) > 1, "the clock did not jump"
    assert not sender.refused
    assert doubled == 0
    for message in told:
        kinds = Counter(event["kind"] for event in message["deliveries"][0]["events"])
        assert kinds["claimed"] == kinds["deferred"] + 1, "more attempts than due times"
        assert not kinds["died"]
    figures = {"jumps": JUMPS, "up to, in days": 1, "receipts": len(sender.receipts), "lost": 0, "doubled": doubled}
    record("P10", f"the wall clock jumps while the hub works, on {request.node.callspec.id}", figures, COMMAND)

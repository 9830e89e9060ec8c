"""P24: three times what the hub can take, for long: it goes on at its pace, refuses the rest, and loses nothing.

Ten seconds in the suite, ten minutes by ``make storm``. The senders are a process of their own.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hub.simulate import Answers, Ledger
from hub.simulate.script import Answer
from hub.simulate.soap import SoapProcedure
from tests.daemon import Daemon, until
from tests.flood import Flood, flooded
from tests.leinen import Leinen, leinen, soap
from tests.promises.test_overload import MEMORY_MAX, Memory, receipt_p99
from tests.proving.record import STORM, record

SECONDS = 600.0 if STORM else 10.0
CAPACITY_SECONDS = 10.0
BUSY = 48  # connections that find what the hub takes: fewer than it has places, so that none is refused
ACCEPTED_SECONDS_MAX = 2.0
COMMAND = f"{'XOEV_HUB_STORM=1 ' if STORM else ''}make test ARGS=tests/promises/test_overload_for_long.py"

pytestmark = pytest.mark.timeout(3600 if STORM else 400)


class Taken(Ledger):
    """What the procedure has taken, in memory: nobody is killed here, and a sync for each would be its limit."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.deliveries: dict[str, set[str]] = {}  # by the digest of their document

    def write(self, procedure: str, delivery: str, *, sha256: str, size: int, answer: Answer) -> None:
        self.deliveries.setdefault(sha256, set()).add(delivery)


@pytest.fixture
def ledger(tmp_path: Path) -> Taken:
    return Taken(tmp_path / "ledger.jsonl")


@pytest.fixture
def hub(tmp_path: Path, ledger: Taken) -> Iterator[Daemon]:
    procedure = SoapProcedure("nordheim", {}, Answers(), ledger)
    procedure.start()
    with Daemon(Leinen(tmp_path / "hub", {"nordheim": soap(procedure.address)})) as running:
        yield running
    procedure.stop()


def test_three_times_what_it_can_take_for_long(hub: Daemon, ledger: Taken) -> None:
    most = flooded(hub, Flood(connections=BUSY, seconds=CAPACITY_SECONDS))
    assert most.statuses.keys() == {202}
    capacity = most.sent / most.took

    with Memory(hub) as memory:
        told = flooded(hub, Flood(rate=3 * capacity, seconds=SECONDS))
    until(lambda: hub.hand_in(leinen(name="danach")).status_code == 202, "it takes again", 30)

    assert told.statuses.keys() <= {202, 503}, told.statuses
    # In the suite other tests take the processor away, and give it back: then its capacity was more, or less.
    assert told.statuses[202] and told.statuses[503] > (told.statuses[202] if STORM else 0), "no overload"
    assert told.without_retry_after == 0
    p99 = receipt_p99(hub)
    assert p99 <= ACCEPTED_SECONDS_MAX or not STORM
    assert memory.most <= MEMORY_MAX
    promised = most.receipts | told.receipts
    assert len(promised) == most.statuses[202] + told.statuses[202]
    waited_for = len(ledger.deliveries)
    until(lambda: promised.keys() <= ledger.deliveries.keys(), "all that has a receipt has arrived", 3 * SECONDS + 120)
    assert {len(ids) for ids in ledger.deliveries.values()} == {1}
    figures = {
        "taken a second at most": round(capacity), "sent a second": round(told.sent / told.took),
        "seconds": round(told.took), "accepted": told.statuses[202], "told to come again": told.statuses[503],
        "no answer": told.statuses[0], "accepted p99, seconds": round(p99, 2),
        "most memory, MB": memory.most // 1_000_000, "still to be delivered at the end": len(promised) - waited_for,
        "accepted and lost": 0,
    }  # fmt: skip
    record("P24", "three times what it can take, for long", figures, COMMAND)

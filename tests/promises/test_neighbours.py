"""One slow procedure delays only itself: nine healthy ones do not notice a tenth that hangs.

The same nine are measured without and with it, turn by turn in one run, so that a busy machine slows both alike.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from hub.simulate import Answers, Ledger
from hub.simulate.soap import SoapProcedure
from tests.accounts import Sender, account, entries, missing
from tests.daemon import Daemon, until
from tests.leinen import Leinen, leinen, soap
from tests.proving.record import record

HEALTHY = [f"gesund-{number}" for number in range(9)]
HANGING = "haengt"
TOWNS = [*HEALTHY, HANGING]
TURNS = 3
ROUNDS = 5  # documents to each healthy procedure per turn
IN_FLIGHT = 4
QUEUED = 12
FLOOR_SECONDS = 0.150  # below this nobody waits for anybody; a few milliseconds of noise are no neighbour


@pytest.fixture
def procedures(tmp_path: Path) -> Iterator[dict[str, SoapProcedure]]:
    made = {town: SoapProcedure(town, {}, Answers(), Ledger(tmp_path / f"{town}.jsonl")) for town in TOWNS}
    for procedure in made.values():
        procedure.start()
    yield made
    for procedure in made.values():
        procedure.stop()


@pytest.fixture
def hub(tmp_path: Path, procedures: dict[str, SoapProcedure]) -> Iterator[Daemon]:
    settings = {town: soap(procedure.address, max_in_flight=IN_FLIGHT) for town, procedure in procedures.items()}
    with Daemon(Leinen(tmp_path / "hub", settings)) as running:
        yield running


def turn(hub: Daemon, procedures: dict[str, SoapProcedure]) -> list[float]:
    """Hand documents in for the healthy ones, in turn; return how long each took from its sender to its procedure."""
    handed_in = {}
    for _ in range(ROUNDS):
        for town in HEALTHY:
            body = leinen(TOWNS.index(town))
            handed_in[hashlib.sha256(body).hexdigest()] = time.time()
            assert hub.hand_in(body).status_code == 202

    def taken() -> dict[str, float]:
        every = (entry for town in HEALTHY for entry in entries(procedures[town]))
        return {entry["sha256"]: datetime.fromisoformat(entry["time"]).timestamp() for entry in every if entry["taken"]}

    until(lambda: handed_in.keys() <= taken().keys(), "the healthy ones have everything", 90)
    return [taken_at - handed_in[digest] for digest, taken_at in taken().items() if digest in handed_in]


def p95(seconds: list[float]) -> float:
    return sorted(seconds)[int(len(seconds) * 0.95)]


def test_a_hanging_procedure_does_not_delay_its_nine_neighbours(
    hub: Daemon, procedures: dict[str, SoapProcedure]
) -> None:
    hanging, sender = procedures[HANGING], Sender(hub)
    without: list[float] = []
    beside: list[float] = []
    turn(hub, procedures)  # threads, connections and the procedures' WSDLs come with the first

    for number in range(TURNS):
        without += turn(hub, procedures)
        hanging.answers.set([{"hang": "300s"}])
        for _ in range(QUEUED):
            sender.hand_in(leinen(TOWNS.index(HANGING)))
        hung = IN_FLIGHT * (number + 1)
        until(lambda: sum(entry["answer"] == "hang" for entry in entries(hanging)) >= hung, "it hangs")  # noqa: B023
        beside += turn(hub, procedures)
        assert account(hub, sender, hanging)["sending"] == IN_FLIGHT, "it has hung all the while"
        hanging.answers.set(["ok"])
        hanging.stop()  # hangs up on those that wait for it
        hanging.start()
        until(lambda: not missing(sender, hanging), "what had hung has arrived")

    print(f"p95 without {p95(without) * 1000:.0f} ms, beside a hanging one {p95(beside) * 1000:.0f} ms")
    assert len(without) == len(beside) == TURNS * ROUNDS * len(HEALTHY)
    assert p95(beside) <= max(2 * p95(without), FLOOR_SECONDS)
    until(lambda: account(hub, sender, hanging).keys() == {"delivered"}, "the hanging one lost nothing either")
    figures = {
        "healthy procedures": len(HEALTHY), "hanging": 1, "documents each way": len(beside), "lost": 0,
        "p95 without, ms": round(p95(without) * 1000), "p95 beside, ms": round(p95(beside) * 1000),
    }  # fmt: skip
    record("P8", "one of ten procedures hangs", figures, "make test ARGS=tests/promises/test_neighbours.py")

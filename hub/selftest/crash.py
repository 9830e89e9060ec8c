"""The kill proof: a hub under load is killed again and again, at random moments and at every named place.

start ─▶ senders hand in ─▶ kill -9 ─▶ start again ─▶ senders hand in again what got no receipt ─┐
  ▲                                                                                              │
  └──────────────────────────────── as often as asked for ───────────────────────────────────────┘
at the end: everything is delivered, the hub stops in order, ledgers and store are held against each other
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from hub import crashpoint
from hub.selftest.checker import Given, Verdict, check
from hub.selftest.ledgers import SenderLedger
from hub.selftest.scratch import LARGE_PROBE, MAX_IN_FLIGHT, SOAP, Scratch, TooSlow, probe, until
from hub.selftest.senders import Senders
from hub.simulate import Answers, Ledger
from hub.simulate.script import Answer
from hub.simulate.soap import SoapProcedure
from hub.store.accounting import count_states, read_account

KILLS = 20
RECEIPTS_PER_KILL = 60
DIE_SECONDS = 60.0
SETTLE_SECONDS = 180.0
RANDOM = "random moment"
SIZES = (300, 300, 2_000, 2_000, 20_000, 200_000)  # bytes of content
LARGE_ONE_IN = 150  # documents
MOODS = {"ok": 84, "slow": 6, "status": 7, "code": 3}  # of a hundred documents

# Only rejected documents are erased in a hub without deadlines, once a minute: that place has a test of its own.
PLACES = tuple(place for place in crashpoint.PLACES if place not in ("during-migration", "during-erasure"))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a proof."""

    seed: int
    verdict: Verdict
    kills: Mapping[str, int]  # by place
    handed_in: int
    restarts_seconds: tuple[float, ...]
    began: datetime
    ended: datetime
    in_flight_max: int = MAX_IN_FLIGHT  # of the procedure; in a folder the same delivery is the same file

    @property
    def kept(self) -> bool:
        return self.verdict.kept


class Mood(Answers):
    """A procedure as they are: mostly well, sometimes slow, busy, or of another opinion."""

    def __init__(self, chance: random.Random) -> None:
        super().__init__()
        self._chance, self._choosing = chance, threading.Lock()
        self._each = {
            "ok": Answer.read("ok"),
            "slow": Answer.read({"slow": "40ms"}),
            "status": Answer.read({"status": "503"}),
            "code": Answer.read({"code": "17"}),  # refused: the delivery is dead
        }

    def next(self) -> Answer:
        with self._choosing:
            return self._each[self._chance.choices(list(MOODS), list(MOODS.values()))[0]]


def prove(
    folder: Path,
    *,
    seed: int,
    kills: int = KILLS,
    receipts_per_kill: int = RECEIPTS_PER_KILL,
    tell: Callable[[str], None] = lambda _line: None,
) -> Outcome:
    """Kill a hub so often over a scratch deployment in ``folder``, and return what came of it.

    Raises:
        TooSlow: The hub did not come up again, or did not take or deliver what it should.
    """
    began, chance = datetime.now(UTC), random.Random(seed)  # noqa: S311  # repeated by its seed
    ledger = SenderLedger(folder / "senders.jsonl")
    with _procedure(folder, chance) as procedure, Scratch(folder / "hub", procedure.address) as hub:
        senders = Senders(hub, ledger, _document, seed)
        proof = _Proof(hub, senders, chance, receipts_per_kill, tell)
        proof.run(kills)
        senders.hand_in_again()
        until(lambda: _has_settled(hub), "everything is delivered or dead", SETTLE_SECONDS)
        if (code := hub.stop()) != 0:
            raise TooSlow(f"the hub did not stop in order: exit code {code}")
        verdict = check(
            ledger.receipts(),
            read_account(hub.store, hub.state),
            [*_heard(procedure), *hub.filed()],
            repeated_max=MAX_IN_FLIGHT * sum(proof.kills.values()),
            refused=ledger.refused(),
        )
    handed_in = len({entry["asked"] for entry in ledger.entries() if "asked" in entry})
    return Outcome(seed, verdict, dict(proof.kills), handed_in, tuple(proof.restarts), began, datetime.now(UTC))


class _Proof:
    """The kills of one proof."""

    def __init__(
        self, hub: Scratch, senders: Senders, chance: random.Random, receipts_per_kill: int, tell: Callable[[str], None]
    ) -> None:
        self._hub, self._senders, self._chance = hub, senders, chance
        self._receipts, self._tell = receipts_per_kill, tell
        self.kills: Counter[str] = Counter()
        self.restarts: list[float] = []

    def run(self, kills: int) -> None:
        for number, place in enumerate(_plan(kills, self._chance), 1):
            began = time.monotonic()
            {"during-migration": self._while_migrating, RANDOM: self._at_random}.get(place, self._at)(place)
            self.kills[place] += 1
            self._tell(f"kill {number}/{kills}  {place:16}  {self._senders.receipts:6} receipts  "
                       f"{time.monotonic() - began:5.1f} s")  # fmt: skip
        self._start()

    def _start(self, **environment: str) -> None:
        self.restarts.append(self._hub.start(**environment))
        self._senders.hand_in_again()

    def _while_migrating(self, place: str) -> None:
        """Die with the tables half changed: only a store that is made or brought up to date has such a moment."""
        self._hub.spawn(**{crashpoint.VARIABLE: place})
        self._expect_death(place)

    def _at_random(self, _place: str) -> None:
        self._start()
        with self._senders.streaming():
            self._senders.wait_for(self._chance.randint(1, 2 * self._receipts - 1))
            threading.Event().wait(self._chance.uniform(0, 0.05))  # the moment is what is tested, not waited for
            self._hub.kill()

    def _at(self, place: str) -> None:
        times = 1 if place == "during-reload" else self._chance.randint(1, 2 * self._receipts - 1)
        self._hub.spawn(**{crashpoint.VARIABLE: f"{place}:{times}"})
        # It may die on its way up: what was left to send is sent before anybody hands something in.
        until(lambda: self._hub.ready() or not self._hub.running, "the hub is ready", DIE_SECONDS)
        with self._senders.streaming():
            if place == "during-reload":
                self._senders.wait_for(self._receipts)
                self._hub.reload()
            self._expect_death(place)

    def _expect_death(self, place: str) -> None:
        if not self._hub.died(DIE_SECONDS):
            raise TooSlow(f"the hub did not die at {place}")
        self._hub.kill()  # its workers, if one is still on its way out


def _plan(kills: int, chance: random.Random) -> list[str]:
    """Return where to kill: each place once before any twice, random moments in between; the migration comes first."""
    rest = max(kills - 1, 0)
    places = [PLACES[number // 2 % len(PLACES)] if number % 2 else RANDOM for number in range(rest)]
    missing = [place for place in PLACES if place not in places]
    for number, place in zip((i for i, one in enumerate(places) if one == RANDOM), missing, strict=False):
        places[number] = place
    chance.shuffle(places)
    return ["during-migration", *places][:kills]


@contextmanager
def _procedure(folder: Path, chance: random.Random) -> Iterator[SoapProcedure]:
    mood = Mood(random.Random(chance.random()))  # noqa: S311
    procedure = SoapProcedure(SOAP, {}, mood, Ledger(folder / "procedure.jsonl"))
    procedure.start()
    try:
        yield procedure
    finally:
        procedure.stop()


def _document(chance: random.Random) -> bytes:
    return probe(LARGE_PROBE if chance.randrange(LARGE_ONE_IN) == 0 else chance.choice(SIZES))


def _heard(procedure: SoapProcedure) -> list[Given]:
    return [
        Given(entry["procedure"], entry["delivery"], entry["sha256"], entry["taken"])
        for entry in procedure.ledger.entries()
    ]


def _has_settled(hub: Scratch) -> bool:
    """Tell whether nothing waits and nothing is being sent, by the store itself."""
    counts = count_states(hub.store)
    return not counts.get("waiting") and not counts.get("sending")

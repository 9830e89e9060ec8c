"""What is asked of a store costs the same in one that is ten times larger. 50,000 deliveries here, 2 million in a storm."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest

from hub.store import migrate
from hub.store.api import Filter
from hub.store.sql import SqlStore
from tests.growing import SENDERS, SOURCE, STATISTICS, TOWNS, Meter, fill, received
from tests.proving.record import STORM
from tests.servers import fresh_database
from tests.storing import LEASE, Place

LARGE = 1_000_000 if STORM else 25_000  # messages; each has two deliveries
TIMES = 10
SMALL = LARGE // TIMES
GROWTH_MAX = 2.0  # a tree of the tables is one level deeper
SPARE = 60  # steps (hundreds) or pages: what is so cheap is not worth a ratio
FAR = timedelta(days=4000)


@dataclass(slots=True)
class Grown:
    """A store of some size, and what questions cost there."""

    store: SqlStore
    count: int
    meter: Meter = field(init=False)

    def __post_init__(self) -> None:
        self.meter = Meter(self.store)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Grown, Grown]]:
    """Give two stores on one kind of database, a small one and one that is ten times larger."""
    folder = tmp_path_factory.mktemp("grown")
    with fresh_database() as first, fresh_database() as second:
        made = []
        for number, (url, count) in enumerate(((first, SMALL), (second, LARGE))):
            if request.param == "sqlite":
                url = f"sqlite:///{folder}/{number}/hub.db"
            else:
                migrate(url)
            store = Place(url, folder / str(number)).open()
            fill(url, count)
            made.append(Grown(store, count))
        yield made[0], made[1]
        for one in made:
            one.store.close()


def listed(filter_: Filter, deep: float = 0.0) -> Callable[[Grown], object]:
    """Return what asks for a page: the first, or one so deep in the listing."""

    def ask(at: Grown) -> object:
        page, following = at.store.find(filter_, limit=20, after=str(int(at.count * (1 - deep))) if deep else None)
        assert len(page) == 20
        assert following is not None
        return page

    return ask


TOWN, SENDER = f"town-{100 + TOWNS // 2}", f"sender-{SENDERS // 2}"
QUESTIONS: dict[str, Callable[[Grown], object]] = {
    "newest": listed(Filter()),
    "in the middle": listed(Filter(), 0.5),
    "by municipality": listed(Filter(municipality=TOWN)),
    "by municipality, deep": listed(Filter(municipality=TOWN), 0.5),
    "by sender": listed(Filter(sender=SENDER)),
    "by type": listed(Filter(type="antrag/1.0/antrag.0105")),
    "by destination": listed(Filter(destination=f"town-{100 + TOWNS // 2 + 1}/antrag")),
    "by a large destination, deep": listed(Filter(destination=STATISTICS), 0.5),
    "by route": listed(Filter(route="statistik")),
    "dead": listed(Filter(state="dead")),
    "waiting": listed(Filter(state="waiting")),
    "closed": listed(Filter(state="closed")),
    "delivered": listed(Filter(state="delivered")),
    "by reason": listed(Filter(reason="refused")),
    "of the last hours": lambda at: at.store.find(Filter(since=received(at.count - 100)), limit=20),
    "by reference": lambda at: at.store.find(Filter(reference="A-1"), limit=20),
    "one message": lambda at: at.store.message("m1000001000"),
    "known": lambda at: at.store.known(SENDER, identity="i1000001005", sha256="x"),
    "nothing to erase": lambda at: at.store.settled(SOURCE, before=received(0), limit=100),
    "to erase": lambda at: at.store.settled(SOURCE, before=received(0) + FAR, limit=100),
    "to erase, deep": lambda at: at.store.settled(SOURCE, before=received(0) + FAR, after=f"{int(received(at.count // 2).timestamp()) * 1_000_000}-0", limit=100),
    "next due": lambda at: at.store.next_due(received(0)),
    "which wait": lambda at: at.store.waiting(),
    "lost": lambda at: at.store.lost(received(0)),
}  # fmt: skip


@pytest.mark.parametrize("name", QUESTIONS)
def test_a_question_costs_the_same_in_a_store_ten_times_larger(both: tuple[Grown, Grown], name: str) -> None:
    small, large = both

    costs = [one.meter.cost(lambda: QUESTIONS[name](one)) for one in (small, large)]  # noqa: B023

    assert costs[1] <= GROWTH_MAX * costs[0] + SPARE, f"{name}: {costs}"


def test_claiming_costs_the_same_in_a_store_ten_times_larger(both: tuple[Grown, Grown]) -> None:
    """Last, as it changes something."""
    costs = []
    for one in both:
        now = received(0) + FAR
        claim = lambda: one.store.claim("town-101/antrag", now=now, limit=8, owner="node", lease=LEASE)  # noqa: B023,E731
        costs.append(one.meter.cost(lambda: claim()))  # noqa: B023,PLW0108

    assert costs[1] <= GROWTH_MAX * costs[0] + SPARE, costs


def test_erasing_costs_the_same_in_a_store_ten_times_larger(both: tuple[Grown, Grown]) -> None:
    """For each payload that goes the database asks who refers to it."""
    if not both[0].store.exclusive:
        pytest.skip("explaining a DELETE would run it; PostgreSQL has the same indexes")
    ids = [f"m{10**9 + number}" for number in range(10, 30)]

    costs = [Meter(one.store, writing=True).cost(lambda: one.store.erase_settled(ids)) for one in both]  # noqa: B023

    assert costs[1] <= GROWTH_MAX * costs[0] + SPARE, costs


def test_the_meter_sees_a_walk_over_a_whole_table(both: tuple[Grown, Grown]) -> None:
    """So the measure is able to fail. A time long ago is the one thing that is still looked for by a walk."""
    day = Filter(since=received(1000), until=received(1100))
    costs = [one.meter.cost(lambda: one.store.find(day, limit=20)) for one in both]  # noqa: B023

    assert costs[1] > GROWTH_MAX * costs[0] + SPARE


def test_the_large_store_is_as_large_as_said(both: tuple[Grown, Grown], tmp_path: Path) -> None:
    assert sum(both[1].store.counts().values()) >= 2 * LARGE

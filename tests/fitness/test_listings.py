"""Listings start fast and read no more than a page: what they import, and what their queries may walk through."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from hub.store import migrate
from hub.store.api import Control, Filter
from hub.store.reading import Reader, open_reader
from hub.store.trail import AuditFilter
from tests.servers import fresh_database
from tests.storing import GEWERBE, NOW, Place, acceptance, rejection

HEAVY = (
    "lxml",
    "zeep",
    "pika",
    "uvicorn",
    "saxonche",
    "pydantic",
    "yaml",
    "alembic",
    "psycopg",
    "requests",
    "apscheduler",
)
ROOT = Path(__file__).parents[2]
TOKEN = "0" * 12
FILTERS: list[dict[str, Any]] = [
    {},
    *({"state": state} for state in ("waiting", "sending", "taken", "delivered", "dead", "closed")),
    *({"state": state} for state in ("rejected", "attention", "open")),
    {"route": "antraege"},
    {"municipality": "wolfsburg"},
    {"destination": GEWERBE},
    {"sender": "bauportal"},
    {"reference": "63-0042-26"},
    {"type": "antrag/*"},
    {"type": "antrag/1.0/antrag.0101"},
    {"reason": "refused"},
    {"reason": "peer_tls"},
    {"since": NOW},
    {"until": NOW},
    {"fingerprint": TOKEN},
    {"state": "dead", "destination": GEWERBE},
    {"state": "dead", "route": "antraege", "since": NOW},
    {"state": "delivered", "sender": "bauportal"},
    {"state": "delivered", "type": "antrag/*"},
    {"state": "rejected", "reason": "schema_violation"},
    {"state": "open", "municipality": "wolfsburg"},
]


@pytest.mark.parametrize(
    "listing",
    ["messages list", "messages list --state dead --json", "groups list", "audit list", "stats", "stats --json"],
)
def test_a_listing_imports_nothing_that_it_does_not_need(listing: str, tmp_path: Path):
    Place(f"sqlite:///{tmp_path}/var/hub.db", tmp_path / "var").open().close()
    watch = (
        "import sys\nfrom hub.cli import main\n"
        f"sys.argv = ['xoev-hub', '-c', {str(tmp_path / 'routes.yaml')!r}, *{listing.split()!r}]\n"
        "try:\n    main()\nexcept SystemExit as stop:\n    assert not stop.code, stop.code\n"
        f"print(sorted(set({HEAVY!r}) & set(sys.modules)), file=sys.stderr)"
    )

    done = subprocess.run([sys.executable, "-c", watch], cwd=ROOT, capture_output=True, text=True, timeout=60)

    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1] == "[]"


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def reader(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    """Give a store with a little of everything, opened as listings do. Nobody writes to it."""
    folder = tmp_path_factory.mktemp("listings")
    place = Place(f"sqlite:///{folder}/var/hub.db", folder / "var")
    if request.param == "sqlite":
        yield from _opened(place)
        return
    with fresh_database() as url:
        migrate(url)
        yield from _opened(Place(url, folder / "var"))


def _opened(place: Place) -> Iterator[Reader]:
    store = place.open()
    store.accept(acceptance())
    store.accept(acceptance(dead="no_route"))
    store.reject(rejection())
    store.hold(Control(GEWERBE, "blocked", "peer_tls", NOW, "hub"))
    store.close()
    reader = open_reader(place.url, state_dir=place.state_dir, clock=place.clock)
    yield reader
    reader.close()


@pytest.mark.parametrize("asked", FILTERS, ids=lambda asked: " ".join(asked) + " " + str(asked.get("state", "")))
def test_a_page_is_found_by_indexes(reader: Reader, asked: dict[str, Any]):
    plans = explained(reader, lambda: reader.find(Filter(**asked), limit=50))

    walked = [line for plan in plans for line in plan if walks(line, asked)]
    assert walked == []


def test_groups_statistics_and_the_trail_are_found_by_indexes(reader: Reader):
    def ask() -> None:
        reader.groups(rejected_since=NOW)
        reader.statistics(NOW.date(), NOW.date(), ["municipality"])
        reader.last_used(["antraege"])
        reader.fresh(0, NOW)
        for one in (AuditFilter(actor="erika"), AuditFilter(action="pause"), AuditFilter(about=["x"])):
            reader.audits(one, limit=50)

    assert [line for plan in explained(reader, ask) for line in plan if walks(line, {})] == []


def walks(line: str, asked: dict[str, Any]) -> bool:
    """Tell whether a plan's line reads a table of messages or deliveries from end to end.

    A page of all, or of what most are, is the last fifty by their numbers. The few types are read in their index, and
    what is dead, waiting or rejected in the index that holds nothing else.
    """
    if "Seq Scan on" in line:
        return "Seq Scan on message" in line or "Seq Scan on delivery" in line
    if not line.startswith("SCAN") or "USING" in line:
        return False
    table = line.split()[1]
    most = not asked.keys() - {"state", "type"} and asked.get("state") in (None, "delivered")
    return table in ("message", "delivery", "event", "payload", "one", "other") and not (table == "message" and most)


def explained(reader: Reader, ask: Any) -> list[list[str]]:
    """Return the plans of all queries that something asks, as the database tells them."""
    engine, told = reader._engine, []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_rest: Any) -> None:
        if statement.lstrip().upper().startswith("SELECT"):
            told.append((statement, parameters))

    sa.event.listen(engine, "before_cursor_execute", note)
    ask()
    sa.event.remove(engine, "before_cursor_execute", note)
    plans = []
    with engine.connect() as connection:
        sqlite = engine.dialect.name == "sqlite"
        if not sqlite:  # in an empty table it is always the cheapest: can it be done without?
            connection.exec_driver_sql("SET enable_seqscan = off")
        for statement, parameters in told:
            prefix = "EXPLAIN QUERY PLAN" if sqlite else "EXPLAIN"
            rows = connection.exec_driver_sql(f"{prefix} {statement}", parameters).all()
            plans.append([str(row[3] if sqlite else row[0]) for row in rows])
    assert plans
    return plans


def test_the_filter_is_looked_at_whole():
    """A new thing to ask for has to be measured here as well."""
    assert {name for asked in FILTERS for name in asked} == set(asdict(Filter()))


@pytest.mark.parametrize(
    ("line", "walked"),
    [
        ("SCAN delivery", True),
        ("SCAN message", True),
        ("  ->  Seq Scan on delivery  (cost=0.00..1.00 rows=1 width=8)", True),
        ("SEARCH delivery USING INDEX delivery_to (destination=?)", False),
        ("SCAN message USING COVERING INDEX message_type", False),
    ],
)
def test_a_walk_is_seen(line: str, walked: bool):
    assert walks(line, {"route": "antraege"}) == walked

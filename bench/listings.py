"""Listings of a grown store, from the command line: what each takes beyond `--version` in the same run.

The store holds 200,000 deliveries of 300 towns over two months: most delivered, some dead in groups, waiting, closed,
rejected, and something rare and old of each kind, which is dear to find without an index.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from bench.messages import ROOT
from bench.processes import as_installed
from hub.message import new_id
from hub.store import open_store
from hub.store.database import sqlite_engine
from hub.store.tables import delivery, event, message, tally

DELIVERIES = 200_000
ROUNDS = 5
BEYOND_MAX_MS = 300.0
PORTION = 2000
RARE = 777  # the number of the message that nothing is like
SERVICES = ("gewerbe", "bau", "melde", "statistik")
TYPES = [(standard, version, f"nachricht.{n:04}") for standard, version in
         (("xgewerbeanzeige", "2.2"), ("xbau", "2.6"), ("xmeld", "25.11a")) for n in range(4)]  # fmt: skip

ROUTES = "version: 1\nroutes:\n" + "".join(
    f"  {name}: {{match: {{type: 'x{name}/*'}}, deliver_to: ['{{municipality}}/{name}']}}\n"
    for name in (*SERVICES, "selten", "ungenutzt")
)

Rows = dict[sa.Table, list[dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class Listed:
    """One listing: wall milliseconds of it and of --version, neighbours in time; the median of the rounds."""

    listing: str
    version_ms: float
    listing_ms: float
    limit: float = BEYOND_MAX_MS

    @property
    def beyond_ms(self) -> float:
        return self.listing_ms - self.version_ms


LISTINGS = (
    "messages list",
    "messages list --json --limit 100",
    *(
        f"messages list --state {state}"
        for state in ("waiting", "delivered", "dead", "closed", "rejected", "attention")
    ),
    "messages list --state open",
    "messages list --municipality rarstadt",
    "messages list --destination rarstadt/selten",
    "messages list --route selten",
    "messages list --sender seltener",
    "messages list --type xselten/*",
    "messages list --state delivered --type xselten/*",
    "messages list --reason refused",
    "messages list --reference 63-0042-26",
    "messages list --since 1d",
    "messages list --until 50d",
    "messages list --fingerprint FINGERPRINT",
    "messages list --state dead --destination town001/bau",
    "groups list",
    "groups list --fingerprint FINGERPRINT",
    "audit list",
    "jobs list",
    "routes list",
    "routes unused --days 90",
    "stats",
    "stats --by destination --days 70",
)


def measured(
    deliveries: int = DELIVERIES, rounds: int = ROUNDS, listings: Sequence[str] = LISTINGS
) -> Iterator[Listed]:
    """Fill a store, and measure each listing on it.

    Raises:
        RuntimeError: A call failed.
    """
    with tempfile.TemporaryDirectory(prefix="bench-listings-") as name:
        folder = Path(name)
        config = _deployed(folder)
        path = folder / "var" / "hub.db"
        open_store(f"sqlite:///{path}", state_dir=folder / "var", mode="daemon").close()
        fill(path, deliveries)
        token = json.loads(_run(config, "groups", "list", "--json")[1])["items"][0]["fingerprint"]
        for listing in listings:
            words = [token if word == "FINGERPRINT" else word for word in listing.split()]
            pairs = [(_run(config, "--version")[0], _run(config, *words)[0]) for _ in range(rounds)]
            version, took = sorted(pairs, key=lambda pair: pair[1] - pair[0])[rounds // 2]
            yield Listed(listing, version * 1000, took * 1000)


def _deployed(folder: Path) -> Path:
    config = folder / "routes.yaml"
    config.write_text(ROUTES, encoding="ascii")
    return config


def _run(config: Path, *words: str) -> tuple[float, bytes]:
    began = time.perf_counter()
    done = subprocess.run(  # noqa: S603  our own program
        [sys.executable, "-m", "hub", "-c", str(config), *words],
        cwd=ROOT, env=as_installed(), capture_output=True, check=False, timeout=120,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)}: {done.stderr.decode()[-500:]}")
    return time.perf_counter() - began, done.stdout


# --- a store that has grown


def fill(path: Path, deliveries: int) -> None:
    """Put messages with so many deliveries into an empty store, by the database's own means."""
    chance = random.Random(7)  # noqa: S311  the same store each time
    engine = sqlite_engine(path, writes=True)
    now, made = datetime.now(UTC), 0
    with engine.begin() as connection:
        number = 0
        while made < deliveries:
            rows: Rows = defaultdict(list)
            for _ in range(min(PORTION, deliveries - made)):
                number += 1
                at = now - timedelta(seconds=26 * (deliveries - made))
                made += _add(rows, number, at, chance)
            for table in (message, delivery, event, tally):
                if rows[table]:
                    insert = sa.insert(table)
                    connection.execute(insert.prefix_with("OR REPLACE") if table is tally else insert, rows[table])
    engine.dispose()


def _add(rows: Rows, number: int, at: datetime, chance: random.Random) -> int:
    """Add a message with its delivery, or a rejection; return how many deliveries these are."""
    town, service, sender = f"town{chance.randrange(300):03}", chance.choice(SERVICES), f"portal{chance.randrange(20)}"
    type_: Sequence[str] = chance.choice(TYPES)
    if number == RARE:
        town, service, sender, type_ = "rarstadt", "selten", "seltener", ("xselten", "1.0", "nachricht.0001")
    rejected = number != RARE and chance.random() < 0.02
    id_ = new_id()
    standard, version, name = type_
    rows[message].append(
        {
            "seq": number, "id": id_, "verdict": "rejected" if rejected else "accepted",
            "code": "schema_violation" if rejected else None, "source": "online", "sender": sender,
            "identity": None if rejected else f"id:{id_}", "idempotency_key": None, "sha256": f"{id_:>064}",
            "standard": standard, "version": version, "name": name, "owner": town, "recipient": town, "test": False,
            "received_at": at, "snapshot": "5" * 64, "parent_id": None, "arrival": {}, "header": {"message_id": id_},
            "fingerprint": f"{chance.randrange(30):012x}" if rejected else None,
        }
    )  # fmt: skip
    if rejected:
        return 0
    share, due = chance.random(), at + timedelta(seconds=chance.expovariate(1 / 3))
    state, reason, token = "delivered", "", None
    if share < 0.02 and number != RARE:
        state, token = "dead", f"{100 + chance.randrange(14):012x}"
        reason = "refused" if int(token, 16) % 2 else "gave_up"
    elif share < 0.035 and number != RARE:
        state, reason = ("waiting", "unreachable") if share < 0.03 else ("closed", "superseded")
    one = new_id()
    place = {"owner": town, "route": service, "destination": f"{town}/{service}"}
    rows[delivery].append(
        {
            "id": one, "message_id": id_, "message_seq": number, **place, "payload_id": None, "state": state,
            "reason": reason, "phase": "response_parsed", "code": "", "due_at": due, "attempts": 1,
            "first_attempt_at": at, "revision": 2, "snapshot": "5" * 64, "fingerprint": token,
        }
    )  # fmt: skip
    told = {"delivery_id": one, "reason": "", "phase": "", "code": "", "actor": "hub"}
    rows[event] += [
        told | {"revision": 1, "kind": "claimed", "at": at},
        told | {"revision": 2, "kind": state, "at": due},
    ]
    day = {"day": at.date().isoformat(), "shard": 0, "count": 1, **place}
    rows[tally] += [day | {"what": "in"}, day | {"what": "took:23"}]
    return 1

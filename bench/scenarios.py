"""The list of what is measured. One scenario differs from the first in one thing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

BASE = "amqp-10k"


@dataclass(frozen=True, slots=True)
class Scenario:
    """One way through the hub; ``yardstick``: with the prototype in turn, ``rounds`` times."""

    name: str
    says: str
    sink: Literal["amqp", "soap", "folder"] = "amqp"
    kilobytes: int = 10
    store: Literal["sqlite", "postgresql"] = "sqlite"
    workers: int = 2
    towns: int = 1
    sync_us: int = 0
    yardstick: bool = False
    peers: bool = False  # with the applications that one would write instead in turn as well
    rounds: int = 1
    starts_only: bool = False
    releases: tuple[str, ...] = ()  # official ones that are imported before the start, from the corpus
    in_process: bool = False  # only the inspection, against bare parse and validate
    lists: bool = False  # only listings from the command line, against `--version`
    explains: bool = False  # only `explain` from the command line, against `--version`


RELEASES = (  # in an order in which what one imports from another comes first
    "xbau-2.6", "xbau-kernmodul-1.3.0", "xbeteiligung-1.2", "xdomea-2.3.0", "xdomea-2.4.0", "xdomea-3.0.0",
    "xdomea-3.1.0", "xinneres-25.11", "xjustiz-3.6.2", "xmeld-25.11a", "xplanung-5.3", "xplanung-5.4", "xta-2.1.1",
    "xwasser-1.0.0", "ubl-2.1", "cii-d16b", "xrechnung-3.0",
)  # fmt: skip

SCENARIOS = (
    Scenario(BASE, "HTTP, XSD, XSLT, target XSD, SQLite, AMQP confirmed", yardstick=True, peers=True, rounds=2),
    Scenario("amqp-100k", "the same with 100 KB", kilobytes=100, yardstick=True),
    Scenario("soap-10k", "SOAP out, reply read", sink="soap"),
    Scenario("folder-10k", "folder out, synced and renamed", sink="folder"),
    Scenario("postgresql", "PostgreSQL instead of SQLite", store="postgresql"),
    Scenario("one-worker", "one XML worker instead of two", workers=1),
    Scenario("destinations-300", "300 towns, one after the other, instead of one", towns=300),
    Scenario("slow-disk", "1 ms more for every fsync", sync_us=1000, yardstick=True),
    Scenario("inspection", "guard to plan in one process, against bare parse and validate by lxml", in_process=True),
    Scenario("explain", "explain from the command line, against --version and the compilation", explains=True),
    Scenario("listings", "listings of 200,000 deliveries from the command line, against --version", lists=True),
    Scenario("start-up", "from the command to ready, all shipped standards compiled", starts_only=True, rounds=3),
    Scenario(
        "start-up-official",
        f"the same with {len(RELEASES)} official releases",
        starts_only=True,
        rounds=3,
        releases=RELEASES,
    ),
)

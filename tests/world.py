"""A small hub for tests: real inspection, real SQLite, real intake and dispatch; a settable clock, scripted adapters.

``world.accept(antrag())`` takes a message in, ``world.deliver_due()`` tries what is due, once round.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

from hub.deliverers import Offer
from hub.delivery import Delivery
from hub.deployment import CheckSpec, Deployment, Destination, Mark, Match, Municipality, Route, Sender, Source, Target
from hub.dispatch import Claimed, Dispatch
from hub.files import Files
from hub.inspection import Plan, Rejection, Snapshot, inspect
from hub.intake import Intake
from hub.job import ItemResult, Job, JobKind, JobState
from hub.jobs import Jobs
from hub.message import Incoming, Outgoing, Receipt
from hub.outcome import Delivered, Outcome, Reason, Refused
from hub.plugin import Limits, Settings, Step
from hub.retry import RetryPolicy
from hub.routing import Directory
from hub.service import Hub
from hub.store import open_store
from hub.store.api import Filter
from hub.store.taking import Taking
from hub.testing.clock import SettableClock
from hub.xml.checks.table import Checks
from hub.xml.checks.values import Check
from hub.xml.registry import Registry
from hub.xml.saxon import Programs

ROOT = Path(__file__).parent.parent
HERE = Mark("routes.yaml", 1, 1)
NAMESPACE = "urn:xoev-de:beispiel:standard:antrag_1.0"


def antrag(ags: str = "03103000", name: str = "Jürgen Müßig", uuid_: str | None = None, extra: str = "") -> bytes:
    """Return a document of our own standard antrag/1.0, from an invented person."""
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<a:antrag.0101 xmlns:a="{NAMESPACE}"{extra}>
 <a:nachrichtenkopf>
  <a:nachrichtenUUID>{uuid_ or uuid.uuid4()}</a:nachrichtenUUID>
  <a:nachrichtentyp>0101</a:nachrichtentyp>
  <a:erstellungszeitpunkt>2026-11-21T10:00:00Z</a:erstellungszeitpunkt>
  <a:leser><a:ags>{ags}</a:ags></a:leser>
 </a:nachrichtenkopf>
 <a:inhalt><a:name>{name}</a:name></a:inhalt>
</a:antrag.0101>
""".encode()


class ScriptedAdapter:
    """Answers what the test wrote down, then ``Delivered``; remembers what it was given."""

    def __init__(self, *answers: Outcome | BaseException) -> None:
        self.answers = list(answers)
        self.given: list[Outgoing] = []

    def open(self) -> None:
        pass

    def close(self) -> None:
        pass

    def deliver(self, outgoing: Outgoing) -> Outcome:
        self.given.append(outgoing)
        answer = self.answers.pop(0) if self.answers else Delivered("quittung-1")
        if isinstance(answer, BaseException):
            raise answer
        return answer


@dataclass(frozen=True)
class Done:
    """How far a job is: its state, and the results of its items, in their order."""

    id: str
    state: JobState
    results: list[ItemResult]


class World:
    """One hub with two municipalities; change ``deployment`` before the first message."""

    def __init__(self, folder: Path) -> None:
        self.clock = SettableClock()
        self.folder = folder
        self.url = f"sqlite:///{folder}/var/hub.db"
        self.store = open_store(self.url, state_dir=folder / "var", mode="daemon", clock=self.clock)
        self.registry, problems = Registry.load(Files(folder))
        assert not problems
        self.checks = Checks(Files(folder), self.registry, Programs())
        self.deployment = deployment(folder)
        self.steps: dict[tuple[str, str], Step] = {}
        self.adapters: dict[str, ScriptedAdapter] = {}
        self.policy = RetryPolicy(first=timedelta(seconds=10), ceiling=timedelta(hours=1))
        self.woken: list[str] = []
        self.dispatch = Dispatch(self.store, self.clock)
        self.intake = Intake(self.store, lambda: self, lambda: self.deployment, self.clock, self)
        self.jobs = Jobs(self.store, self.intake, lambda: self, self.clock)
        self.hub = Hub(self.store, self.clock, actor="erika", via="test")

    def inspect(self, incoming: Incoming, _on_stall: object = None) -> Plan | Rejection:
        """Inspect with today's deployment."""
        snapshot = Snapshot(
            "5" * 64, self.deployment, Directory(self.deployment), self.registry, self.steps, self.checks
        )
        return inspect(incoming, snapshot)

    def accept(self, body: bytes | None = None, **told: str) -> Receipt:
        """Hand a document in as an online service does."""
        return self.intake.accept(
            Incoming(body or antrag(), told.pop("source", "online"), told.pop("sender", "formular"), **told)  # type: ignore[arg-type]
        )

    def wake(self, destinations: Collection[str]) -> None:
        """Note who is to be woken: tests say when deliveries are tried."""
        self.woken.extend(destinations)

    def offer(self, destinations: Collection[str]) -> Offer:
        """Keep no room anywhere."""
        return Offer({}, Taking(frozenset(), "test", timedelta(0), self.clock()))

    def adapter(self, destination: str) -> ScriptedAdapter:
        return self.adapters.setdefault(destination, ScriptedAdapter())

    def deliver_due(self) -> int:
        """Try every due delivery once; return how many attempts that were."""
        attempts = 0
        for name in self.store.due(self.clock()):
            destination = replace(self.deployment.destinations[name], retry=self.policy)
            for delivery in self.claim(name, limit=100):
                self.dispatch.attempt([Claimed(delivery)], destination, self.adapter(name))
                attempts += 1
        return attempts

    def claim(self, destination: str, *, limit: int = 1) -> Sequence[Delivery]:
        return self.store.claim(destination, now=self.clock(), limit=limit, owner="test", lease=timedelta(seconds=30))

    def delivery(self, receipt: Receipt, destination: str = "wolfsburg/antraege") -> Delivery:
        """Return the newest delivery of a message to a destination."""
        record = self.store.message(receipt.message_id)
        assert record is not None
        return [one for one in record.deliveries if one.destination == destination][-1]

    def act(self, kind: JobKind, *ids: str, reason: str = "Test", **arguments: str) -> Done:
        """Do what an operator asks for, and return how it went."""
        selection = self.hub.select(kind, ids, None, None)
        job = self.hub.submit(kind, selection.items, reason, arguments)
        self.jobs.run(job)
        return self.done(job)

    def done(self, job: Job) -> Done:
        """Return how far a job is."""
        found = self.store.jobs.find(job.id)
        assert found is not None
        items = self.store.jobs.items(job.id)
        results = [ItemResult(job.id, one.item, one.result, one.detail) for one in items if one.result is not None]
        return Done(found.id, found.state, results)

    def reopen(self) -> None:
        """Close the store and open it again, as after a crash: what was SENDING is still SENDING."""
        self.store.close()
        self.__init__(self.folder)  # type: ignore[misc]


def change(world: World, **routes: Callable[[Route], Route]) -> None:
    """Change routes by name."""
    world.deployment = replace(
        world.deployment,
        routes=tuple(routes.get(one.name, lambda same: same)(one) for one in world.deployment.routes),
    )


def deployment(folder: Path) -> Deployment:
    """Return the deployment of the test world."""
    destinations = [_destination(name) for name in ("wolfsburg/antraege", "gifhorn/antraege", "statistik/las")]
    full = (CheckSpec(Check("xsd"), HERE),)
    targets = (Target("{municipality}/antraege"), Target("statistik/las"))
    return Deployment(
        base=folder,
        stage="production",
        senders={"formular": Sender("formular"), "portal": Sender("portal")},
        sources={"online": Source("online", "http", Settings(), ("formular", "portal"))},
        municipalities={
            "wolfsburg": Municipality("wolfsburg", "Stadt Wolfsburg", "03103000", ("ags:03103000",)),
            "gifhorn": Municipality("gifhorn", "Landkreis Gifhorn", "03151", ("ags:03151",)),
            "leer": Municipality("leer", "Stadt ohne Verfahren", "03457013", ("ags:03457013",)),
        },
        partners={},
        destinations={one.name: one for one in destinations},
        routes=(Route("antrag", Match("antrag/1.0/*"), full, (), targets),),
    )


def _destination(name: str, **more: object) -> Destination:
    municipality, _, service = name.partition("/")
    owner = municipality if municipality != "statistik" else None
    return Destination(name, owner, service, "folder", Settings(), limits=Limits(), **more)  # type: ignore[arg-type]


def dead(world: World, count: int, destination: str = "wolfsburg/antraege") -> list[str]:
    """Return the deliveries of some messages that a procedure has refused, the oldest first."""
    world.adapter(destination).answers = [Refused(Reason.REFUSED)] * count
    for _ in range(count):
        world.accept()
    while world.deliver_due():
        pass
    return [one.id for one in world.store.find_deliveries(Filter(state="dead"))]

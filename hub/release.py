"""Is everybody ready for a day on which versions change: municipality × version of a standard. Pure over a snapshot.

red     a message of that version would be refused, or dead
yellow  it arrives, but somebody should look: converted, no route test, only the header is checked
green   nothing to do
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from hub.config.globs import meet, segments
from hub.config.overlaps import Reach
from hub.config.standards import fitting
from hub.conversion import needed, some
from hub.deployment import Accepts, Route
from hub.files import Files
from hub.inspection import Rejection, Snapshot
from hub.routetests import compare, made_of
from hub.routing import Addressee, Leg, legs
from hub.xml.profile import Profile

Colour = Literal["red", "yellow", "green"]


@dataclass(frozen=True, slots=True)
class Tested:
    """How the route tests of one version for one municipality went: how many passed, and which failed."""

    passed: int = 0
    failed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Reached:
    """A destination, what it accepts on that day (nothing: whatever comes), and the conversions on the way there."""

    name: str
    accepts: tuple[str, ...]
    conversions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Readiness:
    """One municipality and one version that is served on the day; ``version`` is ``None`` where none is."""

    municipality: str
    standard: str
    version: str | None
    schema: str | None  # full | header
    routes: tuple[str, ...]
    destinations: tuple[Reached, ...]
    tests: Tested
    red: tuple[str, ...]
    yellow: tuple[str, ...]

    @property
    def colour(self) -> Colour:
        return "red" if self.red else "yellow" if self.yellow else "green"


def readiness(snapshot: Snapshot, files: Files, at: datetime) -> Iterator[Readiness]:
    """Yield who is how ready for which version on a day, municipality by municipality.

    Counted are the standards of which some route, of whatever version, serves the municipality.
    """
    day = _Day(snapshot, files, at)
    reach = Reach(snapshot.deployment)
    for municipality in sorted(snapshot.deployment.municipalities):
        routes = [
            route
            for route in snapshot.deployment.routes
            if route.match.partner is None and municipality in reach.of(route)
        ]
        standards = {one.standard for route in routes for one in day.taken[route.name]}
        for standard in sorted(standards):
            if not day.served[standard]:
                red = ("no version is served then (xoev-hub schemas import)",)
                yield Readiness(municipality, standard, None, None, (), (), Tested(), red, ())
            for profile in day.served[standard]:
                yield day.readiness(municipality, profile, routes)


class _Day:
    """What is the same for all municipalities on a day."""

    def __init__(self, snapshot: Snapshot, files: Files, at: datetime) -> None:
        self._snapshot, self._at = snapshot, at
        self._tested = _tested(snapshot, files, at)
        self.taken = {
            route.name: list(fitting(route.match.type, snapshot.registry)) for route in snapshot.deployment.routes
        }
        self.served: dict[str, list[Profile]] = defaultdict(list)
        for profile in sorted(snapshot.registry.profiles.values(), key=lambda one: one.version):
            if profile.serves(at):
                self.served[profile.standard].append(profile)

    def readiness(self, municipality: str, profile: Profile, routes: Sequence[Route]) -> Readiness:
        taking = [route for route in routes if profile in self.taken[route.name]]
        red: dict[str, None] = {} if taking else {"no route takes it": None}
        yellow: dict[str, None] = {}
        reached: dict[str, Reached] = {}
        for route in taking:
            for leg in self._legs(route, municipality, red):
                conversions, dead = needed(leg, profile, self._at, segments(route.match.type)[2])
                if dead:
                    text = f"{leg.destination.name} does not accept it, and no conversion leads there"
                    red[f"{text}: {some(dead)}"] = None
                yellow |= dict.fromkeys(f"converted for {leg.destination.name}: {one}" for one in conversions)
                red |= dict.fromkeys(_unknown(self._snapshot, leg, profile.standard, self._at))
                accepts = tuple(one.type for one in _accepted(leg, self._at))
                reached[leg.destination.name] = Reached(leg.destination.name, accepts, tuple(conversions))
        version = f"{profile.standard}/{profile.version}"
        tests = _joined(self._tested.get((municipality, version)), self._tested.get((None, version)))
        red |= dict.fromkeys(f"route test fails: {name}" for name in tests.failed)
        if not tests.passed and not tests.failed:
            yellow["no route test"] = None
        if profile.level != "full":
            yellow["only its header is checked: the official schema is not here"] = None
        return Readiness(
            municipality, profile.standard, profile.version, profile.level, tuple(one.name for one in taking),
            tuple(reached.values()), tests, tuple(red), tuple(yellow),
        )  # fmt: skip

    def _legs(self, route: Route, municipality: str, red: dict[str, None]) -> Sequence[Leg]:
        deployment = self._snapshot.deployment
        found, _ = legs(deployment, route, Addressee(municipality), test=deployment.stage == "test")
        if not found:
            red[f"route {route.name} leads to no destination of production"] = None
        return found


def _accepted(leg: Leg, at: datetime) -> Iterable[Accepts]:
    return (one for one in leg.destination.accepts if one.holds(at))


def _unknown(snapshot: Snapshot, leg: Leg, standard: str, at: datetime) -> Iterator[str]:
    for one in _accepted(leg, at):
        named, version, _ = segments(one.type)
        known = [profile for profile in snapshot.registry.profiles.values() if profile.standard == standard]
        if named == standard and not any(meet(version, profile.version) for profile in known):
            yield f"{leg.destination.name} accepts {named}/{version} then, whose schema is not here"


def _tested(snapshot: Snapshot, files: Files, at: datetime) -> Mapping[tuple[str | None, str], Tested]:
    """Run the route tests as of a day; by municipality and version.

    One whose message is of a version that is not served then says nothing about those that are.
    """
    found: dict[tuple[str | None, str], Tested] = defaultdict(Tested)
    for test in snapshot.deployment.tests:
        try:
            result = made_of(test, snapshot, files, at)
        except OSError:
            continue  # `check` names it
        if isinstance(result, Rejection):
            header, recipient = result.header, result.recipient
            if header is None or result.code == "version_not_served":
                continue
        else:
            header, recipient = result.verdict.header, result.verdict.recipient
        key = (recipient, f"{header.type.standard}/{header.type.version}")
        one = found[key]
        if compare(test, result) is None:
            found[key] = replace(one, passed=one.passed + 1)
        else:
            found[key] = replace(one, failed=(*one.failed, test.name))
    return found


def _joined(own: Tested | None, anybodys: Tested | None) -> Tested:
    """Return the tests of a municipality; what nobody can assign counts only if it fails."""
    own = own or Tested()
    return replace(own, failed=(*own.failed, *(anybodys.failed if anybodys else ())))

"""What of a configuration still holds at one point in time: versions come and go by their dates, routes stay."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime

from hub.config.globs import meet, segments
from hub.config.overlaps import Reach
from hub.config.report import Place, Report
from hub.config.standards import fitting
from hub.conversion import accepted, needed, some
from hub.deployment import Deployment, Level, Mark, Route
from hub.errors import Problem
from hub.files import Files
from hub.routing import Leg, leg
from hub.xml.profile import Profile
from hub.xml.profile_file import BERLIN
from hub.xml.registry import Registry


def problems_at(deployment: Deployment, registry: Registry, files: Files, at: datetime) -> tuple[Problem, ...]:
    """Return a problem for each route whose messages are not served, or not accepted where it leads, at ``at``.

    An error where nothing arrives then: no route takes any version of the standard, or a destination accepts none of
    its route's. A warning where another version does.
    """
    report = Report()
    arriving = {
        one.standard for route in deployment.routes for one in fitting(route.match.type, registry) if one.serves(at)
    }
    for route in deployment.routes:
        profiles = list(fitting(route.match.type, registry))
        if not profiles or any(one.serves(at) for one in profiles) or route.mark is None:
            continue
        mark = route.mark
        report.know(mark.file, _text(files, mark.file))
        taken = any(one.standard in arriving for one in profiles)
        text = f"dead route at {_time(at)}: {_windows(profiles)}; {_others(profiles, registry, at, taken=taken)}"
        place = Place(mark.file, mark.line, mark.column, f"routes.{route.name}")
        report.add(place, text, level="warning" if taken else "error")
    reach = Reach(deployment)
    for route in deployment.routes:
        served = [one for one in fitting(route.match.type, registry) if one.serves(at)]
        for mark, text, level in _not_accepted(route, served, reach, at):
            report.know(mark.file, _text(files, mark.file))
            report.add(Place(mark.file, mark.line, mark.column, f"routes.{route.name}"), text, level=level)
    return report.problems()


def _not_accepted(
    route: Route, served: Sequence[Profile], reach: Reach, at: datetime
) -> Iterator[tuple[Mark, str, Level]]:
    """Yield what the route brings to destinations that do not accept it then; destinations that are alike together."""
    alike: dict[tuple[object, ...], list[Leg]] = defaultdict(list)
    for target, destination in reach.destinations(route):
        if destination.accepts:
            way = leg(route, target, destination)
            alike[target.to, destination.accepts, way.steps].append(way)
    for ways in alike.values():
        names = some([one.destination.name for one in ways])
        dead = [(one, needed(ways[0], one, at, segments(route.match.type)[2])[1]) for one in served]
        arriving = any(len(refused) < _count(one, route) for one, refused in dead)
        for profile, refused in dead:
            if refused and route.mark is not None:
                what = "" if len(refused) == _count(profile, route) else f" ({some(refused)})"
                text = (
                    f"{names}: {profile.standard}/{profile.version}{what} is not accepted at {_time(at)}, and no "
                    f"conversion leads to what is: {accepted(ways[0].destination, at)}"
                )
                yield route.mark, text, "warning" if arriving else "error"


def _count(profile: Profile, route: Route) -> int:
    return sum(meet(segments(route.match.type)[2], name) for name in profile.names)


def window(profile: Profile) -> str:
    """Return when a version is served, in the days of its profile."""
    until = profile.grace_until or profile.valid_to
    parts = [
        f"from {profile.valid_from:%Y-%m-%d}" if profile.valid_from else "",
        f"until {until:%Y-%m-%d}" if until else "",
    ]
    return " ".join(part for part in parts if part) or "always"


def _windows(profiles: Sequence[Profile]) -> str:
    return ", ".join(f"{one.standard}/{one.version} is served {window(one)}" for one in profiles[:5])


def _others(profiles: Sequence[Profile], registry: Registry, at: datetime, *, taken: bool) -> str:
    standards = {one.standard for one in profiles}
    others = sorted(
        f"{one.standard}/{one.version}"
        for one in registry.profiles.values()
        if one.standard in standards and one.serves(at)
    )
    if not others:
        return "no other version is here (xoev-hub schemas import)"
    return f"served then: {', '.join(others)}{'' if taken else ', which no route takes'}"


def _time(at: datetime) -> str:
    return f"{at.astimezone(BERLIN):%Y-%m-%dT%H:%M}"


def _text(files: Files, name: str) -> str:
    try:
        return files.read(name).decode(errors="replace")
    except OSError:  # gone since it was compiled: the place alone will do
        return ""

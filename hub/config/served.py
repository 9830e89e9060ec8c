"""Who is not served: municipality × service and municipality × standard without a route. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase

from hub.config.lookup import destination_for
from hub.config.overlaps import NOBODY, Reach, services_of
from hub.deployment import Deployment, Route


@dataclass(frozen=True, slots=True)
class Gap:
    """What a municipality is not served with, and what is missing for it."""

    municipality: str
    kind: str  # service | standard
    name: str
    why: str


def gaps(deployment: Deployment) -> list[Gap]:
    """Return every gap, by municipality. Known are the services of all, and the standards that any route names."""
    return [*_services(deployment), *_standards(deployment)]


def _services(deployment: Deployment) -> Iterator[Gap]:
    reach, places = Reach(deployment), deployment.municipalities
    known = sorted({one.service for one in deployment.destinations.values() if one.municipality})
    by_service: dict[str, set[str]] = {service: set() for service in known}
    for route in deployment.routes:
        for service in services_of(route):
            by_service.setdefault(service, set()).update(reach.of(route))
    named = {target.to for route in deployment.routes for target in route.deliver_to}
    for key in sorted(places):
        for service in known:
            if key in by_service[service]:
                continue
            found = destination_for(places, deployment.destinations, key, service)
            if named.isdisjoint(found):
                why = f"no route delivers to {found[0]}" if found else "no destination, of its own or of its county"
                yield Gap(key, "service", service, why)


def _standards(deployment: Deployment) -> Iterator[Gap]:
    reach = Reach(deployment)
    serving = {standard: _serving(deployment, standard) for standard in _known_standards(deployment)}
    for key in sorted(deployment.municipalities):
        for standard, routes in serving.items():
            if not any({key, NOBODY} & reach.of(route) for route in routes):
                names = ", ".join(route.name for route in routes)
                yield Gap(key, "standard", standard, f"has not what its routes deliver to: {names}")


def _known_standards(deployment: Deployment) -> list[str]:
    firsts = {route.match.type.partition("/")[0] for route in deployment.routes}
    return sorted(first for first in firsts if not set(first) & set("*?["))


def _serving(deployment: Deployment, standard: str) -> list[Route]:
    served = (one for one in deployment.routes if one.match.partner is None)
    return [one for one in served if fnmatchcase(standard, one.match.type.partition("/")[0])]

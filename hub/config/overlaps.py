"""Which routes could take the same message: overlaps without priorities, and routes that are never reached."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from hub.config.globs import any_meet, type_covers, types_meet
from hub.config.lookup import destination_for
from hub.config.run import Run
from hub.deployment import Deployment, Destination, Route, Target

MUNICIPALITY = "{municipality}/"
NOBODY = ""  # stands for a document without an addressee


def services_of(route: Route) -> tuple[str, ...]:
    """Return the services that a route asks of the addressed municipality."""
    return tuple(
        target.to.removeprefix(MUNICIPALITY) for target in route.deliver_to if target.to.startswith(MUNICIPALITY)
    )


class Reach:
    """Whom each route serves: those it lists, else every municipality that has all its destinations."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._having: dict[tuple[str, ...], frozenset[str]] = {}

    def of(self, route: Route) -> frozenset[str]:
        match = route.match
        if match.partner is not None:
            return frozenset(f"partner {key}" for key in match.partner)
        if match.municipality is not None:
            return frozenset(match.municipality)
        services = services_of(route)
        if services not in self._having:
            self._having[services] = frozenset(self._find(services))
        return self._having[services]

    def destinations(self, route: Route) -> Iterator[tuple[Target, Destination]]:
        """Yield every destination that a route leads to, once, with the entry of ``deliver_to`` that names it."""
        places, destinations = self._deployment.municipalities, self._deployment.destinations
        for target in route.deliver_to:
            service = target.to.removeprefix(MUNICIPALITY)
            if service == target.to:
                names = {target.to: None}
            else:
                having = (destination_for(places, destinations, key, service) for key in sorted(self.of(route)))
                names = dict.fromkeys(name for found in having for name in found)
            yield from ((target, destinations[name]) for name in names if name in destinations)

    def _find(self, services: tuple[str, ...]) -> Iterator[str]:
        if not services:
            yield NOBODY
        places, destinations = self._deployment.municipalities, self._deployment.destinations
        for key in places:
            if all(destination_for(places, destinations, key, service) for service in services):
                yield key


def check_overlaps(deployment: Deployment, reach: Reach, run: Run) -> None:
    """Note routes that could take a message from one another without saying which comes first."""
    by_name = {route.name: route for route in deployment.routes}
    routes = [by_name[name] for name in run.names("routes") if name in by_name]  # as they are written
    earlier = _Neighbours()
    for route in routes:
        node = run.names("routes")[route.name]
        near = list(earlier.of(route))
        rivals = [other for other in near if other.priority == route.priority and _overlap(route, other, reach)]
        if rivals:
            first = run.names("routes")[rivals[0].name]
            more = f" and {len(rivals) - 1} more" if len(rivals) > 1 else ""
            run.report.add(
                node.items["match"].place,
                f"takes the same messages as route {rivals[0].name!r} ({first.file}:{first.key[0]}){more}; "
                "expected different priorities, or conditions that exclude each other",
            )
        earlier.add(route)
    for route in routes:
        _check_shadow(route, earlier.of(route), reach, run)


def _check_shadow(route: Route, near: Iterable[Route], reach: Reach, run: Run) -> None:
    for other in near:
        if other.priority > route.priority and _covers(other, route, reach):
            node, above = run.names("routes")[route.name], run.names("routes")[other.name]
            run.report.add(
                node.key_place,
                f"never reached: route {other.name!r} ({above.file}:{above.key[0]}) has a higher priority and "
                "takes everything that this one could",
            )
            return


class _Neighbours:
    """Routes by whom they list, so that thousands of routes, one per municipality, need no comparison of all pairs."""

    def __init__(self) -> None:
        self._open: list[Route] = []
        self._listed: dict[str, list[Route]] = {}
        self._all: list[Route] = []

    def add(self, route: Route) -> None:
        self._all.append(route)
        if route.match.municipality is None:
            self._open.append(route)
        for key in route.match.municipality or ():
            self._listed.setdefault(key, []).append(route)

    def of(self, route: Route) -> Iterable[Route]:
        if route.match.municipality is None:
            return self._all
        listed = [other for key in route.match.municipality for other in self._listed.get(key, ())]
        return list({other.name: other for other in (*self._open, *listed)}.values())


def _overlap(one: Route, other: Route, reach: Reach) -> bool:
    left, right = one.match, other.match
    return (
        one.name != other.name
        and types_meet(left.type, right.type)
        and not reach.of(one).isdisjoint(reach.of(other))
        and (left.sender is None or right.sender is None or not set(left.sender).isdisjoint(right.sender))
        and any_meet(left.author, right.author)
        and all(any_meet(left.where[key], right.where[key]) for key in left.where.keys() & right.where.keys())
    )


def _covers(wide: Route, narrow: Route, reach: Reach) -> bool:
    left, right = wide.match, narrow.match
    return (
        type_covers(left.type, right.type)
        and reach.of(narrow) <= reach.of(wide)
        and _asks_less(left.sender, right.sender)
        and _asks_less(left.author, right.author)
        and _each(left.where, right.where, _asks_less)
    )


def _asks_less(wide: tuple[str, ...] | None, narrow: tuple[str, ...] | None) -> bool:
    return wide is None or (narrow is not None and set(narrow) <= set(wide))


def _each(
    wide: Mapping[str, tuple[str, ...]],
    narrow: Mapping[str, tuple[str, ...]],
    asks_less: Callable[[tuple[str, ...], tuple[str, ...] | None], bool],
) -> bool:
    return all(asks_less(globs, narrow.get(key)) for key, globs in wide.items())

"""What is configured and leads nowhere. Warnings, but for routes that can never deliver."""

from __future__ import annotations

from hub.config.lookup import destination_for
from hub.config.overlaps import Reach, services_of
from hub.config.run import Run
from hub.config.validate import similar
from hub.deployment import Deployment, Route


def check_dead_route(route: Route, deployment: Deployment, reach: Reach, run: Run) -> None:
    """Note a route that serves nobody, and places that it lists but cannot serve."""
    node = run.names("routes")[route.name]
    services = services_of(route)
    if route.match.partner is not None and services:
        text = f"a partner has no destinations; {{municipality}}/{services[0]} finds nothing"
        run.report.add(node.items["deliver_to"].place, text)
        return
    if route.match.municipality is not None:
        _check_listed(route, deployment, run)
        return
    known = {one.service for one in deployment.destinations.values() if one.municipality}
    for target in route.deliver_to:
        service = target.to.removeprefix("{municipality}/")
        if service in services and service not in known and target.mark is not None:
            at = node.items["deliver_to"]
            items = at.value if isinstance(at.value, list) else [at]
            item = items[route.deliver_to.index(target)]
            text = f"dead route: no municipality has a destination {service!r}{similar(service, known)}"
            run.report.add(item.items.get("to", item).place, text)
            return
    if not reach.of(route):
        run.report.add(node.key_place, "dead route: no municipality has all of its destinations")


def _check_listed(route: Route, deployment: Deployment, run: Run) -> None:
    at = run.names("routes")[route.name].items["match"].items["municipality"]
    items = at.value if isinstance(at.value, list) else [at]
    for key, item in zip(route.match.municipality or (), items, strict=True):
        for service in services_of(route):
            if key in deployment.municipalities and not destination_for(
                deployment.municipalities, deployment.destinations, key, service
            ):
                run.report.add(item.place, f"{key} has no destination {service!r}, and neither has its county")


def check_gaps(deployment: Deployment, reach: Reach, run: Run) -> None:
    """Warn of municipalities that nothing is delivered for, and of what no route and no source ever uses."""
    served = {key for route in deployment.routes for key in reach.of(route)}
    for key in deployment.municipalities:
        if key not in served:
            node = run.names("municipalities")[key]
            run.report.add(node.key_place, "a gap: no route delivers anything for it", level="warning")
    _check_unrouted(deployment, run)
    used = {name for source in deployment.sources.values() for name in source.senders}
    for name in deployment.senders:
        if name not in used:
            run.report.add(run.names("senders")[name].key_place, "no source lets it hand in", level="warning")
    _check_unused_procedures(run)


def _check_unrouted(deployment: Deployment, run: Run) -> None:
    named = {target.to for route in deployment.routes for target in route.deliver_to}
    told: set[str] = set()
    for name, destination in deployment.destinations.items():
        general = f"{{municipality}}/{destination.service}" if destination.municipality else name
        if not named.isdisjoint((name, general)) or general in told:
            continue
        told.add(general)
        node = run.destinations[name]
        run.report.add(node.key_place, f"no route delivers to {general}", level="warning")


def _check_unused_procedures(run: Run) -> None:
    used = {node.items["like"].text for node in run.destinations.values() if "like" in node.items}
    for name, node in run.names("procedures").items():
        if name not in used:
            run.report.add(node.key_place, "no destination is like it", level="warning")

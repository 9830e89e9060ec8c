"""What refers to something refers to something that is there. Without network and without secrets."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from hub.config.document import Node
from hub.config.gaps import check_dead_route, check_gaps
from hub.config.globs import meet, segments
from hub.config.overlaps import MUNICIPALITY, Reach, check_overlaps
from hub.config.rejections import check_rejections
from hub.config.report import Place
from hub.config.run import Run
from hub.config.standards import check_checks, check_keys, check_type
from hub.config.ties import check_ties
from hub.config.validate import similar, unknown
from hub.deployment import Deployment, Mark, Route, RouteTest, Sender, StepSpec
from hub.routing import leg

REJECTION_CODES = frozenset(
    {
        "sender_may_not", "not_well_formed", "doctype_forbidden", "encoding", "conflict", "limit", "body_too_large",
        "unknown_type", "schema_violation", "code_list", "schematron", "signature", "unknown_recipient",
        "test_message", "version_not_served", "inspection_failed",
    }
)  # fmt: skip
"""What a document can be rejected with (INTERFACE §4)."""


def crosscheck(deployment: Deployment, tests: dict[str, Node], run: Run) -> None:
    """Note everything that is well formed and still cannot be meant. ``deployment`` lacks what is not well formed."""
    for sender in deployment.senders.values():
        _check_sender(sender, run)
    for route in deployment.routes:
        _check_route(route, run)
    for source in deployment.sources.values():
        check_rejections(source, run.names("inbound")[source.name], deployment, run)
    for test in deployment.tests:
        _check_test(test, tests[test.name], run)
    for name, node in run.tree.only_nodes:
        run.known("municipality", name, run.names("municipalities"), node)
    check_ties(deployment, run)
    if run.tree.partial or run.report.failed:
        return  # what is missing may stand in what could not be read
    reach = Reach(deployment)
    for route in deployment.routes:
        check_dead_route(route, deployment, reach, run)
    if any(_is_lossy(spec) for one in deployment.destinations.values() for spec in one.steps):
        for route in deployment.routes:
            _check_lossy(route, reach, run)
    check_overlaps(deployment, reach, run)
    check_gaps(deployment, reach, run)


def _check_sender(sender: Sender, run: Run) -> None:
    node = run.names("senders")[sender.name]
    places = {**run.names("municipalities"), **run.names("partners")}
    if "may_send" in node.items:
        for type_, item in zip(sender.may_send, _items(node.items["may_send"]), strict=True):
            check_type(type_, item, run)
    if "may_address" in node.items:
        for name, item in zip(sender.may_address, _items(node.items["may_address"]), strict=True):
            if not any(char in name for char in "*?["):
                run.known("municipality or partner", name, places, item)
    if sender.return_to is not None:
        run.known("partner", sender.return_to, places, node.items["return_to"])
    if sender.municipality is not None and sender.municipality not in run.names("municipalities"):
        _check_home(sender.municipality, node.items["municipality"], run)


def _check_home(name: str, node: Node, run: Run) -> None:
    # A sender may belong to a municipality that has not joined yet: its documents are rejected, unknown_recipient.
    close = similar(name, run.names("municipalities"))
    text = f"unknown municipality {name!r}{close or '; documents without a reader find no addressee'}"
    if not run.tree.partial:
        run.report.add(node.place, text, level="error" if close else "warning")


def _check_route(route: Route, run: Run) -> None:
    node = run.names("routes")[route.name]
    match = node.items["match"]
    check_type(route.match.type, match.items["type"], run)
    check_checks(route, node, run)
    check_keys(route, node, run)
    if route.match.partner is not None and route.match.municipality is not None:
        text = "dead route: an addressee is a municipality or a partner, never both; expected one of the two conditions"
        run.report.add(match.items["partner"].key_place, text)
    for kind, section, names in (
        ("municipality", "municipalities", route.match.municipality),
        ("partner", "partners", route.match.partner),
        ("sender", "senders", route.match.sender),
    ):
        for name, item in zip(names or (), _items(match.items[kind]) if names else (), strict=True):
            run.known(kind, name, run.names(section), item)
    _check_targets(route, node.items["deliver_to"], run)
    for spec in (*route.steps, *(spec for target in route.deliver_to for spec in target.steps)):
        if spec.conversion is not None and spec.conversion.lossy and not route.allow_lossy:
            text = f"the conversion from {spec.conversion.from_} is lossy, expected `allow_lossy: true` on this route"
            run.report.add(_place(spec.mark, route), text)


def _check_lossy(route: Route, reach: Reach, run: Run) -> None:
    """Note lossy conversions among the steps of a destination, if the route can bring it what they begin with."""
    if route.allow_lossy:
        return
    told: set[Mark] = set()
    for target, destination in reach.destinations(route):
        own = {spec.mark for spec in destination.steps if _is_lossy(spec)}
        if own <= told:
            continue  # those of a procedure are told once, however many have it
        for spec in _lossy(route, leg(route, target, destination).steps):
            if spec.mark in own and spec.mark not in told:
                told.add(spec.mark)
                text = f"route {route.name!r} leads here ({destination.name}), and the conversion is lossy: expected"
                run.report.add(_place(spec.mark, route), f"{text} `allow_lossy: true` on that route")


def _lossy(route: Route, steps: Iterable[StepSpec]) -> Iterator[StepSpec]:
    """Yield the lossy conversions that a message of the route may come to, by itself or by those before."""
    standard, version, _ = segments(route.match.type)
    made: set[str] = set()
    for spec in steps:
        if spec.conversion is None:
            continue
        from_ = spec.conversion.from_.partition("/")
        if spec.conversion.from_ in made or (meet(standard, from_[0]) and meet(version, from_[2])):
            made.add(spec.conversion.to)
            if spec.conversion.lossy:
                yield spec


def _is_lossy(spec: StepSpec) -> bool:
    return spec.conversion is not None and spec.conversion.lossy


def _place(mark: Mark, route: Route) -> Place:
    return Place(mark.file, mark.line, mark.column, f"routes.{route.name}")


def _check_targets(route: Route, node: Node, run: Run) -> None:
    seen: set[str] = set()
    for target, item in zip(route.deliver_to, _items(node), strict=True):
        at = item.items.get("to", item)
        if target.to in seen:
            run.report.add(at.place, f"{target.to!r} stands here already")
        seen.add(target.to)
        if target.to.startswith(MUNICIPALITY):
            service = target.to.removeprefix(MUNICIPALITY)
            if not service or "/" in service or "{" in service:
                run.report.add(at.place, f"found {target.to!r}, expected {{municipality}}/SERVICE")
        elif placeholder := re.search(r"\{[^}]*\}", target.to):
            text = unknown("placeholder", placeholder[0], ["{municipality}"])
            run.report.add(at.place, f"{text}; expected {{municipality}}/SERVICE or the name of a destination")
        else:
            run.known("destination", target.to, run.destinations, at)


def _check_test(test: RouteTest, node: Node, run: Run) -> None:
    expect = node.items["expect"]
    if test.sender is not None:
        run.known("sender", test.sender, run.names("senders"), node.items["sender"])
    if test.route is not None:
        run.known("route", test.route, run.names("routes"), expect.items["route"])
    if test.rejected is not None and test.rejected not in REJECTION_CODES:
        run.report.add(expect.items["rejected"].place, unknown("code", test.rejected, REJECTION_CODES))
    if test.deliver_to is not None:
        for name, item in zip(test.deliver_to, _items(expect.items["deliver_to"]), strict=True):
            run.known("destination", name, run.destinations, item)


def _items(node: Node) -> list[Node]:
    """Return the items of a list; a single text may stand in its place."""
    return node.value if isinstance(node.value, list) else [node]

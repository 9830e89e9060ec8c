"""Senders, municipalities, partners, routes and tests: each entry by itself, so that a broken one hides no other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from hub.config.document import Node
from hub.config.include import read_tree
from hub.config.lookup import part_of
from hub.config.model import CheckEntry, MunicipalityEntry, PartnerEntry, RouteEntry, SenderEntry, TestEntry
from hub.config.report import Place, Report
from hub.config.run import Run
from hub.config.scalars import NAME
from hub.config.steps import mark, read_steps
from hub.config.validate import validated
from hub.deployment import CheckSpec, Match, Municipality, Partner, Route, RouteTest, Sender, Target
from hub.errors import ConfigError
from hub.files import Files
from hub.plugins import find_adapter
from hub.rate import read_rate
from hub.xml.checks.values import Check

T = TypeVar("T")

ARS_DIGITS = 12


def read_entries(run: Run, section: str, read: Callable[[str, Node, Run], T | None]) -> dict[str, T]:
    """Return the well-formed entries of a section by name."""
    found = ((name, read(name, node, run)) for name, node in named(run, section))
    return {name: entry for name, entry in found if entry is not None}


def named(run: Run, section: str) -> Iterator[tuple[str, Node]]:
    """Yield the entries whose name can be one; note the others."""
    for name, node in run.names(section).items():
        if NAME.fullmatch(name):
            yield name, node
        else:
            expected = "expected letters, digits, `.`, `_` or `-`, at most 63, beginning with a letter or digit"
            run.report.add(node.key_place, f"found the name {name!r}, {expected}")


def read_sender(name: str, node: Node, run: Run) -> Sender | None:
    # A sender of whom everything is usual may be written `name:` or `name: {}`.
    entry = validated(SenderEntry, node.with_value({}) if node.value is None else node, run.report)
    if entry is None:
        return None
    rate = read_rate(entry.rate) if entry.rate else None
    return Sender(name, entry.may_send, entry.may_address, entry.municipality, entry.return_to, entry.environment, rate)


def read_municipalities(run: Run) -> dict[str, Municipality]:
    """Return the municipalities, each with those whose member it is."""
    found = read_entries(run, "municipalities", _municipality)
    around = part_of(found.values())
    return {key: replace(one, part_of=around[key]) for key, one in found.items()}


def _municipality(key: str, node: Node, run: Run) -> Municipality | None:
    entry = validated(MunicipalityEntry, node, run.report)
    if entry is None:
        return None
    ags = short_ags(entry.ags)
    authorities = dict.fromkeys((*entry.authorities, f"ags:{ags}", f"ags:{entry.ags}"))
    members = tuple(short_ags(member) for member in entry.members)
    return Municipality(key, entry.name, ags, tuple(authorities), members, values=entry.values)


def short_ags(number: str) -> str:
    """Return the AGS of an ARS: Land, Regierungsbezirk, Kreis and Gemeinde without the Verband between them."""
    is_ars = len(number) == ARS_DIGITS and number.isdecimal()
    return number[:5] + number[9:] if is_ars else number


def read_partner(key: str, node: Node, run: Run) -> Partner | None:
    entry = validated(PartnerEntry, node, run.report)
    return Partner(key, entry.authorities) if entry is not None else None


def load_routes(path: Path) -> tuple[Route, ...]:
    """Return the routes of a routes.yaml, for who only lists them: of the rest only what stands in them is judged.

    Raises:
        ConfigError: With all problems of the routes, and of files that cannot be read.
    """
    files, report = Files(path.parent), Report()
    run = Run(files, read_tree(files, path.name, report), report, find_adapter, "production")
    routes = read_routes(run, path.name)
    if report.failed:
        raise ConfigError(report.problems())
    return routes


def read_routes(run: Run, main: str) -> tuple[Route, ...]:
    """Return the well-formed routes in the order in which they are tried."""
    routes = read_entries(run, "routes", read_route)
    if not run.names("routes") and not run.tree.partial:
        run.report.add(Place(main, 1, 1, "routes"), "no route at all: every message would be dead; expected `routes:`")
    return tuple(sorted(routes.values(), key=lambda route: -route.priority))


def read_route(name: str, node: Node, run: Run) -> Route | None:
    entry = validated(RouteEntry, node, run.report)
    if entry is None:
        return None
    match = entry.match
    return Route(
        name=name,
        match=Match(match.type, match.municipality, match.partner, match.sender, match.author, match.where),
        checks=_checks(entry, node, run),
        steps=read_steps(entry.steps, node.items.get("steps"), run),
        deliver_to=_targets(entry, node.items["deliver_to"], run),
        accept=entry.accept,
        allow_lossy=entry.allow_lossy,
        priority=entry.priority,
        mark=mark(node.items["match"]),
    )


def _checks(entry: RouteEntry, node: Node, run: Run) -> tuple[CheckSpec, ...]:
    written = node.items.get("checks")
    if entry.checks is None or written is None or not isinstance(written.value, list):
        return (CheckSpec(Check("xsd"), mark(node)),)
    return tuple(_check(check, item, run) for check, item in zip(entry.checks, written.value, strict=True))


def _check(entry: CheckEntry, node: Node, run: Run) -> CheckSpec:
    (name,) = entry.model_fields_set
    check = Check(
        name,
        level=entry.xsd or "full",
        strict=entry.codelists == "strict",
        phase=entry.schematron.phase or "" if entry.schematron else "",
        files=entry.schematron.files if entry.schematron else (),
        covers=entry.signature.covers or "" if entry.signature else "",
    )
    if entry.signature is not None:
        trust = node.items["signature"].items["trust"]
        places = trust.value if isinstance(trust.value, list) else [trust]
        read = (run.file(path, place) for path, place in zip(entry.signature.trust, places, strict=True))
        check = replace(check, trust=tuple(path for path in read if path is not None))
    return CheckSpec(check, mark(node))


def _targets(entry: RouteEntry, node: Node, run: Run) -> tuple[Target, ...]:
    items = node.value if isinstance(node.value, list) else [node]
    return tuple(
        Target(target.to, read_steps(target.steps, item.items.get("steps"), run), mark(item.items.get("to", item)))
        for target, item in zip(entry.deliver_to, items, strict=True)
    )


def read_tests(run: Run) -> Mapping[str, tuple[RouteTest, Node]]:
    """Return the well-formed tests by name, each with its node."""
    found: dict[str, tuple[RouteTest, Node]] = {}
    for node in run.tree.tests:
        entry = validated(TestEntry, node, run.report)
        if entry is None:
            continue
        if entry.name in found:
            first = found[entry.name][1]
            run.report.add(node.items["name"].place, f"a test of this name stands in {first.file}:{first.line} already")
            continue
        message = run.file(entry.message, node.items["message"])
        expect = entry.expect
        test = RouteTest(
            name=entry.name,
            message=message or entry.message,
            sender=entry.sender,
            route=expect.route,
            deliver_to=expect.deliver_to,
            rejected=expect.rejected,
            mark=mark(node),
        )
        found[entry.name] = (test, node)
    return found

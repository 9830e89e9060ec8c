"""What the configuration says of message types, against the standards that are here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

from hub.checking import ACCEPTABLE
from hub.config.document import Node
from hub.config.globs import meet, segments
from hub.config.run import Run
from hub.config.validate import unknown
from hub.deployment import Route
from hub.xml import saxon
from hub.xml.checks.values import Check
from hub.xml.profile import Profile
from hub.xml.registry import Registry

EVERY_NAME = "*"  # a profile that serves every root of its namespace


def fitting(type_: str, registry: Registry) -> Iterator[Profile]:
    """Yield the profiles of which some message fits the globs."""
    standard, version, name = segments(type_)
    for profile in registry.profiles.values():
        if meet(standard, profile.standard) and meet(version, profile.version) and _has(profile.names, name):
            yield profile


def check_type(type_: str, node: Node, run: Run, *, unknown_version: Literal["error", "warning"] = "error") -> None:
    """Note globs that no message type of this deployment can ever fit, and which part of them is wrong."""
    profiles = list(run.registry.profiles.values())
    standard, version, name = segments(type_)
    of_standard = [profile for profile in profiles if meet(standard, profile.standard)]
    of_version = [profile for profile in of_standard if meet(version, profile.version)]
    level = "error"
    if not of_standard:
        text = unknown("standard", standard, {profile.standard for profile in profiles})
    elif not of_version:
        text = unknown(f"version of {standard}:", version, {profile.version for profile in of_standard})
        level = unknown_version
    elif not any(_has(profile.names, name) for profile in of_version):
        text = unknown(f"message of {standard}/{version}:", name, {one for p in of_version for one in p.names})
    else:
        return
    run.report.add(node.place, text, level=level)


def check_checks(route: Route, node: Node, run: Run) -> None:
    """Note checks that cannot be done as they are written: a check that did not run is not one that passed."""
    if not route.checks:
        run.report.add(node.items["checks"].place, "nothing is checked on this route", level="warning")
    written = node.items.get("checks")
    items = written.value if written is not None and isinstance(written.value, list) else [node]
    before: set[str] = set()
    for spec, item in zip(route.checks, items, strict=False):
        place = item.place if item is not node else node.key_place
        for text in _obstacles(spec.check, before, list(fitting(route.match.type, run.registry))):
            run.report.add(place, text)
        before.add(spec.check.name)
    for rule in filter(_kept_or_broken, route.accept):
        place = node.items["accept"].items[rule].key_place
        run.report.add(place, f"{rule} cannot be seen otherwise: a schema and a signature are kept or broken")
    if route.accept and not before & ACCEPTABLE:
        names = ", ".join(sorted(ACCEPTABLE))
        run.report.add(
            node.items["accept"].key_place,
            f"nothing to accept on this route: only findings of {names} may be seen otherwise",
        )


def _kept_or_broken(rule: str) -> bool:
    """Tell whether a rule is one of the schema's or of the signature."""
    return rule.startswith("SCHEMAV_") or rule in ("schema", "header", "signature")


def _obstacles(check: Check, before: set[str], profiles: list[Profile]) -> Iterator[str]:
    """Yield why a check cannot be done for all documents of some profiles, after the checks ``before``."""
    if check.name in before:
        yield f"{check.name} stands here already"
    if check.name in ACCEPTABLE and "xsd" not in before:
        yield f"{check.name} takes a valid document for granted, expected xsd before it"
    if check.name == "schematron" and not saxon.available():
        yield f"schematron {saxon.MISSING}"
    thin = _names(one for one in profiles if one.level != "full")
    if check.needs_full and thin:
        instead = "`checks: [xsd: header]`, or the official schema" if check.name == "xsd" else "the official schema"
        yield f"only the header schema of {thin} is here, expected {instead} (xoev-hub schemas import)"
    without = {"codelists": lambda one: not one.codelists, "schematron": lambda one: not one.schematron}
    if check.name in without and (names := _names(one for one in profiles if without[check.name](one))):
        yield f"the profile of {names} names no {check.name} to check with (xoev-hub schemas import)"


def _names(profiles: Iterable[Profile]) -> str:
    return ", ".join([f"{one.standard}/{one.version}" for one in profiles][:5])


def check_keys(route: Route, node: Node, run: Run) -> None:
    """Note conditions on keys that no profile of the route's types gives."""
    if not route.match.where:
        return
    known = {key for profile in fitting(route.match.type, run.registry) for key in profile.keys}
    entries = node.items["match"].items["where"].items
    for key in route.match.where:
        if key not in known:
            run.report.add(entries[key].key_place, unknown("key", key, known))


def _has(names: Iterable[str], glob: str) -> bool:
    return any(name == EVERY_NAME or meet(glob, name) for name in names)

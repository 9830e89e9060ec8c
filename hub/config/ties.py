"""Whose message it is must never be a matter of chance: keys owned by two, and services that two could serve."""

from __future__ import annotations

from collections.abc import Iterator

from hub.config.document import Node
from hub.config.entries import short_ags
from hub.config.lookup import COUNTY_DIGITS, destination_for
from hub.config.run import Run
from hub.deployment import Deployment, Municipality


def check_ties(deployment: Deployment, run: Run) -> None:
    """Note every authority key, member and service that two lay claim to."""
    _check_owners(deployment, run)
    for municipality in deployment.municipalities.values():
        _check_members(municipality, deployment, run)
    _check_services(deployment, run)


def _check_owners(deployment: Deployment, run: Run) -> None:
    owners: dict[str, tuple[str, Node]] = {}
    for key, owner, node in _claims(deployment, run):
        first, where = owners.setdefault(key, (owner, node))
        if first != owner:
            kind = "AGS" if ":" not in key else "authority key"
            text = f"{kind} {key} belongs to {first} already ({where.file}:{where.line}); expected one owner"
            run.report.add(node.place, text)


def _claims(deployment: Deployment, run: Run) -> Iterator[tuple[str, str, Node]]:
    """Yield each key with its owner and the place where that is said."""
    ags = {one.ags for one in deployment.municipalities.values()}
    for municipality in deployment.municipalities.values():
        node = run.names("municipalities")[municipality.key]
        yield f"ags:{municipality.ags}", municipality.key, node.items["ags"]
        for authority in _children(node, "authorities"):
            yield authority.text or "", municipality.key, authority
        for member in _children(node, "members"):
            number = short_ags(member.text or "")
            if number.isdecimal() and number not in deployment.municipalities and number not in ags:
                yield number, municipality.key, member
    for partner in deployment.partners.values():
        for authority in _children(run.names("partners")[partner.key], "authorities"):
            yield authority.text or "", partner.key, authority


def _check_members(municipality: Municipality, deployment: Deployment, run: Run) -> None:
    node = run.names("municipalities")[municipality.key]
    closed = node.file in run.tree.only
    county = municipality.ags[:COUNTY_DIGITS]
    for member in _children(node, "members"):
        name = short_ags(member.text or "")
        other = deployment.municipalities.get(name)
        if other is None and not name.isdecimal():
            run.known("municipality", name, run.names("municipalities"), member)
        elif closed and not (other.ags if other is not None else name).startswith(county):
            text = f"{name} lies outside {county}; a file with `only` may name members of its own county only"
            run.report.add(member.place, text)


def _check_services(deployment: Deployment, run: Run) -> None:
    services = sorted({one.service for one in deployment.destinations.values() if one.municipality})
    for key, municipality in deployment.municipalities.items():
        if len(municipality.part_of) < 2:
            continue
        for service in services:
            found = destination_for(deployment.municipalities, deployment.destinations, key, service)
            if len(found) > 1:
                run.report.add(
                    run.names("municipalities")[key].key_place,
                    f"{{municipality}}/{service} could mean {' or '.join(found)}; expected one, or {key}/{service}",
                )


def _children(node: Node, key: str) -> list[Node]:
    child = node.items.get(key)
    return child.value if child is not None and isinstance(child.value, list) else []

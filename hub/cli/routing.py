"""``routes list|show|gaps|unused``: what leads where, who is not served, and what nobody needs any more."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from hub.cli.common import FAILED, Text, json_option, now, printable, put_items, put_json, put_table, say
from hub.cli.groups import ago
from hub.cli.session import Session
from hub.errors import Unavailable

if TYPE_CHECKING:
    from datetime import datetime

    from hub.deployment import Route


@click.group()
def routes() -> None:
    """What leads where, who is not served, what is not used."""


@routes.command("list")
@json_option
@click.pass_obj
def list_(session: Session, as_json: bool) -> None:
    """List the routes in the order in which they are tried, with the time of the last message of each."""
    found = session.routes()
    used = _last_used(session, [one.name for one in found])
    if as_json:
        put_items([_route_json(one, used) for one in found])
        return
    rows = [
        (one.name, one.priority, one.match.type, _whom(one), ", ".join(target.to for target in one.deliver_to),
         ago(used[one.name]) if used and one.name in used else "never" if used is not None else "?")
        for one in found
    ]  # fmt: skip
    put_table(("route", "priority", "type", "serves", "delivers to", "last used"), rows)


@routes.command()
@click.argument("name", type=Text())
@json_option
@click.pass_obj
def show(session: Session, name: str, as_json: bool) -> None:
    """Show one route: what it asks for, checks and does, and where it leads for whom."""
    from hub.config.overlaps import Reach

    deployment = session.deployment()
    route = next((one for one in deployment.routes if one.name == name), None)
    if route is None:
        say(f"there is no route {name}; xoev-hub routes list shows them")
        raise click.exceptions.Exit(FAILED)
    leads = sorted({destination.name for _, destination in Reach(deployment).destinations(route)})
    shown = _route_json(route, _last_used(session, [name])) | {"destinations": leads}
    if as_json:
        put_json(shown)
        return
    for label, value in shown.items():
        told = ", ".join(map(str, value)) if isinstance(value, list) else value
        click.echo(f"{label.replace('_', ' '):14} {printable('-' if told in (None, '') else told)}")


@routes.command()
@json_option
@click.pass_obj
def gaps(session: Session, as_json: bool) -> None:
    """List what municipalities are not served with: services and standards without a route."""
    from hub.config.served import gaps as find_gaps

    found = find_gaps(session.deployment())
    if as_json:
        put_items([{"municipality": one.municipality, one.kind: one.name, "why": one.why} for one in found])
        return
    put_table(("municipality", "not served with", "", "why"), [(o.municipality, o.kind, o.name, o.why) for o in found])
    if not found:
        say("no gaps")


@routes.command()
@click.option("--days", type=click.IntRange(1, 3660), default=90, show_default=True)
@json_option
@click.pass_obj
def unused(session: Session, days: int, as_json: bool) -> None:
    """List routes that no message has taken for so many days."""
    found = session.routes()
    used = session.reader().last_used([one.name for one in found])
    since = now() - timedelta(days=days)
    idle = [one for one in found if one.name not in used or used[one.name] < since]
    if as_json:
        put_items([_route_json(one, used) for one in idle])
        return
    rows = [(one.name, one.match.type, ago(used.get(one.name)) if one.name in used else "never") for one in idle]
    put_table(("route", "type", "last used"), rows)


def _last_used(session: Session, names: list[str]) -> dict[str, datetime] | None:
    """Return when routes were last used; ``None`` where there is no store yet that could tell."""
    try:
        return session.reader().last_used(names)
    except Unavailable as error:
        say(f"when they were last used nobody can tell: {error}")
        return None


def _whom(route: Route) -> str:
    match = route.match
    if match.partner is not None:
        return f"partners {', '.join(match.partner)}"
    return ", ".join(match.municipality) if match.municipality is not None else "whoever has its destinations"


def _route_json(route: Route, used: dict[str, datetime] | None) -> dict[str, Any]:
    from hub import view

    match = route.match
    return {
        "name": route.name,
        "priority": route.priority,
        "type": match.type,
        "municipality": _listed(match.municipality),
        "partner": _listed(match.partner),
        "sender": _listed(match.sender),
        "author": _listed(match.author),
        "where": [f"{name}: {' or '.join(globs)}" for name, globs in match.where.items()] or None,
        "checks": [str(one.check) for one in route.checks],
        "steps": [f"{kind}: {value}" for kind, value in (one.key for one in route.steps)],
        "deliver_to": [target.to for target in route.deliver_to],
        "at": str(route.mark) if route.mark else None,
        "last_used_at": view.time_text(used.get(route.name)) if used else None,
    }


def _listed(names: tuple[str, ...] | None) -> list[str] | None:
    return None if names is None else list(names)

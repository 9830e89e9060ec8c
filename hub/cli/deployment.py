"""``init``, ``config``, ``schemas``, ``adapters``: what a deployment is made of."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hub.cli.common import (
    CONFIG,
    FAILED,
    OK,
    json_option,
    printable,
    put_items,
    put_json,
    put_table,
    say,
)
from hub.cli.scaffold import new as new_adapter
from hub.cli.session import NO_CONFIG, Session
from hub.errors import ConfigError, Problem

if TYPE_CHECKING:
    from hub.deployment import Deployment
    from hub.xml.profile import Profile
    from hub.xml.registry import Registry


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
def init(folder: Path) -> None:
    """Make a new deployment: routes.yaml, hub.toml, folders, a first standard, a passing test."""
    from hub.config import init as make

    for path in make(folder):
        click.echo(printable(path))
    say(f"next: cd {folder}; xoev-hub check; xoev-hub test; xoev-hub run")


# --- config ------------------------------------------------------------------------------------------------------


@click.group()
def config() -> None:
    """Show what the configuration means."""


@config.command("show")
@click.argument("name", required=False)
@click.option("--origin", is_flag=True, help="Each value with the file and line it comes from.")
@json_option
@click.pass_obj
def show_config(session: Session, name: str | None, origin: bool, as_json: bool) -> None:
    """Show a destination, route, source, sender, municipality or partner by NAME; without NAME, list them."""
    from hub.config import origin as origins
    from hub.config import read
    from hub.files import Files

    if not session.config.is_file():
        raise ConfigError([Problem(str(session.config), 0, 0, "", NO_CONFIG)])
    files = Files(session.base)
    reading = read(files, session.config.name, stage=session.settings.stage)
    if reading.deployment is None:
        raise ConfigError(reading.problems)
    if name is None:
        names = _names(reading.deployment)
        if as_json:
            put_items([{"kind": kind, "name": one} for kind, one in names])
        else:
            put_table(("kind", "name"), names)
        return
    lines = origins(files, name, main=session.config.name, stage=session.settings.stage)
    if not lines:
        say(f"nothing is called {name!r}; xoev-hub config show lists what there is")
        raise click.exceptions.Exit(FAILED)
    if as_json:
        put_items([{"key": line.key, "value": line.value, "origin": line.origin} for line in lines])
        return
    for line in lines:
        click.echo(f"{printable(line.key)} = {printable(line.value)}{f'    # {line.origin}' if origin else ''}")


def _names(deployment: Deployment) -> list[tuple[str, str]]:
    kinds = (
        ("sender", deployment.senders),
        ("source", deployment.sources),
        ("municipality", deployment.municipalities),
        ("partner", deployment.partners),
        ("destination", deployment.destinations),
        ("route", [route.name for route in deployment.routes]),
    )
    return [(kind, name) for kind, names in kinds for name in names]


@config.command("schema")
def schema_of_config() -> None:
    """Print the JSON Schema of routes.yaml, for editors."""
    from hub.config import json_schema

    put_json(json_schema())


# --- schemas -----------------------------------------------------------------------------------------------------


@click.group()
def schemas() -> None:
    """Show the standards that the hub knows."""


def _registry(session: Session) -> tuple[Registry, Sequence[Problem]]:
    """Return the standards that can be read, and what is wrong with the others."""
    from hub.files import Files
    from hub.xml.registry import Registry

    registry, problems = Registry.load(Files(session.base))
    for problem in problems:
        say(str(problem))
    return registry, problems


def _profile_json(profile: Profile) -> dict[str, Any]:
    return {
        "standard": profile.standard,
        "version": profile.version,
        "title": profile.title,
        "level": profile.level,
        "identity": profile.identity,
        "folder": profile.folder,
        "roots": len(profile.names),
        "valid_from": profile.valid_from.isoformat() if profile.valid_from else None,
        "valid_to": profile.valid_to.isoformat() if profile.valid_to else None,
        "grace_until": profile.grace_until.isoformat() if profile.grace_until else None,
    }


@schemas.command("list")
@json_option
@click.pass_obj
def list_schemas(session: Session, as_json: bool) -> None:
    """List standards and versions, and how far their schema checks: full, or the header only."""
    registry, problems = _registry(session)
    items = [_profile_json(profile) for profile in registry.profiles.values()]
    if as_json:
        put_items(items)
        raise click.exceptions.Exit(CONFIG if problems else OK)
    head = ("standard", "version", "level", "roots", "from", "to", "title")
    rows = [
        (one["standard"], one["version"], one["level"], one["roots"], one["valid_from"], one["valid_to"], one["title"])
        for one in items
    ]
    put_table(head, rows)
    raise click.exceptions.Exit(CONFIG if problems else OK)


@schemas.command("show")
@click.argument("name", metavar="STANDARD/VERSION")
@json_option
@click.pass_obj
def show_schema(session: Session, name: str, as_json: bool) -> None:
    """Show one standard's profile: roots, header form, keys, window."""
    standard, _, version = name.partition("/")
    profile = _registry(session)[0].profiles.get((standard, version))
    if profile is None:
        say(f"there is no {name}; xoev-hub schemas list shows what there is")
        raise click.exceptions.Exit(FAILED)
    shown = _profile_json(profile) | {
        "names": sorted(profile.names),
        "namespaces": sorted({root.namespace for root in profile.roots}),
        "keys": sorted(profile.keys),
        "business_keys": sorted(profile.business_keys),
    }
    if as_json:
        put_json(shown)
        return
    for key, value in shown.items():
        text = ", ".join(value) if isinstance(value, list) else value
        click.echo(f"{key:14} {printable('' if text is None else text)}")


@schemas.command("check")
@json_option
@click.pass_obj
def check_schemas(session: Session, as_json: bool) -> None:
    """Compile every schema, and say how long each took."""
    registry, unreadable = _registry(session)
    items: list[dict[str, Any]] = []
    problems: list[Problem] = []
    for profile in registry.profiles.values():
        started = time.perf_counter()
        try:
            registry.schema(profile)
            error = None
        except ConfigError as failed:
            problems += failed.problems
            error = str(failed.problems[0].text)
        took = round((time.perf_counter() - started) * 1000, 1)
        items.append({"standard": profile.standard, "version": profile.version, "ms": took, "error": error})
    if as_json:
        put_items(items)
    else:
        put_table(
            ("standard", "version", "ms", "verdict"),
            [(one["standard"], one["version"], one["ms"], one["error"] or "ok") for one in items],
        )
    for problem in problems:
        say(str(problem))
    raise click.exceptions.Exit(CONFIG if problems or unreadable else OK)


# --- adapters ----------------------------------------------------------------------------------------------------


@click.group()
def adapters() -> None:
    """Show the adapters that are installed, or begin a new one."""


adapters.add_command(new_adapter)


@adapters.command("list")
@json_option
def list_adapters(as_json: bool) -> None:
    """List adapters with their direction, origin and, if one is broken, its error."""
    from hub import plugins

    found = plugins.list_adapters()
    items = [
        {
            "name": one.name,
            "direction": one.direction,
            "distribution": one.distribution,
            "version": one.version,
            "api_version": one.api_version,
            "error": one.error,
        }
        for one in found
    ]
    if as_json:
        put_items(items)
    else:
        head = ("name", "direction", "distribution", "version", "api", "error")
        put_table(head, [tuple(one.values()) for one in items])
    raise click.exceptions.Exit(FAILED if any(one["error"] for one in items) else OK)

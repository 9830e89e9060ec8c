"""``init``, ``config``, ``adapters``: what a deployment is made of."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hub.cli.common import (
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


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
def init(folder: Path) -> None:
    """Make a new deployment: routes.yaml, hub.toml, folders, a first standard, a passing test."""
    from hub.config.init import init as make

    for path in make(folder):
        click.echo(printable(path))
    say(f"next: cd {shlex.quote(str(folder))}; xoev-hub check; xoev-hub test; xoev-hub run")


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
    from hub.config import read
    from hub.config.origin import origin as origins
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

"""``adapters new``: the beginning of a plugin."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from hub.cli.common import printable, say


@click.command("new")
@click.argument("name")
@click.option(
    "--into",
    default=".",
    show_default=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Where the folder hub-NAME is made.",
)
def new(name: str, into: Path) -> None:
    """Begin a package with an adapter NAME that works as it is, with its contract test."""
    from hub.scaffold import scaffold

    try:
        written = scaffold(name, into)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="NAME") from error
    for path in written:
        click.echo(printable(path))
    folder = shlex.quote(str(Path(written[0]).parent))
    say(f"next: python -m pip install --no-deps -e {folder}; xoev-hub adapters list; python -m pytest {folder}")

"""``xoev-hub``: a thin edge over the hub's service. Commands are imported when they are called, so that it starts fast.

Exit codes: 0 ok · 1 failure · 2 usage · 65 document rejected · 69 peer or store unavailable · 75 some still pending ·
77 not permitted · 78 configuration.
"""

from __future__ import annotations

import io
import os
import sys
from importlib import import_module
from pathlib import Path

import click

from hub.cli.common import FAILED, OK, exit_code_of
from hub.cli.session import Session

COMMANDS = {
    "adapters": "hub.cli.deployment:adapters",
    "check": "hub.cli.inspecting:check",
    "close": "hub.cli.actions:close",
    "config": "hub.cli.deployment:config",
    "demo": "hub.cli.running:demo",
    "doctor": "hub.cli.doctor:doctor",
    "explain": "hub.cli.explain:explain",
    "init": "hub.cli.deployment:init",
    "messages": "hub.cli.finding:messages",
    "pause": "hub.cli.actions:pause",
    "release": "hub.cli.releasing:release",
    "reload": "hub.cli.control:reload",
    "replan": "hub.cli.actions:replan",
    "replay": "hub.cli.actions:replay",
    "resend": "hub.cli.actions:resend",
    "resume": "hub.cli.actions:resume",
    "run": "hub.cli.running:run",
    "schemas": "hub.cli.schemas:schemas",
    "send": "hub.cli.running:send",
    "simulate": "hub.cli.running:simulate",
    "store": "hub.cli.running:store",
    "test": "hub.cli.inspecting:test",
}


class Lazy(click.Group):
    """A group whose commands are imported by name."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, _ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(import_module(module), name)
        return command


@click.group(cls=Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "-c",
    "--config",
    envvar="XOEV_HUB_CONFIG",
    default="routes.yaml",
    show_default=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="routes.yaml of the deployment; relative paths count from its folder.",
)
@click.version_option(package_name="xoev-hub")
@click.pass_context
def program(ctx: click.Context, config: Path) -> None:
    """The XÖV hub: takes messages in, keeps them, brings them to specialist procedures."""
    ctx.obj = session = Session(config)
    ctx.call_on_close(session.close)


def main() -> None:
    """Run the program and exit with the code that INTERFACE §5 names."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal without ü is no reason to fail
    try:
        # Not click's own main(): that answers a reader who has gone with exit code 1.
        with program.make_context("xoev-hub", sys.argv[1:]) as context:
            program.invoke(context)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        sys.exit(FAILED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nobody reads: say nothing more
        sys.exit(OK)
    except Exception as error:  # noqa: BLE001  # the outermost edge: each failure has its code, a bug its place
        sys.exit(exit_code_of(error))

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
from hub.cli.examples import exemplify
from hub.cli.session import Session

COMMANDS = {
    "adapters": "hub.cli.deployment:adapters",
    "audit": "hub.cli.audits:audit",
    "backup": "hub.cli.saving:backup",
    "check": "hub.cli.inspecting:check",
    "close": "hub.cli.actions:close",
    "config": "hub.cli.deployment:config",
    "demo": "hub.cli.running:demo",
    "destinations": "hub.cli.destinations:destinations",
    "doctor": "hub.cli.doctor:doctor",
    "explain": "hub.cli.explain:explain",
    "groups": "hub.cli.groups:groups",
    "init": "hub.cli.deployment:init",
    "jobs": "hub.cli.jobs:jobs",
    "messages": "hub.cli.finding:messages",
    "pause": "hub.cli.actions:pause",
    "release": "hub.cli.releasing:release",
    "reload": "hub.cli.control:reload",
    "replan": "hub.cli.actions:replan",
    "replay": "hub.cli.actions:replay",
    "resend": "hub.cli.actions:resend",
    "restore": "hub.cli.saving:restore",
    "resume": "hub.cli.actions:resume",
    "routes": "hub.cli.routing:routes",
    "run": "hub.cli.running:run",
    "schemas": "hub.cli.schemas:schemas",
    "selftest": "hub.cli.proving:selftest",
    "send": "hub.cli.running:send",
    "simulate": "hub.cli.running:simulate",
    "stats": "hub.cli.stats:stats",
    "store": "hub.cli.running:store",
    "test": "hub.cli.inspecting:test",
}


COMPLETE = "_XOEV_HUB_COMPLETE"  # set by the shell's completion: bash_source, zsh_source, fish_source, …


class Lazy(click.Group):
    """A group whose commands are imported by name."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, _ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(import_module(module), name)
        return exemplify(cmd_name, command)


@click.group(cls=Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "-c",
    "--config",
    envvar="XOEV_HUB_CONFIG",
    default="routes.yaml",
    show_default=True,
    type=click.Path(path_type=Path, dir_okay=False, readable=False),  # who may not read it is told so, with code 77
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
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")  # to look for some asks every installed package
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal without ü is no reason to fail
    if instruction := os.environ.get(COMPLETE):
        from click.shell_completion import shell_complete

        sys.exit(shell_complete(program, {}, "xoev-hub", COMPLETE, instruction))
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

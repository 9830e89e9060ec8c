"""``run``, ``send``, ``simulate``, ``store migrate``, ``demo``: what starts something."""

from __future__ import annotations

import re
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hub.cli.common import FAILED, NOT_PERMITTED, OK, REJECTED, UNAVAILABLE, Text, now, printable, read_document, say
from hub.cli.session import NO_CONFIG, Session
from hub.errors import ConfigError, Conflict, Problem, Rejected, StoreBusy, StoreError, Unavailable

if TYPE_CHECKING:
    from hub.cli.sending import Door
    from hub.message import Incoming

KEY = re.compile(r"[A-Za-z0-9._:-]{1,200}")
REFERENCE_MAX = 200
ENDING = frozenset({signal.SIGTERM, signal.SIGINT})


@click.command()
@click.pass_obj
def run(session: Session) -> None:
    """Run the daemon. SIGHUP reloads; SIGTERM drains, a second signal ends it at once."""
    from hub import log
    from hub.daemon.main import run as run_daemon

    if not session.config.is_file():
        raise ConfigError([Problem(str(session.config), 0, 0, "", NO_CONFIG)])
    log.configure()
    try:
        code = run_daemon(session.config, session.settings)
    except StoreBusy:
        raise
    except StoreError as error:
        raise Unavailable(str(error)) from error
    raise click.exceptions.Exit(code)


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--sender", required=True, type=Text(), help="Who hands in.")
@click.option("--url", help="Of a running hub; left out, the hub of this configuration.")
@click.option("--source", type=Text(), help="The source to use; left out, the first one this sender may use.")
@click.option("--reference", type=Text(), help="Sender-Reference, to find the message by.")
@click.option("--recipient", type=Text(), help="Municipality or partner, for standards that name no reader.")
@click.option("--idempotency-key", metavar="KEY", help="The same key gives the same receipt; for one FILE.")
@click.pass_obj
def send(session: Session, /, files: tuple[str, ...], url: str | None, sender: str, **asked: Any) -> None:
    """Hand documents in through the same intake as any other source; - is stdin.

    While a daemon has the store they go to its HTTP source, with the sender's token.
    """
    from hub.cli.sending import open_door
    from hub.message import Incoming

    key = asked["idempotency_key"]
    if key is not None and (len(files) > 1 or not KEY.fullmatch(key)):
        raise click.UsageError("--idempotency-key is for one FILE, and has at most 200 of A-Z a-z 0-9 . _ : -")
    for name in ("reference", "recipient"):
        if len(asked[name] or "") > REFERENCE_MAX:
            raise click.BadParameter(f"longer than {REFERENCE_MAX} characters", param_hint=f"--{name}")
    documents = [
        Incoming(
            read_document(name),
            asked["source"] or "",
            sender,
            idempotency_key=key,
            sender_reference=asked["reference"],
            recipient=asked["recipient"],
        )
        for name in files
    ]
    with open_door(session, sender, asked["source"], url) as door:
        codes = [_hand_in(door, name, document) for name, document in zip(files, documents, strict=True)]
    raise click.exceptions.Exit(max(codes))


def _hand_in(door: Door, name: str, incoming: Incoming) -> int:
    """Hand one document in, say what became of it, and return the exit code that means."""
    shown = printable(name)
    try:
        receipt = door.accept(incoming)
    except Rejected as rejected:
        say(f"{shown}: rejected {rejected.code} {rejected.id or ''}".rstrip())
        if rejected.code == "unauthenticated":
            say("    the hub there knows no such token of this sender; xoev-hub config show SOURCE says where it lies")
        for finding in rejected.findings:
            say(f"    {finding.rule} line {finding.line} {finding.path}: {finding.text}")
        return NOT_PERMITTED if rejected.code in ("unauthenticated", "sender_may_not") else REJECTED
    except Conflict as conflict:
        say(f"{shown}: conflict, the same identity has other content {conflict.id or ''}".rstrip())
        return REJECTED
    except Unavailable as error:
        say(f"{shown}: {error}")
        return UNAVAILABLE
    click.echo(f"{receipt.message_id}  {'duplicate, ' + receipt.state if receipt.duplicate else 'accepted'}  {shown}")
    return OK


@click.command()
@click.argument("script", type=click.Path(path_type=Path, exists=True, dir_okay=False))
def simulate(script: Path) -> None:
    """Run simulated specialist procedures, driven by a small YAML script, until a signal ends them."""
    from hub import log
    from hub.simulate import Script, ScriptError, running

    log.configure()
    # Waited for, not handled: a handler's signal that comes just before the main thread falls asleep wakes nobody.
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        with running(Script(script)):
            signal.sigwait(ENDING)
    except ScriptError as error:
        raise ConfigError([Problem(str(script), 0, 0, "", str(error).removeprefix(f"{script.name}: "))]) from error


@click.group()
def store() -> None:
    """Look after the store."""


@store.command()
@click.pass_obj
def migrate(session: Session) -> None:
    """Create the store, or bring it up to this version. PostgreSQL: as a role that may create tables."""
    from hub.store import migrate as migrate_store

    url = session.settings.store
    if url.startswith("sqlite"):
        session.open_store("daemon").close()  # opening it for a daemon creates and migrates it
        say("the store is up to date")
    else:
        say(f"the store is at version {migrate_store(url)}")


@click.command()
@click.option("--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), help="Write the table as JSON.")
def demo(json_file: Path | None) -> None:
    """Run the hub for four municipalities with simulated procedures, and show what arrived where."""
    from hub.demo import run as run_demo

    if json_file is not None and not json_file.absolute().parent.is_dir():
        raise click.BadParameter("its folder does not exist", param_hint="--json")  # now, not when all is over

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(FAILED))  # not without ending what was started
    raise click.exceptions.Exit(run_demo(json_file, now(), sys.stdout))

"""``selftest``: the hub attacks itself on a scratch store, and prints what an auditor keeps."""

from __future__ import annotations

import secrets
import tempfile
from pathlib import Path

import click

from hub.cli.common import FAILED, OK, json_option, put_json, say
from hub.cli.session import Session

KILLS_MAX = 10_000


@click.command()
@click.option("--crash", is_flag=True, help="Kill a hub under load again and again: is anything lost or altered?")
@click.option("--kills", default=20, show_default=True, type=click.IntRange(1, KILLS_MAX), help="How often.")
@click.option("--receipts", default=60, show_default=True, type=click.IntRange(1, KILLS_MAX), help="Receipts per kill.")
@click.option("--seed", type=click.IntRange(0), help="Repeats a proof; left out, a new one is drawn and printed.")
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False, exists=True, writable=True),
    help="Where the scratch store is made, on the disk that is to be judged; left out, in the state directory of this "
    "configuration, or without one where temporary files go.",
)
@json_option
@click.pass_obj
def selftest(
    session: Session, crash: bool, kills: int, receipts: int, seed: int | None, folder: Path | None, as_json: bool
) -> None:
    """Prove on this machine that nothing is lost: on a scratch store, with simulated procedures, beside any daemon.

    Nothing of the deployment is read or touched. The report goes to stdout; exit code 1: a promise was broken.
    """
    from hub.selftest.crash import prove
    from hub.selftest.report import lines, report
    from hub.selftest.scratch import TooSlow

    if not crash:
        raise click.UsageError("say what to prove: --crash")
    seed = secrets.randbelow(1_000_000) if seed is None else seed
    say(f"seed {seed}; about {kills * 4} seconds")
    with tempfile.TemporaryDirectory(prefix="selftest-", dir=folder or _beside(session)) as scratch:
        place = Path(scratch)
        try:
            outcome = prove(place, seed=seed, kills=kills, receipts_per_kill=receipts, tell=say)
        except TooSlow as error:
            say(f"the proof came to no end: {error}")
            say(_end_of_log(place))
            raise click.exceptions.Exit(FAILED) from error
        told = report(outcome, place)
    if as_json:
        put_json(told)
    else:
        click.echo("\n".join(lines(told)))
    raise click.exceptions.Exit(OK if outcome.kept else FAILED)


def _beside(session: Session) -> Path | None:
    """Return the state directory of a configuration that is there: the disk whose promises count."""
    if not session.config.is_file():
        return None
    state_dir = session.settings.state_dir
    return state_dir if state_dir.is_dir() else session.base


def _end_of_log(place: Path) -> str:
    log = place / "hub" / "hub.log"
    return log.read_text("utf-8", "replace")[-3000:] if log.is_file() else ""

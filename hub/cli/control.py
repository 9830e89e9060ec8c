"""``reload``: what is asked of the running daemon itself."""

from __future__ import annotations

import click

from hub.cli.common import FAILED, UNAVAILABLE, now, say
from hub.cli.session import Session, actor
from hub.errors import ConfigError, Problem
from hub.store.api import Audit


@click.command()
@click.pass_obj
def reload(session: Session) -> None:
    """Put the configuration on disk into service: wholly, or not at all."""
    from hub.daemon.control import NAME, ask

    state_dir = session.settings.state_dir
    try:
        answer = ask(state_dir, {"do": "reload", "actor": actor()})
    except OSError as error:
        why = error.strerror or type(error).__name__
        say(f"no daemon answers at {state_dir / NAME} ({why}); start one: xoev-hub run")
        raise click.exceptions.Exit(UNAVAILABLE) from error
    if answer["ok"]:
        store = session.open_store()
        store.audit(Audit(now(), actor(), "cli", "reload", answer["snapshot"], "", "in service"))
        say(f"reloaded, snapshot {answer['snapshot'][:12]}")
        return
    if "problems" in answer:
        raise ConfigError([Problem(**one) for one in answer["problems"]])
    say(f"not reloaded, the old configuration goes on: {answer['error']}")
    raise click.exceptions.Exit(FAILED)

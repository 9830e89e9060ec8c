"""``audit list``: who did what to what, and why."""

from __future__ import annotations

from datetime import datetime

import click

from hub.cli.common import Text, Time, json_option, put_items, put_table, say
from hub.cli.finding import Cursor
from hub.cli.session import Session


@click.group()
def audit() -> None:
    """What people did, and which payloads they read."""


@audit.command("list")
@click.option("--actor", type=Text(), help="Who.")
@click.option("--action", type=Text(), help="What: replay, pause, read_payload, note, …")
@click.option(
    "--about", type=Text(), help="The object as it was written: a destination, a delivery's id with the role."
)
@click.option("--since", type=Time())
@click.option("--until", type=Time())
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True)
@click.option("--after", type=Cursor(), help="Go on where the last page ended.")
@json_option
@click.pass_obj
def list_(
    session: Session,
    /,
    *,
    actor: str | None,
    action: str | None,
    about: str | None,
    since: datetime | None,
    until: datetime | None,
    limit: int,
    after: str | None,
    as_json: bool,
) -> None:
    """List what was done, newest first."""
    reader = session.reader()
    from hub import view
    from hub.store.trail import AuditFilter

    asked = AuditFilter(actor, action, None if about is None else (about,), since, until)
    found, next_ = reader.audits(asked, limit=limit, after=after)
    if as_json:
        put_items([view.audit_json(one) for one in found], next_)
        return
    rows = [
        (f"{one.at.astimezone():%Y-%m-%d %H:%M:%S}", one.actor, one.via, one.action, one.object, one.reason, one.result)
        for one in found
    ]
    put_table(("at", "actor", "via", "action", "object", "reason", "result"), rows)
    if next_:
        say(f"more: --after {next_}")

"""``groups list|note``: four hundred dead are one line, with the next step."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from hub.cli.common import FAILED, Text, Time, check_reason, json_option, now, put_items, say
from hub.cli.finding import Fingerprint
from hub.cli.session import Session

if TYPE_CHECKING:
    from hub.store.groups_api import Group


@click.group()
def groups() -> None:
    """Failures that are alike, as one: how many, since when, what to do."""


@groups.command("list")
@click.option("--kind", type=click.Choice(["dead", "rejected"]), help="Dead deliveries, or rejected documents.")
@click.option("--fingerprint", type=Fingerprint(), help="This group alone.")
@click.option("--destination", type=Text())
@click.option("--reason", "because", type=Text(), help="Why they are dead, or rejected.")
@click.option("--since", type=Time(), default="7d", show_default=True, help="For rejections: received since then.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True)
@json_option
@click.pass_obj
def list_(session: Session, /, since: datetime, limit: int, as_json: bool, **asked: Any) -> None:
    """List groups of what is dead now and of what was rejected lately: what needs a person, and the largest, first."""
    found = [
        one
        for one in session.reader().groups(rejected_since=since, only=asked["fingerprint"])
        if asked["kind"] in (None, one.kind)
        and asked["destination"] in (None, one.destination)
        and asked["because"] in (None, one.reason)
    ]
    if as_json:
        from hub import view

        put_items([view.group_json(one) | {"next_step": next_step(one)} for one in found[:limit]])
    else:
        _tell(found[:limit])
    if len(found) > limit:
        say(f"{len(found) - limit} more groups: --limit {len(found)}")


@groups.command()
@click.argument("fingerprint", type=Fingerprint())
@click.argument("text", nargs=-1, required=True)
@click.pass_obj
def note(session: Session, fingerprint: str, text: tuple[str, ...]) -> None:
    """Write down what is known about a group; every listing of it shows that, with your name. No citizen's data."""
    if not session.hub().note(fingerprint, check_reason(" ".join(text), "TEXT")):
        say(f"nothing has ever failed like {fingerprint}")
        raise click.exceptions.Exit(FAILED)
    say(f"noted on {fingerprint}")


def next_step(group: Group) -> str:
    """Return what to do about failures of this kind first, as a sentence with the command."""
    token = f"--fingerprint {group.fingerprint}"
    if group.kind == "rejected":
        return f"the sender must act: xoev-hub messages show {group.example} has rule and place"
    again = f"then xoev-hub replay {token} --canary 1 --reason …"
    resend = f"xoev-hub resend {token} --canary 1 --reason …"
    example = group.example
    steps = {
        "transform_failed": f"mend the step, xoev-hub test, xoev-hub reload, {again}",
        "target_invalid": f"mend the step that makes it, xoev-hub test, xoev-hub reload, {again}",
        "no_route": f"xoev-hub explain --message {example} names the nearest miss; add the route, reload, {again}",
        "refused": f"xoev-hub messages show {example} has the procedure's code; its words, if it said any: "
        f"--payload fault --reason …; mend it, {again}",
        "gave_up": f"when the procedure is back: {resend}",
        "crashed": f"a bug in an adapter: the log has type and place; when it is mended: {resend}",
    }
    unclear = f"ask the procedure whether it has them; it has: close --as delivered-otherwise; it has not: {resend}"
    return steps.get(group.reason, unclear)


def _tell(found: list[Group]) -> None:
    from hub.cli.common import printable
    from hub.cli.drawing import sparkline

    if not found:
        click.echo("nothing has failed")
    for one in found:
        last, before = one.trend[-1], one.trend[-2]
        first, latest = (f"{at.astimezone():%Y-%m-%d %H:%M}" for at in (one.first, one.last))
        what = " ".join(filter(None, (one.reason, one.code, one.phase)))
        click.echo(f"{one.fingerprint}  {one.count:6} {one.kind:8}  {printable(what)}")
        click.echo(f"    {printable(one.type or 'unknown type')} to {printable(one.destination or 'nowhere')}")
        if one.path:
            click.echo(f"    at {printable(one.path)}")
        click.echo(f"    {first} … {latest}  {sparkline(one.trend)}  {last} in the last hour, {before} before")
        for said in one.notes:
            click.echo(f"    {said.at.astimezone():%Y-%m-%d %H:%M} {printable(said.actor)}: {printable(said.text)}")
        click.echo(f"    next: {next_step(one)}\n")


def ago(at: datetime | None) -> str:
    """Return how long ago something was, in the largest unit that says it."""
    if at is None:
        return "-"
    seconds = (now() - at).total_seconds()
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f}{unit}"
    return f"{max(seconds, 0):.0f}s"

"""``destinations list|show|probe``: what holds each destination back, what waits for it, and whether it answers."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING

import click

from hub.cli.common import (
    FAILED,
    OK,
    UNAVAILABLE,
    Text,
    json_option,
    now,
    printable,
    put_items,
    put_json,
    put_table,
    say,
)
from hub.cli.session import Session
from hub.errors import ConfigError, Unavailable

if TYPE_CHECKING:
    from hub.certificates import Expiry
    from hub.endpoints import Endpoints
    from hub.overview import Configured, Overview
    from hub.probing import Look

STATES = ("ready", "blocked", "paused", "closed", "failing", "gone")


@click.group()
def destinations() -> None:
    """Look at destinations: what holds each back, what waits for it, whether it answers."""


@destinations.command("list")
@click.option("--state", "states", multiple=True, type=click.Choice(STATES), help="Only those; may be given again.")
@click.option("--municipality", type=Text(), help="Of this municipality only.")
@json_option
@click.pass_obj
def list_(session: Session, states: tuple[str, ...], municipality: str | None, *, as_json: bool) -> None:
    """List destinations: ready, blocked, paused, closed, failing or gone, since when, by whom and why."""
    from hub.overview import overview_json

    found = [
        one
        for one in _overviews(session)
        if (not states or one.state in states) and (municipality is None or one.name.partition("/")[0] == municipality)
    ]
    if as_json:
        put_items([overview_json(one, now()) for one in found])
        return
    head = ("destination", "state", "since", "by", "why", "next", "waiting", "dead")
    put_table(head, [(one.name, one.state, *_held(one), *_counts(one)) for one in found])


@destinations.command()
@click.argument("name", type=Text())
@json_option
@click.pass_obj
def show(session: Session, name: str, *, as_json: bool) -> None:
    """Show one destination: each hold with since, by, why and end or next probe; hours, certificates, what waits."""
    from hub.overview import overview_json

    one = next((one for one in _overviews(session) if one.name == name), None)
    if one is None:
        say(f"there is no destination {name}; xoev-hub destinations list shows what there is")
        raise click.exceptions.Exit(FAILED)
    if as_json:
        put_json(overview_json(one, now()))
        return
    _tell(one, now())


@destinations.command()
@click.argument("name", type=Text())
@json_option
@click.pass_obj
def probe(session: Session, name: str, *, as_json: bool) -> None:
    """Look at a destination without handing anything in: name, connection, TLS, WSDL, and a harmless call.

    It is done by this command, from this machine and as this user. It holds and releases nothing. Exit code 69 when
    something is wrong.
    """
    endpoints = _endpoints(session)
    deployment = session.deployment()
    if name not in deployment.destinations:
        say(f"there is no destination {name} in the configuration")
        raise click.exceptions.Exit(FAILED)
    _remember_certificates(session, endpoints)
    looks = list(_look(endpoints, session, name))
    well = all(one.ok for one in looks)
    if as_json:
        items = [{"what": one.what, "ok": one.ok, "text": one.text, "facts": dict(one.facts)} for one in looks]
        put_json({"api": 1, "destination": name, "ok": well, "items": items, "next": None})
    else:
        put_table(("look", "", "what was found"), [(one.what, "ok" if one.ok else "FAILED", one.text) for one in looks])
        for certificate in (link for one in looks for link in one.facts.get("chain", ())):
            click.echo(f"    {printable(certificate['subject'])} until {certificate['not_after']}")
    raise click.exceptions.Exit(OK if well else UNAVAILABLE)


def _look(endpoints: Endpoints, session: Session, name: str) -> Iterable[Look]:
    from hub.probing import Look, Probed

    destination = session.deployment().destinations[name]
    adapter = endpoints.outbound(destination)
    if not isinstance(adapter, Probed):
        yield Look("probe", ok=True, text=f"the adapter {destination.adapter} has no probe")
        return
    try:
        yield from adapter.probe()
    except (OSError, KeyError) as error:
        yield Look("probe", ok=False, text=type(error).__name__)
    finally:
        adapter.close()


def _endpoints(session: Session) -> Endpoints:
    from hub.endpoints import Endpoints
    from hub.files import Files

    return Endpoints(session.deployment(), Files(session.base), now)


def _remember_certificates(session: Session, endpoints: Endpoints) -> None:
    """Write down which certificates are shown, if there is a store to write to."""
    from hub.certificates import Shown

    try:
        store = session.open_store()
    except (Unavailable, PermissionError):
        return
    endpoints.shown = Shown(store.watch.see, now).note


def _overviews(session: Session) -> list[Overview]:
    from hub.certificates import shown
    from hub.overview import overviews

    situation = session.reader().situation()
    known, lying = _in_service(session) or _on_disk(session)
    return overviews(situation, known, [*lying, *shown(situation.seen)])


def _in_service(session: Session) -> tuple[dict[str, Configured], list[Expiry]] | None:
    """Return what the running daemon has in service, which takes no time to ask; ``None`` where none answers."""
    from hub.certificates import Expiry
    from hub.daemon.control import ask
    from hub.overview import Configured

    try:
        answer = ask(session.settings.state_dir, {"do": "destinations"})
        known = [Configured(**one) for one in answer["destinations"]]
        ends = [
            Expiry(tuple(one["places"]), one["role"], datetime.fromisoformat(one["not_after"]), one["file"])
            for one in answer["certificates"]
        ]
    except (OSError, KeyError, TypeError, ValueError):  # nobody, or a program of another version
        return None
    return {one.name: one for one in known}, ends


def _on_disk(session: Session) -> tuple[dict[str, Configured], list[Expiry]]:
    """Return what the configuration on disk says."""
    from hub.overview import configured

    try:
        destinations = session.deployment().destinations
        lying = list(_endpoints(session).expiries())
    except ConfigError:
        say("routes.yaml cannot be used: only what is in the store is shown (xoev-hub check says why)")
        return {}, []
    return {name: configured(one) for name, one in destinations.items()}, lying


def _held(one: Overview) -> tuple[str, str, str, str]:
    control = one.control
    if control is None:
        return "", "", "", ""
    why = f"{control.reason} {control.code}".strip()
    return _time(control.since), control.by, why, _next(control.until, probed=control.probed)


def _next(until: datetime | None, *, probed: bool) -> str:
    if until is None:
        return ""
    return f"{'probe' if probed else 'opens'} {_time(until)}"


def _time(at: datetime) -> str:
    return at.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _counts(one: Overview) -> tuple[int, int]:
    return one.counts.get("waiting", 0), one.counts.get("dead", 0)


def _tell(one: Overview, at: datetime) -> None:
    click.echo(f"destination  {one.name}  {one.state}")
    destination = one.destination
    if destination is not None:
        click.echo(f"adapter      {destination.adapter}  ({destination.environment})")
        click.echo(f"hours        {printable(destination.open) or 'always'}")
    for hold in one.controls:
        why = printable(f"{hold.reason} {hold.code}".strip())
        click.echo(f"{hold.kind:12} since {_time(hold.since)} by {printable(hold.by)}: {why}")
        if hold.until is not None:
            click.echo(f"             {'next probe' if hold.probed else 'until'} {_time(hold.until)}")
    counts = ", ".join(f"{count} {state}" for state, count in sorted(one.counts.items()) if count)
    click.echo(f"deliveries   {counts or 'none'}")
    if one.oldest_waiting is not None:
        click.echo(f"oldest       came in {_time(one.oldest_waiting)}")
    for expiry in one.certificates:
        left = f"{expiry.days_left(at)} days left" if expiry.not_after > at else "over"
        file = f" ({printable(expiry.file)})" if expiry.file else ""
        click.echo(f"certificate  {expiry.role}{file} until {_time(expiry.not_after)}, {left}")

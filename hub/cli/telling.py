"""``messages show`` for people and programs: one timeline, with the why of the decision."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from hub.cli.common import printable
from hub.cli.session import Session
from hub.errors import ConfigError, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hub.deployment import Deployment
    from hub.service import Timeline
    from hub.store.api import Store
    from hub.store.retracing import Record

NEVER_SHOWN = frozenset({"at", "what", "delivery", "sha256"})


def story(session: Session, store: Store, timeline: Timeline) -> list[dict[str, Any]]:
    """Return the timeline of a message. The configuration of then says why; no payload is read for it."""
    from hub.story import timeline as put_in_order

    record = timeline.record
    kept = session.reader().record(record.id, [one.id for one in record.deliveries])
    assert kept is not None, "it was read a moment ago"
    decision = _decision(session, store, timeline, kept)
    return put_in_order(record, kept, timeline.events, timeline.payloads, timeline.findings, decision)


def _decision(session: Session, store: Store, timeline: Timeline, kept: Record) -> dict[str, Any]:
    from hub.repetition import kept_deployment

    record, settings = timeline.record, session.settings
    try:
        deployment = kept_deployment(record.snapshot, store, main=session.config.name, stage=settings.stage)
    except (StoreError, ConfigError) as error:
        first = str(error.problems[0]).partition("\n")[0] if isinstance(error, ConfigError) else str(error)
        return {"routes": [], "obstacle": first}
    source = deployment.sources.get(record.source)
    return {"adapter": source.adapter if source else None, **_routes(deployment, timeline, kept)}


def _routes(deployment: Deployment, timeline: Timeline, kept: Record) -> dict[str, Any]:
    """Return which routes were considered: their conditions are asked once more of what the header said."""
    from hub.message import MessageType
    from hub.routing import Directory, Facts, consider

    record = timeline.record
    if kept.header is None or record.type is None:
        if not any(info.role == "received" for info in timeline.payloads):
            return {"routes": [], "obstacle": "its bytes and its header are erased"}
        again = f"its header is not kept: xoev-hub explain --message {record.id} reads it again"
        return {"routes": [], "obstacle": again}
    addressee = Directory(deployment).named(record.recipient) if record.recipient else None
    type_ = MessageType.parse(record.type)
    facts = Facts(type_, addressee, record.sender, kept.header.get("author"), kept.header.get("keys") or {})
    found = consider(deployment, facts)
    near = sorted((one for one in found if not one.matched), key=lambda one: one.misses)[:3]
    shown = [one for one in found if one.matched] + near
    return {"routes": [{"name": one.name, "matched": one.matched, "why": one.why} for one in shown], "obstacle": None}


# --- for people --------------------------------------------------------------------------------------------------


def tell(timeline: Timeline, entries: list[dict[str, Any]]) -> None:
    """Print a message: what it is now, then what happened to it."""
    record = timeline.record
    click.echo(f"message    {record.id}  {record.status}{'  ' + record.code if record.code else ''}")
    click.echo(f"type       {record.type or 'unknown'}{'  (test)' if record.test else ''}")
    click.echo(f"from       {record.sender} by {record.source}, to {record.recipient or 'nobody'}")
    if record.parent_id:
        click.echo(f"replays    {record.parent_id}")
    for id_ in timeline.replayed_as:
        click.echo(f"replayed   as {id_}")
    if record.repeated_at:
        times = "once" if record.repeated == 1 else f"{record.repeated} times"
        click.echo(f"repeated   {times}, last {record.repeated_at.astimezone():%Y-%m-%d %H:%M:%S}")
    for one in record.deliveries:
        click.echo(f"delivery   {one.id}  {one.state}{'  ' + one.reason if one.reason else ''}")
        click.echo(f"           to {one.destination or 'nowhere'} by route {one.route or '-'}")
        for name, value in record.values.get(one.id, {}).items():
            click.echo(f"           {name}: {printable(value)}")
        for finding in timeline.findings:
            if finding.get("delivery") == one.id:
                click.echo(f"           {finding['level']}: {_place(finding)}")
    click.echo("")
    for entry in entries:
        for line in _lines(entry):
            click.echo(line)


def _place(finding: Mapping[str, Any]) -> str:
    line = f"line {finding['line']}" if finding.get("line") else ""
    return printable("  ".join(filter(None, (finding["rule"], finding["path"], line))))


def _local(at: str, spec: str = "milliseconds") -> str:
    """Return a time as the clock on the wall here shows it, as all listings do; programs get UTC."""
    here = datetime.fromisoformat(at).astimezone().replace(tzinfo=None)
    return here.isoformat(" ", spec)


def _lines(entry: Mapping[str, Any]) -> Iterator[str]:
    yield f"{_local(entry['at'])}  {entry['what']:9} {_facts(entry)}"
    indent = " " * 35
    for route in entry.get("routes", ()):
        yield f"{indent}{'✓' if route['matched'] else '–'} {route['name']}: {printable(route['why'])}"


def _facts(entry: Mapping[str, Any]) -> str:
    told: list[Any]
    match entry["what"]:
        case "attempt":
            took = f"{entry['duration_ms']:.0f} ms" if entry.get("duration_ms") is not None else None
            next_ = f"next {_local(entry['next_at'], 'seconds')}" if entry.get("next_at") else None
            actor = entry.get("actor") if entry.get("actor") != "hub" else None
            told = [f"{entry['number']} to {entry['destination'] or 'nowhere'}: {entry['outcome']}"]
            told += [*(entry.get(name) for name in ("reason", "phase", "code")), took, next_, actor]
        case "check":
            told = [f"{entry['name']}: {entry['state']}", f"{entry['ms']} ms" if entry["ms"] is not None else None]
        case "header":
            told = [entry["type"] or "unknown"]
            told += [f"{name} {entry[name]}" for name in ("author", "reader") if entry[name]]
        case "decision":
            told = [
                entry["verdict"],
                f"recipient {entry['recipient'] or 'nobody'}",
                f"snapshot {entry['snapshot'][:12]}",
            ]
            told.append(entry["obstacle"])
        case _:
            shown = (name for name, value in entry.items() if value not in (None, "") and name not in NEVER_SHOWN)
            told = [f"{name} {entry[name]}" for name in shown]
    return printable("  ".join(str(one) for one in told if one))

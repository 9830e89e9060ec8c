"""``explain``: what a document is, which routes it takes and why, and what would be sent. It changes nothing."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC
from typing import TYPE_CHECKING, Any

import click

from hub.cli.common import FAILED, OK, REJECTED, Text, Time, json_option, now, printable, put_json, read_document, say
from hub.cli.session import Session

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from hub.inspection import Plan, Planned, Rejection, Snapshot
    from hub.message import Header, Incoming


@click.command()
@click.argument("file", required=False)
@click.option("--message", "message_id", metavar="ID", help="Explain a message of the store instead of a file.")
@click.option("--as-of", type=Time(berlin=True), help="As if it were received then.")
@click.option("--source", help="As if it came by this source.")
@click.option("--sender", help="As if this sender had handed it in.")
@click.option("--recipient", type=Text(), help="As if the header Recipient had said this.")
@json_option
@click.pass_obj
def explain(session: Session, /, file: str | None, message_id: str | None, as_json: bool, **asked: Any) -> None:
    """Say what a document is, which routes it takes and why, and what would be sent.

    With --message this is what today's configuration makes of a message that came earlier; its bytes are read, and
    that is audited.
    """
    if (file is None) == (message_id is None):
        raise click.UsageError("expected FILE or --message ID")
    if message_id is not None and any(asked[name] for name in ("source", "sender", "recipient")):
        raise click.UsageError("--source, --sender and --recipient are for a FILE: of a message they are known")
    snapshot = session.snapshot()
    if message_id is not None:
        incoming = _stored(session, message_id)
    else:
        _refuse_unknown("--source", asked["source"], snapshot.deployment.sources)
        _refuse_unknown("--sender", asked["sender"], snapshot.deployment.senders)
        incoming = _incoming(file or "-", asked)
    if asked["as_of"] is not None:
        incoming = replace(incoming, received_at=asked["as_of"].astimezone(UTC))
    from hub.inspection import inspect

    result = inspect(incoming, snapshot)
    shown = explanation(incoming, result, snapshot)
    if as_json:
        put_json(shown)
    else:
        _tell(shown)
    raise click.exceptions.Exit(REJECTED if shown["rejected"] else OK)


def _refuse_unknown(option: str, value: str | None, known: Collection[str]) -> None:
    if value and value not in known:
        text = f"{printable(value)!r} is not configured; known: {', '.join(known)}"
        raise click.BadParameter(text, param_hint=option)


def _incoming(name: str, asked: Mapping[str, Any]) -> Incoming:
    from hub.message import Incoming, MessageId, new_id

    return Incoming(
        read_document(name),
        asked["source"] or "",
        asked["sender"] or "",
        recipient=asked["recipient"],
        id=MessageId(new_id()),
        received_at=now(),
    )


def _stored(session: Session, id_: str) -> Incoming:
    """Return a message as it came in; end with exit code 1 where there is none, or its bytes are erased."""
    from hub.message import Incoming
    from hub.store.api import PayloadRole

    hub = session.hub()
    timeline = hub.timeline(id_) if printable(id_) == id_ else None
    if timeline is None:
        say(f"there is no message or delivery {id_}")
        raise click.exceptions.Exit(FAILED)
    record = timeline.record
    payloads = hub.payload(record.id, PayloadRole.RECEIVED, "explain --message")
    if not payloads:
        say(f"the original bytes of {record.id} are erased")
        raise click.exceptions.Exit(FAILED)
    kept = hub.store.incoming(record.id) or {}
    return Incoming(
        payloads[0].body,
        record.source,
        record.sender,
        recipient=kept.get("recipient"),
        charset=kept.get("charset"),
        id=record.id,
        received_at=record.received_at,
    )


def explanation(incoming: Incoming, result: Plan | Rejection, snapshot: Snapshot) -> dict[str, Any]:
    """Return a result in the shape of INTERFACE §5."""
    from hub import view
    from hub.inspection import Rejection, considered

    header = result.header if isinstance(result, Rejection) else result.verdict.header
    type_ = result.type if isinstance(result, Rejection) else result.verdict.header.type
    findings = list(result.findings if isinstance(result, Rejection) else result.verdict.findings)
    checks = result.checks if isinstance(result, Rejection) else result.verdict.checks
    body = incoming.body
    plan = [] if isinstance(result, Rejection) else [_planned_json(one, body) for one in result.deliveries]
    return {
        "type": str(type_) if type_ else None,
        "header": _header_json(header) if header else None,
        "findings": [view.finding_json(one, with_text=True) for one in findings],
        "checks": [{"name": one.name, "state": one.state} for one in checks],
        "recipient": result.recipient if isinstance(result, Rejection) else result.verdict.recipient,
        "owner": result.owner if isinstance(result, Rejection) else result.verdict.owner,
        "routes": [
            {"name": one.name, "matched": one.matched, "why": one.why} for one in considered(incoming, result, snapshot)
        ],
        "plan": plan,
        "rejected": result.code if isinstance(result, Rejection) else None,
        "snapshot": result.snapshot if isinstance(result, Rejection) else result.verdict.snapshot,
    }


def _header_json(header: Header) -> dict[str, Any]:
    return {
        "standard": header.type.standard,
        "version": header.type.version,
        "name": header.type.name,
        "message_id": header.message_id,
        "type_code": header.type_code,
        "created_at": header.created_at,
        "author": header.author,
        "reader": header.reader,
        "test": header.test,
        "references": dict(header.references),
    }


def _planned_json(planned: Planned, body: bytes) -> dict[str, Any]:
    sent = body if planned.body is None else planned.body
    return {
        "destination": planned.heading.destination,
        "route": planned.heading.route,
        "content_type": planned.content_type,
        "sha256": hashlib.sha256(sent).hexdigest() if not planned.reason else None,
        "size": len(sent) if not planned.reason else None,
        "reason": planned.reason or None,
        "code": planned.code or None,
    }


def _tell(shown: dict[str, Any]) -> None:
    header = shown["header"] or {}
    click.echo(f"type       {shown['type'] or 'unknown'}")
    if header and not shown["type"]:  # what is written there, of a standard that nobody has imported
        for label, name in (("root", "name"), ("standard", "standard"), ("version", "version")):
            click.echo(f"{label:10} {printable(header[name]) or 'not said'}")
    for name in ("message_id", "type_code", "created_at", "author", "reader"):
        if header.get(name):
            click.echo(f"{name:10} {printable(header[name])}")
    if header.get("test"):
        click.echo("test       yes: it must not reach production")
    click.echo(f"recipient  {shown['recipient'] or 'nobody of this hub'}")
    for check in shown["checks"]:
        click.echo(f"check {'✓' if check['state'] == 'done' else '–'}    {check['name']}: {check['state']}")
    for finding in shown["findings"]:
        where = f"line {finding['line']}" if finding["line"] else ""
        click.echo(f"{finding['level']:10} {finding['rule']} {where} {printable(finding['path'])}")
        click.echo(f"           {printable(finding['text'])}")
    for route in shown["routes"]:
        click.echo(f"{'route  ✓' if route['matched'] else 'route  –':10} {route['name']}: {printable(route['why'])}")
    for leg in shown["plan"]:
        what = f"{leg['size']} bytes {leg['content_type']}"
        if leg["reason"]:
            what = f"dead: {leg['reason']} {leg['code'] or ''}"
        click.echo(f"deliver    {leg['destination'] or 'nowhere'}: {what}")
    click.echo(f"verdict    {'rejected: ' + shown['rejected'] if shown['rejected'] else 'accepted'}")
    click.echo(f"snapshot   {shown['snapshot'][:12]}")

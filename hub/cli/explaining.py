"""What was, or would be, decided about a document, as ``explain`` shows it to programs and people (INTERFACE §5)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from hub.cli.common import printable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hub.decision import Leg
    from hub.deployment import Deployment
    from hub.inspection import Plan, Rejection
    from hub.message import Header, Incoming


def explanation(
    incoming: Incoming, result: Plan | Rejection, deployment: Deployment, *, with_text: bool = True
) -> dict[str, Any]:
    """Return a result in the shape of INTERFACE §5. ``with_text``: findings may quote the document."""
    from hub import view
    from hub.decision import leg_of
    from hub.inspection import Rejection, considered

    header = result.header if isinstance(result, Rejection) else result.verdict.header
    type_ = result.type if isinstance(result, Rejection) else result.verdict.header.type
    findings = list(result.findings if isinstance(result, Rejection) else result.verdict.findings)
    checks = result.checks if isinstance(result, Rejection) else result.verdict.checks
    plan = []
    for one in () if isinstance(result, Rejection) else result.deliveries:
        about = [view.finding_json(finding, with_text=with_text) for finding in one.findings]
        plan.append({**leg_json(leg_of(one, incoming.body)), "findings": about})
    return {
        "type": str(type_) if type_ else None,
        "header": _header_json(header) if header else None,
        "findings": [view.finding_json(one, with_text=with_text) for one in findings],
        "checks": [{"name": one.name, "state": one.state} for one in checks],
        "recipient": result.recipient if isinstance(result, Rejection) else result.verdict.recipient,
        "owner": result.owner if isinstance(result, Rejection) else result.verdict.owner,
        "routes": [
            {"name": one.name, "matched": one.matched, "why": one.why}
            for one in considered(incoming, result, deployment)
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


def leg_json(leg: Leg) -> dict[str, Any]:
    """Return one delivery of a plan: digest and size of the bytes to send, or why it is born dead."""
    return {
        "destination": leg.destination,
        "route": leg.route,
        "content_type": leg.content_type,
        "sha256": leg.sha256,
        "size": leg.size,
        "reason": leg.reason or None,
        "code": leg.code or None,
    }


def tell(shown: Mapping[str, Any]) -> None:
    """Tell people what an explanation says."""
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
        if "text" in finding:
            click.echo(f"           {printable(finding['text'])}")
    for route in shown["routes"]:
        click.echo(f"{'route  ✓' if route['matched'] else 'route  –':10} {route['name']}: {printable(route['why'])}")
    for leg in shown["plan"]:
        what = f"{leg['size']} bytes {leg['content_type']}"
        if leg["reason"]:
            what = f"dead: {leg['reason']} {leg['code'] or ''}".rstrip()
        elif leg["size"] is None:
            what = "its bytes are erased"
        click.echo(f"deliver    {leg['destination'] or 'nowhere'}: {what}")
        for finding in leg.get("findings", ()):
            click.echo(f"           {finding['level']}: {finding['rule']} {printable(finding['path'])}")
            if finding.get("text"):
                click.echo(f"           {printable(finding['text'])}")
    click.echo(f"verdict    {'rejected: ' + shown['rejected'] if shown['rejected'] else 'accepted'}")
    click.echo(f"snapshot   {shown['snapshot'][:12]}")

"""``explain``: what a document is, which routes it takes and why, and what would be sent. It changes nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC
from typing import TYPE_CHECKING, Any

import click

from hub.cli.common import OK, REJECTED, Text, Time, json_option, now, printable, put_json, read_document
from hub.cli.explaining import explanation, tell
from hub.cli.session import Session

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from hub.message import Incoming


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

    With --message it says what was decided about a message when it came in, repeats that by the snapshot that was
    kept, and says what is different today; --as-of is for today only. Its bytes are read, and that is audited.
    """
    if (file is None) == (message_id is None):
        raise click.UsageError("expected FILE or --message ID")
    if message_id is not None and any(asked[name] for name in ("source", "sender", "recipient")):
        raise click.UsageError("--source, --sender and --recipient are for a FILE: of a message they are known")
    if message_id is not None:
        from hub.cli.retelling import retell

        raise click.exceptions.Exit(retell(session, message_id, asked["as_of"], as_json=as_json))
    body = read_document(file or "")
    snapshot = session.snapshot(body)
    _refuse_unknown("--source", asked["source"], snapshot.deployment.sources)
    _refuse_unknown("--sender", asked["sender"], snapshot.deployment.senders)
    incoming = _incoming(body, asked)
    if asked["as_of"] is not None:
        incoming = replace(incoming, received_at=asked["as_of"].astimezone(UTC))
    from hub.inspection import inspect

    result = inspect(incoming, snapshot)
    shown = explanation(incoming, result, snapshot.deployment)
    if as_json:
        put_json(shown)
    else:
        tell(shown)
    raise click.exceptions.Exit(REJECTED if shown["rejected"] else OK)


def _refuse_unknown(option: str, value: str | None, known: Collection[str]) -> None:
    if value and value not in known:
        text = f"{printable(value)!r} is not configured; known: {', '.join(known)}"
        raise click.BadParameter(text, param_hint=option)


def _incoming(body: bytes, asked: Mapping[str, Any]) -> Incoming:
    from hub.message import Incoming, MessageId, new_id

    return Incoming(
        body,
        asked["source"] or "",
        asked["sender"] or "",
        recipient=asked["recipient"],
        id=MessageId(new_id()),
        received_at=now(),
    )

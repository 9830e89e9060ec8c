"""``messages list|show``: what happened to which message."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar

import click

from hub.cli.common import (
    FAILED,
    USAGE,
    Text,
    Time,
    check_reason,
    json_option,
    printable,
    put_items,
    put_json,
    put_table,
    say,
)
from hub.cli.examples import exemplify
from hub.cli.session import Session
from hub.fingerprint import PATTERN

if TYPE_CHECKING:
    from hub.service import Timeline
    from hub.store.api import Filter, Payload

F = TypeVar("F", bound=Callable[..., Any])

STATES = ("waiting", "sending", "taken", "delivered", "dead", "closed", "rejected", "attention", "open")


class Fingerprint(click.ParamType[str]):
    """What equal failures have in common, as ``groups list`` shows it."""

    name = "fingerprint"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not PATTERN.fullmatch(value):
            self.fail("expected twelve hexadecimal digits, as `groups list` shows them", param, ctx)
        return str(value)


def _once(_context: click.Context, _option: click.Parameter, given: tuple[Any, ...]) -> Any:
    """Return the one value of a filter: to take the last of two without a word is to choose what nobody has named."""
    if len(given) > 1:
        raise click.BadParameter("given more than once; expected one value, and a command for each")
    return given[0] if given else None


def filters(why: str = "--reason") -> Callable[[F], F]:
    """Give a command the filters of a listing. ``why`` is the option that asks why a delivery waits or is dead."""
    once = partial(click.option, multiple=True, callback=_once)

    def give(command: F) -> F:
        for option in reversed(
            (
                once("--state", type=click.Choice(STATES)),
                once("--route", type=Text()),
                once("--municipality", type=Text(), help="The owner's key."),
                once("--destination", type=Text()),
                once("--sender", type=Text()),
                once("--reference", type=Text(), help="Of a sender, a message id, a key, a file number."),
                once("--type", "type_", type=Text(), metavar="GLOB", help="standard/version/name, with globs."),
                once(why, "because", type=Text(), help="Why a delivery waits or is dead."),
                once("--fingerprint", type=Fingerprint(), help="Of a group of equal failures: `groups list`."),
                once("--since", type=Time()),
                once("--until", type=Time()),
            )
        ):
            command = option(command)
        return command

    return give


def filter_of(asked: Mapping[str, Any]) -> Filter:
    """Return the filter that a command's options mean."""
    from hub.store.api import Filter

    return Filter(
        state=asked.get("state"),
        route=asked.get("route"),
        municipality=asked.get("municipality"),
        destination=asked.get("destination"),
        sender=asked.get("sender"),
        reference=asked.get("reference"),
        type=asked.get("type_"),
        reason=asked.get("because"),
        since=asked.get("since"),
        until=asked.get("until"),
        fingerprint=asked.get("fingerprint"),
    )


class Cursor(click.ParamType[str]):
    """Where a page of a listing ended, as the listing has given it."""

    name = "cursor"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not re.fullmatch("[0-9]{1,18}", value):
            self.fail("expected what a listing has given as `next`", param, ctx)
        return str(value)


class _Messages(click.Group):
    """Its commands, and one that stands on them: that is imported when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), "tail"])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name != "tail":
            return super().get_command(ctx, cmd_name)
        return exemplify("messages tail", import_module("hub.cli.tailing").tail)


@click.group(cls=_Messages)
def messages() -> None:
    """Find messages and understand them."""


@messages.command("list")
@filters()
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True)
@click.option("--after", type=Cursor(), help="Go on where the last page ended.")
@json_option
@click.pass_obj
def list_(session: Session, /, limit: int, after: str | None, as_json: bool, **asked: Any) -> None:
    """List messages, newest first."""
    from hub import view

    records, next_ = session.reader().find(filter_of(asked), limit=limit, after=after)
    if as_json:
        put_items([view.message_json(record) for record in records], next_)
        return
    rows = []
    for record in records:
        where = ", ".join(f"{one.destination or '?'} {one.state}" for one in record.deliveries)
        times = f" ×{record.repeated + 1}" if record.repeated else ""
        reasons = ", ".join(sorted({one.reason for one in record.deliveries if one.reason}))
        why = record.code + times if record.code else reasons
        received = record.received_at.astimezone().strftime("%Y-%m-%d %H:%M:%S")
        rows.append((received, record.id, record.status, record.type or "?", record.sender, where, why))
    put_table(("received", "id", "status", "type", "sender", "deliveries", "reason"), rows)
    if next_:
        say(f"more: --after {next_}")


@messages.command()
@click.argument("id_", metavar="ID")
@click.option("--payload", "role", type=click.Choice(["received", "outgoing", "reply", "fault", "findings"]))
@click.option("--reason", help="Why the payload is read; it stands in the audit.")
@json_option
@click.pass_obj
def show(session: Session, id_: str, role: str | None, reason: str | None, as_json: bool) -> None:
    """Show one message from its first byte to the last answer, and why; with --payload its bytes."""
    from hub.store.api import PayloadRole

    if (role is None) != (reason is None):
        raise click.UsageError("--payload and --reason go together: reading a payload is audited")
    hub = session.hub()
    timeline = hub.timeline(id_) if printable(id_) == id_ else None
    if timeline is None:
        say(f"there is no message or delivery {id_}")
        raise click.exceptions.Exit(FAILED)
    if role is not None:
        _put_payload(hub.payload(id_, PayloadRole(role), check_reason(reason or "")), timeline, role)
        return
    from hub.cli.telling import story, tell

    entries = story(session, hub.store, timeline)
    if as_json:
        put_json(_timeline_json(timeline) | {"timeline": entries})
    else:
        tell(timeline, entries)


def _put_payload(found: Sequence[Payload], timeline: Timeline, role: str) -> None:
    if not found:
        there = sorted({info.role.value for info in timeline.payloads})
        say(f"there is no payload {role}, or it is erased; what there is: {', '.join(there) or 'none'}")
        raise click.exceptions.Exit(FAILED)
    if len(found) > 1:
        names = "\n".join(f"    {one.id}  {one.destination}" for one in timeline.record.deliveries)
        say(f"there are {len(found)} payloads {role}; name one of the deliveries\n{names}")
        raise click.exceptions.Exit(USAGE)
    sys.stdout.buffer.write(found[0].body)
    sys.stdout.buffer.flush()


def _timeline_json(timeline: Timeline) -> dict[str, Any]:
    from hub import view

    shown = view.message_json(timeline.record)
    for delivery in shown["deliveries"]:
        delivery["events"] = [view.event_json(event) for event in timeline.events[delivery["id"]]]
    shown["replayed_as"] = list(timeline.replayed_as)
    shown["findings"] = list(timeline.findings)
    shown["payloads"] = [
        {"role": info.role, "size": info.size, "sha256": info.sha256, "delivery": info.delivery_id}
        for info in timeline.payloads
    ]
    return shown

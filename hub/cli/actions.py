"""``replay``, ``resend``, ``replan``, ``close``, ``pause``, ``resume``: what changes something demands a reason."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from hub.cli.common import (
    FAILED,
    OK,
    PENDING,
    USAGE,
    Time,
    check_reason,
    json_option,
    now,
    put_items,
    put_json,
    put_table,
    reason_option,
    say,
    stdin,
)
from hub.cli.finding import filter_of, filters
from hub.cli.session import Session
from hub.errors import ConfigError
from hub.outcome import Reason

if TYPE_CHECKING:
    from hub.jobs import Jobs
    from hub.service import Hub, JobKind, Selection
    from hub.store.api import Job

CONFIRM_ABOVE = 20
IDS_MAX = 10_000  # more than that is a filter
WAIT_SECONDS = 30.0
ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

again_option = click.option("--again", is_flag=True, help="Also what was delivered already.")


def job_options(command: Any) -> Any:
    """Give a command what all jobs share."""
    for option in reversed(
        (
            click.argument("ids", nargs=-1, metavar="[ID]..."),
            reason_option,
            click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing."),
            click.option("--limit", type=click.IntRange(1), help="At most so many, the oldest first."),
            click.option("--confirm", type=click.IntRange(0), metavar="N", help="The count, when it is above 20."),
            json_option,
        )
    ):
        command = option(command)
    return command


@click.command()
@job_options
@again_option
@filters("--because")  # --reason is the operator's own here
@click.pass_obj
def replay(session: Session, /, **asked: Any) -> None:
    """Plan anew from the original bytes, with today's routes; what it replaces is closed.

    An ID names a delivery, or a message and with it its dead deliveries; `-` reads ids from stdin, one a line.
    A rejected message is handed in once more.
    """
    _act(session, "replay", asked)


@click.command()
@job_options
@again_option
@filters("--because")  # --reason is the operator's own here
@click.pass_obj
def resend(session: Session, /, **asked: Any) -> None:
    """Send the same delivery again: same id, same bytes.

    An ID names a delivery, or a message and with it its dead deliveries; `-` reads ids from stdin, one a line.
    """
    _act(session, "resend", asked)


@click.command()
@job_options
@filters("--because")  # --reason is the operator's own here
@click.pass_obj
def replan(session: Session, /, **asked: Any) -> None:
    """Plan anew, with today's routes, what waits and was never sent: after a release switch, say.

    An ID names a delivery, or a message and with it its waiting deliveries; `-` reads ids from stdin, one a line.
    """
    _act(session, "replan", asked)


@click.command()
@click.option(
    "--as", "how", required=True, type=click.Choice(["cancelled", "superseded", "delivered-otherwise"]), help="How."
)
@job_options
@click.pass_obj
def close(session: Session, /, how: str, **asked: Any) -> None:
    """Close deliveries that need nothing more.

    An ID names a delivery, or a message and with it its waiting and dead deliveries; `-` reads ids from stdin.
    """
    if not asked["ids"]:
        raise click.UsageError("expected ids of messages or deliveries")
    _act(session, "close", asked, {"as": how})


def _act(session: Session, kind: JobKind, asked: Mapping[str, Any], more: Mapping[str, str] | None = None) -> None:
    reason = check_reason(asked["reason"])
    ids = _ids(asked["ids"])
    filter_ = filter_of(asked)
    if not asked["ids"] and not any(getattr(filter_, name) is not None for name in filter_.__dataclass_fields__):
        raise click.UsageError("expected ids, or a filter such as --state dead --route NAME")
    again = bool(asked.get("again"))
    hub = session.hub()
    selection = hub.select(kind, ids, None if asked["ids"] else filter_, asked["limit"], again=again)
    if selection.unknown:
        # All or nothing: a list with an unknown id in it was not meant like this.
        say(f"nothing was done: there is no message or delivery {', '.join(selection.unknown)}")
        raise click.exceptions.Exit(FAILED)
    for id_ in selection.nothing:
        say(f"{id_}: has no delivery that {kind} applies to")
    count = len(selection.items)
    if asked["dry_run"] or not count:
        _preview(kind, selection, as_json=asked["as_json"])
        raise click.exceptions.Exit(FAILED if selection.nothing and not count else OK)
    if count > CONFIRM_ABOVE and asked["confirm"] != count:
        _preview(kind, selection, as_json=False)
        say(f"nothing was done: these are {count}; say --confirm {count}")
        raise click.exceptions.Exit(USAGE)
    here = _jobs_here(session, hub, kind)
    arguments = dict(more or {}) | ({"again": "yes"} if again else {})
    job = hub.submit(kind, selection.items, reason, arguments)
    if here is not None:
        here.run(job)
    _finish(hub, job, as_json=asked["as_json"])


def _ids(given: Sequence[str]) -> Sequence[str]:
    """Return what was named, each once, those from stdin among them.

    Raises:
        click.BadParameter: One of them is no id, or there are too many.
    """
    found: dict[str, None] = {}
    for id_ in _named(given):
        if not ID.fullmatch(id_):
            raise click.BadParameter("an id has 36 characters such as 01a20104-3a88-770c-80d3-230e6fb12b06; "
                                     "nothing was done", param_hint="ID")  # fmt: skip
        found[id_] = None
        if len(found) > IDS_MAX:
            raise click.BadParameter(f"more than {IDS_MAX}; nothing was done. Say it with filters", param_hint="ID")
    return tuple(found)


def _named(given: Sequence[str]) -> Iterator[str]:
    for id_ in given:
        if id_ != "-":
            yield id_
            continue
        while line := stdin().readline(200):  # a line without end is no id either
            if text := line.decode("ascii", "replace").strip():
                yield text


def _preview(kind: str, selection: Selection, *, as_json: bool) -> None:
    if as_json:
        put_items([{"id": item} for item in selection.items])
        return
    say(f"{kind}: {len(selection.items)} would be done")
    groups: dict[tuple[str, str, str, str], int] = {}
    for one in selection.deliveries:
        key = (one.owner or "-", one.destination or "-", str(one.state), one.reason or "-")
        groups[key] = groups.get(key, 0) + 1
    if rejected := len(selection.items) - len(selection.deliveries):
        groups["-", "-", "rejected", "-"] = rejected
    if groups:
        put_table(("municipality", "destination", "state", "reason", "count"), [(*key, n) for key, n in groups.items()])


def _jobs_here(session: Session, hub: Hub, kind: JobKind) -> Jobs | None:
    """Return what runs jobs in this process, under the store's lock; ``None`` where a daemon has it.

    Raises:
        ConfigError: A replay cannot plan; nothing is written down yet.
    """
    from hub.intake import Intake
    from hub.jobs import Jobs
    from hub.snapshot import OneSnapshot

    if not hub.store.try_lock():
        return None
    # Resend and close plan nothing: they work with a broken configuration, too.
    planning = OneSnapshot(session.snapshot()) if kind in ("replay", "replan") else None
    if planning is not None:
        session.keep_snapshot(hub.store, planning.snapshot)

    def snapshot() -> OneSnapshot:
        assert planning is not None
        return planning

    intake = Intake(hub.store, snapshot, lambda: snapshot().snapshot.deployment, now)
    return Jobs(hub.store, intake, snapshot, now)


def _finish(hub: Hub, job: Job, *, as_json: bool) -> None:
    """Tell the results, once they are there."""
    from hub import view

    done = _wait(hub, job)
    if as_json:
        put_json(view.job_json(done))
    else:
        for result in done.results:
            say(f"{result.item}: {result.result}{' ' + result.detail if result.detail else ''}")
    if done.state != "done":
        say(f"job {job.id}: {len(done.results)} of {len(job.items)} done so far; it is written down and goes on")
        raise click.exceptions.Exit(PENDING)
    results = {result.result for result in done.results}
    code = FAILED if "failed" in results else PENDING if "sending" in results else OK
    raise click.exceptions.Exit(code)


def _wait(hub: Hub, job: Job) -> Job:
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        found = hub.store.job(job.id) or job
        if found.state == "done" or time.monotonic() > deadline:
            return found
        time.sleep(0.1)


# --- destinations ------------------------------------------------------------------------------------------------


@click.command()
@click.argument("destination")
@reason_option
@click.option("--until", type=Time(ahead=True), help="Goes on by itself then; 2h means in two hours.")
@click.pass_obj
def pause(session: Session, destination: str, reason: str, until: datetime | None) -> None:
    """Hold a destination back: its deliveries wait."""
    if until is not None and until <= now():
        raise click.BadParameter("expected a time to come", param_hint="--until")
    hub = session.hub()
    _refuse_unknown(session, hub, destination)
    hub.pause(destination, check_reason(reason), until)
    say(f"{destination} is paused{f' until {until.astimezone():%Y-%m-%d %H:%M}' if until else ''}")


@click.command()
@click.argument("destination")
@reason_option
@click.pass_obj
def resume(session: Session, destination: str, reason: str) -> None:
    """Let a paused or blocked destination go on."""
    hub = session.hub()
    _refuse_unknown(session, hub, destination)
    if any(one.destination == destination and one.reason == Reason.ROUTE_GONE for one in hub.store.controls(now())):
        say(f"{destination} is not configured; it goes on by itself when it is again")
        raise click.exceptions.Exit(FAILED)
    held = hub.resume(destination, check_reason(reason))
    say(f"{destination} goes on" if held else f"{destination} was not held back")
    raise click.exceptions.Exit(OK if held else FAILED)


def _refuse_unknown(session: Session, hub: Hub, destination: str) -> None:
    """End with exit code 1 where neither the configuration nor the store knows a destination."""
    try:
        if destination in session.deployment().destinations:
            return
    except ConfigError:
        say("routes.yaml cannot be used, so nobody can tell whether there is such a destination")
        return
    known = {name for name, _ in hub.store.counts()} | {one.destination for one in hub.store.controls(now())}
    if destination not in known:
        say(f"there is no destination {destination}; xoev-hub config show lists what there is")
        raise click.exceptions.Exit(FAILED)

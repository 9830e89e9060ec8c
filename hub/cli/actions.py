"""``replay``, ``resend``, ``replan``, ``close``, ``pause``, ``resume``: what changes something demands a reason.

What many deliveries are done to is previewed, confirmed by its count, and becomes a job (:mod:`hub.cli.jobs`).
"""

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
    USAGE,
    Time,
    check_reason,
    json_option,
    now,
    put_json,
    put_table,
    reason_option,
    say,
    stdin,
)
from hub.cli.finding import filter_of, filters
from hub.cli.jobs import WAIT_SECONDS, finish
from hub.cli.session import Session
from hub.errors import ConfigError
from hub.outcome import Reason

if TYPE_CHECKING:
    from hub.job import Job, JobKind
    from hub.jobs import Jobs
    from hub.selection import Preview, Selection
    from hub.service import Hub
    from hub.store.api import Filter

IDS_MAX = 10_000  # more than that is a filter
ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
RATE_MAX = 1000.0


class Rate(click.ParamType[str]):
    """So many items per second: ``5/s``, ``0.5/s``, ``5``."""

    name = "rate"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        found = re.fullmatch(r"([0-9]{1,4}(?:\.[0-9]{1,3})?)(?:/s)?", str(value), re.ASCII)
        if not found or not 0 < float(found[1]) <= RATE_MAX:
            self.fail("expected a number per second such as 5/s or 0.5/s, at most 1000/s", param, ctx)
        return f"{float(found[1]):g}"


again_option = click.option("--again", is_flag=True, help="Also what was delivered already.")
diff_option = click.option(
    "--diff", is_flag=True, help="With --dry-run: what today's routes and steps would make different."
)
canary_option = click.option(
    "--canary",
    type=click.IntRange(1, 100),
    metavar="N",
    help="So many first; the others after these are delivered. If one fails, the job is paused.",
)


def job_options(command: Any) -> Any:
    """Give a command what all jobs share."""
    for option in reversed(
        (
            click.argument("ids", nargs=-1, metavar="[ID]..."),
            reason_option,
            click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing."),
            click.option("--limit", type=click.IntRange(1), help="At most so many, the oldest first."),
            click.option("--rate", type=Rate(), metavar="N/s", help="At most so many per second. A daemon does 20."),
            click.option("--confirm", type=click.IntRange(0), metavar="N", help="The count, when it is above 20."),
            json_option,
        )
    ):
        command = option(command)
    return command


@click.command()
@job_options
@canary_option
@diff_option
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
@canary_option
@diff_option
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
@canary_option
@diff_option
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
@filters("--because")  # --reason is the operator's own here
@click.pass_obj
def close(session: Session, /, how: str, **asked: Any) -> None:
    """Close deliveries that need nothing more.

    An ID names a delivery, or a message and with it its waiting and dead deliveries; `-` reads ids from stdin.
    """
    _act(session, "close", asked, {"as": how})


def _act(session: Session, kind: JobKind, asked: Mapping[str, Any], more: Mapping[str, str] | None = None) -> None:
    reason = check_reason(asked["reason"])
    ids = _ids(asked["ids"])
    filter_ = filter_of(asked)
    filtered = any(getattr(filter_, name) is not None for name in filter_.__dataclass_fields__)
    if bool(asked["ids"]) is filtered:  # both: a message's id stands for more than a filter beside it would leave
        raise click.UsageError("expected ids, or a filter such as --state dead --route NAME; one of the two")
    if asked.get("diff") and not asked["dry_run"]:
        raise click.UsageError("--diff goes with --dry-run: it shows what would be different")
    hub = session.hub()
    selection = _select(hub, kind, ids, None if asked["ids"] else filter_, asked)
    if asked.get("diff"):
        from hub.cli.diffing import tell_differences

        code = tell_differences(session, hub, selection, reason, again=again_of(asked), as_json=asked["as_json"])
        raise click.exceptions.Exit(code)
    count = len(selection.items)
    if asked["dry_run"] or not count:
        _preview(kind, selection, as_json=asked["as_json"])
        if not count:
            _tell_unknown(session, hub, filter_)
        raise click.exceptions.Exit(FAILED if selection.nothing and not count else OK)
    wish = hub.wish(kind, reason, _arguments(asked) | dict(more or {}))
    twin = hub.store.jobs.twin(wish, selection.items)
    if twin is None:
        _confirm(session, kind, selection, asked["confirm"])
    here = _jobs_here(session, hub, kind)
    job = hub.submit(kind, selection.items, reason, wish.arguments)
    if twin is not None:
        say(f"that is job {job.id}, which is {job.state} already")
    if here is not None:
        _run_here(here, job)
    raise click.exceptions.Exit(finish(hub, job.id, as_json=asked["as_json"]))


def again_of(asked: Mapping[str, Any]) -> bool:
    return bool(asked.get("again"))


def _arguments(asked: Mapping[str, Any]) -> dict[str, str]:
    said = {"again": "yes" if again_of(asked) else None, "rate": asked["rate"], "canary": asked.get("canary")}
    return {name: str(value) for name, value in said.items() if value is not None}


def _select(hub: Hub, kind: JobKind, ids: Sequence[str], filter_: Any, asked: Mapping[str, Any]) -> Selection:
    """Return what is meant; a list with an unknown id in it is not meant like this."""
    from hub.selection import ITEMS_MAX

    limit = min(asked["limit"] or ITEMS_MAX + 1, ITEMS_MAX + 1)
    selection = hub.select(kind, ids, filter_, limit, again=again_of(asked))
    if selection.unknown:
        say(f"nothing was done: there is no message or delivery {', '.join(selection.unknown)}")
        raise click.exceptions.Exit(FAILED)
    if len(selection.items) > ITEMS_MAX:
        raise click.UsageError(f"these are more than {ITEMS_MAX}; nothing was done. Take some at a time: --limit")
    for id_ in selection.nothing:
        say(f"{id_}: has no delivery that {kind} applies to")
    return selection


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


# --- before ------------------------------------------------------------------------------------------------------


def _confirm(session: Session, kind: JobKind, selection: Selection, said: int | None) -> None:
    """End with exit code 2 unless the operator knows how many these are."""
    count = len(selection.items)
    if said == count or (said is None and count <= session.settings.confirm_above):
        return
    _preview(kind, selection, as_json=False)
    say(f"nothing was done: these are {count}; say --confirm {count}")
    raise click.exceptions.Exit(USAGE)


def _preview(kind: JobKind, selection: Selection, *, as_json: bool) -> None:
    from hub import view

    if as_json:
        items = [{"id": item} for item in selection.items]
        put_json({"api": 1, "items": items, "next": None, "preview": view.preview_json(selection.preview)})
        return
    preview = selection.preview
    say(f"{kind}: {preview.count} would be done" if preview.count else f"{kind}: nothing fits, so nothing is done")
    if preview.count:
        _tell_preview(preview)


def _tell_preview(preview: Preview) -> None:
    assert preview.first is not None
    assert preview.last is not None
    say(f"received {preview.first.astimezone():%Y-%m-%d %H:%M:%S} to {preview.last.astimezone():%Y-%m-%d %H:%M:%S}")
    for count, what in (
        (preview.delivered, "their destination has had already"),
        (preview.unclear, "may have arrived: an attempt ended unclear"),
    ):
        if count:
            say(f"{count} of them {what}")
    rows = [
        (owner or "-", destination or "-", state, reason or "-", count)
        for (owner, destination, state, reason), count in preview.groups.items()
    ]
    put_table(("municipality", "destination", "state", "reason", "count"), rows)


def _tell_unknown(session: Session, hub: Hub, filter_: Filter) -> None:
    """Say which names of a filter that found nothing are in no configuration: they may be mistyped."""
    try:
        deployment = session.deployment()
    except ConfigError:
        return  # nobody can tell
    destinations = {*deployment.destinations, *(name for name, _ in hub.store.counts())}
    for what, name, known in (
        ("destination", filter_.destination, destinations),
        ("route", filter_.route, {route.name for route in deployment.routes}),
        ("municipality", filter_.municipality, {*deployment.municipalities, *deployment.partners}),
        ("sender", filter_.sender, deployment.senders),
    ):
        if name is not None and name not in known:
            say(f"there is no {what} {name}; xoev-hub config show lists what there is")


# --- doing it ----------------------------------------------------------------------------------------------------


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


def _run_here(here: Jobs, job: Job) -> None:
    """Run a job under the lock. One with a pace not for long: who has the lock keeps a daemon from starting."""
    end = time.monotonic() + WAIT_SECONDS
    here.run(job, lambda: job.rate is not None and time.monotonic() > end)


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
    say(f"{destination} goes on" if held else f"{destination} was not held back{_closed(hub, destination)}")
    raise click.exceptions.Exit(OK if held else FAILED)


def _closed(hub: Hub, destination: str) -> str:
    """Return that a destination is outside its hours: nobody is to believe that it is ready."""
    closed = (one for one in hub.store.controls(now()) if one.destination == destination and one.kind == "closed")
    if (hold := next(closed, None)) is None:
        return ""
    until = f" until {hold.until.astimezone():%Y-%m-%d %H:%M}" if hold.until else ""
    return f"; it is closed{until} ({hold.reason}): `open` and `maintenance` in routes.yaml say when"


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

"""``jobs list|show|pause|resume|cancel``: what is done with many deliveries, how far it is, and how it ended."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import click

from hub.cli.common import (
    FAILED,
    OK,
    PENDING,
    check_reason,
    json_option,
    printable,
    put_items,
    put_json,
    put_table,
    reason_option,
    say,
)
from hub.cli.finding import Cursor
from hub.cli.session import Session
from hub.job import JOB_STATES, LEFT, RESULTS

if TYPE_CHECKING:
    from hub.job import Job, JobState
    from hub.service import Hub

TOLD_MAX = 20  # results that are told one by one
WAIT_SECONDS = 30.0
LOOK_SECONDS = 0.1
WATCH_SECONDS = 10 * 365 * 86400.0
BAR = 30
ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class JobId(click.ParamType[str]):
    name = "id"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not ID.fullmatch(str(value)):
            self.fail("expected the id of a job, as jobs list shows it", param, ctx)
        return str(value)


@click.group()
def jobs() -> None:
    """What is done with many deliveries: who wanted it and why, how far it is, and how each item ended."""


@jobs.command("list")
@click.option("--state", "states", multiple=True, type=click.Choice(JOB_STATES))
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True)
@click.option("--after", type=Cursor(), help="Go on where the last page ended.")
@json_option
@click.pass_obj
def list_(session: Session, states: tuple[str, ...], limit: int, after: str | None, *, as_json: bool) -> None:
    """List jobs, newest first."""
    from hub import view

    found, progress, next_ = session.reader().jobs(states, limit=limit, after=after)
    if as_json:
        put_items([view.job_json(job, progress.get(job.id, {})) for job in found], next_)
        return
    rows = [
        (
            f"{job.created_at.astimezone():%Y-%m-%d %H:%M:%S}", job.id, job.kind, job.state, job.actor,
            summary(progress.get(job.id, {})), job.note or job.reason,
        )
        for job in found
    ]  # fmt: skip
    put_table(("asked", "id", "kind", "state", "actor", "items", "why"), rows)
    if next_:
        say(f"more: --after {next_}")


@jobs.command()
@click.argument("id_", metavar="ID", type=JobId())
@click.option("--result", "results", multiple=True, type=click.Choice((*RESULTS, LEFT)), help="Only items with this.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True)
@click.option("--after", type=Cursor(), help="Go on where the last page ended.")
@click.option("--watch", is_flag=True, help="Follow it until it is over or halted; the exit code says how it ended.")
@json_option
@click.pass_obj
def show(
    session: Session,
    /,
    id_: str,
    results: tuple[str, ...],
    limit: int,
    after: str | None,
    *,
    watch: bool,
    as_json: bool,
) -> None:
    """Show a job: who wanted it and why, how far it is, and the result of each item."""
    from hub import view

    hub = session.hub()
    job = _find(hub, id_)
    if watch:
        job = wait(hub, id_, WATCH_SECONDS, _Watching(hub) if not as_json else lambda _job: None)
    progress = hub.store.jobs.progress([id_]).get(id_, {})
    page = hub.store.jobs.items(id_, results=results, after=int(after or 0) - 1, limit=limit)
    following = page[-1].position + 1 if len(page) == limit else None
    if as_json:
        put_json(view.job_json(job, progress, page, following))
    else:
        _tell(job, progress)
        put_table(("item", "result", "detail"), [(one.item, one.result or LEFT, one.detail) for one in page])
        if following is not None:
            say(f"more: --after {following}")
    raise click.exceptions.Exit(exit_code(job, progress) if watch else OK)


@jobs.command()
@click.argument("id_", metavar="ID", type=JobId())
@reason_option
@json_option
@click.pass_obj
def pause(session: Session, id_: str, reason: str, *, as_json: bool) -> None:
    """Halt a job; the item in work is finished."""
    _steer(session, id_, "paused", reason, as_json=as_json)


@jobs.command()
@click.argument("id_", metavar="ID", type=JobId())
@reason_option
@json_option
@click.pass_obj
def resume(session: Session, id_: str, reason: str, *, as_json: bool) -> None:
    """Let a paused job go on; one whose canary had failed sends another one first."""
    _steer(session, id_, "open", reason, as_json=as_json)


@jobs.command()
@click.argument("id_", metavar="ID", type=JobId())
@reason_option
@json_option
@click.pass_obj
def cancel(session: Session, id_: str, reason: str, *, as_json: bool) -> None:
    """End a job; what is left of it is not done. What was done stays done."""
    _steer(session, id_, "cancelled", reason, as_json=as_json)


def _find(hub: Hub, id_: str) -> Job:
    job = hub.store.jobs.find(id_)
    if job is None:
        say(f"there is no job {id_}")
        raise click.exceptions.Exit(FAILED)
    return job


def _steer(session: Session, id_: str, to: JobState, reason: str, *, as_json: bool) -> None:
    from hub import view

    reason = check_reason(reason)
    hub = session.hub()
    _find(hub, id_)
    done = hub.steer(id_, to, reason)
    job, progress = _find(hub, id_), hub.store.jobs.progress([id_]).get(id_, {})
    if as_json:
        put_json(view.job_json(job, progress))
    if not done:
        say(f"nothing was done: job {id_} is {job.state}")
    elif not as_json:
        say(f"job {id_} is {job.state}: {summary(progress)}")
    raise click.exceptions.Exit(OK if done else FAILED)


# --- telling ------------------------------------------------------------------------------------------------------


def _tell(job: Job, progress: Mapping[str, int]) -> None:
    by = f" by {job.changed_by}" if job.changed_by else ""
    at = f" at {job.changed_at.astimezone():%Y-%m-%d %H:%M:%S}" if job.changed_at else ""
    click.echo(f"job        {job.id}  {job.kind}  {job.state}{by}{at}")
    if job.note:
        click.echo(f"note       {printable(job.note)}")
    click.echo(f"asked      {job.created_at.astimezone():%Y-%m-%d %H:%M:%S} by {job.actor}: {printable(job.reason)}")
    pace = [f"{job.rate:g} per second"] if job.rate else []
    if job.canary:
        pace.append(f"{job.canary} first ({'delivered' if job.canary_passed else 'the others follow when delivered'})")
    if pace:
        click.echo(f"pace       {', '.join(pace)}")
    click.echo(f"items      {bar(progress)}")


class _Watching:
    """Tells a job's progress whenever it has changed: on a terminal in one line, elsewhere a line each."""

    def __init__(self, hub: Hub) -> None:
        self._hub, self._last = hub, ""

    def __call__(self, job: Job) -> None:
        progress = self._hub.store.jobs.progress([job.id]).get(job.id, {})
        halted = f"  {job.state}" if job.state != "open" else ""
        if job.canary and not job.canary_passed and job.state == "open":
            halted = "  waits for its canary"
        line = f"{bar(progress)}{halted}"
        if line != self._last:
            say(line)
        self._last = line


def bar(progress: Mapping[str, int]) -> str:
    """Return how far a job is, as a bar and in words."""
    count = sum(progress.values())
    filled = BAR * finished(progress) // count if count else BAR
    return f"{'█' * filled}{'░' * (BAR - filled)} {finished(progress)} of {count}: {summary(progress)}"


def summary(progress: Mapping[str, int]) -> str:
    """Return how many items have which result, in words."""
    return ", ".join(f"{progress[name]} {name}" for name in (*RESULTS, LEFT) if progress.get(name)) or "nothing"


def finished(progress: Mapping[str, int]) -> int:
    """Return how many items have a result."""
    return sum(count for result, count in progress.items() if result != LEFT)


# --- waiting ------------------------------------------------------------------------------------------------------


def finish(hub: Hub, id_: str, *, as_json: bool, seconds: float | None = None) -> int:
    """Wait for a job, tell how it went, and return the exit code."""
    from hub import view

    job = wait(hub, id_, WAIT_SECONDS if seconds is None else seconds)
    progress = hub.store.jobs.progress([id_]).get(id_, {})
    if as_json:
        items = hub.store.jobs.items(id_, results=RESULTS)
        following = items[-1].position + 1 if items and len(items) < finished(progress) else None
        put_json(view.job_json(job, progress, items, following))
    else:
        _tell_results(hub, job, progress)
    return exit_code(job, progress)


def exit_code(job: Job, progress: Mapping[str, int]) -> int:
    """Return 0 if a job has done all it could, 1 if something failed or it was halted, 75 if it goes on."""
    if job.state in ("paused", "cancelled") or progress.get("failed"):
        return FAILED if job.state != "open" else PENDING
    return PENDING if job.state == "open" or progress.get("sending") else OK


def _tell_results(hub: Hub, job: Job, progress: Mapping[str, int]) -> None:
    """Tell each result of few items, of many only those that are not as wished."""
    count = sum(progress.values())
    wanted = () if count <= TOLD_MAX else ("failed", "sending")
    for one in hub.store.jobs.items(job.id, results=wanted, limit=TOLD_MAX):
        if one.result is not None:
            say(f"{one.item}: {one.result}{' ' + one.detail if one.detail else ''}")
    if count > TOLD_MAX:
        say(f"job {job.id}: {summary(progress)}")
        if sum(progress.get(result, 0) for result in wanted) > TOLD_MAX:
            say(f"more: xoev-hub jobs show {job.id} --result failed")
    if job.state == "open":
        say(f"job {job.id}: {finished(progress)} of {count} done so far; it is written down and goes on")
        if job.canary and not job.canary_passed:
            say("the others follow when its canary is delivered")
    elif job.state != "done":
        say(f"job {job.id}: {job.state}: {job.note}")


def wait(hub: Hub, id_: str, seconds: float, tell: Callable[[Job], None] = lambda _job: None) -> Job:
    """Return a job once it is over or halted, or as it is after so many seconds."""
    deadline = time.monotonic() + seconds
    while True:
        job = hub.store.jobs.find(id_)
        assert job is not None  # a job is never removed
        tell(job)
        if job.state != "open" or time.monotonic() > deadline:
            return job
        time.sleep(LOOK_SECONDS)

"""``doctor``: what needs a person, with the next step. It looks at everything and changes nothing.

needs a person (exit code 1)   a configuration that cannot be used, no store, dead deliveries, a blocked destination,
deliveries waiting for a destination that is configured no more; files that changed since the running hub read them
information (exit code 0)      a paused destination: somebody wanted it so; a job that has not run yet
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from hub.cli.common import FAILED, OK, json_option, now, printable, put_items
from hub.cli.session import Session
from hub.errors import ConfigError, Unavailable
from hub.outcome import Reason

if TYPE_CHECKING:
    from hub.deployment import Deployment
    from hub.store.api import Control, Store

PAGE = 1000
NAMED_MAX = 10  # files in one complaint


@dataclass(frozen=True, slots=True)
class Complaint:
    """One thing that somebody should know, and what to do about it."""

    what: str
    text: str
    next: str
    needs_person: bool = True


@click.command()
@json_option
@click.pass_obj
def doctor(session: Session, as_json: bool) -> None:
    """Say what needs a person, with the next step. Exit code 1 when there is something.

    A paused destination is shown, but somebody wanted it so: it alone is no complaint.
    """
    complaints = list(_examine(session))
    if as_json:
        put_items(
            [
                {"what": one.what, "text": one.text, "next": one.next, "needs_person": one.needs_person}
                for one in complaints
            ]
        )
    else:
        for one in complaints:
            click.echo(f"{one.what}: {printable(one.text)}\n    next: {one.next}")
        if not any(one.needs_person for one in complaints):
            click.echo("nothing needs a person")
    raise click.exceptions.Exit(FAILED if any(one.needs_person for one in complaints) else OK)


def _examine(session: Session) -> Iterator[Complaint]:
    deployment: Deployment | None = None
    try:
        compiled = session.compile()
        if compiled.snapshot is not None:
            deployment = compiled.snapshot.deployment
        problems = compiled.errors
    except ConfigError as error:
        problems = error.problems
    if problems:
        first = str(problems[0]).partition("\n")[0]
        text = first if len(problems) == 1 else f"{len(problems)} problems, the first: {first}"
        yield Complaint("configuration", text, "xoev-hub check")
    try:
        store = session.open_store()
    except ConfigError:
        return  # hub.toml cannot be read: said above
    except (Unavailable, PermissionError) as error:
        yield Complaint("store", str(error), "start the daemon: xoev-hub run")
        return
    for control in store.controls(now()):
        yield _held(control)
    yield from _dead(store)
    if deployment is not None:
        yield from _gone(deployment, store)
    yield from _changed(session, store)
    for job in store.open_jobs():
        text = f"{job.kind} of {job.actor}: {len(job.results)} of {len(job.items)} done"
        yield Complaint("job", text, "the daemon goes on with it: xoev-hub run", needs_person=False)


def _held(control: Control) -> Complaint:
    if control.reason == Reason.ROUTE_GONE:
        return _gone_complaint(control.destination)
    until = f" until {control.until.astimezone():%Y-%m-%d %H:%M}" if control.until else ""
    text = f"{control.destination} since {control.since.astimezone():%Y-%m-%d %H:%M}{until}: {control.reason}"
    blocked = control.kind == "blocked"
    mend = "mend it, then " if blocked else ""
    return Complaint(
        control.kind,
        f"{text} {control.code}".strip(),
        f"{mend}xoev-hub resume {control.destination} --reason …",
        needs_person=blocked,
    )


def _dead(store: Store) -> Iterator[Complaint]:
    from hub.store.api import Filter

    count: Counter[tuple[str, str, str]] = Counter()
    after = 0
    while page := store.find_deliveries(Filter(state="dead"), after=after, limit=PAGE):
        count.update((one.destination or "no destination", one.reason, one.code) for one in page)
        after = page[-1].seq
    for (destination, reason, code), number in sorted(count.items()):
        text = f"{number} to {destination}: {reason} {code}".strip()
        yield Complaint("dead letters", text, f"xoev-hub messages list --state dead --reason {reason}")


def _gone(deployment: Deployment, store: Store) -> Iterator[Complaint]:
    """Yield the destinations that deliveries wait for and that nobody has configured any more."""
    gone = {
        destination
        for destination, state in store.counts()
        if state in ("waiting", "taken") and destination and destination not in deployment.destinations
    }
    named = {control.destination for control in store.controls(now()) if control.reason == Reason.ROUTE_GONE}
    for name in sorted(gone - named):
        yield _gone_complaint(name)


def _gone_complaint(name: str) -> Complaint:
    next_ = f"configure it again, or xoev-hub replay --destination {name} --state waiting --reason …"
    return Complaint("route gone", f"{name} has waiting deliveries but is not configured", next_)


def _changed(session: Session, store: Store) -> Iterator[Complaint]:
    """Yield the files that are not as the running hub has read them: what counts is what it has read."""
    from hub.daemon.control import ask

    try:
        answer = ask(session.settings.state_dir, {"do": "snapshot"})
    except (OSError, ConfigError):
        return  # nothing runs here: the next start reads what is there
    kept = store.snapshot(str(answer.get("snapshot")))
    changed = session.changed_since(kept) if kept is not None else []
    if changed:
        more = f" and {len(changed) - NAMED_MAX} more" if len(changed) > NAMED_MAX else ""
        text = f"not as the running hub has read them: {', '.join(changed[:NAMED_MAX])}{more}"
        yield Complaint("changed files", text, "xoev-hub reload, or put them back")

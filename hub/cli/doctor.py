"""``doctor``: what needs a person, with the next step. It looks at everything and changes nothing.

needs a person (exit code 1)   a configuration that cannot be used, no store, no daemon for what waits, a source that
cannot be read, dead deliveries, a blocked destination,
deliveries waiting for a destination that is configured no more; files that changed since the running hub read them;
a store's disk with less room than ``keep_free``
information (exit code 0)      a paused destination: somebody wanted it so; a job that has not run yet; a variable of
the environment that nothing reads
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from hub.cli.common import FAILED, OK, json_option, now, printable, put_items
from hub.cli.session import Session
from hub.errors import ConfigError, NotMigrated, Unavailable
from hub.outcome import Reason

if TYPE_CHECKING:
    from hub.deployment import Deployment
    from hub.store.api import Control, Store

PAGE = 1000


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
    for strange in session.strange_variables():
        next_ = "correct its name where the daemon gets its environment from, or take it out"
        yield Complaint("environment", f"{strange.file}: {strange.text}", next_, needs_person=False)
    try:
        store = session.open_store()
    except ConfigError:
        return  # hub.toml cannot be read: said above
    except PermissionError as error:
        yield Complaint("store", f"not permitted: {error.filename}", "look again as the user that the hub runs as")
        return
    except Unavailable as error:
        if session.settings.store.startswith("sqlite"):
            next_ = "start the daemon: xoev-hub run"
        elif isinstance(error.__cause__, NotMigrated):
            next_ = "xoev-hub store migrate, as the owner of the tables"
        else:
            next_ = "let the database server answer, then xoev-hub doctor again"
        yield Complaint("store", str(error), next_)
        return
    yield from _room(session)
    yield from _daemon(session, deployment, store)
    for control in store.controls(now()):
        yield _held(control)
    yield from _dead(store)
    if deployment is not None:
        yield from _gone(deployment, store)
        yield from _certificates(session, deployment, store)
    yield from _alerts(store)
    yield from _changed(session, store)
    yield from _jobs(store)


def _room(session: Session) -> Iterator[Complaint]:
    from hub.space import Disk
    from hub.store import folder_of

    settings = session.settings
    folder = folder_of(settings.store)
    if Disk(folder, settings.keep_free, settings.ballast).low:
        text = f"less than {settings.keep_free // 1_000_000} MB are free below {folder}; nothing more is taken in"
        yield Complaint("disk", text, "make room; the hub goes on by itself")


def _jobs(store: Store) -> Iterator[Complaint]:
    from hub.job import LEFT

    jobs, _ = store.jobs.listed(states=("open", "paused"), limit=PAGE)
    progress = store.jobs.progress([job.id for job in jobs])
    for job in reversed(jobs):
        left, count = progress[job.id].get(LEFT, 0), sum(progress[job.id].values())
        text = f"{job.kind} of {job.actor}: {count - left} of {count} done"
        if job.state == "paused":
            yield Complaint("job", f"{text}, paused: {job.note}", f"xoev-hub jobs resume {job.id} --reason …")
        else:
            yield Complaint("job", text, "the daemon goes on with it: xoev-hub run", needs_person=False)


def _held(control: Control) -> Complaint:
    if control.reason == Reason.ROUTE_GONE:
        return _gone_complaint(control.destination)
    name = control.destination
    since = f"{name} since {control.since.astimezone():%Y-%m-%d %H:%M}"
    ends = "next probe at" if control.probed else "until"
    until = f", {ends} {control.until.astimezone():%Y-%m-%d %H:%M:%S}" if control.until else ""
    next_ = {
        "blocked": f"xoev-hub destinations probe {name}; or xoev-hub resume {name} --reason …",
        "failing": f"it goes on by itself when it answers; xoev-hub destinations probe {name}",
        "closed": "nothing: it opens by itself",
        "paused": f"xoev-hub resume {name} --reason …",
    }
    text = f"{since}: {control.reason} {control.code}".strip() + until
    return Complaint(control.kind, text, next_[control.kind], needs_person=control.kind == "blocked")


def _dead(store: Store) -> Iterator[Complaint]:
    for (destination, reason, code), number in sorted(store.watch.dead().items()):
        text = f"{number} to {destination or 'no destination'}: {reason} {code}".strip()
        where = f" --destination {destination}" if destination else ""
        yield Complaint("dead letters", text, f"xoev-hub messages list --state dead --reason {reason}{where}")


# Said by itself above: what is so now, and not what the daemon saw a moment ago.
_SAID = frozenset({"blocked", "dead_letters", "certificate"})


def _alerts(store: Store) -> Iterator[Complaint]:
    """Yield what the daemon has seen besides, and who could not be told of it."""
    for one in store.watch.standing():
        if one.alert.name not in _SAID:
            since = f"{one.raised_at.astimezone():%Y-%m-%d %H:%M}"
            yield Complaint(one.alert.name.replace("_", " "), f"{one.alert.text} (since {since})", one.alert.next)
    for notice in store.watch.mute():
        times = "once" if notice.tries == 1 else f"{notice.tries} times"
        text = f"{notice.channel} could not be told {times}, since {notice.at.astimezone():%Y-%m-%d %H:%M}"
        yield Complaint("alert channel", f"{text}: {notice.failure}", "look at alerts.tell in routes.yaml")


def _certificates(session: Session, deployment: Deployment, store: Store) -> Iterator[Complaint]:
    from hub.alerts.rules import PEERS
    from hub.certificates import rung, shown
    from hub.endpoints import Endpoints
    from hub.files import Files

    at = now()
    lying = Endpoints(deployment, Files(session.base), now).expiries()
    for expiry in sorted((*lying, *shown(store.watch.seen())), key=lambda one: one.not_after):
        passed = rung(expiry, at)
        if not passed:
            continue
        days = expiry.days_left(at)
        left = "is over" if expiry.not_after <= at else f"is over in {days} day{'' if days == 1 else 's'}"
        whose = f"{expiry.role} of {expiry.place}" + (f" ({expiry.file})" if expiry.file else "")
        next_ = "renew the file; no reload is needed" if expiry.file else PEERS
        yield Complaint("certificate", f"{whose} {left}: {expiry.not_after:%Y-%m-%d}", next_, needs_person=passed > 1)


def _daemon(session: Session, deployment: Deployment | None, store: Store) -> Iterator[Complaint]:
    """Yield why the daemon of this state directory takes nothing in, or that none is there for what waits."""
    from hub.daemon.control import ask

    try:
        answer = ask(session.settings.state_dir, {"do": "ready"})
    except (OSError, ConfigError):
        yield from _absent(session, deployment, store)
        return
    if why := answer.get("why"):
        yield Complaint("not ready", str(why), "look at the log; xoev-hub run again if it does not mend itself")
    for name, why in answer.get("sources", {}).items():
        next_ = f"xoev-hub config show {name} says what it reads; it goes on by itself when that answers"
        yield Complaint("source", f"{name} cannot be read: {why}", next_)


def _absent(session: Session, deployment: Deployment | None, store: Store) -> Iterator[Complaint]:
    """Yield that none runs here; a person is needed once something waits longer than an alert would stand."""
    from hub.alerts.settings import AlertSettings

    waiting = store.watch.oldest_waiting()
    server = not session.settings.store.startswith("sqlite")
    if server and store.nodes():  # on other machines
        return
    next_ = "xoev-hub run, or the service that runs it"
    if not waiting:
        if server:
            yield Complaint("daemon", "none runs on this store: nothing is taken in", next_, needs_person=False)
        return
    patience = (deployment.alerts if deployment else AlertSettings()).oldest_waiting
    since = min(waiting.values())
    text = f"none runs on this store, and deliveries wait since {since.astimezone():%Y-%m-%d %H:%M}"
    yield Complaint("daemon", text, next_, needs_person=now() - since > patience)


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
    from hub.cli.unread import unread

    if changed := unread(session, store):
        yield Complaint(
            "changed files", f"not as the running hub has read them: {changed}", "xoev-hub reload, or put them back"
        )

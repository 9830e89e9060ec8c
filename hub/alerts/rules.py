"""What is wrong, judged from facts. Pure: the same facts give the same alerts.

| name | object | is wrong when |
| --- | --- | --- |
| blocked | destination | an outcome says so, or nobody has configured it any more |
| oldest_waiting | destination | something waits longer than ``oldest_waiting``, held and closed time not counted |
| dead_letters | reason and code | anything is dead: one alert per cause, however many and wherever |
| certificate | place and file | 60, 30, 14, 7, 1 days are left, or none |
| silence | sender | nothing came, and in each of three weeks before there was something in that span |
| rejected_rate | sender | of at least ten within an hour more than ``rejected_rate`` percent were rejected |
| worker_deaths | node | three within ten minutes |
| disk | node | less is free than ``disk_free``, or so little that nothing is taken in |

Destinations that are paused or outside their hours are quiet: somebody wants it so.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from hub.alerts.settings import AlertSettings
from hub.certificates import Expiry, rung
from hub.outcome import Reason
from hub.store.api import Control
from hub.store.watch_api import Alert, Handed

SHARED = frozenset({"blocked", "oldest_waiting", "dead_letters", "certificate", "silence", "rejected_rate"})
"""The alerts that any node can tell; the others are each node's own, and bear its name."""

REJECTED_MIN = 10
USUAL_MIN = 5  # messages in each of the weeks before, else a sender is not one that is usually active
USUAL_WEEKS = 3
SILENT_MIN = timedelta(hours=1)
SILENT_MAX = timedelta(days=7)
DEATHS_MAX = 3
WEEK = timedelta(days=7)
PEERS = "tell those who run it: it is theirs to renew"


@dataclass(frozen=True, slots=True)
class Silence:
    """A sender of which nothing has come since a time, and what came in the same span of the weeks before."""

    sender: str
    since: datetime
    usual: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Facts:
    """What the store, the files and the clock say."""

    now: datetime
    controls: Sequence[Control] = ()
    dead: Mapping[tuple[str, str, str], int] = field(default_factory=dict)  # by destination, reason and code
    waiting: Mapping[str, timedelta] = field(default_factory=dict)  # by destination, held time taken off
    certificates: Collection[Expiry] = ()
    silent: Sequence[Silence] = ()
    handed_in: Mapping[str, Handed] = field(default_factory=dict)  # within the last hour


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """What one node knows of itself."""

    node: str
    worker_deaths: int = 0  # within ten minutes
    free: int | None = None  # bytes on the disk of the store
    low: bool = False  # so few that nothing is taken in


def judge(facts: Facts, settings: AlertSettings) -> Iterator[Alert]:
    """Yield all that is wrong and that any node can see."""
    blocked = {one.destination for one in facts.controls if one.kind == "blocked"}
    quiet = blocked | {one.destination for one in facts.controls if one.kind in ("paused", "closed")}
    yield from (_blocked(one) for one in facts.controls if one.kind == "blocked")
    yield from _dead(facts.dead)
    for destination, age in facts.waiting.items():
        if age > settings.oldest_waiting and destination not in quiet:
            yield _waiting(destination, age)
    for expiry in facts.certificates:
        if (passed := rung(expiry, facts.now)) and not blocked.issuperset(expiry.places):
            yield _certificate(expiry, passed, facts.now)
    if settings.silence:
        yield from (_silent(one) for one in facts.silent if min(one.usual, default=0) >= USUAL_MIN)
    for sender, handed in facts.handed_in.items():
        percent = 100 * handed.rejected // max(handed.accepted + handed.rejected, 1)
        if handed.rejected >= REJECTED_MIN and percent > settings.rejected_rate:
            yield _rejected(sender, handed, percent)


def hushed(facts: Facts) -> frozenset[tuple[str, str]]:
    """Return name and object of what a block tells for it: it is not raised, and not over where it stands."""
    blocked = {one.destination for one in facts.controls if one.kind == "blocked"}
    behind = (one for one in facts.certificates if rung(one, facts.now) and blocked.issuperset(one.places))
    return frozenset(("certificate", _object(one)) for one in behind)


def judge_node(facts: NodeFacts, settings: AlertSettings) -> Iterator[Alert]:
    """Yield what is wrong with one node."""
    if facts.worker_deaths >= DEATHS_MAX:
        text = f"{facts.worker_deaths} XML workers of {facts.node} died within ten minutes"
        yield Alert("worker_deaths", facts.node, text, "xoev-hub messages list --reason transform_failed; and the log")
    if facts.free is not None and (facts.low or facts.free < settings.disk_free):
        free = f"{facts.free / 1_000_000_000:.1f} GB are free on the disk of {facts.node}"
        text = f"{free}; nothing is taken in any more" if facts.low else free
        yield Alert("disk", facts.node, text, "make room, or enlarge the disk", level=int(facts.low))


def _blocked(control: Control) -> Alert:
    since = f"{control.since:%Y-%m-%d %H:%M} UTC"
    why = f"{control.reason} {control.code}".strip()
    name = control.destination
    if control.reason == Reason.ROUTE_GONE:
        return Alert("blocked", name, f"{name} has waiting deliveries but is not configured, since {since}",
                     f"configure it again, or xoev-hub replay --destination {name} --state waiting")  # fmt: skip
    return Alert("blocked", name, f"{name} is blocked since {since}: {why}",
                 f"xoev-hub destinations probe {name}; mend it, then it goes on by itself")  # fmt: skip


def _dead(dead: Mapping[tuple[str, str, str], int]) -> Iterator[Alert]:
    causes: dict[tuple[str, str], list[tuple[str, int]]] = {}
    for (destination, reason, code), count in dead.items():
        causes.setdefault((reason, code), []).append((destination, count))
    for (reason, code), counts in sorted(causes.items()):
        count = sum(number for _, number in counts)
        named = sorted({destination for destination, _ in counts if destination})
        where = "nowhere" if not named else named[0] if len(named) == 1 else f"{len(named)} destinations"
        text = f"{count} deliver{'ies are' if count != 1 else 'y is'} dead, to {where}: {reason} {code}".strip()
        yield Alert("dead_letters", f"{reason} {code}".strip(), text, f"xoev-hub groups list --reason {reason}")


def _waiting(destination: str, age: timedelta) -> Alert:
    text = f"something has been waiting for {destination} for {_long(age)}"
    return Alert("oldest_waiting", destination, text, f"xoev-hub destinations show {destination}")


def _long(age: timedelta) -> str:
    """Return a span in whole units of the largest that it has two of: who is woken up wants to know how bad it is."""
    for unit, name in ((timedelta(days=1), "days"), (timedelta(hours=1), "hours"), (timedelta(minutes=1), "minutes")):
        if age >= 2 * unit:
            return f"{age // unit} {name}"
    return f"{age // timedelta(seconds=1)} seconds"


def _certificate(expiry: Expiry, passed: int, now: datetime) -> Alert:
    days = expiry.days_left(now)
    left = "is over" if expiry.not_after <= now else f"is over in {days} day{'' if days == 1 else 's'}"
    whose = f"the {expiry.role} certificate of {expiry.place}" + (f" ({expiry.file})" if expiry.file else "")
    return Alert("certificate", _object(expiry), f"{whose} {left}: {expiry.not_after:%Y-%m-%d %H:%M} UTC",
                 "renew the file; it is taken without a reload" if expiry.file else PEERS, level=passed)  # fmt: skip


def _object(expiry: Expiry) -> str:
    return f"{expiry.places[0]} {expiry.role} {expiry.file}".strip()


def _silent(silence: Silence) -> Alert:
    expected = round(sum(silence.usual) / len(silence.usual))
    text = f"nothing came from {silence.sender} since {silence.since:%Y-%m-%d %H:%M} UTC, expected about {expected}"
    return Alert("silence", silence.sender, text, "ask whether it sends, and what it is answered")


def _rejected(sender: str, handed: Handed, percent: int) -> Alert:
    text = f"{handed.rejected} of {handed.accepted + handed.rejected} documents of {sender} were rejected ({percent} %)"
    return Alert("rejected_rate", sender, text, f"xoev-hub messages list --state rejected --sender {sender}")

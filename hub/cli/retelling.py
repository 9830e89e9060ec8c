"""``explain --message``: what was decided about a message when it came in, repeated, and compared with today.

the record  certain: verdict, findings, addressee, where it went, the digests of the bytes
repeated    why: the header, each route considered; by the kept snapshot, compared with the record
today       what the configuration on disk makes of the same bytes, compared with the record
"""

from __future__ import annotations

from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from hub.cli.common import FAILED, OK, REJECTED, printable, put_json, say
from hub.cli.explaining import explanation, leg_json, tell
from hub.cli.session import Session
from hub.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from hub.inspection import Plan, Rejection, Snapshot
    from hub.message import Incoming
    from hub.repetition import Repetition
    from hub.service import Timeline
    from hub.store.api import Store

ERASED = "the original bytes are erased"


def retell(session: Session, id_: str, as_of: datetime | None, *, as_json: bool) -> int:
    """Tell everything about the decision on one message, and return the exit code: that of the verdict of then.

    ``as_of`` is for today's decision only. Where the bytes are erased, only the record is told, with exit code 1.
    """
    hub = session.hub()
    timeline = hub.timeline(id_) if printable(id_) == id_ else None
    if timeline is None:
        say(f"there is no message or delivery {id_}")
        return FAILED
    incoming = hub.incoming(timeline.record, "explain --message")
    if incoming is None:
        shown = _record(timeline) | {"repeated": _not_repeated(ERASED), "today": None, "differences": []}
        shown["today_obstacle"] = ERASED
    else:
        shown = _compared(session, hub.store, timeline, incoming, as_of)
    if as_json:
        put_json(shown)
    else:
        _tell(shown)
    if incoming is None:
        return FAILED
    return REJECTED if shown["rejected"] else OK


def _record(timeline: Timeline) -> dict[str, Any]:
    """Return what the store knows of the decision, in the shape of INTERFACE §5; what it does not know is empty."""
    from hub import view
    from hub.decision import recorded

    decision = recorded(timeline.record, timeline.payloads)
    planned = {one.id for one in timeline.record.deliveries if one.replay_of is None}
    return {
        "message": timeline.record.id,
        "received_at": view.time_text(timeline.record.received_at),
        "type": decision.type,
        "header": None,
        "findings": [one for one in timeline.findings if one["delivery"] is None or one["delivery"] in planned],
        "checks": [],
        "recipient": decision.recipient,
        "owner": decision.owner,
        "routes": [],
        "plan": [leg_json(leg) for leg in decision.legs],
        "rejected": decision.rejected,
        "snapshot": decision.snapshot,
    }


def _compared(
    session: Session, store: Store, timeline: Timeline, incoming: Incoming, as_of: datetime | None
) -> dict[str, Any]:
    from hub.decision import decided, differences, recorded
    from hub.inspection import inspect
    from hub.repetition import Repetition, repeat

    record = timeline.record
    snapshot, obstacle = _today(session)
    at = datetime.now(UTC) if as_of is None else as_of.astimezone(UTC)
    now = replace(incoming, planned_at=at) if as_of is None else replace(incoming, received_at=at)
    today = inspect(now, snapshot) if snapshot is not None else None
    if snapshot is not None and snapshot.digest == record.snapshot:
        repetition = Repetition(inspect(incoming, snapshot), snapshot.deployment)  # nothing has changed since
    else:
        settings = session.settings
        repetition = repeat(
            incoming, record.snapshot, store, main=session.config.name, stage=settings.stage,
            state_dir=settings.state_dir,
        )  # fmt: skip
    then = recorded(record, timeline.payloads)
    found = () if today is None else differences(then, decided(today, incoming.body))
    return _repeated(timeline, incoming, repetition) | {
        "today": _explained(now, today, snapshot),
        "today_obstacle": obstacle or None,
        "differences": [asdict(one) for one in found],
    }


def _today(session: Session) -> tuple[Snapshot | None, str]:
    """Return today's snapshot, or why there is none: that is no reason not to tell what was."""
    try:
        return session.snapshot(), ""
    except ConfigError as error:
        first = str(error.problems[0]).partition("\n")[0]
        return None, f"the configuration of today cannot be used: {first}"


def _explained(incoming: Incoming, result: Plan | Rejection | None, snapshot: Snapshot | None) -> dict[str, Any] | None:
    if result is None or snapshot is None:
        return None
    return explanation(incoming, result, snapshot.deployment, with_text=False)


def _repeated(timeline: Timeline, incoming: Incoming, repetition: Repetition) -> dict[str, Any]:
    """Return the record, with what the repetition says about its why."""
    from hub.decision import decided, differences, recorded

    shown = _record(timeline)
    if repetition.result is None or repetition.deployment is None:
        return shown | {"repeated": _not_repeated(repetition.obstacle, repetition.others)}
    why = explanation(incoming, repetition.result, repetition.deployment, with_text=False)
    found = differences(recorded(timeline.record, timeline.payloads), decided(repetition.result, incoming.body))
    repeated = {
        "done": True,
        "exactly": not found and not repetition.others,
        "obstacle": None,
        "others": _others(repetition.others),
        "differences": [asdict(one) for one in found],
    }
    return shown | {name: why[name] for name in ("header", "checks", "routes")} | {"repeated": repeated}


def _not_repeated(obstacle: str, others: Mapping[str, tuple[str | None, str | None]] | None = None) -> dict[str, Any]:
    return {
        "done": False,
        "exactly": False,
        "obstacle": obstacle,
        "others": _others(others or {}),
        "differences": [],
    }


def _others(others: Mapping[str, tuple[str | None, str | None]]) -> list[dict[str, str | None]]:
    return [{"program": name, "then": then, "now": now} for name, (then, now) in others.items()]


# --- for people --------------------------------------------------------------------------------------------------


def _tell(shown: Mapping[str, Any]) -> None:
    click.echo(f"message    {shown['message']} received {shown['received_at']}")
    tell(shown)
    repeated = shown["repeated"]
    if repeated["exactly"]:
        click.echo("repeated   exactly, by the files that were kept")
    elif not repeated["done"]:
        click.echo(f"repeated   no: {printable(repeated['obstacle'])}. Above is what the record says")
    else:
        click.echo("repeated   not exactly as then; header and routes above are of the repetition")
    for one in repeated["others"]:
        click.echo(f"           {one['program']} was {one['then'] or 'not there'}, is {one['now'] or 'not there'}")
    _tell_differences(repeated["differences"])
    if shown["today"] is None:
        click.echo(f"today      nobody can tell: {printable(shown['today_obstacle'])}")
        return
    verdict = "otherwise" if shown["differences"] else "the same"
    click.echo(f"today      {verdict}, by snapshot {shown['today']['snapshot'][:12]}")
    _tell_differences(shown["differences"])


def _tell_differences(found: Iterable[Mapping[str, Any]]) -> None:
    for one in found:
        click.echo(f"           {printable(sentence(one))}")


def sentence(one: Mapping[str, Any]) -> str:
    """Return what two decisions do not agree on, in words."""
    to = f" to {one['destination'] or 'nowhere'}"
    match one["what"]:
        case "destination":
            return f"it goes{to}" if one["before"] is None else f"it does not go{to}"
        case "bytes":
            return f"other bytes{to}"
        case "reason" if one["after"] is None:
            return f"bytes{to}, where it was dead: {one['before']}"
        case "reason" if one["before"] is None:
            return f"dead, where bytes went{to}: {one['after']}"
        case "route" | "reason" | "content_type":
            return f"another {one['what'].replace('_', ' ')}{to}: {one['before']} → {one['after']}"
        case _:
            return f"{one['what']}: {one['before'] or 'none'} → {one['after'] or 'none'}"

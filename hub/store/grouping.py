"""Groups of equal failures: how many, since when, how it goes on, and what operators know about them.

One rule: a listing reads what is dead now and what was rejected lately, by indexes that hold nothing else.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from hub.fingerprint import first_finding, plain_path
from hub.store.api import PayloadRole
from hub.store.groups_api import Group, Note
from hub.store.rows import type_of
from hub.store.tables import DEAD, EPOCH, MICROSECOND, REJECTED, delivery, group_note, message, payload

HOURS = 24  # of the trend
HOUR = timedelta(hours=1)
GROUPS_MAX = 1000
PORTION = 500


@dataclass(frozen=True, slots=True)
class _Kind:
    """Where failures of a kind are: one index holds the question's columns, in the question's order."""

    name: str
    table: sa.Table
    seq: sa.Column[int]
    token: sa.Column[str]
    at: sa.Column[datetime]
    among: sa.ColumnElement[bool]
    index: str


_DEAD = _Kind("dead", delivery, delivery.c.seq, delivery.c.fingerprint, delivery.c.due_at,
              sa.and_(delivery.c.state == DEAD, delivery.c.fingerprint.is_not(None)), "delivery_group")  # fmt: skip
_REJECTED = _Kind("rejected", message, message.c.seq, message.c.fingerprint, message.c.received_at,
                  message.c.verdict == REJECTED, "message_refused_at")  # fmt: skip


def select_groups(
    connection: sa.Connection, *, now: datetime, rejected_since: datetime, only: str | None = None
) -> list[Group]:
    """Read the groups of what is dead now and of what was rejected since then, the largest first."""
    found: list[Group] = []
    for kind, since in ((_DEAD, None), (_REJECTED, rejected_since)):
        counted = list(_counted(connection, kind, since, now, only))
        found += _explained(connection, kind, counted)
    notes = _notes(connection, [one.fingerprint for one in found])
    noted = (replace(one, notes=tuple(notes.get(one.fingerprint, ()))) for one in found)
    return sorted(noted, key=lambda one: (one.kind != "dead", -one.count, one.fingerprint))


def add_note(connection: sa.Connection, note: Note) -> None:
    """Append a note to a group."""
    row = {"fingerprint": note.fingerprint, "at": note.at, "actor": note.actor, "text": note.text}
    connection.execute(sa.insert(group_note), [row])


def is_known(connection: sa.Connection, fingerprint: str) -> bool:
    """Tell whether anything has ever failed like this."""
    ways = (
        sa.select(delivery.c.seq).where(delivery.c.fingerprint == fingerprint, delivery.c.fingerprint.is_not(None)),
        sa.select(message.c.seq).where(message.c.fingerprint == fingerprint, message.c.fingerprint.is_not(None)),
    )
    return any(connection.execute(way.limit(1)).first() is not None for way in ways)


def _counted(
    connection: sa.Connection, kind: _Kind, since: datetime | None, now: datetime, only: str | None
) -> Iterator[tuple[Group, int]]:
    """Yield groups with the number of their newest member."""
    where = [kind.among]
    if since is not None:
        where.append(kind.at >= since)
    if only is not None:
        where.append(kind.token == only)
    sums = (sa.func.count(), sa.func.min(kind.at), sa.func.max(kind.at), sa.func.max(kind.seq))
    columns: list[Any] = [kind.token, *sums]
    statement = sa.select(*columns).where(*where).group_by(kind.token)
    rows = connection.execute(_hinted(statement, kind)).all()
    rows = sorted(rows, key=lambda row: -row[1])[:GROUPS_MAX]
    trends = _trends(connection, kind, now, where) if rows else {}
    for token, count, first, last, newest in rows:
        trend = tuple(trends.get((token, hour), 0) for hour in range(HOURS))
        yield Group(token or "", kind.name, count, first, last, trend), newest


def _trends(
    connection: sa.Connection, kind: _Kind, now: datetime, where: Sequence[sa.ColumnElement[bool]]
) -> dict[tuple[str, int], int]:
    """Count failures by group and hour, the oldest hour is 0."""
    begin = now - HOURS * HOUR
    passed = sa.type_coerce(kind.at, sa.BigInteger) - sa.literal((begin - EPOCH) // MICROSECOND, sa.BigInteger)
    columns: list[Any] = [kind.token, sa.cast(passed // (HOUR // MICROSECOND), sa.Integer)]
    statement = sa.select(*columns, sa.func.count()).where(*where, kind.at >= begin).group_by(*columns)
    rows = connection.execute(_hinted(statement, kind))
    return {(token, min(int(at), HOURS - 1)): count for token, at, count in rows}


def _hinted(statement: Any, kind: _Kind) -> Any:
    return statement.with_hint(kind.table, f"INDEXED BY {kind.index}", "sqlite")


def _explained(connection: sa.Connection, kind: _Kind, counted: Sequence[tuple[Group, int]]) -> Iterator[Group]:
    """Yield groups with what their newest member says: all members say the same."""
    for some in (counted[at : at + PORTION] for at in range(0, len(counted), PORTION)):
        rows = {row["seq"]: row for row in connection.execute(_members(kind, [seq for _, seq in some])).mappings()}
        paths = _paths(connection, [row["message_id"] for row in rows.values()])
        for group, seq in some:
            row = rows[seq]
            rule, path = paths.get((row["message_id"], row["delivery_id"]), ("", ""))
            yield replace(
                group, reason=row["reason"], phase=row["phase"], code=row["code"] or rule, path=plain_path(path),
                type=type_of(row), destination=row["destination"], example=row["message_id"],
            )  # fmt: skip


def _members(kind: _Kind, seqs: Sequence[int]) -> sa.Select[Any]:
    types = (message.c.standard, message.c.version, message.c.name)
    none = sa.literal("", sa.Text)
    if kind is _REJECTED:
        unsaid = (none.label("phase"), none.label("code"), sa.null().label("destination"))
        ids = (message.c.seq, message.c.id.label("message_id"), sa.null().label("delivery_id"))
        return sa.select(*ids, message.c.code.label("reason"), *unsaid, *types).where(message.c.seq.in_(seqs))
    columns = (delivery.c.seq, delivery.c.message_id, delivery.c.id.label("delivery_id"), delivery.c.reason,
               delivery.c.phase, delivery.c.code, delivery.c.destination)  # fmt: skip
    joined = sa.select(*columns, *types).join(message, message.c.seq == delivery.c.message_seq)
    return joined.where(delivery.c.seq.in_(seqs))


def _paths(connection: sa.Connection, ids: Sequence[str]) -> dict[tuple[str, str | None], tuple[str, str]]:
    """Read rule and path of the first finding, by message and delivery; what is erased or damaged is left out."""
    from hub.store.payloads import Payloads

    kept = sa.select(payload).where(payload.c.message_id.in_(ids), payload.c.role == PayloadRole.FINDINGS.value)
    bodies, found = Payloads(None), {}
    for row in connection.execute(kept).mappings() if ids else ():
        if row["storage"] == "row":
            found[row["message_id"], row["delivery_id"]] = first_finding(bodies.body(row))
    return found


def _notes(connection: sa.Connection, tokens: Sequence[str]) -> Mapping[str, list[Note]]:
    found: dict[str, list[Note]] = defaultdict(list)
    statement = sa.select(group_note).where(group_note.c.fingerprint.in_(tokens)).order_by(group_note.c.seq)
    for row in connection.execute(statement).mappings() if tokens else ():
        found[row["fingerprint"]].append(Note(row["fingerprint"], row["at"], row["actor"], row["text"]))
    return found

"""What is wrong now, who has been told, and the facts that this is judged by. One rule: each channel is told once.

An alert that is raised or cleared brings its notices in the same transaction: a restart repeats nothing and forgets
nothing. A notice is taken for a minute, so that of several nodes one tells it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from hub.store.inserting import insert_new, insert_rows
from hub.store.tables import DEAD, WAITING, delivery, message
from hub.store.watch_api import Alert, Handed, Notice, NoticeKind, Seen, Standing
from hub.store.watch_tables import alert, alert_notice, certificate
from hub.store.writer import Verb, Writer

TAKEN_FOR = timedelta(minutes=1)
TEXT_MAX = 500
_stands = alert.c.cleared_at.is_(None)
_untold = alert_notice.c.told_at.is_(None)


@dataclass(frozen=True, slots=True)
class Turn:
    """What has become worse, and what is over."""

    raised: tuple[Alert, ...]
    cleared: tuple[Alert, ...]
    channels: tuple[str, ...]
    now: datetime


def change(connection: sa.Connection, turn: Turn) -> int:
    """Raise, worsen and clear; return how many changed."""
    changed = 0
    for one in turn.raised:
        row = {
            "name": one.name,
            "object": one.object,
            "level": one.level,
            "text": one.text[:TEXT_MAX],
            "next": one.next,
        }
        if insert_new(connection, alert, [row | {"raised_at": turn.now}]):
            changed += _notify(connection, one, "raised", turn)
            continue
        better = sa.update(alert).where(_is(one), alert.c.level < one.level)
        if connection.execute(better.values(level=one.level, text=one.text[:TEXT_MAX], next=one.next)).rowcount:
            changed += _notify(connection, one, "worse", turn)
    for one in turn.cleared:
        seq = connection.execute(sa.select(alert.c.seq).where(_is(one)).with_for_update()).scalar()
        if seq is not None:
            connection.execute(sa.update(alert).where(alert.c.seq == seq).values(cleared_at=turn.now))
            changed += _notify(connection, one, "cleared", turn, seq)
    return changed


def _notify(connection: sa.Connection, one: Alert, what: NoticeKind, turn: Turn, seq: int | None = None) -> int:
    of = seq or connection.execute(sa.select(alert.c.seq).where(_is(one))).scalar_one()
    row = {"alert_seq": of, "what": what, "at": turn.now, "due_at": turn.now, "tries": 0, "failure": ""}
    insert_rows(connection, alert_notice, [row | {"channel": channel} for channel in turn.channels])
    return 1


def _is(one: Alert) -> sa.ColumnElement[bool]:
    return sa.and_(alert.c.name == one.name, alert.c.object == one.object, _stands)


def _due(channel: str, now: datetime) -> sa.ColumnElement[bool]:
    return sa.and_(alert_notice.c.channel == channel, _untold, alert_notice.c.due_at <= now)


@dataclass(frozen=True, slots=True)
class Take:
    channel: str
    limit: int
    now: datetime


def take_notices(connection: sa.Connection, wish: Take) -> list[Notice]:
    """Take the notices that are due; what another node has taken is not due."""
    oldest = sa.select(alert_notice.c.seq).where(_due(wish.channel, wish.now)).order_by(alert_notice.c.seq)
    found = oldest.limit(wish.limit).with_for_update(skip_locked=True)
    seqs = list(connection.execute(found).scalars())
    if not seqs:
        return []
    taken = sa.update(alert_notice).where(alert_notice.c.seq.in_(seqs))
    connection.execute(taken.values(due_at=wish.now + TAKEN_FOR, tries=alert_notice.c.tries + 1))
    return select_notices(connection, alert_notice.c.seq.in_(seqs))


@dataclass(frozen=True, slots=True)
class Told:
    """How telling ended: well, or why not and when again."""

    seqs: tuple[int, ...]
    now: datetime
    failure: str = ""
    again: datetime | None = None


def note_told(connection: sa.Connection, told: Told) -> None:
    """Write down how telling ended."""
    values = (
        {"told_at": told.now, "failure": ""} if told.again is None else {"due_at": told.again, "failure": told.failure}
    )
    connection.execute(sa.update(alert_notice).where(alert_notice.c.seq.in_(told.seqs)).values(values))


@dataclass(frozen=True, slots=True)
class Forget:
    channels: tuple[str, ...]
    before: datetime


def forget(connection: sa.Connection, wish: Forget) -> None:
    """Drop notices that nobody needs any more; the alerts themselves stay as a record."""
    old = sa.and_(alert_notice.c.told_at.is_not(None), alert_notice.c.told_at < wish.before)
    gone = sa.and_(_untold, alert_notice.c.channel.not_in(wish.channels))
    connection.execute(sa.delete(alert_notice).where(sa.or_(old, gone)))


def see(connection: sa.Connection, seen: Seen) -> None:
    """Write the certificate of a place, in the place of the one before."""
    insert = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    row = {"not_after": seen.not_after, "sha256": seen.sha256, "seen_at": seen.seen_at}
    statement = insert(certificate).values(place=seen.place, **row)
    connection.execute(statement.on_conflict_do_update(index_elements=[certificate.c.place], set_=row))


def forget_certificates(connection: sa.Connection, but: tuple[str, ...]) -> None:
    """Drop what was seen at other places; there are few of them, and many that stay."""
    gone = set(connection.execute(sa.select(certificate.c.place)).scalars()) - set(but)
    for place in gone:
        connection.execute(sa.delete(certificate).where(certificate.c.place == place))


CHANGE = Verb("change_alerts", change)
TAKE = Verb("take_notices", take_notices)
TOLD = Verb("note_told", note_told)
FORGET = Verb("forget_notices", forget)
SEE = Verb("see_certificate", see)
FORGET_CERTIFICATES = Verb("forget_certificates", forget_certificates)


# --- reading ------------------------------------------------------------------------------------------------------


def _alert_of(row: sa.Row[Any]) -> Alert:
    return Alert(row.name, row.object, row.text, row.next, row.level)


def select_notices(connection: sa.Connection, condition: sa.ColumnElement[bool]) -> list[Notice]:
    """Read notices with their alerts, oldest first."""
    columns = (alert_notice.c.seq.label("of"), alert_notice.c.what, alert_notice.c.channel, alert_notice.c.at)
    statement = (
        sa.select(alert, *columns, alert_notice.c.tries, alert_notice.c.failure)
        .join(alert, alert.c.seq == alert_notice.c.alert_seq)
        .where(condition)
        .order_by(alert_notice.c.seq)
    )
    return [
        Notice(row.of, _alert_of(row), row.what, row.channel, row.at, row.raised_at, row.tries, row.failure)
        for row in connection.execute(statement)
    ]


def select_mute(connection: sa.Connection) -> list[Notice]:
    """Read of each channel the oldest notice that was tried and has reached nobody."""
    failed = sa.and_(_untold, alert_notice.c.failure != "")
    oldest = sa.select(sa.func.min(alert_notice.c.seq)).where(failed).group_by(alert_notice.c.channel)
    return select_notices(connection, alert_notice.c.seq.in_(oldest))


def select_standing(connection: sa.Connection) -> list[Standing]:
    """Read the alerts that stand, oldest first."""
    rows = connection.execute(sa.select(alert).where(_stands).order_by(alert.c.seq))
    return [Standing(_alert_of(row), row.raised_at) for row in rows]


def select_dead(connection: sa.Connection) -> dict[tuple[str, str, str], int]:
    """Count the dead by destination and cause."""
    cause = (delivery.c.destination, delivery.c.reason, delivery.c.code)
    rows = connection.execute(sa.select(*cause, sa.func.count()).where(delivery.c.state == DEAD).group_by(*cause))
    return {(destination or "", reason, code): count for destination, reason, code, count in rows}


def select_oldest(connection: sa.Connection) -> dict[str, datetime]:
    """Read of each destination when the oldest message came in that waits: messages are numbered as they come."""
    oldest = (
        sa.select(delivery.c.destination, sa.func.min(delivery.c.message_seq).label("seq"))
        .where(delivery.c.state == WAITING, delivery.c.destination.is_not(None))
        .group_by(delivery.c.destination)
        .subquery()
    )
    statement = sa.select(oldest.c.destination, message.c.received_at).join(message, message.c.seq == oldest.c.seq)
    return {row.destination: row.received_at for row in connection.execute(statement)}


def select_handed_in(connection: sa.Connection, since: datetime, until: datetime) -> dict[str, Handed]:
    """Count by sender what came in within a span of time; an index by time bounds the work."""
    within = sa.and_(message.c.received_at >= since, message.c.received_at < until)
    columns = (message.c.sender, message.c.verdict)
    found: dict[str, Handed] = {}
    for sender, verdict, count in connection.execute(
        sa.select(*columns, sa.func.count()).where(within).group_by(*columns)
    ):
        before = found.get(sender, Handed())
        accepted = count if verdict == "accepted" else 0
        found[sender] = Handed(before.accepted + accepted, before.rejected + count - accepted)
    return found


def select_last_handed_in(connection: sa.Connection, sender: str) -> datetime | None:
    """Read when a sender has handed in last."""
    newest = sa.select(message.c.received_at).where(message.c.sender == sender).order_by(message.c.seq.desc()).limit(1)
    return connection.execute(newest).scalar()


def select_seen(connection: sa.Connection) -> list[Seen]:
    """Read the certificates that were shown last, by place."""
    rows = connection.execute(sa.select(certificate).order_by(certificate.c.place))
    return [Seen(row.place, row.not_after, row.sha256, row.seen_at) for row in rows]


class SqlWatch:
    """Implements :class:`hub.store.watch_api.WatchBook`; its promises are written there."""

    def __init__(
        self,
        writer: Writer,
        reading: Callable[[], AbstractContextManager[sa.Connection]],
        clock: Callable[[], datetime],
    ) -> None:
        self._writer, self._reading, self._clock = writer, reading, clock

    def standing(self) -> Sequence[Standing]:
        with self._reading() as connection:
            return select_standing(connection)

    def change(self, raised: Sequence[Alert], cleared: Sequence[Alert], channels: Collection[str]) -> int:
        turn = Turn(tuple(raised), tuple(cleared), tuple(sorted(channels)), self._clock())
        return self._writer.run(CHANGE, turn)

    def notices(self, channel: str, limit: int = 100) -> Sequence[Notice]:
        now = self._clock()
        with self._reading() as connection:  # asked every second, and mostly for nothing
            if not connection.execute(sa.select(sa.exists().where(_due(channel, now)))).scalar():
                return []
        return self._writer.run(TAKE, Take(channel, limit, now))

    def told(self, notices: Sequence[Notice]) -> None:
        self._writer.run(TOLD, Told(tuple(one.seq for one in notices), self._clock()))

    def untold(self, notices: Sequence[Notice], failure: str, again: datetime) -> None:
        self._writer.run(TOLD, Told(tuple(one.seq for one in notices), self._clock(), failure, again))

    def mute(self) -> Sequence[Notice]:
        with self._reading() as connection:
            return select_mute(connection)

    def forget(self, channels: Collection[str], before: datetime) -> None:
        self._writer.run(FORGET, Forget(tuple(channels), before))

    def dead(self) -> Mapping[tuple[str, str, str], int]:
        with self._reading() as connection:
            return select_dead(connection)

    def oldest_waiting(self) -> Mapping[str, datetime]:
        with self._reading() as connection:
            return select_oldest(connection)

    def handed_in(self, since: datetime, until: datetime) -> Mapping[str, Handed]:
        with self._reading() as connection:
            return select_handed_in(connection, since, until)

    def last_handed_in(self, sender: str) -> datetime | None:
        with self._reading() as connection:
            return select_last_handed_in(connection, sender)

    def see(self, seen: Seen) -> None:
        self._writer.run(SEE, seen)

    def seen(self) -> Sequence[Seen]:
        with self._reading() as connection:
            return select_seen(connection)

    def forget_certificates(self, but: Collection[str]) -> None:
        self._writer.run(FORGET_CERTIFICATES, tuple(but))

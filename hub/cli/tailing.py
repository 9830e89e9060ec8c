"""``messages tail``: what comes in, and what becomes of it, as it happens.

A message is shown when it comes and again whenever its status or a delivery's state has changed. The store is read by
the messages' numbers, so a daemon is neither needed nor disturbed.
"""

from __future__ import annotations

import json
import time
from collections import OrderedDict
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from hub.cli.common import json_option, now, printable
from hub.cli.finding import filter_of, filters
from hub.cli.session import Session

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hub.store.api import Filter, MessageRecord
    from hub.store.reading import Reader

SETTLING = timedelta(seconds=10)
KEPT_MAX = 5000  # messages that are looked at again, the newest
PORTION = 500
FINAL = frozenset({"rejected", "delivered", "closed"})


@click.command()
@filters()
@click.option("--last", type=click.IntRange(0, 1000), default=10, show_default=True, help="Begin with so many.")
@click.option("--every", type=click.FloatRange(0.05, 60), default=1.0, show_default=True, help="Seconds between looks.")
@click.option("--for", "seconds", type=click.FloatRange(0), help="End after so many seconds; left out: by a signal.")
@json_option
@click.pass_obj
def tail(session: Session, /, last: int, every: float, seconds: float | None, as_json: bool, **asked: Any) -> None:
    """Follow messages: each as it comes, and again when something has become of it. --json: one object a line."""
    reader, filter_ = session.reader(), filter_of(asked)
    following = Following(reader, filter_, last)
    deadline = None if seconds is None else time.monotonic() + seconds
    while True:
        for record in following.look():
            click.echo(_json(record) if as_json else _line(record))
        if deadline is not None and time.monotonic() >= deadline:
            return
        time.sleep(every if deadline is None else max(min(every, deadline - time.monotonic()), 0))


class Following:
    """Remembers what was shown, and looks for what is new since.

    Numbers are given before their commit: for a while the last ones are asked for again, so that none is missed.
    """

    def __init__(self, reader: Reader, filter_: Filter, last: int) -> None:
        self._reader, self._filter = reader, filter_
        first, _ = reader.find(filter_, limit=max(last, 1))
        newest, _ = reader.find(type(filter_)(), limit=1)
        self._settled = newest[0].seq if newest else 0  # all up to here have come, or never will
        self._known: OrderedDict[int, float] = OrderedDict()  # those after it, and since when they are known
        self._open: OrderedDict[int, None] = OrderedDict((one.seq, None) for one in first[:last][::-1])
        self._shown: OrderedDict[int, tuple[Any, ...]] = OrderedDict()
        self._asked_at = now()

    def look(self) -> Iterator[MessageRecord]:
        """Yield what is new or has changed, oldest first."""
        asked_at, at = now(), time.monotonic()
        fresh = self._reader.fresh(self._settled, self._asked_at - SETTLING)
        self._asked_at = asked_at
        for seq in fresh:
            if seq not in self._known:
                self._open[seq] = None
            self._known.setdefault(seq, at)
        waiting = sorted(self._open)
        for start in range(0, len(waiting), PORTION):
            for record in self._reader.among(self._filter, waiting[start : start + PORTION]):
                if self._shown.get(record.seq) != _face(record):
                    self._shown[record.seq] = _face(record)
                    yield record
                if record.status in FINAL:
                    del self._open[record.seq]
        self._forget(at)

    def _forget(self, at: float) -> None:
        """Go on: what is known for long enough is settled, and only so many messages are looked at again."""
        for seq, since in list(self._known.items()):
            if at - since >= SETTLING.total_seconds():
                self._settled = max(self._settled, seq)
                del self._known[seq]
        for kept in (self._open, self._shown):
            while len(kept) > KEPT_MAX:
                kept.popitem(last=False)


def _face(record: MessageRecord) -> tuple[Any, ...]:
    """Return what of a message is worth another line when it changes."""
    return (record.status, *((one.id, str(one.state), one.reason, one.attempts) for one in record.deliveries))


def _json(record: MessageRecord) -> str:
    from hub import view

    return json.dumps(view.message_json(record), ensure_ascii=False)


def _line(record: MessageRecord) -> str:
    where = ", ".join(f"{one.destination or 'nowhere'} {one.state}" for one in record.deliveries)
    why = record.code or " ".join(sorted({one.reason for one in record.deliveries if one.reason}))
    at = f"{record.received_at.astimezone():%H:%M:%S}"
    return printable(
        f"{at}  {record.id}  {record.status:9}  {record.type or '?'}  {record.sender}  {where}  {why}".rstrip()
    )

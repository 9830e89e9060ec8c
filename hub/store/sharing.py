"""What a writer adds to each of its transactions where several nodes share a database: a notice and a mark.

    batch ─▶ notice: what others may send or run now ─▶ mark: this writer's newest commit ─▶ COMMIT ─▶ the others' ears
                                                                          its answer is lost ─▶ the mark is looked up

Two rules. A notice is a hint: who misses it finds the same at the next sweep. A commit whose answer was lost is looked
up, never guessed.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from hub.delivery import State
from hub.log import get_log
from hub.message import new_id
from hub.store.database import error_token
from hub.store.holding import RELEASE, Release
from hub.store.jobs import ADD_JOB
from hub.store.keeping import ACCEPT
from hub.store.moving import APPLY, ChangeRows
from hub.store.nodes import NODE, forget_nodes
from hub.store.rows import MessageRows
from hub.store.tables import setting

log = get_log(__name__)

DUE, JOBS = "xoev_hub_due", "xoev_hub_jobs"  # the channels
NOTICE_BYTES_MAX = 7_000  # the server takes less than 8,000
LOOKUP_SECONDS = 15.0  # how long a writer waits for the server to say what became of a commit
LOOKUP_PAUSE_SECONDS = 0.2
MARK = "commit "
MARK_KEPT = timedelta(days=1)


class Sharing:
    """One writer among others on the same database, by the name of its ``node``."""

    def __init__(self, engine: sa.Engine, node: str) -> None:
        self._engine, self.node = engine, node
        self._name = f"{MARK}{node}"
        self._has_written = False

    def seal(self, connection: sa.Connection, written: Sequence[tuple[str, Any]]) -> str:
        """Tell the other nodes what was written, as (verb, value), and return the mark of this transaction."""
        mark = {"writer": self._name, "mark": new_id()}
        told = [{"channel": channel, "text": text} for channel, text in notices(self.node, written)]
        for notice in told:
            connection.execute(_LEAVE_AND_NOTIFY, mark | notice)
        if not told:
            connection.execute(_LEAVE, mark)
        self._has_written = True
        return mark["mark"]

    def sealed(self, mark: str) -> bool:
        """Return whether the transaction with this mark was committed; false if the server does not say in time."""
        end = time.monotonic() + LOOKUP_SECONDS
        while True:
            try:
                with self._engine.begin() as connection:
                    # It writes the row: so it waits for a commit that is still under way, which reading would not.
                    found = connection.execute(_LOOK_UP, {"writer": self._name, "mark": ""}).scalar_one()
            except sa.exc.SQLAlchemyError as error:
                if time.monotonic() > end:
                    log.error("commit_unknown", code=error_token(error))
                    return False
                time.sleep(LOOKUP_PAUSE_SECONDS)  # a server that starts again takes no connection for a while
            else:
                log.warning("commit_looked_up", state="committed" if found == mark else "rolled back")
                return bool(found == mark)

    def sweep(self) -> None:
        """Remove what is left of nodes that were killed long ago. A mark's id begins with its time."""
        oldest = f"{int((datetime.now(UTC) - MARK_KEPT).timestamp() * 1000):012x}"
        before = f"{oldest[:8]}-{oldest[8:]}"
        left = sa.and_(setting.c.name.startswith(MARK), setting.c.value < before)
        with self._engine.begin() as connection:
            connection.execute(sa.delete(setting).where(left))
            forget_nodes(connection)

    def close(self) -> None:
        """Take the mark away, and what the node has said of itself; nobody asks for it any more."""
        if not self._has_written:
            return
        with suppress(sa.exc.SQLAlchemyError), self._engine.begin() as connection:
            connection.execute(sa.delete(setting).where(setting.c.name.in_([self._name, NODE + self.node])))


_mark = postgresql.insert(setting).values(name=sa.bindparam("writer"), value=sa.bindparam("mark"))
_LEAVE = _mark.on_conflict_do_update(index_elements=[setting.c.name], set_={"value": _mark.excluded.value})
_LOOK_UP = _mark.on_conflict_do_update(index_elements=[setting.c.name], set_={"value": setting.c.value}).returning(
    setting.c.value
)
# One statement: it is on the way of every message.
_LEAVE_AND_NOTIFY = sa.select(
    sa.func.pg_notify(sa.bindparam("channel", type_=sa.Text), sa.bindparam("text", type_=sa.Text))
).add_cte(_LEAVE.cte("mark"))


# --- notices ------------------------------------------------------------------------------------------------------


def notices(node: str, written: Sequence[tuple[str, Any]]) -> Iterator[tuple[str, str]]:
    """Yield (channel, text) for what was written: the node, then the destinations, one a line.

    Few for a whole batch: each destination is named once, and as many stand in one notice as the server takes.
    """
    lines: list[str] = []
    size = len(node)
    for name in sorted({name for verb, value in written for name in made_due(verb, value)}):
        length = len(name.encode()) + 1
        if size + length > NOTICE_BYTES_MAX:
            yield DUE, "\n".join([node, *lines])
            lines, size = [], len(node)
        if size + length <= NOTICE_BYTES_MAX:  # else no notice can say it, and the sweep finds it
            lines.append(name)
            size += length
    if lines:
        yield DUE, "\n".join([node, *lines])
    if any(verb == ADD_JOB.name for verb, _ in written):
        yield JOBS, node


def heard(node: str, text: str) -> list[str] | None:
    """Return the destinations that a notice names; ``None`` if it is this node's own."""
    sender, *destinations = text.split("\n")
    return None if sender == node else destinations


def made_due(verb: str, value: Any) -> Iterable[str]:
    """Return the destinations for which an operation made something due at once."""
    match verb, value:
        case ACCEPT.name, MessageRows():
            return _planned(value.deliveries)
        case APPLY.name, ChangeRows():
            moved = [
                move.after.destination or ""
                for move in value.moves
                if move.after.state is State.WAITING and move.after.due_at <= move.event.at
            ]
            return [*filter(None, moved), *_planned(value.deliveries)]
        case RELEASE.name, Release():
            return [value.destination]
        case _:
            return []


def _planned(rows: Iterable[Any]) -> list[str]:
    return [row["destination"] for row in rows if row["destination"] and row["state"] == State.WAITING.value]

"""Periodic work that one of several nodes does. One rule: at most one at a time, and not again before its time.

    node ─▶ transaction: lock by the work's name ─▶ when was it last done? ─▶ the work ─▶ write down when ─▶ COMMIT
              somebody has it, or it was done just now: not our turn

The lock is the transaction's. A node that dies gives it back at once; one that is stopped in the middle loses it when
the server ends its idle transaction, and finds that out before it goes on.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from datetime import timedelta

import sqlalchemy as sa

from hub.store.claiming import clock
from hub.store.database import unavailable
from hub.store.tables import EPOCH, MICROSECOND, setting
from hub.store.upkeep_api import Work

TurnTaker = Callable[[str, timedelta, Work], bool]

TURN_KEY = 0x786F6578  # the first of two numbers; that of the daemons' presence is a single one
TURN = "turn "
EARLY = 0.9  # the nodes' timers do not strike at the same moment


def alone(_work: str, _every: timedelta, do: Work) -> bool:
    """Do the work: the only daemon of a SQLite file always has the turn, and its own timer is all there is."""
    do(lambda: None)
    return True


def among_nodes(engine: sa.Engine) -> TurnTaker:
    """Return what does work in turn with the other nodes on a PostgreSQL database."""

    def take_turn(work: str, every: timedelta, do: Work) -> bool:
        try:
            with engine.begin() as connection:
                if not _has_turn(connection, work, every):
                    return False
                do(lambda: _still(connection))
                _note(connection, work)
        except sa.exc.SQLAlchemyError as error:
            raise unavailable(error) from None
        return True

    return take_turn


def _has_turn(connection: sa.Connection, work: str, every: timedelta) -> bool:
    key = zlib.crc32(work.encode()) - 2**31  # a signed number of 32 bits
    if not connection.execute(sa.select(sa.func.pg_try_advisory_xact_lock(TURN_KEY, key))).scalar():
        return False
    last = connection.execute(sa.select(setting.c.value).where(setting.c.name == TURN + work)).scalar()
    return last is None or _server_time(connection) - int(last) >= EARLY * (every / MICROSECOND)


def _note(connection: sa.Connection, work: str) -> None:
    from sqlalchemy.dialects import postgresql  # here: who lists what is on SQLite does not wait for it

    done = postgresql.insert(setting).values(name=TURN + work, value=str(_server_time(connection)))
    connection.execute(done.on_conflict_do_update(index_elements=[setting.c.name], set_={"value": done.excluded.value}))


def _still(connection: sa.Connection) -> None:
    """Show the server that the work goes on; it ends transactions that are idle for long.

    Raises:
        Unavailable: It has taken the turn away.
    """
    try:
        _server_time(connection)
    except sa.exc.SQLAlchemyError as error:
        raise unavailable(error) from None


def _server_time(connection: sa.Connection) -> int:
    time: int = connection.execute(sa.select(clock(connection, EPOCH))).scalar_one()
    return time

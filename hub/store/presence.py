"""A process's own connection to PostgreSQL: it holds the lock that says who is there, and hears what others wrote.

All daemons share the lock, so that a command line, which needs it alone, runs jobs by itself only while none is there.
The server frees lock and ears with the connection; a daemon makes it anew until it stands again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from contextlib import suppress

import psycopg
import sqlalchemy as sa

from hub.log import get_log
from hub.store.database import error_token
from hub.store.sharing import DUE, JOBS, heard

log = get_log(__name__)

ADVISORY_KEY = 0x786F6576  # "xoev": daemons share it, a CLI that runs jobs by itself needs it alone
REBUILD_SECONDS = 1.0
LOOK_SECONDS = 0.5  # how soon a listening thread sees that it shall end


class Presence:
    """The lock, shared or alone, and the ears of the daemon that shares it."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._connection: sa.Connection | None = None
        self._thread: threading.Thread | None = None
        self._ending = threading.Event()

    def acquire(self, *, shared: bool = False) -> bool:
        """Take the lock if it is free; never waits."""
        if self._connection is not None:
            return True
        connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        attempt = sa.func.pg_try_advisory_lock_shared if shared else sa.func.pg_try_advisory_lock
        if not connection.execute(sa.select(attempt(ADVISORY_KEY))).scalar():
            connection.close()
            return False
        self._connection = connection
        return True

    def listen(self, node: str, due: Callable[[Collection[str]], None], jobs: Callable[[], None]) -> None:
        """From now on call ``due`` and ``jobs`` for what other nodes wrote, and stay there: lock and ears come back
        after the connection was lost.
        """

        def run() -> None:
            while not self._ending.is_set():
                try:
                    self._hear(node, due, jobs)
                except (sa.exc.SQLAlchemyError, psycopg.Error) as error:
                    log.warning("presence_lost", code=error_token(error))
                    self._drop()
                    self._ending.wait(REBUILD_SECONDS)

        self._thread = threading.Thread(target=run, name="store-ears", daemon=True)
        self._thread.start()

    def release(self) -> None:
        """Give the lock back and hear nothing more."""
        self._ending.set()
        if self._thread is not None:
            self._thread.join()
        if self._connection is not None:
            with suppress(sa.exc.SQLAlchemyError):  # a connection that is cut has lost it already
                self._connection.execute(sa.select(sa.func.pg_advisory_unlock_all()))
        self._drop()

    def _hear(self, node: str, due: Callable[[Collection[str]], None], jobs: Callable[[], None]) -> None:
        """Listen until the end is near or the connection is lost."""
        while not self.acquire(shared=True):
            if self._ending.wait(REBUILD_SECONDS):  # a command line has it alone; its jobs are soon done
                return
        assert self._connection is not None
        raw = self._connection.connection.driver_connection
        assert isinstance(raw, psycopg.Connection)
        raw.execute("LISTEN xoev_hub_due")
        raw.execute("LISTEN xoev_hub_jobs")
        while not self._ending.is_set():
            for notice in raw.notifies(timeout=LOOK_SECONDS):
                destinations = heard(node, notice.payload)
                if destinations is None:
                    continue
                if notice.channel == DUE:
                    due(destinations)
                elif notice.channel == JOBS:
                    jobs()

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.invalidate()  # not back into the pool: the lock is the connection's
            self._connection.close()
            self._connection = None

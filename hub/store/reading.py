"""What listings read: a store opened for reading only, with nothing of what writing needs. It starts fast.

Everything that one call reads is of one moment. Beside a daemon it disturbs nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from hub.errors import StoreError, Unavailable
from hub.store.database import (
    error_token,
    no_store,
    postgresql_engine,
    postgresql_reading,
    sqlite_engine,
    sqlite_path,
    unavailable,
    why_unreachable,
)
from hub.store.tables import DEAD, SCHEMA, delivery, message, setting

if TYPE_CHECKING:
    from hub.job import Job
    from hub.store.api import Audit, Filter, MessageRecord
    from hub.store.counting import Statistic
    from hub.store.groups_api import Group
    from hub.store.retracing import Record
    from hub.store.situation import Situation
    from hub.store.trail import AuditFilter

REFERENCE_KEY = "reference_key"
FRESH_MAX = 20_000
NO_TABLE = "42P01"  # as PostgreSQL says it


class Reader:
    """Answers what listings ask. Raises everywhere: ``Unavailable`` when the store does not answer."""

    def __init__(self, engine: sa.Engine, key: Callable[[], bytes], clock: Callable[[], datetime]) -> None:
        self._engine, self._read_key, self._clock = engine, key, clock

    @cached_property
    def _key(self) -> bytes:
        return self._read_key()

    def find(
        self, filter_: Filter, *, limit: int = 100, after: str | None = None
    ) -> tuple[Sequence[MessageRecord], str | None]:
        """Return messages, newest first, and the cursor of the next page."""
        from hub.store import listing

        digest = self._digest(filter_.reference)
        with self._reading() as connection:
            return listing.find_messages(connection, filter_, digest, now=self._clock(), limit=limit, after=after)

    def among(self, filter_: Filter, seqs: Collection[int]) -> Sequence[MessageRecord]:
        """Return those of some messages that a filter means, oldest first."""
        from hub.store import listing

        digest = self._digest(filter_.reference)
        with self._reading() as connection:
            asked = listing.look_up(connection, filter_, digest, self._clock())
            fitting = (
                listing.page_of(connection, asked, before=None, limit=len(seqs), only=sorted(seqs)) if seqs else []
            )
            return listing.read_messages(connection, fitting, asked.held)[::-1]

    def fresh(self, after: int, died_since: datetime) -> Sequence[int]:
        """Return the numbers of messages that came after this one, or of which a delivery has died since then."""
        came = sa.select(message.c.seq).where(message.c.seq > after).order_by(message.c.seq).limit(FRESH_MAX)
        died = sa.select(delivery.c.message_seq).where(delivery.c.state == DEAD, delivery.c.due_at >= died_since)
        died = died.limit(FRESH_MAX).with_hint(delivery, "INDEXED BY delivery_dead_at", "sqlite")
        with self._reading() as connection:
            return sorted({*connection.execute(came).scalars(), *connection.execute(died).scalars()})

    def groups(self, *, rejected_since: datetime, only: str | None = None) -> Sequence[Group]:
        """Return the groups of what is dead now and of what was rejected since then."""
        from hub.store import grouping

        with self._reading() as connection:
            return grouping.select_groups(connection, now=self._clock(), rejected_since=rejected_since, only=only)

    def audits(
        self, filter_: AuditFilter, *, limit: int, after: str | None = None
    ) -> tuple[Sequence[Audit], str | None]:
        """Return the audit trail, newest first, and the cursor of the next page."""
        from hub.store import trail

        with self._reading() as connection:
            return trail.find_audits(connection, filter_, limit=limit, after=after)

    def jobs(
        self, states: Collection[str], *, limit: int, after: str | None
    ) -> tuple[Sequence[Job], Mapping[str, Mapping[str, int]], str | None]:
        """Return jobs, newest first, how many items of each have which result, and the cursor of the next page."""
        from hub.store import job_reading

        with self._reading() as connection:
            found, next_ = job_reading.select_jobs(connection, states, limit, after)
            return found, job_reading.select_progress(connection, [one.id for one in found]), next_

    def record(self, message_id: str, delivery_ids: Sequence[str]) -> Record | None:
        """Return what is on record of a message beside its deliveries."""
        from hub.store import retracing

        with self._reading() as connection:
            return retracing.select_record(connection, message_id, delivery_ids)

    def statistics(self, first: date, last: date, by: Sequence[str]) -> Sequence[Statistic]:
        """Return the figures of some days, told apart by municipality, route or destination."""
        from hub.store import counting

        with self._reading() as connection:
            return counting.select_statistics(connection, first, last, by)

    def situation(self) -> Situation:
        """Return how destinations stand now."""
        from hub.store import holding, upkeep, watching
        from hub.store.situation import Situation

        with self._reading() as connection:
            return Situation(
                holding.select_controls(connection, self._clock()),
                upkeep.select_counts(connection),
                watching.select_oldest(connection),
                watching.select_seen(connection),
            )

    def last_used(self, routes: Collection[str]) -> dict[str, datetime]:
        """Return when each route was last taken by a message, those that ever were."""
        found: dict[str, datetime] = {}
        with self._reading() as connection:
            for route in routes:
                newest = sa.select(sa.func.max(delivery.c.message_seq)).where(delivery.c.route == route)
                newest = newest.with_hint(delivery, "INDEXED BY delivery_by", "sqlite")
                at = sa.select(message.c.received_at).where(message.c.seq == newest.scalar_subquery())
                if (received := connection.execute(at).scalar()) is not None:
                    found[route] = received
        return found

    def close(self) -> None:
        self._engine.dispose()

    def _digest(self, reference: str | None) -> str | None:
        from hub.store.rows import keyed_digest

        return None if reference is None else keyed_digest(self._key, reference)

    @contextmanager
    def _reading(self) -> Iterator[sa.Connection]:
        try:
            with self._engine.begin() as connection:
                yield connection
        except sa.exc.SQLAlchemyError as error:
            raise unavailable(error) from None


def open_reader(url: str, *, state_dir: Path, clock: Callable[[], datetime]) -> Reader:
    """Open the store at ``url`` for reading only.

    Raises:
        Unavailable: It is not there, or does not answer; the text names where it was looked for.
        StoreError: It is of another version.
    """
    parsed = sa.make_url(url)
    if parsed.get_backend_name() == "sqlite":
        path = sqlite_path(parsed)
        if not path.is_file():
            raise no_store(path)
        engine = sqlite_engine(path, writes=False)
        key: Callable[[], bytes] = lambda: _key_of_file(state_dir / "reference.key")  # noqa: E731
    else:
        engine = postgresql_reading(postgresql_engine(parsed))
        key = lambda: _key_of_table(engine)  # noqa: E731
    try:
        with engine.begin() as connection:
            _refuse_other_version(connection)
    except sa.exc.SQLAlchemyError as error:
        engine.dispose()
        where = parsed.render_as_string(hide_password=True)
        raise Unavailable(f"the store at {where} does not answer ({why_unreachable(error)})") from None
    except StoreError:
        engine.dispose()
        raise
    return Reader(engine, key, clock)


def _refuse_other_version(connection: sa.Connection) -> None:
    version = sa.table("alembic_version", sa.column("version_num", sa.Text))
    try:
        found = connection.execute(sa.select(version.c.version_num)).scalar()
    except sa.exc.DBAPIError as error:
        if error_token(error) != NO_TABLE:
            raise
        found = None
    if found != SCHEMA:
        from hub.store.migrating import refuse_foreign  # here: it is rare, and what it says is written there

        refuse_foreign(found)


def _key_of_file(path: Path) -> bytes:
    try:
        return bytes.fromhex(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        raise Unavailable(f"there is no readable key at {path}") from None


def _key_of_table(engine: sa.Engine) -> bytes:
    with engine.begin() as connection:
        return bytes.fromhex(
            connection.execute(sa.select(setting.c.value).where(setting.c.name == REFERENCE_KEY)).scalar() or ""
        )

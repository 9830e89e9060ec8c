"""The store read by an auditor: every message and every delivery, in one moment, with digests made anew.

It trusts nothing that the hub has computed: bytes are unpacked and hashed here, a delivery's state is held against its
events. Everything is read, so it is for proofs and not for listings.
"""

from __future__ import annotations

import hashlib
import sqlite3
import zlib
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import sqlalchemy as sa

from hub.store.database import no_store, postgresql_engine, postgresql_reading, sqlite_engine, sqlite_path, unavailable
from hub.store.tables import delivery, event, message, payload

DAMAGED = "damaged"  # in the place of a digest: the bytes are gone or cannot be unpacked


@dataclass(frozen=True, slots=True)
class KeptMessage:
    """A message as it stands in the store. ``original`` is the digest of the kept bytes; ``None``: none are kept."""

    id: str
    verdict: str
    sha256: str
    original: str | None


@dataclass(frozen=True, slots=True)
class KeptDelivery:
    """A delivery as it stands in the store. ``to_send`` is the digest of the bytes that are to be sent."""

    id: str
    message_id: str
    destination: str | None
    state: str
    attempts: int
    revision: int
    lease_until: datetime | None
    replay_of: str | None
    to_send: str | None
    events: tuple[tuple[int, str], ...]  # (revision, kind), in their order


@dataclass(frozen=True, slots=True)
class Account:
    """All that was kept, by id."""

    messages: Mapping[str, KeptMessage]
    deliveries: Mapping[str, KeptDelivery]


def read_account(url: str, state_dir: Path) -> Account:
    """Read the whole store, beside a daemon or without one.

    Raises:
        Unavailable: It is not there or cannot be read.
    """
    engine = _engine(url)
    try:
        with engine.begin() as connection:
            digests = _digests(connection, state_dir / "payloads")
            return Account(_messages(connection, digests), _deliveries(connection, digests))
    except sa.exc.SQLAlchemyError as error:
        raise unavailable(error) from None
    finally:
        engine.dispose()


def count_states(url: str) -> dict[str, int]:
    """Return how many deliveries are in each state.

    Raises:
        Unavailable: The store is not there or cannot be read.
    """
    engine = _engine(url)
    try:
        with engine.begin() as connection:
            rows = connection.execute(sa.select(delivery.c.state, sa.func.count()).group_by(delivery.c.state))
            return {state: count for state, count in rows}  # noqa: C416  # rows are no tuples
    except sa.exc.SQLAlchemyError as error:
        raise unavailable(error) from None
    finally:
        engine.dispose()


def sqlite_version() -> str:
    """Return the version of the library that keeps SQLite's files."""
    return sqlite3.sqlite_version


def _engine(url: str) -> sa.Engine:
    parsed = sa.make_url(url)
    if parsed.get_backend_name() == "postgresql":
        return postgresql_reading(postgresql_engine(parsed))
    path = sqlite_path(parsed)
    if not path.is_file():
        raise no_store(path)
    return sqlite_engine(path, writes=False)


def _digests(connection: sa.Connection, folder: Path) -> dict[str, tuple[str, str, str]]:
    """Return (message, role, digest of the bytes as they are) of every payload."""
    columns = (payload.c.id, payload.c.message_id, payload.c.role, payload.c.encoding, payload.c.storage)
    rows = connection.execution_options(stream_results=True).execute(sa.select(*columns, payload.c.bytes))
    return {
        row.id: (row.message_id, row.role, _digest(row.storage, row.encoding, row.bytes, folder / row.id[-2:] / row.id))
        for row in rows
    }


def _digest(storage: str, encoding: str, kept: bytes | None, path: Path) -> str:
    try:
        body = path.read_bytes() if storage == "file" else bytes(kept or b"")
        return hashlib.sha256(zlib.decompress(body) if encoding == "zlib" else body).hexdigest()
    except (OSError, zlib.error):
        return DAMAGED


def _messages(connection: sa.Connection, digests: Mapping[str, tuple[str, str, str]]) -> dict[str, KeptMessage]:
    originals = {of: digest for of, role, digest in digests.values() if role == "received"}
    rows = connection.execute(sa.select(message.c.id, message.c.verdict, message.c.sha256).order_by(message.c.seq))
    return {row.id: KeptMessage(row.id, row.verdict, row.sha256, originals.get(row.id)) for row in rows}


def _deliveries(connection: sa.Connection, digests: Mapping[str, tuple[str, str, str]]) -> dict[str, KeptDelivery]:
    events: dict[str, list[tuple[int, str]]] = defaultdict(list)
    order = (event.c.delivery_id, event.c.revision)
    for row in connection.execute(sa.select(*order, event.c.kind).order_by(*order)):
        events[row.delivery_id].append((row.revision, row.kind))
    columns = (
        delivery.c.id, delivery.c.message_id, delivery.c.destination, delivery.c.state, delivery.c.attempts,
        delivery.c.revision, delivery.c.lease_until, delivery.c.replay_of, delivery.c.payload_id,
    )  # fmt: skip
    found: dict[str, KeptDelivery] = {}
    for one in connection.execute(sa.select(*columns).order_by(delivery.c.seq)).mappings():
        facts = dict(one)
        payload_id = facts.pop("payload_id")
        to_send = None if payload_id is None else digests.get(payload_id, ("", "", DAMAGED))[2]
        found[one["id"]] = KeptDelivery(**facts, to_send=to_send, events=tuple(events[one["id"]]))
    return found

"""What keeps the store in order: snapshots, erasure of rejected documents, counts, the proof that it works."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from hub.errors import StoreError
from hub.store.inserting import insert_new
from hub.store.payloads import Row, batched
from hub.store.tables import (
    EPOCH,
    MICROSECOND,
    RECEIVED,
    REJECTED,
    delivery,
    file,
    message,
    payload,
    reference,
    setting,
)
from hub.store.tables import snapshot as snapshot_table
from hub.store.writer import Verb

# --- snapshots ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SnapshotRows:
    snapshot: Row
    files: list[Row] = field(repr=False)


def snapshot_rows(
    digest: str, files: Mapping[str, bytes], versions: Mapping[str, str], now: datetime, known: set[str]
) -> SnapshotRows:
    """Return the rows of a snapshot; only contents that are not ``known`` are compressed."""
    names = {name: hashlib.sha256(body).hexdigest() for name, body in files.items()}
    fresh = {names[name]: body for name, body in files.items() if names[name] not in known}
    return SnapshotRows(
        {"digest": digest, "created_at": now, "versions": versions, "files": names},
        [{"sha256": sha256, "bytes": zlib.compress(body)} for sha256, body in sorted(fresh.items())],
    )


def keep_snapshot(connection: sa.Connection, rows: SnapshotRows) -> None:
    """Insert what is new of a snapshot: most of its files are those of the one before."""
    insert_new(connection, file, rows.files)
    insert_new(connection, snapshot_table, [rows.snapshot])


KEEP_SNAPSHOT = Verb("keep_snapshot", keep_snapshot)


def select_known_files(connection: sa.Connection) -> set[str]:
    """Read the digests of all files; they are a few thousand at most."""
    return set(connection.execute(sa.select(file.c.sha256)).scalars())


def select_snapshot(connection: sa.Connection, digest: str) -> dict[str, bytes] | None:
    """Read a snapshot's files, verified.

    Raises:
        StoreError: A file is gone or damaged.
    """
    names = connection.execute(sa.select(snapshot_table.c.files).where(snapshot_table.c.digest == digest)).scalar()
    if names is None:
        return None
    bodies: dict[str, bytes] = {}
    for some in batched(sorted(set(names.values())), 500):
        for row in connection.execute(sa.select(file).where(file.c.sha256.in_(some))):
            bodies[row.sha256] = _unpacked(row.bytes)
    for name, sha256 in names.items():
        if hashlib.sha256(bodies.get(sha256, b"")).hexdigest() != sha256:
            raise StoreError(f"snapshot {digest[:12]}: {name} is gone or damaged")
    return {name: bodies[sha256] for name, sha256 in names.items()}


def select_newest_snapshot(connection: sa.Connection) -> str | None:
    """Read which snapshot was kept last; there are a few hundred at most."""
    newest = sa.select(snapshot_table.c.digest).order_by(snapshot_table.c.created_at.desc()).limit(1)
    return connection.execute(newest).scalar()


def select_snapshot_versions(connection: sa.Connection, digest: str) -> Mapping[str, str] | None:
    """Read which programs compiled a snapshot."""
    statement = sa.select(snapshot_table.c.versions).where(snapshot_table.c.digest == digest)
    return connection.execute(statement).scalar()


def _unpacked(packed: bytes) -> bytes:
    try:
        return zlib.decompress(packed)
    except zlib.error:
        return b""  # its digest will say so


# --- erasure ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Erasure:
    """Which rejected documents of a source have to go."""

    source: str
    before: datetime
    up_to: int
    limit: int
    now: datetime


@dataclass(frozen=True, slots=True)
class Erased:
    """How many messages were erased, and the payloads whose files are to be removed after the commit."""

    messages: int
    payloads: list[str]


def erase_rejected(connection: sa.Connection, wish: Erasure) -> Erased:
    """Erase bodies, and what senders called their documents; the record of the rejection stays."""
    messages = list(connection.execute(_surplus(wish)).scalars())
    files: list[str] = []
    for some in batched(messages, 500):
        body = sa.and_(payload.c.message_id.in_(some), payload.c.role == RECEIVED)
        files += connection.execute(sa.select(payload.c.id).where(body)).scalars()
        connection.execute(sa.delete(payload).where(body))
        connection.execute(sa.delete(reference).where(reference.c.message_id.in_(some)))
        nothing: Row = {"erased_at": wish.now, "arrival": {}, "header": None, "idempotency_key": None}
        connection.execute(sa.update(message).where(message.c.id.in_(some)).values(nothing))
    return Erased(len(messages), files)


ERASE_REJECTED = Verb("erase_rejected", erase_rejected)
_kept = sa.and_(message.c.verdict == REJECTED, message.c.erased_at.is_(None))


def select_sources_with_rejected(connection: sa.Connection) -> list[str]:
    """Read the sources of all rejected documents that are not erased; the partial index alone answers it."""
    return list(connection.execute(sa.select(message.c.source).where(_kept).distinct()).scalars())


def _surplus(wish: Erasure) -> sa.Select[Any]:
    """Return the query for rejected messages that are too old, or whose bodies are too much, from the newest counted.

    Whole messages: the parts of a message go together, and one whose body was never kept has references to erase. The
    partial index on what is kept bounds the work.
    """
    size = sa.func.coalesce(sa.func.sum(payload.c.size), 0)
    kept = (
        sa.select(message.c.id, message.c.seq, message.c.received_at, size.label("size"))
        .select_from(message)
        .outerjoin(payload, sa.and_(payload.c.message_id == message.c.id, payload.c.role == RECEIVED))
        .where(message.c.source == wish.source, _kept)
        .group_by(message.c.id, message.c.seq, message.c.received_at)
        .subquery()
    )
    counted = sa.select(
        kept.c.id,
        kept.c.seq,
        kept.c.received_at,
        sa.func.sum(kept.c.size).over(order_by=kept.c.seq.desc()).label("total"),
    ).subquery()
    return (
        sa.select(counted.c.id)
        .where(sa.or_(counted.c.received_at < wish.before, counted.c.total > wish.up_to))
        .order_by(counted.c.seq)
        .limit(wish.limit)
    )


# --- counts and proof ---------------------------------------------------------------------------------------------


def select_counts(connection: sa.Connection) -> dict[tuple[str, str], int]:
    """Count deliveries by destination ("" for none) and state; an index alone answers it."""
    columns = (delivery.c.destination, delivery.c.state)
    rows = connection.execute(sa.select(*columns, sa.func.count()).group_by(*columns))
    return {(destination or "", state): count for destination, state, count in rows}


def prove(connection: sa.Connection, now: datetime) -> None:
    """Write a row and read it back: the disk takes and gives.

    Where several nodes write, each transaction leaves its writer's mark, and that is proof enough: for a row that all
    of them write they would wait, each time that one falls asleep with it in hand.
    """
    if connection.dialect.name == "postgresql":
        return
    text = str((now - EPOCH) // MICROSECOND)
    if connection.execute(sa.update(setting).where(setting.c.name == "proved").values(value=text)).rowcount == 0:
        insert_new(connection, setting, [{"name": "proved", "value": text}])
    if select_setting(connection, "proved") != text:
        raise StoreError("the store does not return what was written")


PROVE = Verb("prove", prove)


def select_setting(connection: sa.Connection, name: str) -> str | None:
    """Read one setting of the store itself."""
    value: str | None = connection.execute(sa.select(setting.c.value).where(setting.c.name == name)).scalar()
    return value

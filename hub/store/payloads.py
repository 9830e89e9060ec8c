"""The bytes of messages: small ones in rows, large ones in files. One rule: what is read is verified.

A file is written and synced before the transaction that names it; a crash in between leaves a file that nobody names,
which the next daemon sweeps away. Files are on SQLite only: PostgreSQL's nodes share nothing but the database.
"""

from __future__ import annotations

import hashlib
import os
import threading
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from hub.errors import Conflict, StoreError, Unavailable
from hub.message import DeliveryId, MessageId
from hub.store.api import Payload, PayloadInfo, PayloadRole
from hub.store.database import sync_folder
from hub.store.tables import payload as table

FILE_BYTES_MIN = 1_000_000
ZLIB_BYTES_MIN = 1_000  # 10 kB of XML: a quarter of the size for 70 µs, in the caller's thread and without the GIL

Row = dict[str, Any]


class Payloads:
    """Turns payloads into rows and back. ``folder`` is None where everything stays in rows."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._known: set[str] = set()  # folders that this process has seen to be on disk
        self._making = threading.Lock()

    def rows(self, payloads: Iterable[Payload], message_id: MessageId) -> list[Row]:
        """Return the rows of these payloads. Large ones are on disk as files when this returns.

        Raises:
            Unavailable: A file cannot be written; none is left behind.
        """
        made: list[str] = []
        try:
            return [self._row(payload, message_id, made) for payload in payloads]
        except BaseException:
            self.drop(made)
            raise

    def body(self, row: sa.RowMapping) -> bytes:
        """Return a payload's bytes, the same that were handed in.

        Raises:
            StoreError: They are gone or damaged.
        """
        name = f"payload {row['id']}"
        try:
            stored = self._path(row["id"]).read_bytes() if row["storage"] == "file" else row["bytes"]
            body = zlib.decompress(stored) if row["encoding"] == "zlib" else bytes(stored)
        except (OSError, zlib.error, TypeError):
            raise StoreError(f"{name} is gone or damaged") from None
        if len(body) != row["size"] or hashlib.sha256(body).hexdigest() != row["sha256"]:
            raise StoreError(f"{name} is damaged: its digest differs from the one at receipt")
        return body

    def drop(self, ids: Iterable[str]) -> None:
        """Remove the files of these payloads, if they have any."""
        if self._folder is not None:
            for id_ in ids:
                self._path(id_).unlink(missing_ok=True)

    def drop_unnamed(self, ids: Sequence[str], connection: sa.Connection) -> None:
        """Remove those files that no row names: the transaction that was to name them did not happen."""
        if self._folder is not None and ids:
            self.drop(set(ids) - _named_files(connection, ids))

    def sweep(self, connection: sa.Connection) -> None:
        """Remove what a crash left behind between file and transaction. Only while nobody else writes."""
        for folder in sorted(self._folder.glob("??/")) if self._folder is not None else ():
            files = [path for path in folder.iterdir() if path.is_file()]
            named = _named_files(connection, [path.name for path in files])
            for path in files:
                if path.name not in named:
                    path.unlink()

    def _row(self, payload: Payload, message_id: MessageId, made: list[str]) -> Row:
        in_file = self._folder is not None and len(payload.body) > FILE_BYTES_MIN
        packed = not in_file and len(payload.body) > ZLIB_BYTES_MIN
        if in_file:
            self._write(self._path(payload.id), payload.body, made)
        return {
            "id": payload.id,
            "message_id": message_id,
            "delivery_id": payload.delivery_id,
            "role": payload.role.value,
            "part_no": payload.part_no,
            "media_type": payload.media_type,
            "encoding": "zlib" if packed else "identity",
            "storage": "file" if in_file else "row",
            "size": len(payload.body),
            "sha256": payload.sha256 or hashlib.sha256(payload.body).hexdigest(),
            "key_id": None,
            "headers": payload.headers,
            "bytes": None if in_file else zlib.compress(payload.body, 1) if packed else payload.body,
        }

    def _path(self, id_: str) -> Path:
        if self._folder is None or not id_.replace("-", "").isalnum():
            raise StoreError("a payload's id names no file here")
        return self._folder / id_[-2:] / id_  # the tail of a UUIDv7 is random: its head is the time

    def _write(self, path: Path, body: bytes, made: list[str]) -> None:
        try:
            self._have(path.parent)
            # EXCL: bytes that a message relies on are never overwritten, whatever id a caller brings.
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
            made.append(path.name)
            with os.fdopen(fd, "wb") as file:
                file.write(body)
                file.flush()
                os.fsync(fd)
            sync_folder(path.parent)
        except FileExistsError:
            if path.read_bytes() != body:
                raise Conflict(f"payload {path.name} exists with other content") from None
        except OSError as error:
            raise Unavailable(f"a payload file cannot be written ({error.strerror})") from None

    def _have(self, folder: Path) -> None:
        """See to it that a folder is there, and will be after a power cut.

        That it can be seen says nothing: who made it, another thread or a process that was killed, may not have synced.
        """
        with self._making:
            if folder.name not in self._known:
                folder.mkdir(mode=0o700, exist_ok=True)
                sync_folder(folder.parent)
                self._known.add(folder.name)


def payload_of(row: sa.RowMapping, body: bytes) -> Payload:
    """Return the payload of a row and its verified bytes."""
    return Payload(
        id=row["id"],
        role=PayloadRole(row["role"]),
        body=body,
        media_type=row["media_type"],
        delivery_id=row["delivery_id"],
        part_no=row["part_no"],
        headers=row["headers"],
    )


_BY_ID = sa.select(table).where(table.c.id == sa.bindparam("at_id"))  # made once: it is read for every delivery


def select_payload(connection: sa.Connection, id_: str) -> sa.RowMapping | None:
    """Read one payload with its bytes, by key."""
    return connection.execute(_BY_ID, {"at_id": id_}).mappings().one_or_none()


def select_payload_infos(connection: sa.Connection, message_id: str) -> list[PayloadInfo]:
    """Read what there is of a message, without the bytes. Ids grow with time, so their order is the story's."""
    columns = (table.c.id, table.c.role, table.c.media_type, table.c.size, table.c.sha256, table.c.delivery_id)
    statement = sa.select(*columns).where(table.c.message_id == message_id).order_by(table.c.id, table.c.part_no)
    return [
        PayloadInfo(row.id, PayloadRole(row.role), row.media_type, row.size, row.sha256,
                    None if row.delivery_id is None else DeliveryId(row.delivery_id))
        for row in connection.execute(statement)
    ]  # fmt: skip


def _named_files(connection: sa.Connection, ids: Sequence[str]) -> set[str]:
    """Return which of these ids are payloads in files, asked by key in portions of what a statement can hold."""
    found: set[str] = set()
    for some in batched(ids, 500):
        named = sa.select(table.c.id).where(table.c.id.in_(some), table.c.storage == "file")
        found.update(connection.execute(named).scalars())
    return found


def batched(items: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    """Yield the items in portions: a statement holds a limited number of parameters."""
    for start in range(0, len(items), size):
        yield items[start : start + size]

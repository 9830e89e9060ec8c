"""What people did and what they know: the audit trail, and notes on groups of equal failures. Appended only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import sqlalchemy as sa

from hub.store import grouping
from hub.store.api import Audit
from hub.store.groups_api import Note
from hub.store.jobs import ADD_AUDIT, select_audits
from hub.store.verb import Verb
from hub.store.writer import Writer

NOTE = Verb("note", grouping.add_note)


class SqlMemory:
    """That part of :class:`hub.store.api.Store`."""

    def __init__(self, writer: Writer, reading: Callable[[], AbstractContextManager[sa.Connection]]) -> None:
        self.__writer, self.__reading = writer, reading

    def audit(self, entry: Audit) -> None:
        self.__writer.run(ADD_AUDIT, entry)

    def audits(self, limit: int = 100) -> Sequence[Audit]:
        with self.__reading() as connection:
            return select_audits(connection, limit)

    def note(self, note: Note) -> bool:
        with self.__reading() as connection:
            if not grouping.is_known(connection, note.fingerprint):
                return False
        self.__writer.run(NOTE, note)
        return True

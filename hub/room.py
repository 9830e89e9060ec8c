"""Bytes in flight: how much of documents is in this process's memory at once, over all sources. One budget.

What is in flight is everything between the first byte that a source reads and the receipt. A source takes room before
it reads, where it can; a source that knows nothing of this is counted when it hands in:

    in flight = Σ over the sources of max(what it has taken room for, what it is handing in)
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from hub.errors import Unavailable
from hub.spool import Spool


class Budget:
    """The bytes of one daemon."""

    def __init__(self, bytes_max: int, spool: Spool) -> None:
        self._bytes_max, self._spool = bytes_max, spool
        self._lock = threading.Lock()
        self._in_flight = 0
        self._rooms: dict[str, SourceRoom] = {}

    @property
    def in_flight(self) -> int:
        """How many bytes are in flight now."""
        return self._in_flight

    def of(self, source: str) -> SourceRoom:
        """Return the room of a source, the same whenever it is asked for: a reload changes nothing of what is held."""
        with self._lock:
            return self._rooms.setdefault(source, SourceRoom(self, self._spool))

    def change(self, room: SourceRoom, *, taken: int = 0, handed: int = 0) -> bool:
        """Let a source hold more or less; false, and nothing changes, if there is no room for more.

        What is larger than all room goes when nothing else is in flight.
        """
        with self._lock:
            held = max(room.taken + taken, room.handed + handed)
            more = held - max(room.taken, room.handed)
            if more > 0 and self._in_flight and self._in_flight + more > self._bytes_max:
                return False
            room.taken += taken
            room.handed += handed
            self._in_flight += more
            return True


class SourceRoom:
    """What one source holds of the budget: the ``Room`` of :mod:`hub.plugin`. Safe in threads."""

    def __init__(self, budget: Budget, spool: Spool) -> None:
        self._budget, self._spool = budget, spool
        self.taken = self.handed = 0  # bytes; changed by the budget alone

    def take(self, size: int) -> bool:
        """Take room for so many bytes; false if there is none now."""
        return self._budget.change(self, taken=size)

    def give(self, size: int) -> None:
        """Give back what was taken."""
        self._budget.change(self, taken=-size)

    @contextmanager
    def handing_in(self, size: int) -> Iterator[None]:
        """Count a document that is handed in, unless its source has taken room for it.

        Raises:
            Unavailable: There is no room for it now.
        """
        if not self._budget.change(self, handed=size):
            raise Unavailable("more documents are in hand than there is room for")
        try:
            yield
        finally:
            self._budget.change(self, handed=-size)

    def put_aside(self, body: bytes) -> Aside:
        """Keep bytes on the disk that wait for room.

        Raises:
            OSError: The disk has no room either.
        """
        return Aside(self._spool.write(body))


class Aside:
    """Bytes that wait on the disk for as long as somebody remembers them; nobody has to close or remove anything."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        weakref.finalize(self, file.close)

    def read(self) -> bytes:
        """Return the bytes. One reader at a time.

        Raises:
            OSError: They cannot be read.
        """
        self._file.seek(0)
        return self._file.read()

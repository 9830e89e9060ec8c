"""What a worker is at: a page of memory that it shares with the daemon, and that outlives it.

    byte 0  how often it has moved on, modulo 256
    byte 1  where it is: see :class:`At`
    byte 2  bytes of the name that follows: the destination whose steps are running

A frame would wake the daemon each time; this is looked at when a worker has died or takes long.
"""

from __future__ import annotations

import mmap
import os
from enum import IntEnum

PAGE_BYTES = 4096
NAME_BYTES_MAX = 255


class At(IntEnum):
    """Where in its work on one document a worker is."""

    NOTHING = 0  # it has not got the document
    DOCUMENT = 1  # before the verdict
    STEPS = 2  # of the destination that is named
    TELLING = 3  # the verdict is out; it is put into the standard's form


class Page:
    """One side's view of the page. The worker moves on, the daemon clears and reads."""

    def __init__(self, descriptor: int) -> None:
        """Map the page behind a descriptor, which may be closed then."""
        self._page = mmap.mmap(descriptor, PAGE_BYTES)

    @staticmethod
    def make() -> int:
        """Return the descriptor of a fresh page.

        Raises:
            OSError: There is no memory, or no descriptor, left.
        """
        descriptor = os.memfd_create("xoev-hub-worker", os.MFD_CLOEXEC)
        try:
            os.ftruncate(descriptor, PAGE_BYTES)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def clear(self) -> None:
        """Begin with the next document."""
        self._page[1] = At.NOTHING

    def move(self, at: At, destination: str | None = None) -> None:
        """Say where the worker is now."""
        name = (destination or "").encode()[:NAME_BYTES_MAX]
        self._page[2 : 3 + len(name)] = bytes((len(name),)) + name
        self._page[1] = at
        self._page[0] = (self._page[0] + 1) % 256

    @property
    def moves(self) -> int:
        """How often the worker has moved on; it counts in a circle."""
        return self._page[0]

    @property
    def at(self) -> At:
        return At(self._page[1])

    @property
    def destination(self) -> str | None:
        """The destination whose steps are running."""
        if self.at is not At.STEPS:
            return None
        return self._page[3 : 3 + self._page[2]].decode(errors="replace") or None

    def close(self) -> None:
        self._page.close()

"""Bodies too large for a frame, or waiting for room in memory: files without a name. Nobody has to remove them.

A spool file lies in ``STATE_DIR/spool``, on the disk that has room for payloads, but has no name there: only who was
given its descriptor can read it, and the kernel removes it with the last descriptor, however its holders end.
"""

from __future__ import annotations

import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import IO

FOLDER = "spool"


class Spool:
    """Makes spool files. Safe in threads and after a fork."""

    def __init__(self, state_dir: Path) -> None:
        self._folder = state_dir / FOLDER

    def write(self, body: bytes) -> IO[bytes]:
        """Return a file with these bytes, open at its beginning; closing it removes it.

        Raises:
            OSError: The disk has no room, or fails.
        """
        file = self._file()
        try:
            file.write(body)
            file.seek(0)  # flushes; the position is shared with whoever gets the descriptor
        except BaseException:
            with suppress(OSError):  # it tries to flush once more, to the same full disk
                file.close()
            raise
        return file

    def _file(self) -> IO[bytes]:
        try:
            return tempfile.TemporaryFile(dir=self._folder)
        except FileNotFoundError:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            return tempfile.TemporaryFile(dir=self._folder)

    def sweep(self) -> None:
        """Remove what has a name all the same: on a file system without nameless files it has one for a moment.

        Raises:
            OSError: It cannot be removed.
        """
        for path in self._folder.glob("*"):
            path.unlink(missing_ok=True)


def read(descriptor: int, size: int) -> bytes:
    """Return the bytes of a spool file of this size, and close the descriptor.

    Raises:
        OSError: It cannot be read, or is something else.
    """
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_size != size:
            raise OSError("a spool file is not what was announced")
        body = file.readall()  # in one go: its size is known
    if len(body) != size:
        raise OSError("a spool file ended early")
    return body

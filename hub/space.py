"""Room on the disk that holds the store: refused before it is full, and a ballast that is thrown off when it is.

    free ≥ keep_free        everything goes on
    free < keep_free        nothing more is taken in; what is here is delivered, settled and erased
    free ≈ nothing          the ballast goes: a full disk takes not even the rows of an erasure, and what it gives back
                            is for finishing, not for taking in

The ballast is a file of real blocks beside the store. It comes back when there is plenty of room again.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from hub.errors import Unavailable
from hub.log import get_log

log = get_log(__name__)

NAME = "ballast"
SCARCE_BYTES = 4_000_000  # so little is left when the ballast goes; less, if the ballast itself is small


class Disk:
    """The disk below one folder. ``None``: the store is on another machine, and there is nothing to look after."""

    def __init__(self, folder: Path | None, keep_free: int, ballast: int) -> None:
        self._folder, self._keep_free, self._ballast = folder, keep_free, ballast
        self._scarce = min(SCARCE_BYTES, ballast // 2)
        self._was_low = False

    @property
    def low(self) -> bool:
        """Whether nothing more may be taken in."""
        free = self._free()
        return free is not None and free < self._keep_free

    def admit(self) -> None:
        """Let a message in, as long as there is room for all that follows from it.

        Raises:
            Unavailable: The disk is nearly full.
        """
        if self.low:
            raise Unavailable("the disk is nearly full")

    def look(self) -> None:
        """Throw the ballast off, or take it on again, and say when that or the room has changed."""
        free = self._free()
        if free is None or self._folder is None:
            return
        path = self._folder / NAME
        if free < self._scarce and path.exists():
            with suppress(OSError):  # gone meanwhile, or a disk that lets nothing go
                path.unlink()
                log.error("ballast_thrown_off", size=free)
        elif free >= self._keep_free + self._ballast and _size_of(path) != self._ballast:
            self._take_on(path)
        low = free < self._keep_free
        if low != self._was_low:
            self._was_low = low
            (log.error if low else log.info)("disk_nearly_full" if low else "disk_has_room", size=free)

    def _take_on(self, path: Path) -> None:
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            try:
                os.ftruncate(fd, 0)  # of another size: the setting has changed
                os.posix_fallocate(fd, 0, self._ballast)
            finally:
                os.close(fd)
        except OSError as error:
            log.warning("ballast_not_taken", error=type(error).__name__)
            with suppress(OSError):
                path.unlink()

    @property
    def free(self) -> int | None:
        """How many bytes are free where the store is; ``None`` where nobody can tell."""
        return self._free()

    def _free(self) -> int | None:
        """Return how many bytes this process may still use; ``None`` where nobody can tell."""
        if self._folder is None:
            return None
        try:
            found = os.statvfs(self._folder)
        except OSError:
            return None  # the folder comes with the store; a disk that does not answer is the store's to tell
        return found.f_bavail * found.f_frsize


def _size_of(path: Path) -> int:
    """Return how many bytes of real blocks a file has; a file with holes would be no ballast."""
    try:
        found = path.stat()
    except OSError:
        return 0
    return found.st_size if found.st_blocks * 512 >= found.st_size else 0

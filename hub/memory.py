"""Memory of large documents goes back to the system when they are done with.

glibc keeps what it has once had to fetch: after the first freed block of some MB it serves such blocks (up to 32 MB)
from the heaps of the threads, which hardly ever shrink. A daemon that had seen fifteen documents of 3 to 21 MB kept
190 MB for good.
"""

from __future__ import annotations

import ctypes

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h
BLOCK_BYTES = 1 << 20  # from here on a block is mapped alone, and unmapped when it is freed
FREE_BYTES_MAX = 4 << 20  # what a heap may keep at its end for the small


def give_back_large_blocks() -> None:
    """Have large blocks returned to the system at once, in this process; without effect where libc is not glibc."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, BLOCK_BYTES)
        mallopt(M_TRIM_THRESHOLD, FREE_BYTES_MAX)

"""Stands in for the package zstandard where it is not installed: the system's libzstd, the same algorithm."""

from __future__ import annotations

import ctypes
import ctypes.util

_ZSTD = ctypes.CDLL(ctypes.util.find_library("zstd") or "libzstd.so.1")
_ZSTD.ZSTD_compressBound.restype = _ZSTD.ZSTD_compress.restype = ctypes.c_size_t
_ZSTD.ZSTD_compressBound.argtypes = [ctypes.c_size_t]
_ZSTD.ZSTD_compress.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_int]


class ZstdCompressor:
    """Compresses as the package does. The yardstick's mode that is measured never decompresses."""

    def __init__(self, level: int = 3) -> None:
        self._level = level

    def compress(self, data: bytes) -> bytes:
        """Return the data as one frame."""
        room = _ZSTD.ZSTD_compressBound(len(data))
        packed = ctypes.create_string_buffer(room)
        size = _ZSTD.ZSTD_compress(packed, room, data, len(data), self._level)
        if size > room:
            raise ValueError("zstd failed")
        return packed.raw[:size]

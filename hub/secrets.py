"""Secrets: read when they are needed, never shown. Errors name the reference, never the value or where it lies."""

from __future__ import annotations

import errno
import hashlib
import hmac
import os
import secrets
import stat
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from hub.plugin import SecretRef

SECRET_BYTES_MAX = 1 << 20  # a bundle of certificates is one too

# A file system's clock ticks in milliseconds: what was written a moment ago may be written again under the same stamp.
_SETTLED_NS = 2_000_000_000


@dataclass(frozen=True, slots=True)
class _Known:
    stamp: tuple[int, ...]
    value: bytes = field(repr=False)


class Secrets:
    """Reads what ``env:NAME`` and ``file:PATH`` refer to; paths count from ``base``. Safe for many threads."""

    def __init__(self, base: Path) -> None:
        self._base = base
        self._known: dict[str, _Known] = {}
        self._key = secrets.token_bytes(32)

    def read(self, ref: SecretRef) -> str:
        """Return the secret as it is now, without the newline at its end.

        Raises:
            KeyError: The environment has no such variable, or an empty one.
            OSError: The file cannot be read, is no regular file, is empty, too large or not UTF-8.
        """
        text = ""
        with suppress(UnicodeDecodeError):  # its exception carries the value
            text = self._value(ref).decode().removesuffix("\n").removesuffix("\r")
            if not text:
                raise self._unusable(ref, errno.ENODATA, "empty")
        if not text:
            raise self._unusable(ref, errno.EILSEQ, "not UTF-8")
        return text

    def version(self, ref: SecretRef) -> str:
        """Return a value that changes when the secret does, or becomes readable; good for this object's life.

        It is keyed with a random number, so that no secret can be guessed from it.
        """
        try:
            value = self._value(ref)
        except (OSError, KeyError):
            return "unreadable"
        return hmac.new(self._key, value, hashlib.sha256).hexdigest()

    def _value(self, ref: SecretRef) -> bytes:
        if ref.kind == "file":
            return self._file(ref)
        value = os.environb.get(os.fsencode(ref.name), b"") if ref.kind == "env" else b""
        if not value:
            raise KeyError(str(ref))
        return value

    def _file(self, ref: SecretRef) -> bytes:
        path = self._base / ref.name
        known = self._known.get(ref.name)
        try:
            if known and known.stamp == _stamp(path.stat()):
                return known.value
            value, status = _read(path)
        except OSError as error:
            code, text = error.errno or errno.EIO, error.strerror or "not readable"
        else:
            if time.time_ns() - max(status.st_mtime_ns, status.st_ctime_ns) > _SETTLED_NS:
                self._known[ref.name] = _Known(_stamp(status), value)
            return value
        self._known.pop(ref.name, None)
        raise self._unusable(ref, code, text)

    @staticmethod
    def _unusable(ref: SecretRef, code: int, text: str) -> OSError:
        return OSError(code, text, str(ref))


def same(a: str, b: str) -> bool:
    """Tell whether two secrets are equal, in a time that tells nothing. An empty one equals nothing."""
    digests = [hashlib.sha256(text.encode(errors="surrogatepass")).digest() for text in (a, b)]
    return hmac.compare_digest(*digests) and bool(a)


def _stamp(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _read(path: Path) -> tuple[bytes, os.stat_result]:
    """Return a regular file's bytes, and its state before they were read."""
    with open(path, "rb", opener=_open_at_once) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "not a regular file")
        if status.st_size > SECRET_BYTES_MAX:
            raise OSError(errno.EFBIG, f"larger than {SECRET_BYTES_MAX} bytes")
        return file.read(SECRET_BYTES_MAX + 1), status


def _open_at_once(path: str, flags: int) -> int:
    """Open without waiting: a pipe in the file's place would hold us for ever."""
    return os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)

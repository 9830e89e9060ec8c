"""What is installed beside the hub: entry points, and who offers them. Each package is asked once, not once a name."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from email.parser import HeaderParser
from functools import cache, lru_cache
from importlib.metadata import Distribution, EntryPoint, entry_points
from typing import Any

UNKNOWN = ("?", "?")


def entries(group: str) -> Iterable[EntryPoint]:
    """Return the entry points of a group. What is installed while the process runs is seen as well."""
    found: Iterable[EntryPoint] = _all(tuple((folder, _changed(folder)) for folder in sys.path)).select(group=group)
    return found


def origin(entry: EntryPoint) -> tuple[str, str]:
    """Return name and version of the package that an entry point is of."""
    return _about(entry.dist) if entry.dist else UNKNOWN


def version(name: str) -> str:
    """Return the version of a package.

    Raises:
        PackageNotFoundError: It is not installed.
    """
    return _read(Distribution.from_name(name))[1]


@lru_cache(maxsize=1)
def _all(_folders: tuple[tuple[str, float], ...]) -> Any:
    return entry_points()


def _changed(folder: str) -> float:
    try:
        return os.stat(folder or ".").st_mtime  # noqa: PTH116  # a path of sys.path may be no path at all
    except (OSError, ValueError):
        return 0.0


@cache  # by the object, as long as it lives: of those in _all, never of one that was just found by name
def _about(package: Distribution) -> tuple[str, str]:
    return _read(package)


def _read(package: Distribution) -> tuple[str, str]:
    # ``package.metadata`` reads the whole page that comes behind, line by line.
    text = package.read_text("METADATA") or package.read_text("PKG-INFO") or ""
    head = HeaderParser().parsestr(text.partition("\n\n")[0])
    return head["Name"] or "?", head["Version"] or "?"

"""The files that a WSDL consists of, found without knowing what they say: that takes zeep, and half a second.

What names a snapshot are the files that it was compiled from. This reads no fewer than :mod:`adapters.soap_wsdl` does,
so a command that never calls a service names the same snapshot as the hub that does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import lru_cache
from posixpath import normpath
from urllib.parse import quote, unquote, urljoin

from hub.plugin import Rejected, parse_xml

ROOT = "file:///configuration/"  # a base for relative locations; nothing is ever opened under this name
_REFERRING = tuple(
    f"{{{namespace}}}{name}"
    for namespace, names in (
        ("http://schemas.xmlsoap.org/wsdl/", ("import",)),
        ("http://www.w3.org/2001/XMLSchema", ("import", "include", "redefine")),
        ("http://www.w3.org/1999/XMLSchema", ("import", "include", "redefine")),
    )
    for name in names
)


def read_all(wsdl: str, read: Callable[[str], bytes]) -> None:
    """Read a WSDL and all that it refers to. What cannot be read is left to whoever needs it."""
    waiting, seen = [ROOT + quote(wsdl, safe="/:")], set[str]()
    while waiting:
        location = waiting.pop()
        name = inside(location)
        if name is None or location in seen:
            continue
        seen.add(location)
        with suppress(OSError):
            waiting += _references(location, read(name))


def inside(location: str) -> str | None:
    """Return the name of the file at a location; ``None``, if it is not below the folder of routes.yaml."""
    name = normpath(unquote(location.removeprefix(ROOT)))
    return None if not location.startswith(ROOT) or "?" in location or name.startswith(("..", "/")) else name


@lru_cache(maxsize=32)  # many destinations have the same
def _references(location: str, content: bytes) -> tuple[str, ...]:
    return tuple(_found(location, content))


def _found(location: str, content: bytes) -> Iterator[str]:
    with suppress(Rejected):
        for element in parse_xml(content).iter(*_REFERRING):
            to = element.get("schemaLocation") or element.get("location")
            if to:
                with suppress(ValueError):  # no address at all
                    yield urljoin(location, to)

"""Which versions of the program a snapshot was compiled with."""

from __future__ import annotations

from contextlib import suppress
from importlib.metadata import PackageNotFoundError

from lxml import etree

from hub.installed import entries, origin, version


def versions() -> dict[str, str]:
    """Return the versions that a snapshot's digest covers: of the hub, the judges and the packages with steps."""
    found = {"hub": version("xoev-hub"), "lxml": ".".join(map(str, etree.LXML_VERSION))}
    for name in ("signxml", "saxonche"):
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found | dict(origin(entry) for entry in entries("xoev_hub.steps") if entry.dist)

"""Which versions of the program a snapshot was compiled with."""

from __future__ import annotations

from contextlib import suppress
from importlib import metadata

from lxml import etree


def versions() -> dict[str, str]:
    """Return the versions that a snapshot's digest covers: of the hub, the judges and the packages with steps."""
    found = {"hub": metadata.version("xoev-hub"), "lxml": ".".join(map(str, etree.LXML_VERSION))}
    for name in ("signxml", "saxonche"):
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    for entry in metadata.entry_points(group="xoev_hub.steps"):
        if entry.dist:
            found[entry.dist.name] = entry.dist.version
    return found

"""Every check by its name, and those of a snapshot, prepared."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from hub.errors import ConfigError, Problem
from hub.files import Files
from hub.xml.checks import codelists, din91379, idref, schematron, xsd
from hub.xml.checks.values import Check, Prepare, Run, Sources
from hub.xml.profile import Profile
from hub.xml.registry import Registry
from hub.xml.saxon import Programs, available
from hub.xml.schematron import read_schematron, read_whole


def _signature(check: Check, profile: Profile, sources: Sources) -> Run:
    from hub.xml.checks import signature  # its libraries take longer to load than all others together

    return signature.prepare(check, profile, sources)


CHECKS: Mapping[str, tuple[Prepare, str]] = {
    "xsd": (xsd.prepare, "schema_violation"),
    "idref": (idref.prepare, "schema_violation"),
    "din91379": (din91379.prepare, "schema_violation"),
    "codelists": (codelists.prepare, "code_list"),
    "schematron": (schematron.prepare, "schematron"),
    "signature": (_signature, "signature"),
}
"""How each is prepared, and the code of a rejection for what it finds."""


class Checks:
    """The checks of a snapshot, each prepared once for each profile."""

    def __init__(self, files: Files, registry: Registry, programs: Programs) -> None:
        self._sources = Sources(files, registry, programs)
        self._prepared: dict[tuple[Check, str, str], Run] = {}

    def prepared(self, check: Check, profile: Profile) -> Run:
        """Return a check for documents of a profile.

        Raises:
            ConfigError: It cannot be done.
        """
        key = (check, profile.standard, profile.version)
        if key not in self._prepared:
            prepare, _ = CHECKS[check.name]
            self._prepared[key] = prepare(check, profile, self._sources)
        return self._prepared[key]

    def read(self, check: Check, profile: Profile) -> None:
        """Read the files that a check is prepared from, and nothing more: what cannot be read is another's to tell."""
        files = self._sources.files
        with suppress(OSError, ConfigError):
            if check.name == "codelists":
                for name in profile.codelists:
                    files.read(f"{profile.folder}/{name}")
            elif check.name == "schematron":
                for name in schematron.chosen(check, profile):
                    read_whole(files, profile.folder, name)
            for name in check.trust:
                files.read(name)


def what_is_wrong(files: Files, profile: Profile) -> list[Problem]:
    """Return why checks by a version's code lists and Schematron could not be done, whether a route has them or not.

    Without the extra ``xslt3`` Schematron is read, and not compiled. A file that is not there is another's to tell.
    """
    problems: list[Problem] = []
    programs = Programs()
    names = (*profile.codelists, *profile.schematron)
    there = {name for name in names if files.path(f"{profile.folder}/{name}").is_file()}
    try:
        codelists.read_lists(files, profile.folder, [name for name in profile.codelists if name in there])
    except ConfigError as error:
        problems += error.problems
    for name in sorted(there.intersection(profile.schematron)):
        try:
            programs.get(f"{profile.folder}/{name}", read_schematron(files, profile.folder, name))
        except ConfigError as error:
            problems += error.problems
    return problems + (programs.compile() if available() else [])

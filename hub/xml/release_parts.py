"""What is one release: parts of it that come one after the other are, two standards in one archive are not. Pure."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet

from hub.errors import ConfigError, Problem
from hub.xml.release import Release
from hub.xml.release_closure import families
from hub.xml.release_profile import known


def unrelated(release: Release, mains: Iterable[str], own: AbstractSet[str]) -> list[str]:
    """Return the namespaces of a release's standards, or versions, if they have nothing to do with each other.

    ``own``: those that the profile speaks of. What does not say of which standard it is counts for nothing.
    """
    says = {one.namespace for one in release.schemas.values() if one.standard or one.fixes_standard}
    apart = [one for one in families(release, mains) if any(name in says or known([name]) for name in one)]
    strangers = [min(one) for one in apart if not one & own]
    kin = [min(one) for one in apart if one & own]
    return sorted([*strangers, *kin[:1]]) if strangers and len(strangers) + bool(kin) > 1 else []


def join_parts(old: Release, new: Release, *, replace: bool) -> Mapping[str, bytes]:
    """Return the files of what is here and of a further part, each thing once.

    A part may bring again what is here: the same version of a code list, a Schematron or WSDL of the same file name.

    Raises:
        ConfigError: It says something else than what is here, and nobody wished to ``replace`` that.
    """
    brought = dict(_things(new))
    again = [(name, brought[key]) for key, name in _things(old) if key in brought]
    problems = [
        Problem(name, 0, 0, "", "is here already and says something else; --replace puts this one in its place")
        for before, name in again
        if not replace and old.files[before].split() != new.files[name].split()
    ]
    if problems:
        raise ConfigError(problems)
    gone = {before for before, _ in again}
    return {**{name: body for name, body in old.files.items() if name not in gone}, **new.files}


def _things(release: Release) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield what each list, Schematron and WSDL is known by, and its file."""
    for one in release.codelists:
        yield ("code list", one.uri, one.version) if one.uri else ("code list", posixpath.basename(one.name)), one.name
    for kind, names in (("schematron", release.schematron), ("wsdl", release.wsdls)):
        for name in names:
            yield (kind, posixpath.basename(name)), name

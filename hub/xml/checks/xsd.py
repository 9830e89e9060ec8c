"""``xsd``: the document is valid against the standard's schema; ``xsd: header``: against our header schema."""

from __future__ import annotations

from collections.abc import Iterable

from hub.message import Finding
from hub.xml.checks.values import Check, Document, Run, Sources, impossible
from hub.xml.profile import Profile


def prepare(check: Check, profile: Profile, sources: Sources) -> Run:
    """Return the check by the profile's schema, compiled."""
    if check.needs_full and profile.level != "full":
        raise impossible(f"{profile.folder}/profile.yaml", "the full schema is not there")
    schema = sources.registry.schema(profile)

    def run(document: Document) -> Iterable[Finding]:
        return schema.validate(document.root)

    return run

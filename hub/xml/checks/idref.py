"""``idref``: every reference names an ID of the document, and no ID stands twice (XSD 1.0 part 2 §3.3.8–10).

libxml2 does not look for what an IDREF names, and tells IDs of elements and of attributes apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeAlias

from lxml import etree

from hub.xml.checks.values import Check, Document, Found, Run, Sources
from hub.xml.profile import Profile
from hub.xml.typed import Simple, Types
from hub.xml.xpath import text_of

SHOWN_MAX = 80

Place: TypeAlias = "tuple[str, etree._Element]"  # a value, and the element that has it


def prepare(_check: Check, profile: Profile, sources: Sources) -> Run:
    """Return the check by the types of the profile's schema."""
    known = sources.registry.types(profile)

    def run(document: Document) -> Iterable[Found]:
        types = known[profile.root_of(document.root).xsd]
        ids: dict[str, etree._Element] = {}
        references: list[Place] = []
        for simple, text, node in _values(types, document.root):
            if simple.is_reference:
                references += [(word, node) for word in text.split()]
            elif ids.setdefault(text.strip(), node) is not node:
                yield Found("id", node, f"the ID {text.strip()[:SHOWN_MAX]!r} stands a second time")
        for word, node in references:
            if word not in ids:
                yield Found("idref", node, f"refers to {word[:SHOWN_MAX]!r}, which is no ID of this document")

    return run


def _values(types: Types, root: etree._Element) -> Iterator[tuple[Simple, str, etree._Element]]:
    """Yield every ID and every reference of a document."""
    for typed in types.walk(root):
        simple = types.simple(typed.type)
        if simple.is_id or simple.is_reference:
            yield simple, text_of(typed.node), typed.node
        declared = types.resolved(typed.type).attributes
        for name, value in typed.node.attrib.items():
            attribute = declared.get(str(name))
            if attribute is not None:
                simple = types.simple(attribute.type)
                if simple.is_id or simple.is_reference:
                    yield simple, str(value), typed.node

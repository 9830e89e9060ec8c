"""``din91379``: no mandatory text is empty. The reason is S030 in the words of XMeld and XInneres:

"a mandatory child of the type din91379:datatypeC is empty, that is, holds a string of the length 0". The schema lets
it pass, for the type's pattern matches the empty string. The characters themselves are the schema's business.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from hub.xml.checks.values import Check, Document, Found, Run, Sources
from hub.xml.profile import Profile
from hub.xml.xpath import text_of

_NIL = "{http://www.w3.org/2001/XMLSchema-instance}nil"


def prepare(_check: Check, profile: Profile, sources: Sources) -> Run:
    """Return the check by the types of the profile's schema."""
    known = sources.registry.types(profile)

    def run(document: Document) -> Iterable[Found]:
        types = known[profile.root_of(document.root).xsd]
        for typed in types.walk(document.root):
            node = typed.node
            if not typed.mandatory or node.text or node.get(_NIL) in ("true", "1"):
                continue
            if next(node.iterchildren("*"), None) is not None:
                continue
            if any(_is_text(name) for name in types.simple(typed.type).names) and not text_of(node):
                yield Found("S030", node, "is mandatory text and empty")

    return run


@lru_cache(maxsize=4096)
def _is_text(name: str) -> bool:
    """Tell whether a type is one of the character sets A–E of DIN 91379, or of the DIN SPEC before it."""
    namespace, _, local = name.rpartition("}")
    return "91379" in namespace and local in ("datatypeA", "datatypeB", "datatypeC", "datatypeD", "datatypeE")

"""The same document, written differently: as other programs, libraries and people would have written it."""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Mapping, Sequence
from random import Random
from typing import TypeVar
from xml.sax.saxutils import escape, quoteattr

from hypothesis import strategies as st
from lxml import etree

BETWEEN = ["", "", "", "\n  ", " \t\r\n", "<!-- leser: ags:09999999 -->", "<?hinweis ags:09999999?>", "\n<!---->\n"]
PREFIXES = ["", "a", "ns2", "xmeld", "leser", "x-1.y", "ä"]
ENCODINGS = [  # encoding, XML declaration, byte order mark
    ("iso-8859-15", '<?xml version="1.0" encoding="ISO-8859-15"?>', b""),
    ("utf-8", "", b""),
    ("utf-8", "", codecs.BOM_UTF8),
    ("utf-8", '<?xml version="1.0" encoding="utf-8" standalone="yes"?>', b""),
    ("utf-8", "<?xml version='1.0' encoding='UTF-8'?>\r\n", codecs.BOM_UTF8),
    ("utf-16", '<?xml version="1.0" encoding="UTF-16"?>', b""),
]

XML, XSI = "http://www.w3.org/XML/1998/namespace", "http://www.w3.org/2001/XMLSchema-instance"

T = TypeVar("T")


def rewritten(document: str) -> st.SearchStrategy[bytes]:
    """Return ways to write a document."""
    # By a seed: what is drawn piece by piece runs out of Hypothesis's choices in documents of some length.
    return st.integers(0, 2**32).map(lambda seed: rewrite(document, Random(seed)))


def rewrite(document: str, dice: Random, *, ordered: bool = False) -> bytes:
    """Return a document of the same meaning with other prefixes, white space, comments, sections and encoding.

    The children of an element come in any order, and attributes in a namespace are left out; ``ordered`` leaves both
    as they are, but for hints where a schema may lie: these lead nowhere. Text stays text: nothing is put between its
    characters but what XML takes away again.
    """
    text = _element(dice, etree.fromstring(document), {"": ""}, ordered=ordered)
    before, after = dice.choice(BETWEEN).lstrip(), dice.choice(BETWEEN)
    encoding, declaration, bom = dice.choice(ENCODINGS if _is_latin(text) else ENCODINGS[1:])
    return bom + f"{declaration}{before}{text}{after}".encode(encoding)


def _element(dice: Random, node: etree._Element, scope: Mapping[str, str], *, ordered: bool) -> str:
    """Return an element as text. ``scope`` is what the prefixes outside mean."""
    name = etree.QName(node)
    namespace = name.namespace or ""
    known = [prefix for prefix, meaning in scope.items() if meaning == namespace]
    if namespace and dice.random() < 0.5:
        known = []  # declared anew, although it may be known
    prefix = dice.choice(known or (PREFIXES if namespace else [""]))
    declared = {} if scope.get(prefix) == namespace else {prefix: namespace}
    tag = f"{prefix}:{name.localname}" if prefix else name.localname
    attributes = [
        *(f"xmlns{':' + one if one else ''}={quoteattr(meaning)}" for one, meaning in declared.items()),
        *(f"{key}={quoteattr(value)}" for key, value in node.attrib.items() if key[0] != "{"),
        *(_qualified(node) if ordered else ()),
    ]
    start = dice.choice([" ", "\n   "]).join([tag, *_shuffled(dice, attributes)])
    inner = {**scope, **declared}
    children = list(node.iterchildren("*"))
    children = children if ordered else _shuffled(dice, children)
    if not children and not node.text:
        return f"<{start}/>"  # libxml2 takes an empty CDATA section for content, where a type has none
    if not children:
        return f"<{start}>{_text(dice, ''.join(node.itertext()))}</{tag}>"
    between = [dice.choice(BETWEEN) for _ in children]
    body = "".join(
        space + _element(dice, child, inner, ordered=ordered) for space, child in zip(between, children, strict=True)
    )
    return f"<{start}>{body}{dice.choice(BETWEEN)}</{tag}>"


def _qualified(node: etree._Element) -> Iterator[str]:
    """Yield the attributes in a namespace, by prefixes that nothing else has, and what these mean."""
    for number, (key, value) in enumerate(node.attrib.items()):
        name = etree.QName(key)
        if name.namespace == XML:
            yield f"xml:{name.localname}={quoteattr(value)}"
        elif name.namespace:
            if name.localname in ("schemaLocation", "noNamespaceSchemaLocation"):
                value = "urn:nirgends file:///dev/null"
            if name.localname == "type" and name.namespace == XSI:
                prefix, _, local = value.strip().rpartition(":")
                yield f"xmlns:of{number}={quoteattr(node.nsmap.get(prefix or None) or '')}"
                value = f"of{number}:{local}"
            yield f"xmlns:at{number}={quoteattr(name.namespace)}"
            yield f"at{number}:{name.localname}={quoteattr(value)}"


def _text(dice: Random, text: str) -> str:
    middle = len(text) // 2
    head, tail = escape(text[:middle]), escape(text[middle:])
    return dice.choice(
        [
            escape(text),
            f"<![CDATA[{text}]]>",
            f"{head}<![CDATA[{text[middle:]}]]>",
            f"<![CDATA[{text[:middle]}]]>{tail}",
            "".join(f"&#{ord(letter)};" for letter in text[:3]) + escape(text[3:]),
            f"{head}<![CDATA[]]>{tail}",
        ]
    )


def _shuffled(dice: Random, values: Sequence[T]) -> list[T]:
    return dice.sample(values, len(values))


def _is_latin(text: str) -> bool:
    try:
        return bool(text.encode("iso-8859-15"))
    except UnicodeEncodeError:
        return False

"""The same document, written differently: as other programs, libraries and people would have written it."""

from __future__ import annotations

from collections.abc import Mapping
from xml.sax.saxutils import escape, quoteattr

from hypothesis import strategies as st
from lxml import etree

BETWEEN = ["", "", "", "\n  ", " \t\r\n", "<!-- leser: ags:09999999 -->", "<?hinweis ags:09999999?>", "\n<!---->\n"]
PREFIXES = ["", "a", "ns2", "xmeld", "leser", "x-1.y", "ä"]
XML = "http://www.w3.org/XML/1998/namespace"


@st.composite
def rewritten(draw: st.DrawFn, document: str) -> bytes:
    """Return a document of the same meaning with other prefixes, white space, comments, sections and encoding.

    The children of an element come in any order. Text stays text: nothing is put between its characters but what XML
    takes away again.
    """
    text = _element(draw, etree.fromstring(document), {"": ""})
    before, after = draw(st.sampled_from(BETWEEN)).lstrip(), draw(st.sampled_from(BETWEEN))
    encoding, declared, bom = draw(
        st.sampled_from(
            [
                ("utf-8", "", b""),
                ("utf-8", "", b"\xef\xbb\xbf"),
                ("utf-8", '<?xml version="1.0" encoding="utf-8" standalone="yes"?>', b""),
                ("utf-8", "<?xml version='1.0' encoding='UTF-8'?>\r\n", b"\xef\xbb\xbf"),
                ("iso-8859-15", '<?xml version="1.0" encoding="ISO-8859-15"?>', b""),
                ("utf-16", '<?xml version="1.0" encoding="UTF-16"?>', b""),
            ]
        )
    )
    return bom + f"{declared}{before}{text}{after}".encode(encoding)


def _element(draw: st.DrawFn, node: etree._Element, scope: Mapping[str, str]) -> str:
    """Return an element as text. ``scope`` is what the prefixes outside mean."""
    name = etree.QName(node)
    namespace = name.namespace or ""
    known = [prefix for prefix, meaning in scope.items() if meaning == namespace]
    if namespace and draw(st.booleans()):
        known = []  # declared anew, although it may be known
    prefix = draw(st.sampled_from(known or (PREFIXES if namespace else [""])))
    declared = {} if scope.get(prefix) == namespace else {prefix: namespace}
    tag = f"{prefix}:{name.localname}" if prefix else name.localname
    attributes = [
        *(f"xmlns{':' + one if one else ''}={quoteattr(meaning)}" for one, meaning in declared.items()),
        *(f"{key}={quoteattr(value)}" for key, value in node.attrib.items()),
    ]
    start = draw(st.sampled_from([" ", "\n   "])).join([tag, *draw(st.permutations(attributes))])
    inner = {**scope, **declared}
    children = draw(st.permutations(list(node.iterchildren("*"))))
    if not children:
        return f"<{start}>{_text(draw, node.text or '')}</{tag}>"
    between = [draw(st.sampled_from(BETWEEN)) for _ in children]
    body = "".join(space + _element(draw, child, inner) for space, child in zip(between, children, strict=True))
    return f"<{start}>{body}{draw(st.sampled_from(BETWEEN))}</{tag}>"


def _text(draw: st.DrawFn, text: str) -> str:
    middle = len(text) // 2
    head, tail = escape(text[:middle]), escape(text[middle:])
    return draw(
        st.sampled_from(
            [
                escape(text),
                f"<![CDATA[{text}]]>",
                f"{head}<![CDATA[{text[middle:]}]]>",
                f"<![CDATA[{text[:middle]}]]>{tail}",
                "".join(f"&#{ord(letter)};" for letter in text[:3]) + escape(text[3:]),
                f"{head}<![CDATA[]]>{tail}",
            ]
        )
    )

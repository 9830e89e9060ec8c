"""A document, spoilt: parts of it dropped, doubled, moved, given another type or another name."""

from __future__ import annotations

import copy

from hypothesis import strategies as st
from lxml import etree

MARKER = "GEHEIM-4711"  # stands in texts that nobody may find outside the document
TEXTS = [
    "", " ", "0", "-1", "1.5", "true", "2026-02-30", "2026-03-02T25:00:00", "99999999999999999999", "a" * 1000,
    MARKER, f"{MARKER} ünd", "\U0001f600", "u\u0308", "\t\n", "ags:03103000", "ags:00000000", "../..", "<&>'\"", "０３１０",
]  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn, root: etree._Element) -> bytes:
    """Return a document with one to three changes; what it was is left as it is."""
    root = copy.deepcopy(root)
    for _ in range(draw(st.integers(1, 3))):
        change = draw(st.sampled_from([_drop, _double, _move, _retype, _retype_attribute, _rename, _interrupt]))
        elements = list(root.iter("*"))
        change(draw, root, elements[draw(st.integers(0, len(elements) - 1))])
    return etree.tostring(root, encoding=draw(st.sampled_from(["UTF-8", "UTF-8", "ASCII"])), xml_declaration=False)


def _drop(draw: st.DrawFn, root: etree._Element, node: etree._Element) -> None:
    names = list(node.attrib)
    if names and draw(st.booleans()):
        del node.attrib[draw(st.sampled_from(names))]
    elif node is not root:
        _parent(node).remove(node)


def _double(_draw: st.DrawFn, root: etree._Element, node: etree._Element) -> None:
    if node is not root:
        node.addnext(copy.deepcopy(node))


def _move(draw: st.DrawFn, root: etree._Element, node: etree._Element) -> None:
    if node is root:
        return
    inside = set(node.iter("*"))
    places = [one for one in (_parent(node), *root.iter("*")) if one not in inside]
    place = places[0] if draw(st.booleans()) else draw(st.sampled_from(places))
    place.insert(draw(st.integers(0, len(place))), node)


def _retype(draw: st.DrawFn, _root: etree._Element, node: etree._Element) -> None:
    node.text = draw(st.sampled_from(TEXTS))


def _retype_attribute(draw: st.DrawFn, _root: etree._Element, node: etree._Element) -> None:
    names = [*node.attrib, "test", "version", "{http://www.w3.org/2001/XMLSchema-instance}type"]
    node.set(draw(st.sampled_from(names)), draw(st.sampled_from(TEXTS)))


def _rename(draw: st.DrawFn, root: etree._Element, node: etree._Element) -> None:
    other = draw(st.sampled_from(list(root.iter("*"))))
    local, namespace = etree.QName(node).localname, etree.QName(node).namespace
    node.tag = draw(
        st.sampled_from([other.tag, f"{{urn:fremd}}{local}", local, etree.QName(namespace, f"{local}x").text, MARKER])
    )


def _interrupt(draw: st.DrawFn, _root: etree._Element, node: etree._Element) -> None:
    """Put a comment or an instruction into a text."""
    made = draw(st.sampled_from([etree.Comment(MARKER), etree.ProcessingInstruction("x", MARKER)]))
    text = node.text or ""
    node.text, made.tail = text[: len(text) // 2], text[len(text) // 2 :]
    node.insert(0, made)


def _parent(node: etree._Element) -> etree._Element:
    parent = node.getparent()
    assert parent is not None
    return parent

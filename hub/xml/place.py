"""Where an element stands in its document: absolute paths that a sender can follow."""

from __future__ import annotations

import codecs
import re
from collections.abc import Collection, Mapping

from lxml import etree

_MARKUP = re.compile(rb"<!--.*?-->|<!\[CDATA\[.*?\]\]>|<\?.*?\?>|</|(<)", re.DOTALL)
_STEP = re.compile(r"(\*|[^\[\]/]+)(?:\[(\d+)\])?")


def local_name(element: etree._Element) -> str:
    """Return an element's name without its namespace; asked of every message, and a ``QName`` is dear."""
    return str(element.tag).rpartition("}")[2]


def path_of(element: etree._Element) -> str:
    """Return an element's absolute path in the words of its document: ``/xga:nachricht/xga:satz[2]/name``.

    libxml2 writes ``/*/*[2]`` where a document uses a default namespace; here the local name stands instead.
    """
    steps: list[str] = []
    node: etree._Element | None = element
    while node is not None:
        steps.append(_step(node))
        node = node.getparent()
    return "/" + "/".join(reversed(steps))


def _step(node: etree._Element) -> str:
    name = etree.QName(node).localname
    if node.prefix:
        name = f"{node.prefix}:{name}"
    parent = node.getparent()
    if parent is None:
        return name
    alike = list(parent.iterchildren(etree.QName(node)))
    return name if len(alike) == 1 else f"{name}[{alike.index(node) + 1}]"


def element_at(root: etree._Element, path: str) -> etree._Element | None:
    """Return the element that a path of libxml2 (``/*/a:b[2]/*[3]``) names, if it can be found."""
    steps = path.strip("/").split("/")
    node = root
    for step in steps[1:]:
        match = _STEP.fullmatch(step)
        if match is None:
            return None
        alike = [child for child in node.iterchildren("*") if match[1] in ("*", _prefixed(child))]
        position = int(match[2] or 1)
        if position > len(alike):
            return None
        node = alike[position - 1]
    return node


def _prefixed(node: etree._Element) -> str:
    name = etree.QName(node).localname
    return f"{node.prefix}:{name}" if node.prefix else name


def positions(root: etree._Element, body: bytes, paths: Collection[str]) -> Mapping[str, tuple[int, int]]:
    """Return line and column, from 1, at which the elements of some paths begin; of a path that leads nowhere none.

    libxml2 keeps the line in which a start tag ends, and no column. The document is well-formed: every ``<`` outside
    comments, CDATA sections and instructions begins a tag.
    """
    named = {path for path in paths if path.startswith("/")}
    wanted = {path: element for path in named if (element := element_at(root, path)) is not None}
    if not wanted:
        return {}
    elements = set(wanted.values())
    numbers = {element: number for number, element in enumerate(root.iter("*")) if element in elements}
    plain = body.decode("utf-16").encode() if body.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else body
    starts = (found.start() for found in _MARKUP.finditer(plain) if found[1])
    at = dict(zip(range(max(numbers.values()) + 1), starts, strict=False))
    return {path: _position(plain, at[numbers[element]]) for path, element in wanted.items() if numbers[element] in at}


def _position(plain: bytes, at: int) -> tuple[int, int]:
    before = plain[plain.rfind(b"\n", 0, at) + 1 : at]
    column = len(before.removeprefix(codecs.BOM_UTF8).decode("utf-8", "replace")) + 1
    return plain.count(b"\n", 0, at) + 1, column

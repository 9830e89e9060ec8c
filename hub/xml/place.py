"""Where an element stands in its document: absolute paths that a sender can follow."""

from __future__ import annotations

import re

from lxml import etree

_STEP = re.compile(r"(\*|[^\[\]/]+)(?:\[(\d+)\])?")


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

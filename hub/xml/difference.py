"""Two documents compared as XML, not as bytes: what a transformation does differently today. Pure.

`changes` says where they differ, by paths of names, without a value: by it equal differences are recognised.
`lines` shows it, values included: that is reading a payload.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lxml import etree

from hub.errors import Rejected
from hub.xml import guard

BYTES_MAX = 2_000_000  # of one document; of a larger one it is only said that it differs
LINES_MAX = 60
CHANGES_MAX = 50

_LIMITS = guard.XmlLimits(max_body=BYTES_MAX)
_BETWEEN_TAGS = re.compile(">(?=<)")


@dataclass(frozen=True, slots=True, order=True)
class Change:
    """Where two documents differ, and how; never a value."""

    path: str
    what: str  # text | attribute | namespace | added | removed | order | notation | bytes


def changes(before: bytes, after: bytes) -> tuple[Change, ...]:
    """Return where two documents differ.

    ``notation`` where they say the same as canonical XML (C14N 2.0, blanks around text aside), ``bytes`` where one of
    them is no XML or too large to be compared.
    """
    trees = _tree(before), _tree(after)
    if trees[0] is None or trees[1] is None:
        return (Change("", "bytes"),)
    return tuple(sorted(set(_changes(trees[0], trees[1]))))[:CHANGES_MAX] or (Change("", "notation"),)


def lines(before: bytes, after: bytes) -> tuple[str, ...]:
    """Return what a person reads: a unified diff of the canonical forms, a tag on each line."""
    found = list(difflib.unified_diff(_lines(before), _lines(after), "stored", "today", n=1, lineterm=""))
    left = len(found) - LINES_MAX
    return (*found[:LINES_MAX], *([f"… and {left} lines more"] if left > 0 else []))


def _tree(body: bytes) -> etree._Element | None:
    if len(body) > BYTES_MAX:
        return None
    try:
        return guard.parse(body, limits=_LIMITS)
    except Rejected:
        return None


def _changes(before: etree._Element, after: etree._Element) -> Iterator[Change]:
    old, new = _by_path(before), _by_path(after)
    for path in old.keys() | new.keys():
        ours, theirs = old.get(path, []), new.get(path, [])
        if len(ours) != len(theirs):
            yield Change(path, "added" if len(ours) < len(theirs) else "removed")
            continue
        for one, other in zip(ours, theirs, strict=True):
            if etree.QName(one).namespace != etree.QName(other).namespace:
                yield Change(path, "namespace")
            if _texts(one) != _texts(other):
                yield Change(path, "text")
            for name in {*one.attrib, *other.attrib}:
                if one.get(name) != other.get(name):
                    yield Change(f"{path}/@{etree.QName(name).localname}", "attribute")
    if {path: len(found) for path, found in old.items()} == {path: len(found) for path, found in new.items()} and (
        list(_paths(before)) != list(_paths(after))
    ):
        yield Change("", "order")


def _by_path(root: etree._Element) -> dict[str, list[etree._Element]]:
    found: dict[str, list[etree._Element]] = {}
    for path, element in _walk(root, ""):
        found.setdefault(path, []).append(element)
    return found


def _paths(root: etree._Element) -> Iterator[str]:
    return (path for path, _ in _walk(root, ""))


def _walk(element: etree._Element, above: str) -> Iterator[tuple[str, etree._Element]]:
    """Yield each element with the local names on the way to it. The guard has limited the depth."""
    path = f"{above}/{etree.QName(element).localname}"
    yield path, element
    for child in element.iterchildren(tag=etree.Element):
        yield from _walk(child, path)


def _texts(element: etree._Element) -> list[str]:
    """Return the texts that are an element's own, blanks around them aside."""
    own = [element.text, *(child.tail for child in element)]
    return [text.strip() for text in own if text and text.strip()]


def _lines(body: bytes) -> Sequence[str]:
    tree = _tree(body)
    if tree is None:
        return [f"{len(body)} bytes that are not shown"]
    canonical: bytes = etree.tostring(tree, method="c14n2", strip_text=True)
    return _BETWEEN_TAGS.sub(">\n", canonical.decode()).split("\n")

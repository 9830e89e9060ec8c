"""The XPaths of profiles: absolute, so that nothing in a body is taken for a header, and checked before use."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TypeAlias

from lxml import etree

Namespaces: TypeAlias = tuple[tuple[str, str], ...]  # (prefix, namespace), sorted

_WHOLE_TEXT = etree.XPath("string()", smart_strings=False)
_LITERAL = re.compile(r"""'[^']*'|"[^"]*\"""")
_FUNCTION = re.compile(r"([A-Za-z_][\w.:-]*)\s*\(")
_PREFIX = re.compile(r"([A-Za-z_][\w.-]*):(?!:)")
_FUNCTIONS = {  # of XPath 1.0, with its node tests and the operators that a bracket may follow
    "and", "boolean", "ceiling", "comment", "concat", "contains", "count", "div", "false", "floor", "lang", "last",
    "local-name", "mod", "name", "namespace-uri", "node", "normalize-space", "not", "number", "or", "position", "round",
    "starts-with", "string", "string-length", "substring", "substring-after", "substring-before", "sum", "text",
    "translate", "true",
}  # fmt: skip


def problem_with(xpath: str, namespaces: Namespaces) -> str | None:
    """Return why an XPath cannot stand in a profile, ``None`` if it can."""
    bare = _LITERAL.sub("''", xpath)
    if not all(part.strip().startswith("/") for part in bare.split("|")) or "//" in bare:
        return "expected an absolute XPath: / first, and no //"
    # libxml2 looks functions and prefixes up only when it comes across a node to try them on.
    unknown = [name for name in _FUNCTION.findall(bare) if name not in _FUNCTIONS]
    unknown += [name for name in _PREFIX.findall(bare) if name not in dict(namespaces)]
    if unknown:
        return f"is no XPath that can be used here: unknown {', '.join(unknown)}"
    try:
        result = compiled(xpath, namespaces)(etree.Element("probe"))
    except (etree.XPathError, ValueError) as error:
        return f"is no XPath that can be used here: {error}"
    return None if isinstance(result, list) else "expected an XPath that selects a node, not one that computes a value"


def select(element: etree._Element, xpath: str, namespaces: Namespaces) -> list[etree._Element | str]:
    """Return the nodes that an XPath selects; none, if it cannot be evaluated."""
    try:
        found: list[etree._Element | str] = compiled(xpath, namespaces)(element)
        return found
    except etree.XPathError:
        # What can be seen beforehand was refused then; a wrong number of arguments cannot.
        return []


def text_of(node: etree._Element | str) -> str:
    """Return a node's whole text: ``.text`` stops at the first comment, and a schema sees the whole."""
    return str(node if isinstance(node, str) else _WHOLE_TEXT(node))


@lru_cache(maxsize=4096)
def compiled(xpath: str, namespaces: Namespaces) -> etree.XPath:
    """Return an XPath, compiled once."""
    return etree.XPath(xpath, namespaces=dict(namespaces))

"""Reads a document's header by the form that its profile names. Takes nothing from anywhere else in the document.

Each fact comes from exactly one node at an absolute path, as its whole text (comments and CDATA sections do not cut
it), and matches its pattern fully. What is missing, doubled or malformed is a finding, never an exception.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from lxml import etree

from hub.message import Finding, Header
from hub.xml.forms import UUID, AuthorityField, Field
from hub.xml.place import path_of
from hub.xml.profile import Profile
from hub.xml.xpath import select, text_of

SHOWN_MAX = 80  # characters of a value in a finding


@dataclass(frozen=True, slots=True)
class Reading:
    """A header, and what is wrong with it."""

    header: Header
    findings: tuple[Finding, ...] = ()
    reader_node: etree._Element | None = field(default=None, repr=False)

    @property
    def reader_at(self) -> tuple[str, int]:
        """Path and line of the element that names the reader, if there is one."""
        node = self.reader_node
        return (path_of(node), node.sourceline or 0) if node is not None else ("", 0)


def read(root: etree._Element, profile: Profile) -> Reading:
    """Return what the header of an identified document says."""
    reader = _Reader(root, profile)
    form = reader.form
    code = reader.field("type code", form.type_code, collapse=True)
    created_at = reader.field("time of creation", form.created_at, collapse=True)
    message_id = reader.field("message id", form.message_id)
    header = Header(
        type=profile.type_of(root),
        message_id=_comparable(message_id),
        type_code=code,
        created_at=created_at,
        author=reader.authority("author", form.author),
        reader=reader.authority("reader", form.reader),
        test=root.get("test") is not None,
        references=reader.fields(form.references),
        keys=reader.fields(profile.keys),
    )
    reader.cross_check(code)
    return Reading(header, tuple(reader.findings), reader.nodes.get("reader"))


def _comparable(message_id: str | None) -> str | None:
    """Return a message id as it is compared: a UUID means the same in capitals."""
    return message_id.lower() if message_id and re.fullmatch(UUID, message_id) else message_id


class _Reader:
    """Reads one document; collects what is wrong."""

    def __init__(self, root: etree._Element, profile: Profile) -> None:
        place = profile.root_of(root)
        self.form = place.header
        self.findings: list[Finding] = []
        self.nodes: dict[str, etree._Element] = {}
        self._root = root
        self._namespaces = place.namespaces

    def field(self, name: str, where: Field | None, *, collapse: bool = False) -> str | None:
        """Return the value of one fact, ``None`` if the form or the document has none.

        ``collapse`` takes away the white space around it, as the XSD types of codes and times do; ids and authority
        keys have none to take away.
        """
        if where is None:
            return None
        node = self._one(name, where.xpath, required=where.required)
        if node is None:
            return None
        text = text_of(node)
        return self._matching(name, node, text.strip(" \t\r\n") if collapse else text, where.pattern)

    def fields(self, fields: Mapping[str, Field]) -> Mapping[str, str]:
        values = {name: self.field(name, field) for name, field in fields.items()}
        return {name: value for name, value in values.items() if value is not None}

    def authority(self, name: str, field: AuthorityField | None) -> str | None:
        """Return an authority's key as ``prefix:number``, or its plain name."""
        if field is None:
            return None
        node = self._one(name, field.xpath, required=field.required)
        if node is None:
            return None
        if isinstance(node, etree._Element):
            self.nodes[name] = node
        prefix = field.prefix
        if field.prefix_xpath:
            named = self._one(f"prefix of the {name}", field.prefix_xpath, required=True)
            if named is None:
                return None
            prefix = text_of(named)
        key = f"{prefix}:{text_of(node)}" if prefix else text_of(node)
        return self._matching(name, node, key, field.pattern, level="warning" if field.plain else "error")

    def cross_check(self, code: str | None) -> None:
        """Warn of a type code that differs from the root's name. Real senders do that; the root's name rules."""
        name = etree.QName(self._root).localname
        number = name.rpartition(".")[2]
        if code is None or not re.fullmatch("[0-9]+", number) or code in (number, name):
            return
        text = f"the type code is {code[:SHOWN_MAX]!r}, the root's name says {number}"
        self.findings.append(Finding("header", path_of(self._root), self._root.sourceline or 0, text, level="warning"))

    def _one(self, name: str, xpath: str, *, required: bool) -> etree._Element | str | None:
        nodes = select(self._root, xpath, self._namespaces)
        if len(nodes) == 1:
            return nodes[0]
        if nodes:
            self._find(nodes[1], f"{name}: stands here {len(nodes)} times, expected once")
        elif required:
            where = f"{path_of(self._root)}/{xpath.partition('/')[2].partition('/')[2]}"
            self.findings.append(Finding("header", where, self._root.sourceline or 0, f"{name}: is missing"))
        return None

    def _matching(
        self, name: str, node: etree._Element | str, value: str, pattern: str, *, level: str = "error"
    ) -> str | None:
        if isinstance(node, etree._Element) and next(node.iterchildren("*"), None) is not None:
            self._find(node, f"{name}: found elements, expected text only")
            return None
        if re.fullmatch(pattern, value, re.ASCII):
            return value
        text = text_of(node)
        found = repr(text[:SHOWN_MAX]) if text else "nothing"
        self._find(node, f"{name}: found {found}, which is not of the form expected here", level)
        return None

    def _find(self, node: etree._Element | str, text: str, level: str = "error") -> None:
        element = node if isinstance(node, etree._Element) else getattr(node, "getparent", lambda: None)()
        if element is None:
            element = self._root
        self.findings.append(Finding("header", path_of(element), element.sourceline or 0, text, level=level))

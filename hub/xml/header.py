"""Reads a document's header by the form that its profile names. Takes nothing from anywhere else in the document.

Each fact comes from exactly one node at an absolute path, as its whole text (neither a CDATA section nor a processing
instruction cuts it; a comment inside is refused), and matches its pattern fully. What is missing, doubled or malformed
is a finding, never an exception.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from itertools import islice
from typing import TypeAlias

from lxml import etree

from hub.message import Finding, Header, MessageType
from hub.xml.forms import NAME, UUID, AuthorityField, Field, HeaderForm
from hub.xml.place import local_name, path_of
from hub.xml.profile import Profile
from hub.xml.xpath import select, text_of

SHOWN_MAX = 80  # characters of a value in a finding

Node: TypeAlias = etree._Element | str  # an attribute is its text
_OF_THE_ROOT = "/*/@"

Find: TypeAlias = Callable[[etree._Element, str], Sequence[Node]]


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
    place = profile.root_of(root)
    find = partial(select, namespaces=place.namespaces)
    return read_form(root, place.header, profile.type_of(root), find, profile.keys)


def read_form(
    root: etree._Element, form: HeaderForm, type_: MessageType, find: Find, keys: Mapping[str, Field] | None = None
) -> Reading:
    """Return what a header of this form says; ``find`` finds the nodes at a path."""
    reader = _Reader(root, form, find)
    reader.refuse_a_second_head()
    # One that is empty weighs as much as one that does not fit the root: the root's name rules.
    code = reader.field("type code", form.type_code, collapse=True, empty=form.type_mismatch)
    created_at = reader.field("time of creation", form.created_at, collapse=True)
    header = Header(
        type=type_,
        message_id=reader.field("message id", form.message_id),
        type_code=code,
        created_at=created_at,
        author=reader.authority("author", form.author),
        reader=reader.authority("reader", form.reader),
        test=reader.holds(form.test),
        references=reader.references(form.references) if form.references else {},
        keys=reader.fields(keys) if keys else {},
    )
    reader.cross_check(code)
    return Reading(header, tuple(reader.findings), reader.nodes.get("reader"))


def comparable(message_id: str) -> str:
    """Return a message id as it is compared: a UUID means the same in capitals."""
    return message_id.lower() if _whole(UUID).fullmatch(message_id) else message_id


def _fits(where: Field, text: str) -> bool:
    return _whole(where.pattern).fullmatch(text.strip(" \t\r\n")) is not None


@cache
def _whole(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.ASCII)


class _Reader:
    """Reads one document; collects what is wrong."""

    def __init__(self, root: etree._Element, form: HeaderForm, find: Find) -> None:
        self.form = form
        self.findings: list[Finding] = []
        self.nodes: dict[str, etree._Element] = {}
        self._root = root
        self._find = find

    def refuse_a_second_head(self) -> None:
        """Refuse a look-alike that a lax wildcard let in, for whoever reads the document next may read that one."""
        if not self.form.head:
            return
        heads = list(islice(self._root.iterchildren("{*}" + self.form.head), 2))
        if len(heads) > 1:
            self._note(heads[1], f"{self.form.head}: stands here more than once, expected once")

    def field(
        self, name: str, where: Field | None, *, collapse: bool = False, level: str = "error", empty: str = ""
    ) -> str | None:
        """Return the value of one fact, ``None`` if the form or the document has none. ``empty``: what one weighs.

        ``collapse`` takes away the white space around it, as the XSD types of codes and times do; ids and authority
        keys have none to take away.
        """
        if where is None:
            return None
        nodes = self._find(self._root, where.xpath)
        node = self._one(name, nodes, where.xpath if where.required else "", level)
        text = self._text(name, node, level)
        if node is None or text is None:
            return None
        level = empty or level if not text else level
        return self._matching(name, node, text.strip(" \t\r\n") if collapse else text, where.pattern, level)

    def fields(self, fields: Mapping[str, Field]) -> Mapping[str, str]:
        values = {name: self.field(name, field) for name, field in fields.items()}
        return {name: value for name, value in values.items() if value is not None}

    def references(self, fields: Mapping[str, Field]) -> Mapping[str, str]:
        """Return what steers nothing: an empty element is none, and what is wrong with it is a warning."""
        filled = [name for name, where in fields.items() if any(map(text_of, self._find(self._root, where.xpath)))]
        values = {name: self.field(name, fields[name], level="warning") for name in filled}
        return {name: value for name, value in values.items() if value is not None}

    def holds(self, where: Field) -> bool:
        """Tell whether there is a node whose text matches."""
        if where.xpath.startswith(_OF_THE_ROOT):  # as nearly always: no XPath for that
            value = self._root.get(where.xpath[len(_OF_THE_ROOT) :])
            return value is not None and _fits(where, value)
        return any(_fits(where, text_of(node)) for node in self._find(self._root, where.xpath))

    def authority(self, name: str, field: AuthorityField | None) -> str | None:
        """Return an authority's key as ``prefix:number``, or its plain name."""
        if field is None:
            return None
        nodes = self._find(self._root, field.xpath)
        if not nodes and field.name_xpath and self._find(self._root, field.name_xpath):
            return self.field(name, Field(field.name_xpath, NAME), level="warning")
        if field.repeated and len({text_of(node) for node in nodes}) > 1:
            self._note(nodes[1], f"{name}: stands here {len(nodes)} times, the first one counts", "warning")
        nodes = nodes[:1] if field.repeated else nodes
        level = "warning" if field.plain else "error"
        node = self._one(name, nodes, field.xpath if field.required else "", level)
        if isinstance(node, etree._Element) and not len(node) and not node.text:
            # Schemas let it pass, and real senders write it. Nobody is named, as where it is missing.
            self._note(node, f"{name}: is empty, so it names nobody", "warning")
            return None
        if isinstance(node, etree._Element):
            self.nodes[name] = node
        key = self._key(name, node, field, level)
        return self._matching(name, node, key, field.pattern, level) if node is not None and key is not None else None

    def _key(self, name: str, node: Node | None, field: AuthorityField, level: str) -> str | None:
        """Return prefix, number and suffix as they stand there; ``None``: one of them is not fit to be read."""
        number = self._text(name, node, level)
        prefix: str | None = field.prefix
        suffix: str | None = ""
        if number is not None and field.prefix_xpath:
            prefix = self._prefix(f"prefix of the {name}", field, level)
        if number is not None and field.suffix_xpath:
            suffixes = self._find(self._root, field.suffix_xpath)
            suffix = self._text(name, self._one(name, suffixes, "", level), level) if suffixes else ""
        if number is None or prefix is None or suffix is None:
            return None
        return f"{prefix}:{number}{suffix}" if prefix else number + suffix

    def _prefix(self, name: str, field: AuthorityField, level: str) -> str | None:
        node = self._one(name, self._find(self._root, field.prefix_xpath), field.prefix_xpath, level)
        if field.prefix_is_name and isinstance(node, etree._Element):
            return local_name(node)
        return self._text(name, node, level)

    def cross_check(self, code: str | None) -> None:
        """Find a type code that differs from the root's name. Real senders do that; the root's name rules."""
        if code is None:
            return
        name = local_name(self._root)
        number = name.rpartition(".")[2]
        if code in (number, name) or not re.fullmatch("[0-9]+", number):
            return
        text = f"the type code is {code[:SHOWN_MAX]!r}, the root's name says {number}"
        self._note(self._root, text, self.form.type_mismatch)

    def _one(self, name: str, nodes: Sequence[Node], required_at: str, level: str) -> Node | None:
        if len(nodes) == 1:
            return nodes[0]
        if nodes:
            self._note(nodes[1], f"{name}: stands here {len(nodes)} times, expected once", level)
        elif required_at:
            own = f"{self._root.prefix}:" if self._root.prefix else ""  # not our name for the root's namespace
            inside = re.sub("(?<=/)r:", own, f"/{required_at.partition('/')[2].partition('/')[2]}")
            where = f"{path_of(self._root)}{inside}"
            line = self._root.sourceline or 0
            self.findings.append(Finding("header", where, line, f"{name}: is missing", level=level))
        return None

    def _text(self, name: str, node: Node | None, level: str) -> str | None:
        """Return a node's whole text. Nothing but text may stand there: not every reader sees past a comment."""
        if node is None:
            return None
        if isinstance(node, str):
            return text_of(node)
        if not len(node):
            return node.text or ""
        for kind, found in ((etree.Element, "elements"), (etree.Comment, "a comment")):
            if next(node.iterchildren(kind), None) is not None:
                self._note(node, f"{name}: found {found}, expected text only", level)
                return None
        return text_of(node)

    def _matching(self, name: str, node: Node, value: str, pattern: str, level: str) -> str | None:
        if _whole(pattern).fullmatch(value):
            return value
        text = text_of(node)
        found = repr(text[:SHOWN_MAX]) if text else "nothing"
        self._note(node, f"{name}: found {found}, which is not of the form expected here", level)
        return None

    def _note(self, node: Node, text: str, level: str = "error") -> None:
        element = node if isinstance(node, etree._Element) else getattr(node, "getparent", lambda: None)()
        if element is None:
            element = self._root
        self.findings.append(Finding("header", path_of(element), element.sourceline or 0, text, level=level))

"""Finds out what header a document has of which no profile is here. For people: such a document is never accepted.

Unlike a profile's, these paths are blind to namespaces, because who has not got the standard does not know its
namespaces either. The form that finds most is taken.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice

from lxml import etree

from hub.message import MessageType
from hub.xml.forms import FORMS, HeaderForm
from hub.xml.header import Node, Reading, read_form
from hub.xml.xpath import select, text_of

NODES_MAX = 5_000  # looked at in one place: an unknown document must not cost more than to read it
TEXT_MAX = 200  # characters of what a document says of its standard and version
OSCI = "http://www.osci.eu/ws/2014/10/transport"

_SOAP = ("http://www.w3.org/2003/05/soap-envelope", "http://schemas.xmlsoap.org/soap/envelope/")
_VERSION = re.compile(r"[0-9]+(?:[._/][0-9]+)+(?=/?$)")  # urn:…:schema:3.1.0, http://…/xplangml/6/0


@dataclass(frozen=True, slots=True)
class Detected:
    """The name of a form, and what a header of this form says."""

    form: str
    reading: Reading


def detect(root: etree._Element) -> Detected:
    """Return the header form that fits a document best, and what it reads; ``none``: no form finds anything."""
    metadata = beside(root)
    if metadata is not None:
        return Detected("K", metadata)
    name = max(FORMS, key=lambda name: _found(root, FORMS[name]))  # among equals the first
    return Detected(name, read_form(root, FORMS[name], _type(root, FORMS[name]), find_blindly))


def beside(document: etree._Element) -> Reading | None:
    """Return what the metadata beside a payload says, ``None`` if there is none.

    ``document`` is OSCI's ``MessageMetaData`` itself or a SOAP message with exactly one of it in its header.
    """
    found = [document]
    if document.tag in [f"{{{namespace}}}Envelope" for namespace in _SOAP]:
        found = document.findall(f"{{{etree.QName(document).namespace}}}Header/{{{OSCI}}}MessageMetaData")
    if len(found) != 1 or found[0].tag != f"{{{OSCI}}}MessageMetaData":
        return None
    root = etree.ElementTree(copy.deepcopy(found[0])).getroot()  # the paths begin at a root
    return read_form(root, FORMS["K"], _type(root, FORMS["K"]), find_blindly)


def find_blindly(root: etree._Element, xpath: str) -> Sequence[Node]:
    """Return the nodes at a path, in whatever namespaces. Knows what the paths of forms are made of, and no more."""
    return [node for path in xpath.split("|") for node in _walked(root, _steps(path))]


def _walked(root: etree._Element, steps: Sequence[str]) -> list[Node]:
    elements = [root]
    for step in steps:
        if step.startswith("@"):
            return [value for element in elements if (value := element.get(step[1:])) is not None]
        children = (child for element in elements for child in element.iterchildren(step))
        elements = list(islice(children, NODES_MAX))
    return list(elements)


@cache
def _steps(path: str) -> Sequence[str]:
    """Return what to look for below the root: ``{*}name``, ``*`` or ``@name``."""
    names = [step.rpartition(":")[2] for step in path.strip().split("/")[2:]]
    return [name if name == "*" or name.startswith("@") else "{*}" + name for name in names]


def _found(root: etree._Element, form: HeaderForm) -> tuple[int, int]:
    """Return how many facts a form finds, and how many of them in the namespaces that it expects."""
    fields = (form.message_id, form.type_code, form.created_at, form.author, form.reader)
    paths = [field.xpath for field in fields if field is not None]
    blind = sum(bool(find_blindly(root, path)) for path in paths)
    return blind, sum(bool(select(root, path, _namespaces(root, form))) for path in paths) if blind else 0


def _namespaces(root: etree._Element, form: HeaderForm) -> tuple[tuple[str, str], ...]:
    own = etree.QName(root).namespace
    return tuple(sorted({**form.namespaces, **({"r": own} if own else {})}.items()))


def _type(root: etree._Element, form: HeaderForm) -> MessageType:
    """Return what a document says of its type; what it does not say is empty."""
    name = etree.QName(root)
    path = f"/*/{form.version_from}" if form.version_from.startswith("@") else form.version_from
    stated = [] if path == "fixed" else find_blindly(root, path)
    version = text_of(stated[0]).strip() if len(stated) == 1 else ""
    if not version and (in_namespace := _VERSION.search(name.namespace or "")):
        version = re.sub("[_/]", ".", in_namespace[0])
    return MessageType((root.get("standard") or "").strip()[:TEXT_MAX], version[:TEXT_MAX], name.localname)

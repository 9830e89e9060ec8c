"""What schema files declare and ask for, kept beside them: a file is parsed for it only when its bytes are new.

``schemas/.index.json`` names each file by the sha256 of its content, and is never believed of other bytes: a file that
has changed is parsed again. It is no part of a snapshot; one that is missing, damaged or of another program costs time.
``schemas import`` and ``schemas check`` write it.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from lxml import etree

from hub.files import Files
from hub.xml import guard

INDEX = "schemas/.index.json"
FORMAT = b"xoev-hub-1"  # another one, when this module finds something else in the same file
XS = "{http://www.w3.org/2001/XMLSchema}"
REFERENCES = (f"{XS}include", f"{XS}redefine", f"{XS}import")


@dataclass(frozen=True, slots=True)
class Asked:
    """An include, redefine or import; ``location`` as it is written."""

    imports: bool
    location: str
    namespace: str
    line: int


@dataclass(frozen=True, slots=True)
class Declared:
    """What a schema file says of itself: its target namespace, its global elements, and what it asks for."""

    namespace: str
    elements: Sequence[str]
    asks: Sequence[Asked]


def declared(body: bytes) -> Declared:
    """Return what a schema file declares.

    Raises:
        etree.XMLSyntaxError: It is not well-formed.
    """
    tree = etree.fromstring(body, guard.trusted_parser())
    asks = [
        Asked(one.tag == REFERENCES[2], one.get("schemaLocation", ""), one.get("namespace", ""), one.sourceline or 0)
        for one in tree.iterchildren(*REFERENCES)
    ]
    elements = [str(one.get("name")) for one in tree.iterchildren(f"{XS}element")]
    return Declared(tree.get("targetNamespace", ""), elements, asks)


class Index:
    """What is known of a deployment's schema files."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self._kept: Mapping[str, Any] = _read(files.beside(INDEX))
        self._seen: dict[str, Declared] = {}  # by the digest

    def declared(self, name: str, body: bytes) -> Declared:
        """Return what a file declares, which is one of the snapshot's.

        Raises:
            etree.XMLSyntaxError: It is not well-formed.
        """
        digest = self._files.sha256(name)
        if digest not in self._seen:
            kept = self._kept.get(digest)
            self._seen[digest] = declared(body) if kept is None else _from_json(kept)
        return self._seen[digest]

    def keep(self) -> None:
        """Write down what was seen, where that is possible; nothing else is kept."""
        path = self._files.path(INDEX)
        body = json.dumps({digest: _to_json(one) for digest, one in sorted(self._seen.items())}).encode()
        text = _head(body) + b"\n" + body
        if not path.parent.is_dir() or text == self._files.beside(INDEX):
            return
        new = path.with_name(f".index-{os.getpid()}")
        with suppress(OSError):  # a folder that is read only
            try:
                new.write_bytes(text)
                new.replace(path)  # who reads it meanwhile reads the old one
            finally:
                new.unlink(missing_ok=True)


def _read(text: bytes | None) -> Mapping[str, Any]:
    head, _, body = (text or b"").partition(b"\n")
    found: Mapping[str, Any] = json.loads(body) if head == _head(body) else {}
    return found


def _head(body: bytes) -> bytes:
    return FORMAT + b" " + hashlib.sha256(body).hexdigest().encode()


def _to_json(one: Declared) -> Any:
    return [one.namespace, one.elements, [[ask.imports, ask.location, ask.namespace, ask.line] for ask in one.asks]]


def _from_json(kept: Any) -> Declared:
    namespace, elements, asks = kept
    return Declared(namespace, elements, [Asked(*one) for one in asks])

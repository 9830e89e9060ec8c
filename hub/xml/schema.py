"""What a standard's schemas say of a document: findings, at most 100, each with its place."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from itertools import islice

from lxml import etree

from hub.message import Finding
from hub.xml.bundle import FINDINGS_MAX, TEXT_MAX
from hub.xml.place import element_at, path_of


class Schema:
    """The compiled schemas of one profile. One document at a time: lxml mixes up the logs of two."""

    def __init__(self, compiled: Mapping[str, etree.XMLSchema]) -> None:
        self._compiled = compiled  # by the root's tag
        self._in_use = threading.Lock()

    def validate(self, root: etree._Element) -> tuple[Finding, ...]:
        """Return what is wrong with a document, at most 100 findings; none: it is valid."""
        schema = self._compiled.get(str(root.tag))
        if schema is None:
            return (Finding("schema", path_of(root), root.sourceline or 0, "no schema here declares this root"),)
        with self._in_use:
            valid = schema.validate(root)
            log = [] if valid else list(islice(schema.error_log, FINDINGS_MAX))
        if valid:
            return ()
        return tuple(_finding(root, entry) for entry in log) or (
            Finding("schema", path_of(root), root.sourceline or 0, "is invalid; the validator does not say why"),
        )


def _finding(root: etree._Element, entry: etree._LogEntry) -> Finding:
    element = element_at(root, entry.path or "")
    path = path_of(element) if element is not None else entry.path or ""
    return Finding(entry.type_name, path, entry.line, entry.message[:TEXT_MAX], entry.column)

"""Reads a code list in genericode 1.0 (OASIS): whose it is, which version, and its codes.

Lists of one XRepository differ in nearly everything else: the column of the codes is ``code``, ``Key``, ``SCHLUESSEL``
or ``ISOAlpha2code``. It is the one that ``Key/ColumnRef`` names; of several keys the first.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from lxml import etree

from hub.files import Files
from hub.xml import guard
from hub.xml.checks.values import impossible


@dataclass(frozen=True, slots=True)
class CodeList:
    """One version of a code list."""

    uri: str
    version: str
    codes: frozenset[str] = field(repr=False)


def read_code_list(files: Files, name: str) -> CodeList:
    """Return the code list in a file.

    Raises:
        ConfigError: It is not there, or no genericode.
    """
    try:
        root = etree.fromstring(files.read(name), guard.trusted_parser())
    except OSError as error:
        raise impossible(name, f"cannot be read: {error.strerror}") from error
    except etree.XMLSyntaxError as error:
        raise impossible(name, "is not well-formed XML", error.lineno or 0) from error
    uri = _text(root, "Identification", "CanonicalUri")
    version = _text(root, "Identification", "Version")
    if etree.QName(root).localname != "CodeList" or not uri:
        raise impossible(name, "is no genericode: expected a CodeList with Identification/CanonicalUri")
    columns = [column.get("Id", "") for column in _all(root, "ColumnSet", "Column")]
    keys = [reference.get("Ref", "") for reference in _all(root, "ColumnSet", "Key", "ColumnRef")]
    if not keys or keys[0] not in columns:
        raise impossible(name, "names no key column: expected ColumnSet/Key/ColumnRef")
    rows = _all(root, "SimpleCodeList", "Row")
    codes = frozenset(code for row in rows for code in _values(row, columns, keys[0]))
    return CodeList(uri, version, codes)


def _values(row: etree._Element, columns: list[str], key: str) -> Iterator[str]:
    """Yield the code of a row, if it has one. A value without ``ColumnRef`` is of the column after the last one's."""
    at = 0
    for value in row.iterchildren("{*}Value"):
        column = value.get("ColumnRef") or (columns[at] if at < len(columns) else "")
        at = columns.index(column) + 1 if column in columns else at + 1
        if column == key:
            yield str(value.findtext("{*}SimpleValue", "")).strip()
            return


def _all(node: etree._Element, *path: str) -> Iterator[etree._Element]:
    if not path:
        yield node
        return
    for child in node.iterchildren(f"{{*}}{path[0]}"):
        yield from _all(child, *path[1:])


def _text(node: etree._Element, *path: str) -> str:
    found = next(_all(node, *path), None)
    return "".join(str(part) for part in found.itertext()).strip() if found is not None else ""

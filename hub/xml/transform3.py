"""XSLT 2.0 and 3.0 as a step: one file of the snapshot, run by SaxonC-HE. XSLT 1.0 is ``hub.xml.transform``.

A stylesheet stands alone: its engine reaches no other file, so ``xsl:import`` and ``xsl:include`` are refused. It gets
the document and string parameters and reads nothing else; time and memory are limited by the worker process.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from lxml import etree

from hub.errors import ConfigError, Problem, Rejected
from hub.files import Files
from hub.message import Finding
from hub.xml import guard, saxon
from hub.xml.transform import INSIDE, XSL

VERSIONS = ("2.0", "3.0")
_NCNAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*", re.ASCII)
_BESIDE = (f"{XSL}import", f"{XSL}include", f"{XSL}use-package", f"{XSL}import-schema")


def is_meant(name: str, files: Files) -> bool:
    """Tell whether a stylesheet says that it is one of XSLT 2.0 or 3.0."""
    try:
        root = etree.fromstring(files.read(name), guard.trusted_parser())
    except (OSError, etree.XMLSyntaxError):
        return False  # XSLT 1.0 says what is wrong with it
    return _version(root) in VERSIONS


class Stylesheet3:
    """One stylesheet, compiled in each worker.

    Raises:
        ConfigError: It wants what it cannot have, or the extra is missing.
    """

    def __init__(self, name: str, files: Files, programs: saxon.Programs) -> None:
        self.name = name
        body = files.read(name)
        root = etree.fromstring(body, guard.trusted_parser())
        problems = list(_forbidden(name, root))
        if not saxon.available():
            problems.append(Problem(name, 0, 0, "", f"XSLT {_version(root)} {saxon.MISSING}"))
        if problems:
            raise ConfigError(problems)
        self._program = programs.get(name, etree.tostring(root, encoding="unicode"))
        self._parameters = frozenset(one.get("name", "") for one in root.iterchildren(f"{XSL}param"))

    def apply(self, document: etree._Element, values: Mapping[str, str]) -> bytes:
        """Return the serialised result; the same bytes for the same document and values.

        Raises:
            Rejected: ``transform_failed``. No text of the engine is passed on: it quotes the document.
        """
        given = {name: value for name, value in values.items() if name in self._parameters and _NCNAME.fullmatch(name)}
        try:
            result = self._program.apply(etree.tostring(document, encoding="unicode"), given).encode()
        except saxon.Failed as failure:
            raise self._rejected("xslt-error", f"{self.name} {failure}") from None
        try:
            guard.parse(result, limits=INSIDE)
        except Rejected as refusal:
            text = f"the result of {self.name} is no XML that may be sent ({refusal.code})"
            raise self._rejected("xslt-result", text) from None
        return result

    def _rejected(self, rule: str, text: str) -> Rejected:
        return Rejected("transform_failed", [Finding(rule, text=text)])


def _version(root: etree._Element) -> str:
    own = root.tag in (f"{XSL}stylesheet", f"{XSL}transform", f"{XSL}package")
    return (root.get("version") if own else root.get(f"{XSL}version")) or ""


def _forbidden(name: str, root: etree._Element) -> Iterator[Problem]:
    """Yield what would fail at the first message."""
    for node in root.iter(*_BESIDE):
        kind = etree.QName(node).localname
        text = f"xsl:{kind} is not available here: a stylesheet of XSLT 2.0 or 3.0 stands alone"
        yield Problem(name, node.sourceline or 0, 0, "", text)
    for node in root.iter(f"{XSL}output"):
        if node.get("method", "xml") != "xml":
            found = f"expected the output method xml, got {node.get('method')!r}"
            yield Problem(name, node.sourceline or 0, 0, "", found)

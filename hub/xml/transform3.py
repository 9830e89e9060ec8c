"""XSLT 2.0 and 3.0 as a step, run by SaxonC-HE. XSLT 1.0 is ``hub.xml.transform``.

A stylesheet and what it imports come from the snapshot's files. The engine reaches no file: whatever is imported or
included becomes part of the stylesheet's text before it sees it. While it runs, it gets the document and string
parameters and reads nothing else; time and memory are limited by the worker process.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from lxml import etree

from hub.errors import ConfigError, Problem, Rejected
from hub.files import Files
from hub.message import Finding
from hub.xml import guard, saxon
from hub.xml.transform import INSIDE, XSL, target_of

VERSIONS = ("2.0", "3.0")
_NCNAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*", re.ASCII)
_BESIDE = (f"{XSL}use-package", f"{XSL}import-schema")
_TEXT_MAX = 32 << 20  # with all that is imported, each as often as somebody asks for it


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
        sheets = _Sheets(files)
        root = sheets.gather(name)
        problems = list(dict.fromkeys(sheets.problems))
        if not saxon.available():
            problems.append(Problem(name, 0, 0, "", f"XSLT {_version(root)} {saxon.MISSING}"))
        if problems:
            raise ConfigError(problems)
        self._program = programs.get(name, etree.tostring(root, encoding="unicode"))
        self.names = frozenset(name for name in sheets.parameters if _NCNAME.fullmatch(name))

    def apply(self, document: etree._Element, values: Mapping[str, str]) -> bytes:
        """Return the serialised result; the same bytes for the same document and values.

        Raises:
            Rejected: ``transform_failed``. No text of the engine is passed on: it quotes the document.
        """
        given = {name: values[name] for name in self.names if name in values}
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
        return Rejected("transform_failed", [Finding(rule, self.name, text=text)])


class _Sheets:
    """A stylesheet with all that it imports: each ``href`` becomes an address that carries the file itself."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self._left = _TEXT_MAX
        self.problems: list[Problem] = []
        self.parameters: set[str] = set()

    def gather(self, name: str, above: tuple[str, ...] = (), at: Problem | None = None) -> etree._Element:
        """Return a parsed stylesheet that carries all that it imports; ``above`` are those that import it."""
        try:
            root = etree.fromstring(self._files.read(name), guard.trusted_parser())
        except OSError as error:
            self.problems.append(at or Problem(name, 0, 0, "", f"cannot be read: {error.strerror or error}"))
            return etree.Element("nothing")
        except etree.XMLSyntaxError as error:
            self.problems.append(Problem(name, *error.position, "", f"not well-formed: {error.msg}"))
            return etree.Element("nothing")
        self.problems += _forbidden(name, root)
        self.parameters |= {one.get("name", "") for one in root.iterchildren(f"{XSL}param")}
        for element in root.iterchildren(f"{XSL}import", f"{XSL}include"):
            href = element.get("href", "")
            line = element.sourceline or 0
            target = target_of(name, href)
            at = Problem(name, line, 0, "", f"{href!r}: expected a file of this deployment")
            if target is None:
                self.problems.append(at)
            elif target in (*above, name):
                self.problems.append(Problem(name, line, 0, "", f"{href!r} imports or includes itself"))
            elif self._left >= 0:  # else it was said
                text = etree.tostring(self.gather(target, (*above, name), at), encoding="unicode")
                self._left -= len(text)
                if self._left < 0:
                    text = f"more than {_TEXT_MAX >> 20} MB with all that is imported"
                    self.problems.append(Problem(name, line, 0, "", text))
                element.set("href", saxon.inside(target, text))
        return root


def _version(root: etree._Element) -> str:
    own = root.tag in (f"{XSL}stylesheet", f"{XSL}transform", f"{XSL}package")
    return (root.get("version") if own else root.get(f"{XSL}version")) or ""


def _forbidden(name: str, root: etree._Element) -> Iterator[Problem]:
    """Yield what would fail at the first message."""
    for node in root.iter(*_BESIDE):
        kind = etree.QName(node).localname
        text = f"xsl:{kind} is not available here; xsl:import and xsl:include are"
        yield Problem(name, node.sourceline or 0, 0, "", text)
    for node in root.iter(f"{XSL}output"):
        if node.get("method", "xml") != "xml":
            found = f"expected the output method xml, got {node.get('method')!r}"
            yield Problem(name, node.sourceline or 0, 0, "", found)

"""XSLT 1.0: a stylesheet of the snapshot, compiled once, applied to one document after another.

A stylesheet and what it imports come from the snapshot's files and from nowhere else; while it runs, it reads nothing
and writes nothing. Time and memory are limited by the worker process around it, not here: libxslt can only be killed.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, unquote

from lxml import etree

from hub.errors import ConfigError, Problem, Rejected
from hub.files import Files
from hub.message import Finding
from hub.xml import guard, trees

XSL = "{http://www.w3.org/1999/XSL/Transform}"
SCHEME = "snapshot:///"  # base of the addresses that libxslt sees; nothing but our resolver understands it

INSIDE = guard.XmlLimits(max_body=1 << 30, max_text=1 << 30)
"""Limits of a document between two steps: what its source let in must not fail later for its size."""

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:|[/\\]")
_LITERAL = re.compile(r"'[^']*'|\"[^\"]*\"")
_DOCUMENT = re.compile(r"(?<![\w.:-])document\s*\(")
_NCNAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*", re.ASCII)
_REFERENCE = re.compile(rf"\$({_NCNAME.pattern})", re.ASCII)


class Stylesheet:
    """One compiled stylesheet. It has one user at a time: lxml keeps the log of a run in the compiled object.

    Raises:
        ConfigError: It is not there, does not compile, or wants something that is not part of the snapshot. Its
            problems stand at the stylesheet's lines.
    """

    def __init__(self, name: str, files: Files) -> None:
        self.name = name
        sheets = _Sheets(files)
        root = sheets.gather(name)
        if sheets.problems:
            raise ConfigError(sheets.problems)
        try:
            with guard.COMPILE_LOCK:
                # Any: the type stubs know neither parameters by name nor the bytes of a result.
                self._transform: Any = etree.XSLT(root.getroottree(), access_control=etree.XSLTAccessControl.DENY_ALL)
        except etree.XSLTError as error:
            file, line = _place(error.error_log)
            raise ConfigError([Problem(file or name, line, 0, "", str(error))]) from error
        except OSError as error:
            raise ConfigError([Problem(name, 0, 0, "", str(error))]) from error
        self.names = frozenset(sheets.names)  # of the parameters that it may ask for

    def apply(self, document: etree._Element, values: Mapping[str, str]) -> bytes:
        """Return the serialised result; the same bytes for the same document and values.

        ``values`` become string parameters; the stylesheet takes those of its ``names``.

        Raises:
            Rejected: ``transform_failed``. No text of libxslt is passed on: it quotes the document.
        """
        try:
            parameters = {name: etree.XSLT.strparam(values[name]) for name in self.names if name in values}
            result = self._transform(document.getroottree(), **parameters)
            root, body = result.getroot(), bytes(result)
        except etree.XSLTError as error:
            refusal = self._failure(error.error_log)
        except (etree.LxmlError, ValueError) as error:
            refusal = _rejected(f"xslt-{type(error).__name__}", self.name, 0, f"{self.name} failed")
        else:
            if root is not None and body:
                return self._sendable(body)
            refusal = _rejected("xslt-empty", self.name, 0, f"{self.name} gave an empty result")
        # Raised outside, so that no exception with libxslt's text, which quotes the document, hangs on ours.
        raise refusal

    def _sendable(self, body: bytes) -> bytes:
        # By disable-output-escaping, two roots or a DOCTYPE a stylesheet can write what nobody may send.
        try:
            trees.parse(body, limits=INSIDE)
        except Rejected as refusal:
            text = f"the result of {self.name} is no XML that may be sent ({refusal.code})"
            raise _rejected("xslt-result", self.name, 0, text) from None
        return body

    def _failure(self, log: etree._ListErrorLog) -> Rejected:
        file, line = _place(log)
        if not file:
            return _rejected("xslt-message", self.name, 0, f"{self.name} ended itself by xsl:message")
        kinds = [entry.type_name for entry in log if entry.domain_name == "XPATH"]
        kind = f" ({kinds[0]})" if kinds else ""
        return _rejected("xslt-error", file, line, f"{file} failed in line {line}{kind}")


def _rejected(rule: str, file: str, line: int, text: str) -> Rejected:
    # The place is the stylesheet's: the text is not kept, and a person has to know which of them to mend.
    return Rejected("transform_failed", [Finding(rule, file, line, text)])


def _place(log: etree._ListErrorLog) -> tuple[str, int]:
    """Return the stylesheet and line that a log names last; ``("", 0)`` if it names none."""
    for entry in reversed(list(log)):
        if entry.line and entry.filename.startswith(SCHEME):
            return unquote(entry.filename.removeprefix(SCHEME)), entry.line
    return "", 0


class _Sheets(etree.Resolver):
    """A stylesheet with all that it imports, gathered before it is compiled; libxslt is served from nothing else."""

    def __init__(self, files: Files) -> None:
        self.files = files
        self.bodies: dict[str, bytes] = {}
        self.problems: list[Problem] = []
        self.names: set[str] = set()  # that are declared or referred to: libxslt also finds what is not declared

    def resolve(self, system_url: str | None, _public_id: str | None, context: Any) -> Any:
        system_url = system_url or ""
        name = unquote(system_url.removeprefix(SCHEME))
        if not system_url.startswith(SCHEME) or name not in self.bodies:
            raise OSError(f"not part of the snapshot: {system_url}")
        return self.resolve_string(self.bodies[name], context, base_url=system_url)

    def gather(self, name: str, at: Problem | None = None) -> etree._Element:
        """Return the parsed stylesheet, after everything that it imports was read."""
        nothing = etree.Element("nothing")
        try:
            self.bodies[name] = self.files.read(name)
            root = etree.fromstring(self.bodies[name], guard.trusted_parser(self), base_url=SCHEME + quote(name))
        except OSError as error:
            self.problems.append(at or Problem(name, 0, 0, "", f"cannot be read: {error.strerror or error}"))
            return nothing
        except etree.XMLSyntaxError as error:
            line, column = error.position
            self.problems.append(Problem(name, line, column, "", f"not well-formed: {error.msg}"))
            return nothing
        self.problems += _forbidden(name, root)
        self.names |= _names(root)
        for element in root.iterchildren(f"{XSL}import", f"{XSL}include"):
            href = element.get("href", "")
            target = target_of(name, href)
            at = Problem(name, element.sourceline or 0, 0, "", f"{href!r}: expected a file of this deployment")
            if target is None:
                self.problems.append(at)
            elif target not in self.bodies:
                self.gather(target, at)
        return root


def target_of(name: str, href: str) -> str | None:
    """Return the file that ``href`` in the stylesheet ``name`` means, or ``None`` if it leads out of the deployment."""
    if not href or _ADDRESS.match(href):
        return None
    target = posixpath.normpath(posixpath.join(posixpath.dirname(name), unquote(href)))
    return None if target.startswith("..") else target


def _names(root: etree._Element) -> set[str]:
    """Return the names of a stylesheet's parameters and of whatever its expressions refer to."""
    declared = {one.get("name", "") for one in root.iterchildren(f"{XSL}param")}
    values = (str(value) for element in root.iter(etree.Element) for value in element.attrib.values())
    referred = {name for value in values for name in _REFERENCE.findall(value)}
    return referred | {name for name in declared if _NCNAME.fullmatch(name)}


def _forbidden(name: str, root: etree._Element) -> Iterator[Problem]:
    """Yield what compiles, but would fail at the first message or silently do something else."""
    version = root.get("version") if root.tag in (f"{XSL}stylesheet", f"{XSL}transform") else root.get(f"{XSL}version")
    if version not in ("1.0", "1.1"):
        # libxslt runs newer ones "forwards compatibly": it skips what it does not know.
        yield Problem(name, root.sourceline or 0, 0, "", f"expected an XSLT stylesheet of version 1.0, got {version!r}")
    for element in root.iter(etree.Element):
        line = element.sourceline or 0
        own = str(element.tag).startswith(XSL)
        if element.tag == f"{XSL}output" and element.get("method", "xml") != "xml":
            yield Problem(name, line, 0, "", f"expected the output method xml, got {element.get('method')!r}")
        for value in map(str, element.attrib.values()):
            expressions = [value] if own else re.findall(r"\{[^{}]*\}", value)
            if any(_DOCUMENT.search(_LITERAL.sub("''", expression)) for expression in expressions):
                yield Problem(name, line, 0, "", "document() is not available: a step knows its message only")

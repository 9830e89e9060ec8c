"""ISO Schematron (ISO/IEC 19757-3) as a stylesheet: each assertion that fails becomes one element of the result.

    schema, pattern, let    global variables            rule       a template of the pattern's mode, first come first
    phase                   which patterns take part    assert     <f> unless the test holds; report: if it does

Query bindings xslt, xslt2 and xslt3; includes from the standard's own folder only; abstract rules and patterns.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass

from lxml import etree

from hub.errors import ConfigError, Problem
from hub.files import Files
from hub.xml import guard

RESULT = "urn:xoev-hub:findings"
INCLUDES_MAX = 100
BINDINGS = ("xslt", "xslt2", "xslt3")

_SCH = "{http://purl.oclc.org/dsdl/schematron}"
_XSL = "{http://www.w3.org/1999/XSL/Transform}"
_TESTS = (f"{_SCH}assert", f"{_SCH}report")
_F = f"{{{RESULT}}}f"
_VARIABLE = re.compile(r"\$((?:[\w.-]+:)?[\w.-]+)")
_KNOWN = {"xs": "http://www.w3.org/2001/XMLSchema", "xsl": _XSL[1:-1], "found": RESULT}


def read_schematron(files: Files, folder: str, name: str, phase: str = "") -> str:
    """Return the stylesheet that a Schematron file of a folder means.

    Raises:
        ConfigError: With everything that cannot be made a stylesheet.
    """
    schema = read_whole(files, folder, name)
    return etree.tostring(_Compiler(schema, f"{folder}/{name}", phase).stylesheet(), encoding="unicode")


def read_whole(files: Files, folder: str, name: str) -> etree._Element:
    """Return a Schematron file of a folder, with what it includes in its place.

    Raises:
        ConfigError: With every file that cannot be read.
    """
    reading = _Reading(files, folder)
    schema = reading.file(name)
    if schema is None or reading.problems:
        raise ConfigError(reading.problems)
    return schema


class _Reading:
    """A schema with what it includes in its place."""

    def __init__(self, files: Files, folder: str) -> None:
        self.problems: list[Problem] = []
        self._files, self._folder = files, folder
        self._read = 0

    def file(self, name: str) -> etree._Element | None:
        path = posixpath.normpath(f"{self._folder}/{name}")
        self._read += 1
        if not path.startswith(f"{self._folder}/") or self._read > INCLUDES_MAX:
            return self._broken(path, 0, "lies outside the standard's folder, or includes itself")
        try:
            root = etree.fromstring(self._files.read(path), guard.trusted_parser())
        except OSError as error:
            return self._broken(path, 0, f"cannot be read: {error.strerror}")
        except etree.XMLSyntaxError as error:
            return self._broken(path, error.lineno or 0, "is not well-formed XML")
        for node in list(root.iter(f"{_SCH}include", f"{_SCH}extends")):
            if href := node.get("href"):
                self._replace(node, posixpath.join(posixpath.dirname(name), href))
        return root

    def _replace(self, node: etree._Element, reference: str) -> None:
        name, _, fragment = reference.partition("#")
        found = self.file(name)
        if found is not None and fragment:
            found = next((one for one in found.iter("*") if one.get("id") == fragment), None)
        parent = node.getparent()
        if found is None or parent is None:
            return
        whole = node.tag == f"{_SCH}include" and found.tag != f"{_SCH}schema"
        at = parent.index(node)
        parent.remove(node)
        for offset, one in enumerate([found] if whole else list(found)):
            parent.insert(at + offset, one)

    def _broken(self, path: str, line: int, text: str) -> etree._Element | None:
        self.problems.append(Problem(path, line, 0, "", text))
        return None


@dataclass(slots=True)
class _Pattern:
    """A pattern as it takes part: with the parameters of an abstract one put in."""

    id: str
    node: etree._Element


class _Compiler:
    """Writes the stylesheet of one schema."""

    def __init__(self, schema: etree._Element, file: str, phase: str) -> None:
        self._schema, self._file = schema, file
        self._phase = phase or schema.get("defaultPhase", "")
        self._abstract = {one.get("id"): one for one in schema.iter(f"{_SCH}rule") if one.get("abstract") == "true"}
        self._diagnostics = {one.get("id"): one for one in schema.iter(f"{_SCH}diagnostic")}
        self._taken: set[str] = set()  # names of global variables
        self._called: Mapping[str, str] = {}  # the pattern's own variables -> what they are called in the stylesheet

    def stylesheet(self) -> etree._Element:
        schema = self._schema
        binding = schema.get("queryBinding", "xslt").lower()
        if schema.tag != f"{_SCH}schema" or binding not in BINDINGS:
            expected = f"expected an ISO Schematron schema with a query binding of {', '.join(BINDINGS)}"
            raise self._problem(schema, f"found {etree.QName(schema).localname} ({binding}), {expected}")
        prefixes = {one.get("prefix", ""): one.get("uri", "") for one in schema.iter(f"{_SCH}ns")}
        own = {prefix: uri for prefix, uri in schema.nsmap.items() if prefix and f"{{{uri}}}" != _SCH}
        out = etree.Element(f"{_XSL}stylesheet", nsmap={**own, **_KNOWN, **prefixes}, version="3.0")
        out.set("exclude-result-prefixes", "#all")
        etree.SubElement(out, f"{_XSL}output", method="xml", indent="no", encoding="UTF-8")
        phase, patterns = self._active()
        for node in (*schema, *(phase if phase is not None else ())):
            if str(node.tag).startswith(_XSL):
                out.append(deepcopy(node))
            elif node.tag == f"{_SCH}let":
                self._taken.add(node.get("name", ""))
                self._let(node, out)
        main = etree.SubElement(out, f"{_XSL}template", match="/")
        result = etree.SubElement(main, f"{{{RESULT}}}result")
        for position, pattern in enumerate(patterns):
            mode = f"found:p{position}"
            etree.SubElement(out, f"{_XSL}mode", {"name": mode, "on-no-match": "shallow-skip"})
            etree.SubElement(result, f"{_XSL}apply-templates", mode=mode, select="/")
            self._pattern(pattern, mode, out)
        return out

    def _active(self) -> tuple[etree._Element | None, list[_Pattern]]:
        """Return the phase that counts, and the patterns of it."""
        patterns = list(self._patterns())
        if self._phase in ("", "#ALL"):
            return None, patterns
        phases = {one.get("id"): one for one in self._schema.iter(f"{_SCH}phase")}
        if self._phase not in phases:
            known = ", ".join(str(name) for name in phases) or "none"
            raise self._problem(self._schema, f"has no phase {self._phase!r}; phases: {known}")
        phase = phases[self._phase]
        active = {one.get("pattern") for one in phase.iter(f"{_SCH}active")}
        return phase, [pattern for pattern in patterns if pattern.id in active]

    def _patterns(self) -> Iterator[_Pattern]:
        every = list(self._schema.iter(f"{_SCH}pattern"))
        abstract = {one.get("id"): one for one in every if one.get("abstract") == "true"}
        for position, node in enumerate(every, 1):
            name = node.get("id") or node.get("is-a") or f"pattern-{position}"
            if node.get("documents"):
                raise self._problem(node, "documents= is not available: a check knows its document only")
            if node.get("abstract") == "true":
                continue
            if (of := node.get("is-a")) is None:
                yield _Pattern(name, node)
            elif of in abstract:
                given = {one.get("name", ""): one.get("value", "") for one in node.iter(f"{_SCH}param")}
                yield _Pattern(name, _filled(abstract[of], given))
            else:
                raise self._problem(node, f"is-a={of!r}: there is no such abstract pattern")

    def _pattern(self, pattern: _Pattern, mode: str, out: etree._Element) -> None:
        self._called = self._own_names(pattern, mode)
        for node in pattern.node.iterchildren(f"{_SCH}let"):
            self._let(node, out)
        rules = [one for one in pattern.node.iterchildren(f"{_SCH}rule") if one.get("abstract") != "true"]
        parts = [list(self._parts(rule, ())) for rule in rules]
        names = _names(pattern.id, [part for of_rule in parts for part in of_rule if part.tag in _TESTS])
        for position, rule in enumerate(rules):
            attributes = {
                "match": self._own(rule.get("context", "")),
                "mode": mode,
                "priority": str(len(rules) - position),
            }
            template = etree.SubElement(out, f"{_XSL}template", attributes)
            for part in parts[position]:
                if part.tag == f"{_SCH}let":
                    self._let(part, template)
            for part in parts[position]:
                if part.tag in _TESTS:
                    self._test(part, rule, next(names), template)
            etree.SubElement(template, f"{_XSL}apply-templates", mode=mode, select="@*|node()")

    def _own_names(self, pattern: _Pattern, mode: str) -> Mapping[str, str]:
        """Return other names for a pattern's variables that stand in another one, too: a stylesheet has one scope."""
        own = {node.get("name", "") for node in pattern.node.iterchildren(f"{_SCH}let")}
        called = {name: f"{mode}-{name.replace(':', '-')}" for name in own & self._taken}
        self._taken |= own
        return called

    def _own(self, xpath: str) -> str:
        return _VARIABLE.sub(lambda found: f"${self._called.get(found[1], found[1])}", xpath) if self._called else xpath

    def _parts(self, rule: etree._Element, above: tuple[etree._Element, ...]) -> Iterator[etree._Element]:
        """Yield what a rule consists of, with that of the abstract rules that it extends."""
        for part in rule.iterchildren("*"):
            if part.tag != f"{_SCH}extends":
                yield part
                continue
            extended = self._abstract.get(part.get("rule"))
            if extended is None or extended in above:
                raise self._problem(part, f"extends {part.get('rule')!r}: there is no such abstract rule")
            yield from self._parts(extended, (*above, extended))

    def _test(self, part: etree._Element, rule: etree._Element, name: str, out: etree._Element) -> None:
        test = self._own(part.get("test", ""))
        failing = f"not({test})" if part.tag == f"{_SCH}assert" else test
        inside = etree.SubElement(out, f"{_XSL}if", test=failing)
        level = next((one.get(name) for one in (part, rule) for name in ("flag", "role") if one.get(name)), "error")
        found = etree.SubElement(inside, _F, id=_plain(name))
        found.set("level", _plain(str(level)))
        found.set("at", "{path(.)}")
        self._text(part, found)
        for reference in part.get("diagnostics", "").split():
            if reference in self._diagnostics:
                self._put(" ", found)
                self._text(self._diagnostics[reference], found)

    def _text(self, node: etree._Element, out: etree._Element) -> None:
        """Write a text with what it computes."""
        self._put(node.text, out)
        for child in node:
            if child.tag == f"{_SCH}value-of":
                etree.SubElement(out, f"{_XSL}value-of", select=self._own(child.get("select", "''")))
            elif child.tag == f"{_SCH}name":
                etree.SubElement(out, f"{_XSL}value-of", select=self._own(f"name({child.get('path', '.')})"))
            elif isinstance(child.tag, str):
                self._text(child, out)
            self._put(child.tail, out)

    def _put(self, text: str | None, out: etree._Element) -> None:
        if text:
            etree.SubElement(out, f"{_XSL}text").text = text

    def _let(self, node: etree._Element, out: etree._Element) -> None:
        name = node.get("name", "")
        variable = etree.SubElement(out, f"{_XSL}variable", name=self._called.get(name, name))
        if node.get("as"):
            variable.set("as", node.get("as", ""))
        if node.get("value") is not None:
            variable.set("select", self._own(node.get("value", "")))
        else:
            variable.extend(deepcopy(child) for child in node)
            for inside in variable.iterdescendants("*"):
                for key, value in inside.attrib.items():
                    inside.set(key, self._own(str(value)))

    def _problem(self, node: etree._Element, text: str) -> ConfigError:
        return ConfigError([Problem(self._file, node.sourceline or 0, 0, "", text)])


def _names(pattern: str, tests: Sequence[etree._Element]) -> Iterator[str]:
    """Yield the rule id of each test of a pattern: its own, else the pattern's, with a number if that is not enough."""
    nameless = sum(not one.get("id") for one in tests)
    count = 0
    for one in tests:
        count += not one.get("id")
        yield one.get("id") or (pattern if nameless == 1 else f"{pattern}-{count}")


def _filled(abstract: etree._Element, given: Mapping[str, str]) -> etree._Element:
    """Return a copy of an abstract pattern with its parameters replaced: ``$name`` wherever it stands."""
    pattern = deepcopy(abstract)
    if not given:
        return pattern
    names = "|".join(re.escape(name) for name in sorted(given, key=len, reverse=True))
    parameter = re.compile(rf"\$({names})(?![\w.-])")
    for node in pattern.iter("*"):
        for name, value in list(node.attrib.items()):
            node.set(name, parameter.sub(lambda found: given[found[1]], str(value)))
    return pattern


def _plain(text: str) -> str:
    """Return a text as it must stand in an attribute of a result: braces would begin an expression."""
    return text.replace("{", "{{").replace("}", "}}")

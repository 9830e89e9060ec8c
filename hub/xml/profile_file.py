"""Reads a ``profile.yaml``. Strict: every problem with its file, line and column, all in one run."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, time
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from hub.errors import Problem
from hub.files import Files
from hub.message import MessageType
from hub.xml.forms import FORMS, AuthorityField, Field, HeaderForm
from hub.xml.profile import EVERY, Answer, Profile, Root
from hub.xml.xpath import Namespaces, problem_with

if TYPE_CHECKING:
    from hub.config.document import Node
    from hub.config.report import Report

BERLIN = ZoneInfo("Europe/Berlin")

_NAME = "[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
_FILE = r"(?!.*\.\.)[^/\\][^\\]*"
_XSD = rf"{_FILE}\.xsd"
_ROOT = {"namespace", "names", "xsd", "header", "version_from", "versions"}
_TOP = {
    "standard", "version", "title", "roots", "version_from", "versions", "xsd", "level", "header", "identity", "keys",
    "business_keys", "valid_from", "valid_to", "grace_until", "codelists", "schematron", "without", "reject_with",
    "receipt_with", "bindings", "type_list", "answers",
}  # fmt: skip
ANSWER_FORMS = ("xinneres", "xbau", "xbau-receipt", "xmeld")
_FACTS = ("message_id", "type_code", "created_at")
_AUTHORITIES = ("author", "reader")


def read_profile(files: Files, folder: str) -> tuple[Profile | None, list[Problem]]:
    """Return the profile of a standard's folder, or the problems that stand in its way."""
    # Here and not above: hub.config as a whole lies over hub.xml, only its reader of YAML lies below.
    from hub.config import document
    from hub.config.report import Report

    file, report = f"{folder}/profile.yaml", Report()
    try:
        node = document.parse(files.read(file), file, report)
    except OSError as error:
        return None, [Problem(file, 0, 0, "", f"cannot be read: {error.strerror}")]
    profile = _Reading(report, folder).profile(node) if node else None
    if node is None and not report.failed:
        return None, [Problem(file, 1, 1, "", "is empty, expected a profile")]
    return (None if report.failed else profile), list(report.problems())


@dataclass(frozen=True, slots=True)
class _Defaults:
    """What the top of a profile says for all its roots."""

    xsd: Node | None
    header: Node | None
    version_from: Node | None
    versions: frozenset[str]


class _Reading:
    """Reads one profile; notes what is wrong and goes on."""

    def __init__(self, report: Report, folder: str) -> None:
        self._report = report
        self._folder = folder

    def profile(self, top: Node) -> Profile | None:
        entries = self._entries(top, _TOP, required=("standard", "version", "roots"))
        standard, version = (self._text(entries.get(key), _NAME, "a name") for key in ("standard", "version"))
        self._check_folder(entries, standard, version)
        defaults = _Defaults(
            xsd=entries.get("xsd"),
            header=entries.get("header"),
            version_from=entries.get("version_from"),
            versions=frozenset({version, *self._texts(entries.get("versions"))}),
        )
        roots = [self._root(node, defaults) for node in self._one_or_list(entries.get("roots"))]
        keys = self._keys(entries.get("keys"), roots)
        dates = self._dates(entries)
        return Profile(
            standard=standard,
            version=version,
            title=self._text(entries.get("title")) or f"{standard} {version}",
            level=self._choice(entries.get("level"), ("full", "header")),
            roots=tuple(roots),
            folder=self._folder,
            keys=keys,
            business_keys=self._business_keys(entries.get("business_keys"), keys),
            identity=self._choice(entries.get("identity"), ("message_id", "digest")),
            valid_from=dates["valid_from"],
            valid_to=dates["valid_to"],
            grace_until=dates["grace_until"],
            codelists=self._files(entries.get("codelists")),
            schematron=self._files(entries.get("schematron")),
            without=frozenset(self._texts(entries.get("without"))),
            bindings=self._text(entries.get("bindings"), "[a-z][a-z0-9_]{0,63}", "a module's name") or None,
            reject_with=self._answered(entries.get("reject_with"), "problem"),
            receipt_with=self._answered(entries.get("receipt_with"), "none"),
            type_list=self._text(entries.get("type_list")),
            answers={name: self._answer(child) for name, child in self._mapping(entries.get("answers")).items()},
        )

    def _check_folder(self, entries: Mapping[str, Node], standard: str, version: str) -> None:
        for key, found, part in zip(
            ("standard", "version"), (standard, version), self._folder.split("/")[-2:], strict=True
        ):
            if found and found != part:
                self._problem(entries[key], f"found {found!r}, but the folder is named {part!r}")

    # --- roots and headers ---------------------------------------------------------------------------------------

    def _root(self, node: Node, defaults: _Defaults) -> Root:
        entries = self._entries(node, _ROOT, required=("namespace", "names"))
        xsd = entries.get("xsd") or defaults.xsd
        if xsd is None:
            self._problem(node, "xsd is missing, here and at the top")
        header = entries.get("header") or defaults.header
        if header is None:
            self._problem(node, "header is missing, here and at the top")
        namespace = self._text(entries.get("namespace"))
        root = Root(
            namespace=namespace,
            names=self._names(entries.get("names")),
            xsd=self._text(xsd, _XSD, "a schema file in this folder"),
            header=self._header(header, namespace) if header else HeaderForm(),
            versions=defaults.versions | frozenset(self._texts(entries.get("versions"))),
        )
        return self._with_version(entries.get("version_from") or defaults.version_from, root)

    def _with_version(self, node: Node | None, root: Root) -> Root:
        text = self._text(node, r"fixed|@[A-Za-z_][\w.-]*|/.*", 'fixed, "@attribute" or an absolute XPath') or "fixed"
        if text.startswith("/") and node:
            self._check_xpath(node, text, root.namespaces)
        return replace(root, version_from=text)

    def _names(self, node: Node | None) -> frozenset[str]:
        if node is not None and node.text is not None and node.text != "*":
            self._problem(node, f'found {node.text!r}, expected a list of names or "*"')
        return EVERY if node is None or node.text is not None else frozenset(self._texts(node))

    def _header(self, node: Node, namespace: str) -> HeaderForm:
        entries = self._entries(node, {"form", "namespaces", "references", "type_mismatch", *_FACTS, *_AUTHORITIES})
        base = FORMS[self._choice(entries.get("form"), ("none", *(name for name in FORMS if name != "none")))]
        own = {name: self._text(child) for name, child in self._mapping(entries.get("namespaces")).items()}
        form = replace(base, namespaces={**base.namespaces, **own})
        prefixes = tuple(sorted({**form.namespaces, **({"r": namespace} if namespace else {})}.items()))
        facts: dict[str, Any] = {
            name: self._field(entries[name], prefixes, required=True) for name in _FACTS if name in entries
        }
        for name in _AUTHORITIES:
            if name in entries:
                facts[name] = self._authority(entries[name], prefixes)
        if "type_mismatch" in entries:
            facts["type_mismatch"] = self._choice(entries["type_mismatch"], ("warning", "error"))
        references = self._mapping(entries.get("references"))
        if references:
            facts["references"] = {
                name: self._field(child, prefixes, required=False) for name, child in references.items()
            }
        return replace(form, **facts)

    def _field(self, node: Node, namespaces: Namespaces, *, required: bool) -> Field:
        if node.text is not None:
            return Field(self._xpath(node, namespaces), required=required)
        entries = self._entries(node, {"xpath", "pattern", "required"}, required=("xpath",))
        field = Field(self._xpath(entries.get("xpath"), namespaces), required=self._flag(entries, required))
        pattern = self._pattern(entries.get("pattern"))
        return replace(field, pattern=pattern) if pattern else field

    def _authority(self, node: Node, namespaces: Namespaces) -> AuthorityField:
        if node.text is not None:
            return AuthorityField(self._xpath(node, namespaces))
        allowed = {"xpath", "prefix", "prefix_xpath", "pattern", "required"}
        entries = self._entries(node, allowed, required=("xpath",))
        prefix_xpath = entries.get("prefix_xpath")
        field = AuthorityField(
            self._xpath(entries.get("xpath"), namespaces),
            prefix=self._text(entries.get("prefix"), "[A-Za-zÄÖÜäöüß]{1,20}", "letters such as ags"),
            prefix_xpath=self._xpath(prefix_xpath, namespaces) if prefix_xpath else "",
            required=self._flag(entries, default=True),
        )
        pattern = self._pattern(entries.get("pattern"))
        return replace(field, pattern=pattern) if pattern else field

    def _keys(self, node: Node | None, roots: Iterable[Root]) -> dict[str, Field]:
        keys: dict[str, Field] = {}
        for name, child in self._mapping(node).items():
            if not re.fullmatch("[a-z][a-z0-9_]{0,39}", name, re.ASCII):
                self._report.add(child.key_place, f"found {name!r}, expected small letters, digits and _")
            for root in roots:
                keys[name] = self._field(child, root.namespaces, required=False)
        return keys

    def _business_keys(self, node: Node | None, keys: Mapping[str, Field]) -> frozenset[str]:
        names = self._texts(node)
        for name in names:
            if name not in keys and node:
                self._problem(node, f"found {name!r}, which is none of keys{_meant(name, keys)}")
        return frozenset(names)

    # --- answers to senders --------------------------------------------------------------------------------------

    def _answered(self, node: Node | None, nothing: str) -> tuple[tuple[str, MessageType], ...]:
        if node is None or node.text == nothing:
            return ()
        if node.text is not None:
            return (("*", self._type(node, nothing)),)
        return tuple((glob, self._type(child, nothing)) for glob, child in self._mapping(node).items())

    def _type(self, node: Node, nothing: str) -> MessageType:
        expected = f"`{nothing}` or a message type STANDARD/VERSION/NAME"
        text = self._text(node, f"{_NAME}/{_NAME}/[^/]+", expected)
        return MessageType.parse(text or "//")

    def _answer(self, node: Node) -> Answer:
        entries = self._entries(node, {"form", "type_code", "codes", "list_version"}, required=("form", "type_code"))
        return Answer(
            form=self._choice(entries.get("form"), ANSWER_FORMS),
            type_code=self._text(entries.get("type_code")),
            codes={name: self._text(child) for name, child in self._mapping(entries.get("codes")).items()},
            list_version=self._text(entries.get("list_version")),
        )

    # --- scalars -------------------------------------------------------------------------------------------------

    def _dates(self, entries: Mapping[str, Node]) -> dict[str, datetime | None]:
        dates: dict[str, datetime | None] = {}
        last: tuple[str, datetime] | None = None
        for name in ("valid_from", "valid_to", "grace_until"):
            dates[name] = found = self._date(entries.get(name))
            if found and last:
                before, date_ = last
                # A window that ends on the day it begins has no moment: the version would never be served.
                if found < date_ or (found == date_ and before == "valid_from"):
                    expected = f"{'later than' if before == 'valid_from' else 'not before'} {before}, {date_:%Y-%m-%d}"
                    self._problem(entries[name], f"found {found:%Y-%m-%d}, expected a date {expected}")
            last = (name, found) if found else last
        return dates

    def _date(self, node: Node | None) -> datetime | None:
        text = self._text(node)
        if not text or node is None:
            return None
        try:
            # Midnight where the standards are in force, whatever the clock of this machine says.
            return datetime.combine(date.fromisoformat(text), time(), BERLIN)
        except ValueError:
            self._problem(node, f"found {text!r}, expected a date such as 2026-05-01")
            return None

    def _xpath(self, node: Node | None, namespaces: Namespaces) -> str:
        text = self._text(node)
        if text and node:
            self._check_xpath(node, text, namespaces)
        return text

    def _check_xpath(self, node: Node, text: str, namespaces: Namespaces) -> None:
        problem = problem_with(text, namespaces)
        if problem:
            self._problem(node, problem)

    def _pattern(self, node: Node | None) -> str:
        text = self._text(node)
        try:
            re.compile(text)
        except re.error as error:
            if node:
                self._problem(node, f"is no regular expression: {error}")
            return ""
        return text

    def _flag(self, entries: Mapping[str, Node], default: bool) -> bool:
        node = entries.get("required")
        return default if node is None else self._choice(node, ("true", "false")) == "true"

    def _choice(self, node: Node | None, choices: tuple[Any, ...]) -> Any:
        """Return one of some texts; the first where nothing is said."""
        if node is None:
            return choices[0]
        if node.text not in choices:
            found = node.text if node.text is not None else "no text"
            self._problem(node, f"found {found!r}, expected one of {', '.join(choices)}{_meant(found, choices)}")
            return choices[0]
        return node.text

    def _text(self, node: Node | None, pattern: str = ".+", expected: str = "text") -> str:
        if node is None or node.value is None:
            return ""
        if node.text is None or not re.fullmatch(pattern, node.text, re.ASCII | re.DOTALL):
            self._problem(node, f"expected {expected}")
            return ""
        return node.text

    def _texts(self, node: Node | None) -> list[str]:
        return [self._text(child) for child in self._list(node)]

    def _files(self, node: Node | None) -> tuple[str, ...]:
        return tuple(self._text(child, _FILE, "a file in this folder") for child in self._list(node))

    # --- shapes --------------------------------------------------------------------------------------------------

    def _entries(self, node: Node, allowed: Iterable[str], required: Iterable[str] = ()) -> dict[str, Node]:
        entries = self._mapping(node)
        for name, child in entries.items():
            if name not in allowed:
                self._report.add(child.key_place, f"unknown key {name!r}{_meant(name, allowed)}")
        for name in required:
            if name not in entries:
                self._problem(node, f"{name} is missing")
        return entries

    def _mapping(self, node: Node | None) -> dict[str, Node]:
        if node is None or node.value is None:
            return {}
        if not isinstance(node.value, dict):
            self._problem(node, "expected a mapping")
        return node.items

    def _list(self, node: Node | None) -> list[Node]:
        if node is None or node.value is None:
            return []
        if not isinstance(node.value, list):
            self._problem(node, "expected a list")
            return []
        return node.value

    def _one_or_list(self, node: Node | None) -> list[Node]:
        if node is None or isinstance(node.value, list):
            return self._list(node)
        return [node]

    def _problem(self, node: Node, text: str) -> None:
        self._report.add(node.place, text)


def _meant(found: str, choices: Iterable[str]) -> str:
    close = difflib.get_close_matches(found, list(choices), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""

"""The only entrance for foreign XML, and the only file that makes parsers.

What comes in is bytes; what comes out is an element or ``Rejected``. A look at the bytes is enough for the good:

    size ─▶ encoding ─▶ byte gate ──passes──▶ libxml2 with its own limits ─▶ no DTD? depth? ─▶ element
                            └──trips, or UTF-16──▶ exact pre-scan (expat) ──┘

The gate counts upper bounds only, so it may suspect the innocent, never miss the guilty; the pre-scan decides.
Findings name the class of an error and its place. They never quote the document, as libxml2's own texts do.
"""

from __future__ import annotations

import codecs
import re
import threading
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, NoReturn
from xml.parsers import expat  # no tree is built here: it only counts, and a DOCTYPE ends it

from lxml import etree

from hub.errors import Rejected
from hub.message import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

LIBXML_TEXT_MAX = 10_000_000  # libxml2's own limit of one text node, and of its look-ahead

# What is too small for so many of something has not so many: most documents need not be counted through.
NODE_BYTES = 4  # <a/>
LEVEL_BYTES = 7  # <a></a>
ATTRIBUTE_BYTES = 5  # a blank, and a=""
NAMESPACE_BYTES = 9  # a blank, and xmlns=""

COMPILE_LOCK = threading.Lock()
"""Held around every compilation of a schema or stylesheet: libxml2's start-up of its types is not thread-safe."""


@dataclass(frozen=True, slots=True)
class XmlLimits:
    """How much of everything a document may have. An attribute's value is bounded by its tag.

    ``max_text`` above libxml2's own limit switches that limit off, for documents that passed the exact pre-scan.
    """

    max_body: int = 50_000_000  # bytes
    max_text: int = LIBXML_TEXT_MAX  # of the text between two tags
    depth: int = 128  # elements inside each other
    nodes: int = 100_000  # elements, comments and processing instructions
    attributes: int = 256  # of one element, namespace declarations included
    all_attributes: int = 400_000  # of all elements: each costs a node and its text in the tree
    namespaces: int = 256  # declared by an element and its ancestors
    tag: int = 65_536  # bytes from "<" to ">"


DEFAULT_LIMITS = XmlLimits()


def parse(body: bytes, *, charset: str | None = None, limits: XmlLimits = DEFAULT_LIMITS) -> etree._Element:
    """Return the root element of a foreign document; ``charset`` is what the transport claims about it.

    Raises:
        Rejected: ``body_too_large``, ``encoding``, ``doctype_forbidden``, ``limit`` or ``not_well_formed``.
    """
    if len(body) > limits.max_body:
        _reject("body_too_large", f"more than {limits.max_body} bytes")
    encoding, plain = _decoded(body, charset)
    if not _START.match(plain):
        _reject("not_well_formed", "not XML: the first character is not '<'" if body else "not XML: it is empty", 1, 1)
    if (nul := plain.find(0)) >= 0:
        _reject("not_well_formed", "NUL character", *_position(plain, nul))
    if encoding == "utf-16" or _trips(plain, limits):
        _refuse_long_tags(plain, limits)
        _count_exactly(plain, encoding, limits)
    size = len(plain)
    del plain  # of UTF-16 it is a copy
    root = _parsed(body, huge=size > LIBXML_TEXT_MAX < limits.max_text)
    if root.getroottree().docinfo.internalDTD is not None:
        _reject("doctype_forbidden", "DOCTYPE")
    if size > LEVEL_BYTES * limits.depth:
        _refuse_depth(root, limits)
    return root


def trusted_parser(resolver: etree.Resolver | None = None) -> etree.XMLParser:
    """Return a parser for schemas, stylesheets and WSDLs of the snapshot: no network, no DTD, no file by itself.

    What such a document imports is asked of ``resolver``; what that does not know is an error. libxml2 then goes on
    silently without an imported *schema*: who compiles one must ask the resolver afterwards whether all was found.
    """
    return _parser(resolver, huge=False)


# --- encoding -----------------------------------------------------------------------------------------------------

_BOMS = (  # UTF-32 first: its little-endian mark begins with that of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_ENCODINGS = {name: name for name in ("utf-8", "utf-16", "iso-8859-1", "iso-8859-15", "windows-1252", "us-ascii")} | {
    "utf8": "utf-8",
    "utf16": "utf-16",
    "ascii": "us-ascii",
    "latin1": "iso-8859-1",
    "cp1252": "windows-1252",
}
_START = re.compile(rb"[ \t\r\n]*<")
_DECLARED = re.compile(rb"<\?xml[ \t\r\n]")
_DECLARATION = re.compile(
    rb"""<\?xml [ \t\r\n]+ version [ \t\r\n]* = [ \t\r\n]* (["'])1\.0\1
         (?: [ \t\r\n]+ encoding [ \t\r\n]* = [ \t\r\n]* (["'])(?P<encoding>[A-Za-z][A-Za-z0-9._-]{0,39})\2 )?
         (?: [ \t\r\n]+ standalone [ \t\r\n]* = [ \t\r\n]* (["'])(?:yes|no)\4 )? [ \t\r\n]* \?>""",
    re.VERBOSE,
)


def _decoded(body: bytes, charset: str | None) -> tuple[str, bytes]:
    """Return the encoding, and the body in an encoding whose markup can be read as ASCII.

    Byte order mark, declaration and transport must not contradict each other: the hub and the destination must read
    the same document.
    """
    bom, mark = None, b""
    if not body.startswith(b"<"):  # as nearly all do
        bom, mark = next(((name, mark) for mark, name in _BOMS if body.startswith(mark)), (None, b""))
    if bom == "utf-32":
        _reject("encoding", "UTF-32 is not accepted", 1, 1)
    plain = body[len(mark) :]
    if bom == "utf-16":
        plain = _utf8(body)
    declared = _declared_encoding(plain)
    if declared == "utf-16" and bom != "utf-16":
        _reject("encoding", "UTF-16 without a byte order mark", 1, 1)
    if bom and declared and bom != declared:
        _reject("encoding", "byte order mark and XML declaration contradict each other", 1, 1)
    encoding = bom or declared or "utf-8"
    if charset is not None and _ENCODINGS.get(charset.strip("\"' ").lower()) != encoding:
        _reject("encoding", "the transport's charset and the document contradict each other", 1, 1)
    return encoding, plain


def _utf8(body: bytes) -> bytes:
    with suppress(UnicodeError):
        return body.decode("utf-16").encode()
    return _reject("not_well_formed", "invalid UTF-16")


def _declared_encoding(plain: bytes) -> str | None:
    if not _DECLARED.match(plain):
        return None
    declaration = _DECLARATION.match(plain, 0, 600)
    if declaration is None:
        _reject("encoding", "the XML declaration is not readable, or its version is not 1.0", 1, 1)
    if (name := declaration["encoding"]) is None:
        return None
    if (encoding := _ENCODINGS.get(name.decode().lower())) is None:
        _reject("encoding", "the declared encoding is not accepted; UTF-8 is", 1, 1)
    return encoding


# --- the gate and the exact pre-scan ------------------------------------------------------------------------------

_OPAQUE = ((b"<!--", b"-->"), (b"<![CDATA[", b"]]>"), (b"<?", b"?>"))
# No possessive quantifiers: Python before 3.11.5 gets some wrong, Debian 12 has 3.11.2. Unrolled, so that it is linear.
_TAG = re.compile(rb"""</?[A-Za-z_:\x80-\xff][^<>"']*(?:(?:"[^<"]*"|'[^<']*')[^<>"']*)*>""")


def _trips(plain: bytes, limits: XmlLimits) -> bool:
    """Tell whether the document may break a limit that libxml2 does not have, or may have a DOCTYPE."""
    size = len(plain)
    return (
        b"<!DOCTYPE" in plain
        or (size > NODE_BYTES * limits.nodes and plain.count(b"<") - plain.count(b"</") > limits.nodes)
        or (size > ATTRIBUTE_BYTES * limits.all_attributes and plain.count(b"=") > limits.all_attributes)
        or (size > ATTRIBUTE_BYTES * limits.attributes and _is_crowded(plain, limits.attributes))
        or (size > NAMESPACE_BYTES * limits.namespaces and plain.count(b"xmlns") > limits.namespaces)
        or size > limits.max_text != LIBXML_TEXT_MAX
        or (size > limits.tag and next(_long_tags(plain, limits.tag), None) is not None)
    )


def _stretches(plain: bytes, size: int) -> Iterator[tuple[int, int]]:
    """Yield from where to where, from one ``<`` to the next, is more than ``size`` bytes.

    Jumps as far as it can, because this is asked of every message: what lies in one window is short enough.
    """
    at = plain.find(b"<")
    while at >= 0 and at + size < len(plain):
        following = plain.rfind(b"<", at + 1, at + size + 1)
        if following < 0:
            following = plain.find(b"<", at + size + 1)
            yield at, following if following >= 0 else len(plain)
        at = following


def _is_crowded(plain: bytes, attributes: int) -> bool:
    """Tell whether a tag may have more attributes."""
    stretches = _stretches(plain, ATTRIBUTE_BYTES * attributes)
    return any(plain.count(b"=", start, end) > attributes for start, end in stretches)


def _long_tags(plain: bytes, size: int) -> Iterator[int]:
    """Yield where something longer than ``size`` begins that may be a tag; long texts after short tags are none."""
    for at, _ in _stretches(plain, size):
        opaque = any(plain.startswith(start, at) for start, _ in _OPAQUE)
        if not opaque and not _TAG.match(plain, at, at + size):
            yield at


def _refuse_long_tags(plain: bytes, limits: XmlLimits) -> None:
    """Refuse a tag that is too long before a parser collects its million attributes.

    Reads from markup to markup, so that what looks like a tag inside a comment or CDATA is none.
    """
    long = set(_long_tags(plain, limits.tag))
    last = max(long, default=-1)
    at = seen = 0
    while 0 <= (at := plain.find(b"<", at)) <= last:
        following = _after_markup(plain, at, limits.tag)
        if following < 0:
            if at in long and plain[at + 1 : at + 2] != b"!":
                _reject("limit", f"a tag longer than {limits.tag} bytes", *_position(plain, at))
            return  # a DOCTYPE, or not well-formed from here on: the pre-scan says so
        at = following
        seen += 1
        if seen > 2 * limits.nodes:  # start tags and end tags
            _reject("limit", f"more than {limits.nodes} nodes", *_position(plain, at))


def _after_markup(plain: bytes, at: int, size: int) -> int:
    """Return where the comment, CDATA section, instruction or tag ends that begins at ``at``; -1: it does not."""
    for start, end in _OPAQUE:
        if plain.startswith(start, at):
            end_at = plain.find(end, at + len(start))
            return end_at + len(end) if end_at >= 0 else -1
    tag = _TAG.match(plain, at, at + size)
    return tag.end() if tag else -1


def _count_exactly(plain: bytes, encoding: str, limits: XmlLimits) -> None:
    """Refuse a DOCTYPE and what is too much of anything.

    The whole body goes in with one call: older versions of expat take quadratic time for tokens in pieces.
    """
    parser = expat.ParserCreate("utf-8" if encoding == "utf-16" else encoding)
    count = _Count(parser, limits)
    parser.ordered_attributes = True
    parser.buffer_text = True
    parser.buffer_size = 1 << 20
    parser.StartDoctypeDeclHandler = count.doctype
    parser.StartElementHandler = count.start
    parser.EndElementHandler = count.end
    parser.CommentHandler = count.comment
    parser.ProcessingInstructionHandler = count.instruction
    parser.CharacterDataHandler = count.characters
    with suppress(expat.ExpatError):
        parser.Parse(plain, True)
        return
    kind = expat.ErrorString(parser.ErrorCode)
    _reject("not_well_formed", kind, parser.ErrorLineNumber, parser.ErrorColumnNumber + 1)


class _Count:
    """What the pre-scan has seen so far. The text runs from tag to tag, whatever comments lie in between."""

    def __init__(self, parser: expat.XMLParserType, limits: XmlLimits) -> None:
        self._parser, self._limits = parser, limits
        self._nodes = self._attributes = self._text = 0
        self._scopes = [0]

    def doctype(self, *_: object) -> NoReturn:
        self._refuse("doctype_forbidden", "DOCTYPE")

    def start(self, _name: str, attributes: list[str]) -> None:
        self._text = 0
        self._node()
        names = attributes[::2]
        self._attributes += len(names)
        if len(names) > self._limits.attributes:
            self._refuse("limit", f"more than {self._limits.attributes} attributes in one element")
        if self._attributes > self._limits.all_attributes:
            self._refuse("limit", f"more than {self._limits.all_attributes} attributes")
        declared = sum(name == "xmlns" or name.startswith("xmlns:") for name in names)
        self._scopes.append(self._scopes[-1] + declared)
        if self._scopes[-1] > self._limits.namespaces:
            self._refuse("limit", f"more than {self._limits.namespaces} namespaces")

    def end(self, _name: str) -> None:
        self._text = 0
        self._scopes.pop()

    def comment(self, text: str) -> None:
        self._node()
        self._measure(len(text))

    def instruction(self, _target: str, text: str) -> None:
        self._node()
        self._measure(len(text))

    def characters(self, text: str) -> None:
        self._text += len(text)
        self._measure(self._text)

    def _measure(self, characters: int) -> None:
        if characters > self._limits.max_text:
            self._refuse("limit", f"a text longer than {self._limits.max_text} characters")

    def _node(self) -> None:
        self._nodes += 1
        if self._nodes > self._limits.nodes:
            self._refuse("limit", f"more than {self._limits.nodes} nodes")

    def _refuse(self, code: str, text: str) -> NoReturn:
        _reject(code, text, self._parser.CurrentLineNumber, self._parser.CurrentColumnNumber + 1)


# --- libxml2 ------------------------------------------------------------------------------------------------------


class _Closed(etree.Resolver):
    """Lets a document reach only what ``known`` answers for; without it, nothing."""

    def __init__(self, known: etree.Resolver | None) -> None:
        self._known = known

    def resolve(self, system_url: str | None, public_id: str | None, context: Any) -> Any:
        answer = self._known.resolve(system_url, public_id, context) if self._known else None
        if answer is None:
            raise OSError("a document asks for a file that is not part of the snapshot")
        return answer


_HARDENED: dict[str, Any] = {
    "resolve_entities": False,
    "no_network": True,
    "load_dtd": False,
    "dtd_validation": False,
    "attribute_defaults": False,
    "recover": False,
    "decompress": False,
}


def _parser(resolver: etree.Resolver | None, *, huge: bool) -> etree.XMLParser:
    parser: etree.XMLParser = etree.XMLParser(**_HARDENED, huge_tree=huge)
    parser.resolvers.add(_Closed(resolver))
    return parser


def _parsed(body: bytes, *, huge: bool) -> etree._Element:
    parser = _parser(None, huge=huge)
    try:
        return etree.fromstring(body, parser)
    except etree.XMLSyntaxError:
        pass  # refused below, where its text, which quotes the document, does not hang on ours
    errors = [entry for entry in parser.error_log if entry.level > etree.ErrorLevels.WARNING]
    if not errors:
        return _reject("not_well_formed", "syntax error")
    kind = errors[0].type_name.removeprefix("ERR_").replace("_", " ").lower()
    code = "limit" if any(_is_limit(entry) for entry in errors) else "not_well_formed"
    if "Text node too long" in errors[0].message or "too big found" in errors[0].message:
        kind = f"a text longer than {LIBXML_TEXT_MAX} characters"
    return _reject(code, kind, errors[0].line, errors[0].column)


def _is_limit(entry: etree._LogEntry) -> bool:
    limits = (etree.ErrorTypes.ERR_NAME_TOO_LONG, 114)  # 114: XML_ERR_RESOURCE_LIMIT, younger than lxml's list
    return entry.type in limits or "too big found" in entry.message


def _refuse_depth(root: etree._Element, limits: XmlLimits) -> None:
    if too_deep := _level(limits.depth + 1)(root):
        _reject("limit", f"more than {limits.depth} elements inside each other", too_deep[0].sourceline or 0)


@cache
def _level(depth: int) -> etree.XPath:
    """Find the elements of one level: the cheapest measure of depth, as each level is walked once."""
    return etree.XPath("/*" * depth)


def _position(plain: bytes, at: int) -> tuple[int, int]:
    return plain.count(b"\n", 0, at) + 1, at - plain.rfind(b"\n", 0, at)


def _reject(code: str, text: str, line: int = 0, column: int = 0) -> NoReturn:
    """Refuse. Never called while an exception is handled: a parser's own one, which quotes, would hang on ours."""
    raise Rejected(code, (Finding(rule=code, line=line, column=column, text=text),))


# Compiled once, on the importing thread: two first compilations at once fail, or kill the process.
etree.XMLSchema(etree.fromstring(b'<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema"/>', trusted_parser()))

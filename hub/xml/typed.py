"""What the schema says of each element of a valid document. libxml2 knows it while it validates, and tells nobody.

Within one content model elements of one name have one type (XSD 1.0 §3.8.6), so a walk from the root finds the
declaration of each. Only for documents that the schema has found valid; what stands at a wildcard without a
declaration has no type.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from lxml import etree

from hub.xml import guard
from hub.xml.bundle import BASE, Bundle, resolve
from hub.xml.index import XS

_XSI_TYPE = "{http://www.w3.org/2001/XMLSchema-instance}type"

Ref: TypeAlias = "str | Type | None"  # a named type, {namespace}name; an anonymous one; none


@dataclass(slots=True)
class Attribute:
    """An attribute that a type declares. ``value`` is its fixed or default one."""

    type: Ref
    value: str | None


@dataclass(slots=True)
class Element:
    """An element where a content model has it, or a global one. ``ref`` names the global one that it means."""

    type: Ref
    mandatory: bool = True
    ref: str = ""


@dataclass(slots=True)
class Type:
    """A type as it is written, without what it takes from its base and from groups."""

    base: Ref = None
    elements: dict[str, Element] = field(default_factory=dict)
    attributes: dict[str, Attribute] = field(default_factory=dict)
    groups: list[str] = field(default_factory=list)
    enumerated: bool = False
    is_list: bool = False


@dataclass(frozen=True, slots=True)
class Typed:
    """An element of a document, with what is declared for it and for its children."""

    node: etree._Element
    type: Ref
    mandatory: bool


class Types:
    """The global declarations of one schema with all that it includes and imports."""

    def __init__(self, bundle: Bundle) -> None:
        self.types: dict[str, Type] = {}
        self.elements: dict[str, Element] = {}
        self.groups: dict[str, Type] = {}
        self.attributes: dict[str, Attribute] = {}
        self._merged: dict[int, Type] = {}
        for namespace, tree in _documents(bundle):
            _Reader(namespace, tree, self).read()

    def walk(self, root: etree._Element) -> Iterator[Typed]:
        """Yield every element of a document that is declared, in no particular order."""
        pending = [Typed(root, self._declared(str(root.tag), {}).type, mandatory=True)]
        while pending:
            typed = pending.pop()
            named = typed.node.get(_XSI_TYPE)
            if named is not None:
                typed = Typed(typed.node, _qname(typed.node, named, ""), typed.mandatory)
            yield typed
            inside = self.resolved(typed.type).elements
            for child in typed.node.iterchildren("*"):
                declared = self._declared(str(child.tag), inside)
                pending.append(Typed(child, declared.type, declared.mandatory))

    def resolved(self, ref: Ref) -> Type:
        """Return a type with what it takes from its base and from groups; an empty one where there is none."""
        written = self.types.get(ref) if isinstance(ref, str) else ref
        if written is None:
            return _NOTHING
        if id(written) not in self._merged:
            self._merged[id(written)] = _NOTHING  # a redefined type is its own base
            self._merged[id(written)] = self._merge(written)
        return self._merged[id(written)]

    def simple(self, ref: Ref) -> Simple:
        """Return what a simple type, or a type of simple content, is in the end."""
        names: list[str] = []
        enumerated = is_list = False
        while ref is not None and len(names) < 64:  # no schema derives that deep
            if isinstance(ref, str):
                names.append(ref)
            written = self.types.get(ref) if isinstance(ref, str) else ref
            if written is None:
                break
            enumerated, is_list = enumerated or written.enumerated, is_list or written.is_list
            ref = written.base
        return Simple(tuple(names), enumerated, is_list)

    def _declared(self, tag: str, inside: Mapping[str, Element]) -> Element:
        # At a wildcard, and for the members of a substitution group, the global declaration counts.
        found = inside.get(tag) or self.elements.get(tag)
        if found is None:
            return Element(None, mandatory=False)
        if found.ref and found.ref in self.elements:
            return Element(self.elements[found.ref].type, found.mandatory)
        return found

    def _merge(self, written: Type) -> Type:
        base = self.resolved(written.base)
        merged = Type(written.base, dict(base.elements), dict(base.attributes))
        for name in written.groups:
            group = self.resolved(self.groups.get(name))
            merged.elements |= group.elements
            merged.attributes |= group.attributes
        merged.elements |= written.elements
        for name, attribute in written.attributes.items():
            known = self.attributes.get(name) if attribute.type is None else None
            merged.attributes[name] = attribute if known is None else Attribute(known.type, attribute.value)
        return merged


_NOTHING = Type()


@dataclass(frozen=True, slots=True)
class Simple:
    """A simple type by the names of all that it is derived from."""

    names: tuple[str, ...]
    enumerated: bool
    is_list: bool

    @property
    def is_id(self) -> bool:
        return f"{XS}ID" in self.names

    @property
    def is_reference(self) -> bool:
        return f"{XS}IDREF" in self.names or f"{XS}IDREFS" in self.names


# --- reading ------------------------------------------------------------------------------------------------------


def _documents(bundle: Bundle) -> Iterator[tuple[str, etree._Element]]:
    """Yield every file of a bundle with its target namespace; one that has none takes that of its includer."""
    pending = [(BASE + bundle.main, "")]
    seen: set[tuple[str, str]] = set()
    while pending:
        address, includer = pending.pop()
        if address not in bundle.files:
            continue
        tree = etree.fromstring(bundle.files[address][1], guard.trusted_parser())
        namespace = tree.get("targetNamespace") or includer
        if (address, namespace) in seen:
            continue
        seen.add((address, namespace))
        yield namespace, tree
        for one in tree.iterchildren(f"{XS}include", f"{XS}redefine", f"{XS}import"):
            inherited = "" if one.tag == f"{XS}import" else namespace
            pending.append((resolve(address, one.get("schemaLocation", "").strip()) or "", inherited))


class _Reader:
    """Reads the declarations of one schema file."""

    def __init__(self, namespace: str, tree: etree._Element, into: Types) -> None:
        self._namespace, self._tree, self._into = namespace, tree, into
        self._qualified = tree.get("elementFormDefault") == "qualified"
        self._qualified_attributes = tree.get("attributeFormDefault") == "qualified"

    def read(self) -> None:
        into = self._into
        redefined = (one for part in self._tree.iterchildren(f"{XS}redefine") for one in part.iterchildren(f"{XS}*"))
        for node in (*self._tree.iterchildren(f"{XS}*"), *redefined):
            name = self._name(node, qualified=True)
            match etree.QName(node).localname:
                case "complexType" | "simpleType":
                    into.types.setdefault(name, self._type(node))
                case "element":
                    into.elements.setdefault(name, self._element(node))
                case "group" | "attributeGroup":
                    into.groups.setdefault(f"{etree.QName(node).localname} {name}", self._type(node))
                case "attribute":
                    into.attributes.setdefault(name, self._attribute(node))

    def _type(self, node: etree._Element) -> Type:
        found = Type()
        self._gather(node, found)
        return found

    def _gather(self, node: etree._Element, found: Type) -> None:
        for child in node.iterchildren(f"{XS}*"):
            match kind := etree.QName(child).localname:
                case "extension" | "restriction":
                    if child.get("base"):
                        found.base = self._qname(child, "base")
                    self._gather(child, found)
                case "list":
                    found.is_list = True
                    found.base = self._qname(child, "itemType") or self._anonymous(child)
                case "simpleType":  # what an anonymous restriction restricts
                    found.base = found.base or self._type(child)
                case "enumeration":
                    found.enumerated = True
                case "element":
                    self._particle(child, found)
                case "attribute" if child.get("use") != "prohibited":
                    name = child.get("ref")
                    qualified = child.get("form", "qualified" if self._qualified_attributes else "") == "qualified"
                    key = _qname(child, name, self._namespace) if name else self._name(child, qualified=qualified)
                    found.attributes[key] = self._attribute(child)
                case "group" | "attributeGroup" if child.get("ref"):
                    found.groups.append(f"{kind} {self._qname(child, 'ref')}")
                case "sequence" | "choice" | "all" | "complexContent" | "simpleContent":
                    self._gather(child, found)

    def _particle(self, node: etree._Element, found: Type) -> None:
        if ref := self._qname(node, "ref"):
            found.elements[ref] = Element(None, node.get("minOccurs") != "0", ref)
            return
        form = node.get("form", "qualified" if self._qualified else "unqualified")
        found.elements[self._name(node, qualified=form == "qualified")] = self._element(node)

    def _element(self, node: etree._Element) -> Element:
        return Element(self._qname(node, "type") or self._anonymous(node), node.get("minOccurs") != "0")

    def _attribute(self, node: etree._Element) -> Attribute:
        return Attribute(self._qname(node, "type") or self._anonymous(node), node.get("fixed", node.get("default")))

    def _anonymous(self, node: etree._Element) -> Type | None:
        inner = next(node.iterchildren(f"{XS}simpleType", f"{XS}complexType"), None)
        return self._type(inner) if inner is not None else None

    def _qname(self, node: etree._Element, attribute: str) -> str:
        text = node.get(attribute)
        return _qname(node, text, self._namespace) if text else ""

    def _name(self, node: etree._Element, *, qualified: bool) -> str:
        name = node.get("name", "")
        return f"{{{self._namespace}}}{name}" if qualified and self._namespace else name


def _qname(node: etree._Element, text: str, namespace: str) -> str:
    """Return ``prefix:name`` as ``{namespace}name``; ``namespace`` is that of names without one."""
    prefix, _, name = text.strip().rpartition(":")
    found = node.nsmap.get(prefix or None) or ("" if prefix else namespace)
    return f"{{{found}}}{name}" if found else name

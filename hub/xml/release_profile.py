"""The profile of a release: what it is called, which roots it has, which header these have. Pure.

A name is taken from the first that has one: what was asked for; what the XGenerator writes into each schema; a profile
that is here for the same namespace; the fixed attributes of the messages; what is known below; the source's name.
A profile that is here already is kept, with its header, keys and window: only its schemas become the official ones.
For a new version of a standard that is here, the other version's profile is followed as far as the header is the same.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import yaml
from lxml import etree

from hub.errors import ConfigError, Problem
from hub.xml.bundle import Bundle
from hub.xml.forms import FORMS
from hub.xml.profile import Profile
from hub.xml.release import Release
from hub.xml.typed import Element, Type, Types

Data = dict[str, Any]

DIGEST_FORMS = {"none", "D", "G-UBL", "G-CII", "H", "I", "J"}  # their messages have no number of their own
_NAME = re.compile("[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_CALLED = re.compile(r"(?P<standard>[A-Za-z][A-Za-z-]*?)[-_ ]*[vV]?(?P<version>\d+(?:\.\w+)*)(?:[-_ ]|$)")


@dataclass(frozen=True, slots=True)
class Known:
    """What no schema says of a standard that is older than XÖV's conventions, or none of XÖV."""

    namespace: str
    standard: str
    form: str = ""
    names: tuple[str, ...] = ()
    without: tuple[str, ...] = ()


KNOWN = (
    Known(
        r"http://www\.xplanung\.de/xplangml/.+",
        "xplanung",
        "H",
        ("XPlanAuszug",),
        # Imported, and nothing refers to it: the operations that it was for are gone since XPlanGML 5.0.
        ("http://schemas.opengis.net/wfs/2.0/wfs.xsd",),
    ),
    Known(r"urn:xoev-de:xdomea:schema:.+", "xdomea"),
    Known(r"http://xoev\.de/transport/xta/.+", "xta"),
    Known(r"urn:oasis:names:specification:ubl:schema:xsd:(Invoice|CreditNote)-2", "ubl", "G-UBL"),
    Known(r"urn:un:unece:uncefact:data:standard:CrossIndustryInvoice:100", "cii", "G-CII"),
)


def known(namespaces: Iterable[str]) -> Known | None:
    """Return what is known of a namespace."""
    return next((one for name in namespaces for one in KNOWN if re.fullmatch(one.namespace, name)), None)


# --- name and version ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Named:
    """Standard and version, the title, and what the messages themselves say of the version."""

    standard: str
    version: str
    title: str
    stated: str = ""


def name_release(
    release: Release,
    namespaces: Sequence[str],
    profiles: Iterable[Profile],
    called: str,
    *,
    standard: str = "",
    version: str = "",
) -> Named:
    """Return what a release is called.

    Raises:
        ConfigError: It cannot be told, or what was asked for is no name.
    """
    own = [one for one in release.schemas.values() if one.namespace in namespaces]
    said = _most((one.standard, one.release) for one in own if one.standard and one.release)
    here = {
        (one.standard, one.version): one for one in profiles if any(root.namespace in namespaces for root in one.roots)
    }
    only = next(iter(here)) if len(here) == 1 else None
    fixed = dict(item for one in own for item in one.fixed)
    stated = fixed.get("xjustizVersion") or fixed.get("version", "")
    hint = known(namespaces)
    match = _CALLED.match(called)
    short = _slug(said[0]) if said else ""
    found_standard = (
        standard
        or short
        or (only[0] if only else "")
        or _slug(fixed.get("standard", ""))
        or (hint.standard if hint else "")
        or (_slug(match["standard"]) if match else "")
    )
    found_version = (
        version
        or (said[1] if said else "")
        or (only[1] if only else "")
        or stated
        or (_most(one.version for one in own if one.version) or "")
        or (match["version"] if match else "")
    )
    for option, text in (("--standard", found_standard), ("--version", found_version)):
        if not text:
            raise _unnamed(called, f"nothing in it says which it is; expected {option}")
        if not _NAME.fullmatch(text):
            raise _unnamed(called, f"{option}: found {text!r}, expected letters, digits, '.', '-' and '_'")
    title = f"{said[0] if said and short == found_standard else found_standard} {found_version}"
    return Named(found_standard, found_version, title, stated)


def _most(found: Iterable[Any]) -> Any:
    counted = Counter(found).most_common(1)
    return counted[0][0] if counted else None


def _slug(text: str) -> str:
    plain = text.lower()
    for letter, written in (("ä", "ae"), ("ö", "oe"), ("ü", "ue"), ("ß", "ss")):
        plain = plain.replace(letter, written)
    return re.sub("[^a-z0-9.]+", "-", plain).strip("-.")


def _unnamed(where: str, text: str) -> ConfigError:
    return ConfigError([Problem(where, 0, 0, "", text)])


# --- roots --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Roots:
    """The messages of one namespace by their header form, and elements without a header where others have one."""

    namespace: str
    xsd: str
    forms: Mapping[str, tuple[str, ...]]  # the form that most have comes last
    version_from: str
    others: tuple[str, ...] = ()

    @property
    def declared(self) -> frozenset[str]:
        """All global elements of the namespace."""
        return frozenset(name for names in self.forms.values() for name in names) | frozenset(self.others)


def find_roots(bundle: Bundle, namespace: str) -> Roots:
    """Return the roots that a namespace's main schema declares, by what their content model begins with."""
    types, hint = Types(bundle), known([namespace])
    names = sorted(name for target, name in bundle.elements if target == namespace)
    if hint and hint.form:
        return Roots(namespace, bundle.main, {hint.form: tuple(hint.names) or tuple(names)}, "fixed")
    forms: dict[str, list[str]] = {}
    for name in names:
        forms.setdefault(_form(types, f"{{{namespace}}}{name}"), []).append(name)
    if set(forms) == {"none"}:
        return Roots(namespace, bundle.main, {"none": tuple(names)}, "fixed")
    others = tuple(forms.pop("none", ()))
    ordered = sorted(forms, key=lambda form: len(forms[form]))
    main = ordered[-1]
    stated = all(_states_version(types, f"{{{namespace}}}{name}", main) for name in forms[main])
    version_from = FORMS[main].version_from if stated else "fixed"
    return Roots(namespace, bundle.main, {form: tuple(forms[form]) for form in ordered}, version_from, others)


def _form(types: Types, root: str) -> str:
    inside = _content(types, types.elements.get(root)).elements
    for tag, element in inside.items():
        name = etree.QName(tag)
        head = _content(types, element)
        parts = {etree.QName(one).localname: part for one, part in head.elements.items()}
        match name.localname:
            case "nachrichtenkopf.g2g" if not name.namespace:
                return "A"
            case "nachrichtenkopf.g2g" if name.namespace == FORMS["B"].namespaces["g2g"]:
                return "B"
            case "nachrichtenkopf" if "xjustizVersion" in head.attributes:
                return "E"
            case "nachrichtenkopf" if "leser" in parts:
                reader = {etree.QName(one).localname for one in _content(types, parts["leser"]).elements}
                if "behoerdenkennung" in reader:
                    return "C2" if name.namespace else "C"
                if "NameInstitution" in reader:
                    return "D4"
            case "Kopf" if "ProzessID" in parts:
                return "D"
            case "kopf" if "nachrichtenid" in parts:
                return "F"
            case "header" if "nachrichtID" in parts:
                return "J"
    return "none"


def _states_version(types: Types, root: str, form: str) -> bool:
    declared = _content(types, types.elements.get(root))
    path = FORMS[form].version_from
    if path == "@version":
        return bool("version" in declared.attributes and declared.attributes["version"].value)
    if path == "fixed" or "/@" not in path:
        return False
    head, _, attribute = path.rpartition("/@")
    wanted = head.rpartition(":")[2]
    heads = [part for one, part in declared.elements.items() if etree.QName(one).localname == wanted]
    return any(attribute in _content(types, one).attributes for one in heads)


def _content(types: Types, element: Element | None) -> Type:
    if element is not None and element.ref:
        element = types.elements.get(element.ref)
    return types.resolved(element.type if element is not None else None)


# --- the profile --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Lists:
    """What the profile lists beside its roots."""

    codelists: Sequence[str] = ()
    schematron: Sequence[str] = ()
    without: Sequence[str] = ()


def make_profile(named: Named, found: Sequence[Roots], lists: Lists, template: Data | None = None) -> Data:
    """Return a profile for a version that has none. ``template``: another version's, followed where it fits."""
    main = max((form for one in found for form in one.forms), key=_weight(found))
    data: Data = {"standard": named.standard, "version": named.version, "title": named.title, "level": "full"}
    if named.stated and named.stated != named.version:
        data["versions"] = [named.stated]
    data["roots"] = [entry for one in found for entry in _entries(one)]
    data["identity"] = "digest" if main in DIGEST_FORMS else "message_id"
    if template:
        _follow(data, found, template)
    return data | _listed(lists)


def merge_profile(base: Data, found: Sequence[Roots], lists: Lists, *, header: str) -> tuple[Data, list[str]]:
    """Return a profile that is here with the official schemas, and what is still checked by the header schema.

    ``header`` is the folder in which the files lie that it had: schemas, and lists of its own beside the release's.
    """
    data = deepcopy(base)
    official = {one.namespace: one.xsd for one in found}
    thin: list[str] = []
    roots = data["roots"] if isinstance(data["roots"], list) else [data["roots"]]
    for root in roots:
        if root["namespace"] in official:
            root["xsd"] = official[root["namespace"]]
        elif header:
            old = str(root.get("xsd") or data.get("xsd"))
            root["xsd"] = old if old.startswith(f"{header}/") else f"{header}/{old}"
            thin.append(str(root["namespace"]))
    for key in ("xsd", "codelists", "schematron"):  # stand elsewhere now
        data.pop(key, None)
    data["roots"] = roots
    data["level"] = "header" if thin else "full"
    return data | _listed(lists), thin


def own_lists(base: Data, lists: Lists, before: str, files: Container[str]) -> tuple[Lists, list[str]]:
    """Return what a profile that is here lists, with a release's, and the names of what is not here any more.

    ``before`` is the folder in which the files lie that it had.
    """
    gone: list[str] = []

    def joined(key: str, brought: Sequence[str]) -> list[str]:
        kept = []
        for name in map(str, base.get(key) or ()):
            places = [one for one in (name, f"{before}/{name}") if one in files]
            kept += places[:1]
            gone.extend([] if places else [name])
        return list(dict.fromkeys((*kept, *brought)))

    found = {key: joined(key, getattr(lists, key)) for key in ("codelists", "schematron")}
    return Lists(found["codelists"], found["schematron"], lists.without), gone


def dump(data: Data, note: str) -> bytes:
    """Return a profile as the text of its file. Every scalar stays the text that it is."""
    text = yaml.dump(data, Dumper=_Plain, allow_unicode=True, sort_keys=False, width=110)
    return f"# {note}\n{text}".encode()


class _Plain(yaml.SafeDumper):
    def ignore_aliases(self, _data: Any) -> bool:
        return True  # profiles know no anchors


def _weight(found: Sequence[Roots]) -> Any:
    count = Counter({form: len(names) for one in found for form, names in one.forms.items()})
    return lambda form: (count[form], form)


def _entries(one: Roots) -> list[Data]:
    entries: list[Data] = []
    for form, names in one.forms.items():
        last = form == list(one.forms)[-1]
        every = last and not one.others and not (known([one.namespace]) or Known("", "")).names
        entry: Data = {"namespace": one.namespace, "names": "*" if every else list(names), "xsd": one.xsd}
        entries.append(entry | {"header": {"form": form}, "version_from": one.version_from})
    return entries


def _listed(lists: Lists) -> Data:
    found = {"codelists": lists.codelists, "schematron": lists.schematron, "without": lists.without}
    return {key: sorted(value) for key, value in found.items() if value}


def _follow(data: Data, found: Sequence[Roots], template: Data) -> None:
    """Take over what another version's profile says: its roots where there is one namespace and the same form."""
    roots = template["roots"] if isinstance(template["roots"], list) else [template["roots"]]
    roots = [{"header": template.get("header"), **root} for root in roots]
    last = list(found[0].forms)[-1]
    if len(found) != 1 or {root["namespace"] for root in roots} & {""} or len({r["namespace"] for r in roots}) != 1:
        return
    if (roots[-1]["header"] or {}).get("form") != last:
        return
    declared = {name for names in found[0].forms.values() for name in names} | set(found[0].others)
    taken: list[Data] = []
    for root in roots:
        names = root["names"] if root["names"] == "*" else [name for name in root["names"] if name in declared]
        version_from = root.get("version_from") or template.get("version_from") or found[0].version_from
        entry = {"namespace": found[0].namespace, "names": names, "xsd": found[0].xsd, "header": root["header"]}
        if names:
            taken.append(deepcopy(entry) | {"version_from": version_from})
    data["roots"] = taken
    for key in ("identity", "keys", "business_keys", "reject_with", "receipt_with"):
        if template.get(key) is not None:
            data[key] = deepcopy(template[key])

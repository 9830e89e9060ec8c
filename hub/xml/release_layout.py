"""Where the files of a release lie once it is imported: its own in its folder, all others among the shared modules.

``hub.xml.release`` draws the folder. A schema of another namespace than the messages' is a module; it is stored once,
however many standards bring it, and the catalogue says under which addresses this standard asks for it.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
import re
from collections.abc import Mapping, Sequence
from urllib.parse import quote

from lxml import etree

from hub.xml.bundle import BASE, CATALOG, MODULES
from hub.xml.index import XS
from hub.xml.release import Release
from hub.xml.release_closure import Closure, Place
from hub.xml.release_profile import Lists

UMBRELLA = "xsd/umbrella"
_RESERVED = ("codelists", "schematron", "wsdl", "header")


def module_name(called: str, body: bytes) -> str:
    """Return the file name of a shared module: ``xoev-code-49fb546552fb.xsd``, its name and its digest."""
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", re.sub(r"\.xsd$", "", called, flags=re.IGNORECASE))[:80]
    return f"{plain or 'module'}-{hashlib.sha256(body).hexdigest()[:12]}.xsd"


class Layout:
    """Which file lies where: the standard's own in its folder, all others among the shared modules."""

    def __init__(self, release: Release, closure: Closure, chosen: Mapping[str, tuple[str, ...]]) -> None:
        self.files: dict[str, bytes] = {}
        self.modules: dict[str, bytes] = {}
        self.catalog: dict[str, str] = {}
        self.mains: dict[str, str] = {}
        self.wsdls: list[str] = []
        self._release = release
        own = {one.name for one in closure.places.values() if one.origin == "release" and one.namespace in chosen}
        folders = {name.partition("/")[0] if "/" in name else "" for name in own}
        self._prefix = "xsd/" if folders & {"", *_RESERVED} else ""
        for address, place in closure.places.items():
            self._take(address, place, place.name in own)
        for namespace, tops in chosen.items():
            self.mains[namespace] = self._prefix + tops[0] if len(tops) == 1 else self._umbrella(namespace, tops)
        self._share_others(closure)
        self._extras()
        if self.catalog:
            text = json.dumps(dict(sorted(self.catalog.items())), indent=1, ensure_ascii=False)
            self.files[CATALOG] = f"{text}\n".encode()

    def lists(self, without: Sequence[str]) -> Lists:
        prefixed = [f"schematron/{name}" for name in self._schematron_names(self._release.schematron)]
        codelists = [name for name in self.files if name.startswith("codelists/")]
        return Lists(codelists, prefixed, without)

    def _take(self, address: str, place: Place, own: bool) -> None:
        if own:
            file = self._prefix + place.name
            self.files[file] = place.body
        else:
            file = f"{MODULES}/{self._share(place.called, place.body)}"
        asked = self._prefix + address.removeprefix(BASE) if address.startswith(BASE) else address
        if asked != file:
            self.catalog[asked] = file

    def _umbrella(self, namespace: str, tops: Sequence[str]) -> str:
        """Write a schema that includes all main schemas of a namespace, so that one is compiled and not ten."""
        name = self._free(f"{UMBRELLA}.xsd")
        root = etree.Element(f"{XS}schema", targetNamespace=namespace, nsmap={"xs": XS[1:-1]})
        for top in tops:
            location = posixpath.relpath(self._prefix + top, posixpath.dirname(name))
            etree.SubElement(root, f"{XS}include", schemaLocation=quote(location))
        self.files[name] = etree.tostring(root, pretty_print=True, encoding="UTF-8", xml_declaration=True)
        return name

    def _share_others(self, closure: Closure) -> None:
        """Keep the modules that nothing here asks for: another standard may."""
        reached = {place.name for place in closure.places.values()}
        own = {place.namespace for place in closure.places.values() if place.origin == "release"} & set(self.mains)
        for one in self._release.schemas.values():
            if one.name not in reached and one.namespace not in own and not one.elements:
                self._share(posixpath.basename(one.name), one.body)

    def _share(self, called: str, body: bytes) -> str:
        name = module_name(called, body)
        self.modules[name] = body
        return name

    def _extras(self) -> None:
        for codes in self._release.codelists:
            self.files[self._free(f"codelists/{posixpath.basename(codes.name)}")] = self._release.files[codes.name]
        for source, name in zip(
            self._release.schematron_parts, self._schematron_names(self._release.schematron_parts), strict=True
        ):
            self.files[f"schematron/{name}"] = self._release.files[source]
        for source in self._release.wsdls:
            beside = self._prefix + source if self._release.typed_wsdls else f"wsdl/{posixpath.basename(source)}"
            name = self._free(beside)
            self.files[name] = self._release.files[source]
            self.wsdls.append(name)
        if self._release.typed_wsdls:  # they name schemas by their place beside them
            for one in self._release.schemas.values():
                self.files.setdefault(self._prefix + one.name, one.body)

    def _schematron_names(self, names: Sequence[str]) -> list[str]:
        folders = [posixpath.dirname(name) for name in self._release.schematron_parts]
        common = posixpath.commonpath(folders) if folders and all(folders) else ""
        return [posixpath.relpath(name, common or ".") for name in names]

    def _free(self, name: str) -> str:
        stem, suffix = posixpath.splitext(name)
        number = 1
        while name in self.files:
            number += 1
            name = f"{stem}-{number}{suffix}"
        return name

"""The official schemas of the corpus under the shipped profiles: what ``xsd`` checks where they are installed.

The corpus lies beside the checkout and is no part of it: its licences differ, see there.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from lxml import etree

CHECKOUT = Path(__file__).resolve().parents[1]
CORPUS = Path(os.environ.get("XOEV_HUB_CORPUS") or CHECKOUT.parent / "shared" / "xoev")
SCHEMAS = CHECKOUT / "schemas/xoev"
XS = "http://www.w3.org/2001/XMLSchema"


@dataclass(frozen=True, slots=True)
class Official:
    """One version of a standard, and the folder of the corpus where its schemas lie."""

    standard: str
    version: str
    folder: str
    roots: Mapping[str, str]  # namespace -> main schema of the shipped profile
    instances: str

    def install(self, base: Path) -> None:
        """Write the profile with the official schemas into a deployment."""
        place = base / "schemas/xoev" / self.standard / self.version
        shutil.copytree(CORPUS / self.folder, place / "official")
        modules = catalog()
        for name in modules.values():
            (place / "modules" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(CORPUS / name, place / "modules" / name)
        text = json.dumps({url: f"modules/{name}" for url, name in modules.items()})
        (place / "catalog.json").write_text(text, encoding="utf-8")
        for namespace, main in self.roots.items():
            names = [f"official/{file.relative_to(CORPUS / self.folder)}" for file in self.files(namespace)]
            (place / main).write_text(umbrella(namespace, names), encoding="utf-8")
        profile = (SCHEMAS / self.standard / self.version / "profile.yaml").read_text(encoding="utf-8")
        assert "level: header" in profile
        (place / "profile.yaml").write_text(profile.replace("level: header", "level: full"), encoding="utf-8")

    def files(self, namespace: str) -> list[Path]:
        """Return the schema files of a namespace."""
        files = sorted((CORPUS / self.folder).rglob("*.xsd"))
        return [one for one in files if etree.parse(one).getroot().get("targetNamespace") == namespace]

    def schema(self, namespace: str) -> etree.XMLSchema:
        """Return libxml2's own idea of the official schema, made without the hub."""
        text = umbrella(namespace, [one.as_uri() for one in self.files(namespace)])
        parser = etree.XMLParser(no_network=True)
        parser.resolvers.add(_Catalog())
        return etree.XMLSchema(etree.fromstring(text.encode(), parser))


XMELD = Official("xmeld", "25.11a", "xmeld-25.11a/xsd", {"http://www.osci.de/xmeld2511a": "xmeld.xsd"}, "xmeld-25.11a")
OFFICIAL = (
    XMELD,
    Official("xdomea", "3.0.0", "xdomea-3.0.0", {"urn:xoev-de:xdomea:schema:3.0.0": "xdomea.xsd"}, "xdomea-3.0.0"),
    Official(
        "xbeteiligung",
        "1.2",
        "xbeteiligung-1.2/xsd",
        {"https://www.xleitstelle.de/xbeteiligung/12": "xbeteiligung.xsd"},
        "xbeteiligung-1.2",
    ),
)


@cache
def catalog() -> dict[str, str]:
    """Return absolute address -> file of the corpus, with the neighbours that these files ask for."""
    named: dict[str, str] = json.loads((CORPUS / "catalog.json").read_text(encoding="utf-8"))
    beside = {
        f"{url.rpartition('/')[0]}/{one.name}": str(one.relative_to(CORPUS))
        for url, name in named.items()
        for one in (CORPUS / name).parent.glob("*.xsd")
    }
    return beside | named


def umbrella(namespace: str, names: Iterable[str]) -> str:
    """Return a schema that includes these."""
    includes = "".join(f'<xs:include schemaLocation="{name}"/>' for name in names)
    return f'<xs:schema xmlns:xs="{XS}" targetNamespace="{namespace}">{includes}</xs:schema>'


class _Catalog(etree.Resolver):
    def resolve(self, system_url: str | None, _public_id: str | None, context: Any) -> Any:
        name = catalog().get(system_url or "")
        return self.resolve_filename(str(CORPUS / name), context) if name else None


def instances(one: Official) -> list[Path]:
    """Return real and generated messages that are valid by the official schemas."""
    validity = json.loads((CORPUS / "expected_validity.json").read_text(encoding="utf-8"))
    names = [
        name for name, verdicts in validity.items() if name.startswith(f"{one.instances}/") and all(verdicts.values())
    ]
    return [CORPUS / name for name in names]


def real(files: Iterable[Path]) -> list[Path]:
    """Return those that people have written, and no generator."""
    return [one for one in files if not re.search("/generated/", str(one))]

"""The shipped samples are valid by the official schemas, not only by our own header schemas.

The corpus lies beside the checkout and is no part of it: its licences differ, see there.
"""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path

import pytest
from lxml import etree

from hub.demo.stage import copied, with_rules
from hub.xml import saxon
from tests.command import program
from tests.official import CORPUS, Official
from tests.standards import MESSAGES

pytestmark = pytest.mark.skipif(not CORPUS.is_dir(), reason=f"no corpus: {CORPUS} is not there (XOEV_HUB_CORPUS)")

FOLDERS = {  # namespace -> where its official schemas lie. XGewerbeanzeige 2.2 is published in no place open to all
    "http://www.osci.de/xmeld2511a": "xmeld-25.11a/xsd",
    "http://www.xleitstelle.de/xbau/2/6": "xbau-2.6/xsd",
    "https://www.xleitstelle.de/xbeteiligung/12": "xbeteiligung-1.2/xsd",
    "urn:xoev-de:xdomea:schema:3.0.0": "xdomea-3.0.0",
    "urn:oasis:names:specification:ubl:schema:xsd:Invoice-2": "ubl-2.1",
    "urn:oasis:names:specification:ubl:schema:xsd:CreditNote-2": "ubl-2.1",
    "urn:un:unece:uncefact:data:standard:CrossIndustryInvoice:100": "cii-d16b",
}


def namespace(name: str) -> str:
    return etree.QName(etree.parse(MESSAGES / name).getroot()).namespace or ""


SAMPLES = sorted(path.name for path in MESSAGES.glob("*.xml") if namespace(path.name) in FOLDERS)


@cache
def schema(of: str) -> etree.XMLSchema:
    return Official("", "", FOLDERS[of], {}, "").schema(of)


@pytest.mark.parametrize("name", SAMPLES)
def test_a_shipped_sample_is_valid_by_the_official_schema(name: str) -> None:
    official = schema(namespace(name))

    valid = official.validate(etree.parse(MESSAGES / name))

    assert valid, official.error_log


def test_every_official_schema_has_a_sample() -> None:
    assert {namespace(name) for name in SAMPLES} == set(FOLDERS)


INVOICES = {  # sample -> the published rules that it breaks
    "rechnung-braunschweig-ubl.xml": set(),
    "rechnung-salzgitter-cii.xml": set(),
    "gutschrift-wolfsburg-ubl.xml": set(),
    "rechnung-ohne-zahlungsweg-ubl.xml": {"BR-DE-1"},
}


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the example with the published rules for invoices imported, and the line for them switched on."""
    folder = copied(tmp_path_factory.mktemp("example"))
    done = program("schemas", "import", str(CORPUS / "xrechnung-3.0"), cwd=folder)
    assert done.returncode == 0, done.stderr
    routes = folder / "routes.yaml"
    routes.write_text(with_rules(routes.read_text("utf-8")), encoding="utf-8")
    return folder


with_saxon = pytest.mark.skipif(not saxon.available(), reason="the extra xslt3 is not installed")


@with_saxon
def test_the_example_passes_with_the_published_rules_switched_on(example: Path) -> None:
    checked, tested = program("check", cwd=example), program("test", cwd=example)

    assert (checked.returncode, tested.returncode) == (0, 0), checked.stderr + tested.stderr


@with_saxon
@pytest.mark.parametrize("name", INVOICES)
def test_an_invoice_breaks_the_published_rules_that_it_must(name: str, example: Path) -> None:
    done = program("explain", f"tests/messages/{name}", "--sender", "rechnungseingang", "--json", cwd=example)

    shown = json.loads(done.stdout)
    assert {one["rule"] for one in shown["findings"] if one["level"] == "error"} == INVOICES[name]
    assert shown["rejected"] == ("schematron" if INVOICES[name] else None)


FULL = {  # standard of a route -> what the official release lets it be checked with
    "xbau": "[xsd, idref, din91379, schematron]",
    "xmeld": "[xsd, idref, din91379]",
    "xbeteiligung": "[xsd, idref, din91379]",
    "xdomea": "[xsd, idref, din91379, codelists]",
}
RELEASES = ("xbau-2.6", "xbau-kernmodul-1.3.0", "xinneres-25.11", "xmeld-25.11a", "xbeteiligung-1.2", "xdomea-3.0.0")


@with_saxon
def test_the_example_passes_with_the_official_releases_and_all_checks(tmp_path: Path) -> None:
    copied(tmp_path)
    for release in RELEASES:
        done = program("schemas", "import", str(CORPUS / release), cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    routes = tmp_path / "routes.yaml"
    text = routes.read_text("utf-8")
    for standard, checks in FULL.items():
        text, count = re.subn(rf"(match: {{type: {standard}/[^\n]*\n    checks: )\[xsd: header\]", rf"\1{checks}", text)
        assert count
    routes.write_text(text, encoding="utf-8")

    checked, tested = program("check", cwd=tmp_path), program("test", cwd=tmp_path)

    assert (checked.returncode, tested.returncode) == (0, 0), (checked.stderr + tested.stderr).decode()


def test_every_invoice_is_looked_at() -> None:
    found = {path.name for path in MESSAGES.glob("*.xml") if path.name.startswith(("rechnung-", "gutschrift-"))}

    assert found == INVOICES.keys()

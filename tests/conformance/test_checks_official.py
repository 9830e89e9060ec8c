"""The checks on the public corpus: every Schematron compiles, real invoices pass, every instance gets its verdict.

The corpus lies beside the checkout and is no part of it: its licences differ, see there.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from statistics import median

import pytest
from lxml import etree

from hub.files import Files
from hub.message import Finding
from hub.xml import guard, saxon
from hub.xml.bundle import BASE, Bundle, Found, Walk, Wanted
from hub.xml.checks import idref, schematron
from hub.xml.checks import values as checks
from hub.xml.forms import HeaderForm
from hub.xml.profile import Profile, Root
from hub.xml.registry import Registry
from hub.xml.saxon import Programs
from hub.xml.schematron import read_schematron

CHECKOUT = Path(__file__).resolve().parents[2]
CORPUS = Path(os.environ.get("XOEV_HUB_CORPUS") or CHECKOUT.parent / "shared" / "xoev")
NOW = datetime(2026, 6, 1, tzinfo=UTC)
INCLUDED = {"xrechnung-3.0/sch/common.sch"}
N_MAX = 60  # of parsing and validating the same invoice: what its rules may cost
UMBRELLA = "umbrella.xsd"

pytestmark = pytest.mark.skipif(not CORPUS.is_dir(), reason=f"no corpus: {CORPUS} is not there (XOEV_HUB_CORPUS)")
with_saxon = pytest.mark.skipif(not saxon.available(), reason="the extra xslt3 is not installed")


def below(pattern: str) -> list[str]:
    return sorted(str(one.relative_to(CORPUS)) for one in CORPUS.glob(pattern))


SCHEMATRON = [name for name in below("**/*.sch") if name not in INCLUDED]


@with_saxon
@pytest.mark.parametrize("name", SCHEMATRON)
def test_every_published_schematron_compiles(name):
    folder, _, rest = name.partition("/")
    programs = Programs()
    programs.get(name, read_schematron(Files(CORPUS), folder, rest))

    assert programs.compile() == []


def test_the_corpus_has_all_of_them():
    assert len(SCHEMATRON) >= 22


# --- every instance gets its verdict

SCHEMAS: dict[str, tuple[str, str]] = {  # what expected_validity.json calls a schema -> its files, its namespace
    "xbau-2.6 all (xsd, absolute)": ("xbau-2.6/xsd/*.xsd", "http://www.xleitstelle.de/xbau/2/6"),
    "xbau-2.6 all (xsd_dev)": ("xbau-2.6/xsd_dev/*.xsd", "http://www.xleitstelle.de/xbau/2/6"),
    "xbau-kernmodul-1.3.0": ("xbau-kernmodul-1.3.0/xsd/*.xsd", "http://www.xleitstelle.de/xbau/kernmodul/1/3/0"),
    "xbeteiligung-1.2": ("xbeteiligung-1.2/xsd/*.xsd", "https://www.xleitstelle.de/xbeteiligung/12"),
    **{f"xdomea-{v}": (f"xdomea-{v}/xsd/*.xsd", f"urn:xoev-de:xdomea:schema:{v}") for v in ("2.3.0", "2.4.0", "3.0.0")},
    "xdomea-3.1.0": ("xdomea-3.1.0/xsd/*.xsd", "urn:xoev-de:xdomea:schema:3.1.0"),
    "xinneres rueckweisung/6": (
        "xinneres-25.11/www.osci.de/xinneres/rueckweisung/6/*.xsd",
        "http://www.osci.de/xinneres/rueckweisung/6",
    ),
    "xjustiz-3.6.2": ("xjustiz-3.6.2/xsd/xjustiz_0005_nachrichten_3_2.xsd", "http://www.xjustiz.de"),
    "xjustiz-3.6.2 all": ("xjustiz-3.6.2/xsd/xjustiz_*.xsd", "http://www.xjustiz.de"),
    "xmeld-25.11a": ("xmeld-25.11a/xsd/*.xsd", "http://www.osci.de/xmeld2511a"),
    "xmeld-25.11a datenabrufe only": (
        "xmeld-25.11a/xsd/xmeld-nachrichten-datenabrufe.xsd",
        "http://www.osci.de/xmeld2511a",
    ),
    "xplanung-5.3": ("xplanung-5.3/xsd/*.xsd", "http://www.xplanung.de/xplangml/5/3"),
    "xplanung-5.4": ("xplanung-5.4/xsd/*.xsd", "http://www.xplanung.de/xplangml/5/4"),
    "xrechnung ubl invoice 2.1": (
        "ubl-2.1/xsd/maindoc/UBL-Invoice-2.1.xsd",
        "urn:oasis:names:specification:ubl:schema:xsd:Invoice-2",
    ),
    "xrechnung cii d16b": (
        "cii-d16b/xsd/**/*CrossIndustryInvoice_100p*.xsd",
        "urn:un:unece:uncefact:data:standard:CrossIndustryInvoice:100",
    ),
    "xta-2.1.1 globale elemente": (
        "xta-2.1.1/wsdl/schema/XTA-Webservice-Globale-Elemente.xsd",
        "http://xoev.de/transport/xta/211",
    ),
    "osci messagemetadata 2.02": (
        "xta-2.1.1/wsdl/schema/OSCI_MessageMetaData_V2.02.xsd",
        "http://www.osci.eu/ws/2014/10/transport",
    ),
    "xwasser-1.0.0": ("xwasser-1.0.0/xsd/*.xsd", "https://gitlab.opencode.de/akdb/xoev/xwasser/-/raw/main/V1_0_0"),
}
NOT_HERE = {"xjustiz-3.7.0 all"}  # its schemas are no part of the corpus

DANGLING = 7  # valid messages of XWasser whose IDREF names nothing; libxml2 does not look, Java validators do


def facts(name: str) -> dict[str, dict[str, bool]]:
    return json.loads((CORPUS / name).read_text(encoding="utf-8")) if CORPUS.is_dir() else {}


VALIDITY = [
    (name, schema, valid)
    for name, verdicts in facts("expected_validity.json").items()
    for schema, valid in verdicts.items()
    if schema not in NOT_HERE
]


class Official(Registry):
    """A registry of one profile, whose main schema includes the files of one entry."""

    def __init__(self, schema: str) -> None:
        files, namespace = SCHEMAS[schema]
        names = [name for name in below(files) if target(name) == namespace]
        assert names, files
        walk = Walk(lambda wanted: found(wanted, namespace, names), ".")
        walk.start(UMBRELLA)
        assert walk.problems == []
        declared = frozenset(name for of, name in walk.elements if of == namespace)
        self.profile = Profile(
            schema.replace(" ", "-"), "1", schema, "full", (Root(namespace, declared, UMBRELLA, HeaderForm()),), "."
        )
        bundle = Bundle(".", UMBRELLA, walk.found, frozenset(walk.elements))
        super().__init__([self.profile], {(".", UMBRELLA): bundle})


def target(name: str) -> str | None:
    return etree.parse(CORPUS / name).getroot().get("targetNamespace")


def found(wanted: Wanted, namespace: str, names: list[str]) -> Found:
    """Find a file by the corpus' own catalogue; else beside the file that asks."""
    if wanted.address == BASE + UMBRELLA:
        return UMBRELLA, umbrella(namespace, names)
    beside = str(Path(wanted.file).parent / wanted.location) if wanted.file != UMBRELLA else wanted.location
    name = catalog().get(wanted.address) or os.path.normpath(beside)
    file = CORPUS / name
    return (name, file.read_bytes()) if file.is_file() else None  # XPlanGML's wfs.xsd, to which nothing refers


def umbrella(namespace: str, names: list[str]) -> bytes:
    schema = etree.Element("{http://www.w3.org/2001/XMLSchema}schema", targetNamespace=namespace)
    for name in names:
        etree.SubElement(schema, "{http://www.w3.org/2001/XMLSchema}include", schemaLocation=name)
    return etree.tostring(schema)


@cache
def catalog() -> dict[str, str]:
    return json.loads((CORPUS / "catalog.json").read_text(encoding="utf-8"))


official = cache(Official)


def checked(name: str, schema: str) -> tuple[bool, list[str]]:
    """Return whether an instance is valid, and the rules of what ``idref`` finds if it is."""
    registry = official(schema)
    root = guard.parse((CORPUS / name).read_bytes())
    if registry.schema(registry.profile).validate(root):
        return False, []
    run = idref.prepare(checks.Check("idref"), registry.profile, checks.Sources(Files(CORPUS), registry, Programs()))
    return True, [one.rule for one in run(checks.Document(root, registry.profile, NOW))]


@pytest.mark.parametrize("schema", [*SCHEMAS])
def test_every_instance_gets_its_verdict(schema):
    expected = {name: valid for name, of, valid in VALIDITY if of == schema}

    found = {name: checked(name, schema) for name in expected}

    assert expected
    assert {name: valid for name, (valid, _) in found.items()} == expected
    dangling = [name for name, (_, rules) in found.items() if rules]
    assert len(dangling) == (DANGLING if schema == "xwasser-1.0.0" else 0)


def test_no_schema_of_the_list_is_left_out():
    assert {schema for _, schema, _ in VALIDITY} == SCHEMAS.keys()


# --- invoices

UBL, CII = "xrechnung ubl invoice 2.1", "xrechnung cii d16b"
RULES = ("sch/ubl/XRechnung-UBL-validation.sch", "sch/cii/XRechnung-CII-validation.sch")
INVOICES = [(name, schema) for name, schema, valid in VALIDITY if schema in (UBL, CII) and valid]


@cache
def invoice_rules() -> Callable[[checks.Document], list[Finding]]:
    """Return what both published rule sets find in an invoice."""
    profile = Profile("xrechnung", "3.0", "", "full", (), "xrechnung-3.0", schematron=RULES)
    sources = checks.Sources(Files(CORPUS), Registry([], {}), Programs())
    run = schematron.prepare(checks.Check("schematron"), profile, sources)

    def findings(document: checks.Document) -> list[Finding]:
        return [one.shown() for one in run(document) if isinstance(one, checks.Found)]

    return findings


def invoice(name: str, schema: str, **replaced: str) -> checks.Document:
    body = (CORPUS / name).read_bytes()
    for old, new in replaced.items():
        body = body.replace(old.encode(), new.encode())
    return checks.Document(guard.parse(body), official(schema).profile, NOW)


@with_saxon
@pytest.mark.parametrize(("name", "schema"), INVOICES)
def test_a_valid_invoice_has_no_error(name, schema):
    assert [one.rule for one in invoice_rules()(invoice(name, schema)) if one.level == "error"] == []


@with_saxon
@pytest.mark.parametrize(
    ("name", "schema", "path"),
    [
        ("xrechnung-3.0/instances/standard/01.01a-INVOICE_ubl.xml", UBL, "/ubl:Invoice"),
        (
            "xrechnung-3.0/instances/standard/01.01a-INVOICE_uncefact.xml",
            CII,
            "/rsm:CrossIndustryInvoice",
        ),
    ],
)
def test_an_invoice_without_the_buyers_reference_breaks_br_de_15(name, schema, path):
    document = invoice(name, schema)
    for node in list(document.root.iter("{*}BuyerReference")):
        node.getparent().remove(node)

    errors = [one for one in invoice_rules()(document) if one.level == "error"]

    assert [one.rule for one in errors] == ["BR-DE-15"]
    assert errors[0].path == path
    assert errors[0].line > 0
    assert "BT-10" in errors[0].text


@with_saxon
def test_the_rules_of_a_10_kb_invoice_cost_at_most_60_times_its_parsing_and_validation():
    sized = {name: (CORPUS / name).stat().st_size for name, schema in INVOICES if schema == UBL}
    name = min(sized, key=lambda one: abs(sized[one] - 10_000))
    body, schema = (CORPUS / name).read_bytes(), official(UBL).schema(official(UBL).profile)
    document = invoice(name, UBL)
    rules = invoice_rules()
    for _ in range(50):
        rules(document)

    # In turn, by the processor's time: on a busy machine both wait, and neither is measured while it does.
    rounds = [
        (seconds(lambda: rules(document)), seconds(lambda: schema.validate(etree.fromstring(body)))) for _ in range(100)
    ]

    ratio = median(ruled / bare for ruled, bare in rounds)
    assert ratio <= N_MAX, f"{name}: {ratio:.0f} N"


def seconds(work: Callable[[], object]) -> float:
    start = time.thread_time()
    work()
    return time.thread_time() - start

"""The steps of the project's own routes.yaml, against the contract that every step has to keep."""

from __future__ import annotations

import base64
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from hub.deployment import Mark, StepSpec
from hub.errors import Rejected
from hub.files import Files
from hub.message import DeliveryId, Header, Message, MessageId, MessageType, Outgoing
from hub.plugin import Step
from hub.steps import compile_step
from hub.testing.step import StepContract
from hub.xml import bindings
from hub.xml.guard import parse
from hub.xml.registry import Registry

PROJECT = Path(__file__).parents[2]
MESSAGES = PROJECT / "tests/messages"
STATE = tempfile.TemporaryDirectory()
NOWHERE = Mark("routes.yaml", 1, 1)


@cache
def compiled(kind: str, value: str) -> Step:
    files, registry = deployment()
    return compile_step(StepSpec(kind, value, NOWHERE), files, registry)  # type: ignore[arg-type]  # literals below


@cache
def deployment() -> tuple[Files, Registry]:
    files = Files(PROJECT)
    registry, problems = Registry.load(files)
    assert problems == []
    folder = bindings.prepare(files, registry.profiles.values(), Path(STATE.name))
    assert folder
    bindings.activate(folder)
    return files, registry


def outgoing(body: bytes) -> Outgoing:
    message = Message(
        id=MessageId("0192d3a4-0000-7000-8000-000000000001"),
        header=Header(MessageType("beispiel", "1", "beispiel")),
        source="online-services",
        sender="gewerbe-online",
        owner="wolfsburg",
        recipient="wolfsburg",
        received_at=datetime(2026, 3, 2, 8, 15, 7, 123456, tzinfo=UTC),
        sha256="0" * 64,
        snapshot="s",
        body=body,
    )
    return Outgoing(DeliveryId("0192d3a4-0000-7000-8000-000000000002"), "wolfsburg/gewerbe", message, body)


def sample(name: str) -> Outgoing:
    return outgoing((MESSAGES / name).read_bytes())


def changed(name: str, old: str, new: str) -> Outgoing:
    body = (MESSAGES / name).read_text()
    assert old in body
    return outgoing(body.replace(old, new).encode())


TRADE = "gewerbeanmeldung-wolfsburg.xml"
BUILDING = "bauantrag-gifhorn.xml"


class TestGewerberegister(StepContract):
    def step(self) -> Step:
        return compiled("python", "mappings.gewerbe:to_gewerberegister")

    def good(self) -> Sequence[Outgoing]:
        return [sample(TRADE), sample("gewerbeanmeldung-wittingen.xml")]

    def bad(self) -> Sequence[Outgoing]:
        record = (MESSAGES / TRADE).read_text().partition("<xga:satz>")[2].partition("</xga:satz>")[0]
        return [
            changed(TRADE, "<xga:ort>Wolfsburg</xga:ort>", ""),
            changed(TRADE, "14061984", "00001984"),
            changed(TRADE, "38440", "D-38440"),
            changed(TRADE, "<xga:vorname>Jördis</xga:vorname>", "<xga:vorname> </xga:vorname>"),
            changed(TRADE, "</xga:satz>", f"</xga:satz><xga:satz>{record}</xga:satz>"),
            sample(BUILDING),
            outgoing(b"<kein-xml"),
        ]


class TestBauakte(StepContract):
    def step(self) -> Step:
        return compiled("xslt", "transforms/bauakte.xsl")

    def good(self) -> Sequence[Outgoing]:
        return [sample(BUILDING), sample("bauantrag-wittingen.xml")]

    def bad(self) -> Sequence[Outgoing]:
        return [outgoing(b"<kein-xml")]


class TestGewerbeakte(StepContract):
    def step(self) -> Step:
        return compiled("xslt", "transforms/gewerbeakte.xsl")

    def good(self) -> Sequence[Outgoing]:
        return [sample("gewerbeanmeldung-braunschweig.xml"), sample(TRADE)]

    def bad(self) -> Sequence[Outgoing]:
        record = (MESSAGES / TRADE).read_text().partition("<xga:satz>")[2].partition("</xga:satz>")[0]
        return [changed(TRADE, "</xga:satz>", f"{record}</xga:satz>"), outgoing(b"<kein-xml")]


class TestTermin(StepContract):
    def step(self) -> Step:
        return compiled("xslt", "transforms/termin-2.xsl")

    def good(self) -> Sequence[Outgoing]:
        return [sample("termin-wolfsburg.xml")]

    def bad(self) -> Sequence[Outgoing]:
        return [outgoing(b"<kein-xml")]


class TestTarget(StepContract):
    def step(self) -> Step:
        return compiled("validate", "gewerberegister/1.0")

    def good(self) -> Sequence[Outgoing]:
        return [TestGewerberegister().step()(sample(TRADE))]

    def bad(self) -> Sequence[Outgoing]:
        return [sample(TRADE), outgoing(b"<kein-xml")]


def test_a_trade_notice_becomes_a_valid_takeover() -> None:
    step, target = TestGewerberegister().step(), compiled("validate", "gewerberegister/1.0")

    result = target(step(sample("gewerbeanmeldung-wittingen.xml")))

    root = parse(result.body)
    texts = {element.tag.rpartition("}")[2]: element.text for element in root.iter() if not len(element)}
    assert texts == {
        "mandant": "151",
        "vorgang": "8d2f4a10-3c5b-4e6d-9f70-1a2b3c4d0002",
        "eingang": "2026-03-02T08:15:07Z",
        "art": "anmeldung",
        "name": "Backstube Muster-Łoś",
        "strasse": "Ausgedachter Weg 3",
        "plz": "29378",
        "ort": "Wittingen",
        "taetigkeit": "Herstellung und Verkauf von Backwaren",
        "beginn": "2026-04-01",
        "vorname": "Çelal",
        "familienname": "Muster-Łoś",
        "geburtsdatum": "1979-11-03",
    }


def test_an_appointment_of_the_old_version_becomes_one_of_the_new_and_loses_nothing() -> None:
    old = sample("termin-wolfsburg.xml")

    result = compiled("validate", "termin/2.0")(TestTermin().step()(old))

    before, after = parse(old.body), parse(result.body)
    assert after.tag == "{urn:xoev-hub:beispiel:termin_2.0}termin.buchung.0101"
    assert [element.text for element in after.iter("*")] == [element.text for element in before.iter("*")]


def test_a_value_that_the_target_refuses_is_named_by_its_type_and_not_quoted() -> None:
    with pytest.raises(Rejected) as caught:
        TestGewerberegister().step()(changed(TRADE, "38440", "D-38440"))

    finding = caught.value.findings[0]
    assert finding.rule == "SimpleFacetValueError"
    assert finding.text.startswith("mappings.gewerbe:to_gewerberegister failed: gewerbe.py:")
    assert finding.text.endswith("({urn:xoev-hub:beispiel:gewerberegister_1.0}PLZ, gewerberegister.xsd:63)")
    assert "38440" not in finding.text


@pytest.mark.parametrize("name", [BUILDING, "bauantrag-wittingen.xml"])
def test_a_building_application_becomes_a_valid_file(name: str) -> None:
    result = compiled("validate", "bauakte/1.0")(TestBauakte().step()(sample(name)))

    root = parse(result.body)
    assert root.get("nachricht") == "0200"
    assert root.findtext("{*}eingang") == "2026-03-02T08:15:07Z"


def test_the_documents_of_an_application_are_in_the_file_byte_for_byte() -> None:
    source = sample("bauantrag-wittingen.xml")
    inside = [base64.b64decode(one.text or "") for one in parse(source.body).iter("text", "textOfficeXML")]

    result = compiled("validate", "bauakte/1.0")(TestBauakte().step()(source))

    found = list(parse(result.body).iter("{*}unterlage"))
    assert [base64.b64decode(one.findtext("{*}inhalt", "")) for one in found[:2]] == inside
    assert inside[0].startswith(b"<p>")
    assert inside[1].startswith(b"PK")
    assert [one.get("format") for one in found] == [
        "text/html", "application/vnd.oasis.opendocument.text", "application/pdf",
    ]  # fmt: skip
    assert [one.get("bezeichnung") for one in found] == ["begruendung", "begruendung", "Lageplan"]
    assert (found[2].get("datei"), found[2].findtext("{*}verweis")) == ("lageplan.pdf", "lageplan-1")


def test_what_is_no_base64_makes_the_file_invalid_and_is_not_passed_on() -> None:
    start, _, rest = (MESSAGES / "bauantrag-wittingen.xml").read_text().partition("<text>")
    broken = f"{start}<text>ü{rest.partition('</text>')[2].join(['</text>', ''])}"

    with pytest.raises(Rejected) as caught:
        compiled("validate", "bauakte/1.0")(TestBauakte().step()(outgoing(broken.encode())))

    assert caught.value.code == "target_invalid"


def test_a_trade_notice_becomes_a_valid_message_of_another_citys_procedure() -> None:
    source = sample("gewerbeanmeldung-braunschweig.xml")

    result = compiled("validate", "gewerbeakte/1.0")(TestGewerbeakte().step()(source))

    root = parse(result.body)
    assert dict(root.attrib) == {
        "vordruck": "GewA1",
        "gemeinde": "03101000",
        "nummer": "8d2f4a10-3c5b-4e6d-9f70-1a2b3c4d0005",
        "eingang": "2026-03-02T08:15:07Z",
        "beginn": "2026-04-01",
    }
    assert [(etree.QName(one).localname, one.text, dict(one.attrib)) for one in root] == [
        ("betriebsstaette", "Puppentheater Mustermann", {"anschrift": "Ausgedachte Gasse 5, 38100 Braunschweig"}),
        ("beteiligter", "Mustermann-Östergård, Ole", {"geboren": "1976-02-29"}),
        ("taetigkeit", "Aufführungen mit Marionetten", {}),
    ]


def test_a_building_application_of_a_company_on_two_plots_keeps_them_all() -> None:
    plot = (MESSAGES / BUILDING).read_text().partition("<xbau:flurstueck>")[2].partition("</xbau:flurstueck>")[0]
    second = plot.replace("<zaehler>112</zaehler>", "<zaehler>113</zaehler><nenner>4</nenner>")
    source = changed(BUILDING, "</xbau:flurstueck>", f"</xbau:flurstueck><xbau:flurstueck>{second}</xbau:flurstueck>")
    body = source.body.decode().replace("8d2f4a10-3c5b-4e6d-9f70-1a2b3c4d0011", "8D2F4A10-3C5B-4E6D-9F70-1A2B3C4D0011")
    start, _, rest = body.partition("<natuerlichePerson>")
    rest = rest.partition("</natuerlichePerson>")[2]
    company = "<organisation><id>x</id><name><name>Erdachte Bau GmbH</name></name></organisation>"

    result = TestBauakte().step()(outgoing(f"{start}{company}{rest}".encode()))

    root = parse(compiled("validate", "bauakte/1.0")(result).body)
    assert [element.text for element in root.iter("{*}flurstueck")] == ["112", "113/4"]
    assert root.findtext("{*}antragsteller/{*}name") == "Erdachte Bau GmbH"
    assert root.findtext("{*}vorgang") == "8d2f4a10-3c5b-4e6d-9f70-1a2b3c4d0011"


NAMES = ["antragsteller", "natuerlichePerson", "organisation", "anschrift", "kodierungFlurstueck", "name", "zaehler"]
TREES = st.recursive(
    st.text("aä<&>]\u2028 ", max_size=5),
    lambda inner: st.tuples(st.sampled_from(NAMES), st.booleans(), st.lists(inner, max_size=3)),
    max_leaves=10,
)


def written(tree: object) -> str:
    if isinstance(tree, str):
        return tree.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    name, qualified, inner = tree  # type: ignore[misc]  # a tuple of the strategy above
    tag = f"x:{name}" if qualified else name
    return f"<{tag}>{''.join(map(written, inner))}</{tag}>"


@settings(max_examples=100, deadline=None)
@given(trees=st.lists(TREES, max_size=4), name=st.sampled_from(["baugenehmigung.antrag.0200", "x", "vorbescheid."]))
@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("xslt", "transforms/bauakte.xsl"),
        ("xslt", "transforms/gewerbeakte.xsl"),
        ("python", "mappings.gewerbe:to_gewerberegister"),
    ],
)
def test_whatever_comes_in_gives_bytes_or_a_rejection(kind: str, value: str, trees: list[object], name: str) -> None:
    body = f'<x:{name} xmlns:x="http://www.xleitstelle.de/xbau/2/6">{"".join(map(written, trees))}</x:{name}>'

    try:
        result = compiled(kind, value)(outgoing(body.encode()))
    except Rejected as refusal:
        assert refusal.code == "transform_failed"
    else:
        assert parse(result.body) is not None
        assert replace(result, body=b"") == replace(outgoing(body.encode()), body=b"")

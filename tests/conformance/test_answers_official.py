"""Rejections and receipts in the standards' own form are valid under the official schemas, and say what they must.

The corpus lies beside the checkout and is no part of it: its licences differ, see there.
"""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from hub.files import Files
from hub.xml.registry import Registry
from tests import answering
from tests.command import command
from tests.official import CORPUS

pytestmark = pytest.mark.skipif(not CORPUS.is_dir(), reason=f"no corpus: {CORPUS} is not there (XOEV_HUB_CORPUS)")

MESSAGES = Path(__file__).parents[1] / "messages"
XMELD_QUERY = (MESSAGES / "meldeauskunft-braunschweig.xml").read_bytes()
XBAU_APPLICATION = (MESSAGES / "bauantrag-gifhorn.xml").read_bytes()

ASYNCHRONOUS = "xinneres-rueckweisung/6/rueckweisung.asynchron.0010"
SYNCHRONOUS = "xmeld/25.11a/administration.returntosender.0910"
XBAU = "xbau-kernmodul/1.3.0/prozessnachrichten.rueckweisung.G2G.1100"
XBAU_RECEIPT = "xbau-kernmodul/1.3.0/prozessnachrichten.generischeQuittierungEingang.1180"

FINDINGS = [
    {
        "rule": "SCHEMAV_CVC_PATTERN_VALID",
        "path": "/*/nachrichtenkopf.g2g",
        "line": 7,
        "text": "„Übel“ – 'x\u0308' ☃ <b>",
    },
    {"rule": "S030", "path": "/*/name", "line": 9, "text": "is mandatory text and empty"},
]
CODES = {  # of a rejection -> of XInneres
    "not_well_formed": "X000", "schema_violation": "X001", "version_not_served": "V000", "encoding": "S001",
    "code_list": "S011", "conflict": "S100", "sender_may_not": "T070", "unknown_recipient": "T080",
    "signature": "T011", "unknown_type": "S999",
}  # fmt: skip
HEAD = "nachrichtenkopf.g2g"


def case(type_: str, body: bytes, code: str = "", **more: Any) -> dict[str, Any]:
    return {"type": type_, "body": base64.b64encode(body).decode(), "code": code, **more}


CASES: dict[str, dict[str, Any]] = {
    "0010": case(ASYNCHRONOUS, XMELD_QUERY, "schema_violation", findings=FINDINGS),
    "0010 of no XML": case(ASYNCHRONOUS, b"<kein XML \xff", "not_well_formed", sender="fachverfahren-7"),
    "0010 of a test": case(ASYNCHRONOUS, XMELD_QUERY, "test_message", test=True),
    "0910": case(SYNCHRONOUS, XMELD_QUERY, "schema_violation", findings=FINDINGS[1:]),
    "0910 of no XML": case(SYNCHRONOUS, b"<kein XML", "not_well_formed"),
    "1100": case(XBAU, XBAU_APPLICATION, "schema_violation", findings=FINDINGS),
    "1180": case(XBAU_RECEIPT, XBAU_APPLICATION),
    "too large": case(ASYNCHRONOUS, b" " * 7_000_001, "limit"),
    **{f"code {code}": case(ASYNCHRONOUS, XMELD_QUERY, code) for code in CODES},
}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("hub")
    for release in ("xinneres-25.11", "xbau-kernmodul-1.3.0", "xmeld-25.11a"):
        done = command("schemas", "import", str(CORPUS / release), "--json", cwd=base)
        assert done.code == 0, done.err
    return base


@pytest.fixture(scope="module")
def built(base: Path) -> dict[str, etree._Element | None]:
    found = answering.build(base, base / "var", list(CASES.values()))
    return {name: etree.fromstring(text.encode()) if text else None for name, text in zip(CASES, found, strict=True)}


NONE = ("0910 of no XML", "too large")


@pytest.mark.parametrize("name", [name for name in CASES if name not in NONE])
def test_an_answer_is_valid_under_the_official_schema(name: str, base: Path, built: dict[str, Any]) -> None:
    registry, _ = Registry.load(Files(base))
    standard, version, _ = CASES[name]["type"].split("/")
    profile = registry.profiles[standard, version]

    root = built[name]

    assert root is not None
    assert profile.level == "full"
    assert registry.schema(profile).validate(root) == ()


@pytest.mark.parametrize("name", NONE)
def test_what_cannot_be_said_in_the_standards_form_is_not_said(name: str, built: dict[str, Any]) -> None:
    assert built[name] is None


def test_a_rejection_carries_the_original_to_its_author_and_says_each_reason(built: dict[str, Any]) -> None:
    root = built["0010"]

    assert base64.b64decode(root.findtext("rueckweisung/nachricht")) == XMELD_QUERY
    original = etree.fromstring(XMELD_QUERY)
    author, reader = original.find(f"{HEAD}/autor"), root.find(f"{HEAD}/leser")
    assert [reader.findtext(path) for path in ("kennung", "name", "verzeichnisdienst/code")] == [
        author.findtext(path) for path in ("kennung", "name", "verzeichnisdienst/code")
    ]
    assert root.findtext(f"{HEAD}/autor/kennung") == answering.OFFICE.authority
    assert [one.text for one in root.findall("rueckweisung/rueckweisungsgrund/grund/code")] == ["X001", "S030"]
    assert root.findtext("rueckweisung/idNachricht/nachrichtenUUID") == original.findtext(
        f"{HEAD}/identifikation.nachricht/nachrichtenUUID"
    )
    assert root.get("test") is None


def test_what_is_no_xml_is_rejected_to_the_sender_by_its_name(built: dict[str, Any]) -> None:
    root = built["0010 of no XML"]

    assert root.findtext("rueckweisung/rueckweisungsgrund/grund/code") == "X000"
    assert base64.b64decode(root.findtext("rueckweisung/nachricht")) == b"<kein XML \xff"
    assert root.findtext(f"{HEAD}/leser/name") == "fachverfahren-7"
    assert root.find("rueckweisung/idNachricht") is None


def test_the_answer_to_a_test_message_is_one(built: dict[str, Any]) -> None:
    assert built["0010 of a test"].get("test")


@pytest.mark.parametrize("code", CODES)
def test_the_profile_turns_codes_into_those_of_the_standard(code: str, built: dict[str, Any]) -> None:
    assert built[f"code {code}"].findtext("rueckweisung/rueckweisungsgrund/grund/code") == CODES[code]


def test_a_synchronous_message_is_rejected_by_0910_which_names_it(built: dict[str, Any]) -> None:
    root, namespace = built["0910"], {"x": "http://www.osci.de/xmeld2511a"}

    assert root.findtext("x:rts.container/x:begruendung/x:grund/code", None, namespace) == "S030"
    assert root.findtext("x:ursprungsnachricht/nachrichtenUUID", None, namespace) == etree.fromstring(
        XMELD_QUERY
    ).findtext(f"{HEAD}/identifikation.nachricht/nachrichtenUUID")


def test_xbau_is_rejected_by_1100_and_receipted_by_1180(built: dict[str, Any]) -> None:
    uuid = etree.fromstring(XBAU_APPLICATION).findtext(f"{HEAD}/identifikation.nachricht/nachrichtenUUID")
    rejection, receipt = built["1100"], built["1180"]

    assert base64.b64decode(rejection.findtext("rueckweisungDaten/nachricht")) == XBAU_APPLICATION
    assert [one.text for one in rejection.iterfind("rueckweisungDaten/rueckweisungsgrund/grund/code")] == [
        "X001",
        "S030",
    ]
    assert rejection.findtext("rueckweisungDaten/idNachricht/{*}nachrichtenUUID") == uuid
    assert receipt.findtext("bezug/referenz") == uuid
    assert receipt.findtext("nachrichtentyp/code") == "0200"

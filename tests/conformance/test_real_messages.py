"""Real and generated messages: every header is read; those of the shipped standards are identified, and none is
rejected that is valid.

The corpus lies beside the checkout and is no part of it: its licences differ, see there.
"""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lxml import etree

from hub.errors import Rejected
from hub.files import Files
from hub.message import Finding
from hub.xml import guard
from hub.xml.detection import detect
from hub.xml.header import read
from hub.xml.registry import Registry
from tests.official import CORPUS
from tests.rewriting import rewritten

CHECKOUT = Path(__file__).resolve().parents[2]
NOW = datetime(2026, 6, 1, tzinfo=UTC)

SERVED = {
    "xmeld-25.11a": "xmeld/25.11a",
    "xbau-2.6": "xbau/2.6",
    "xbau-kernmodul-1.3.0": "xbau-kernmodul/1.3.0",
    "xbeteiligung-1.2": "xbeteiligung/1.2",
    "xdomea-3.0.0": "xdomea/3.0.0",
    "xrechnung-3.0": "xrechnung/3.0",
    "xgewerbeanzeige-1.3-2.2": "xgewerbeanzeige/2.2",
}
UNKNOWN_THERE = (  # other versions of XGewerbeanzeige, code lists, and a test case with an invented root
    "/xgwa1.3-", "/xgwa2.0-", "/xgwa2.1-", "/xy-unknown.xml", "/instances-app/intrp/", "/test-payload-1332.xml",
)  # fmt: skip
NO_HEADER_OF_A_FORM = ("returntosender.0900", "melderegisterauskunfteinfach.")  # XMeld's six older than XInneres

pytestmark = pytest.mark.skipif(not CORPUS.is_dir(), reason=f"no corpus: {CORPUS} is not there (XOEV_HUB_CORPUS)")


def facts(name: str) -> dict[str, dict[str, str]]:
    return json.loads((CORPUS / name).read_text(encoding="utf-8")) if CORPUS.is_dir() else {}


HEADERS = facts("headers.json")
VALIDITY = facts("expected_validity.json")


def of_the_six(names: dict[str, object]) -> list[str]:
    return [name for name in names if name.partition("/")[0] in SERVED]


@cache
def registry() -> Registry:
    found, problems = Registry.load(Files(CHECKOUT / "tests"))
    assert problems == []
    return found


def served(name: str) -> bool:
    return not any(part in name for part in UNKNOWN_THERE)


@pytest.mark.parametrize("name", [name for name in of_the_six(HEADERS) if served(name)])
def test_the_header_of_a_real_message_is_read(name):
    root = guard.parse((CORPUS / name).read_bytes())
    expected = HEADERS[name]

    profile = registry().identify(root, NOW)
    header = read(root, profile).header

    assert f"{profile.standard}/{profile.version}" == SERVED[name.partition("/")[0]]
    assert header.type.name == expected["root"]
    assert header.test == ("test" in expected)
    prefix = "leitweg:" if profile.standard == "xrechnung" else ""
    for key, found, prefixed in [
        ("uuid", header.message_id, ""),
        ("typ", header.type_code, ""),
        ("zeit", header.created_at, ""),
        ("leser", header.reader, prefix),
        ("autor", header.author, ""),
    ]:
        if key in expected:
            assert found == prefixed + expected[key], key
    if "standard" in expected:
        assert root.get("standard") == expected["standard"]
        assert root.get("version") == expected["version"] == profile.version


@pytest.mark.parametrize("name", [name for name in of_the_six(HEADERS) if not served(name)])
def test_what_the_shipped_versions_do_not_serve_is_not_identified(name):
    root = guard.parse((CORPUS / name).read_bytes())

    with pytest.raises(Rejected) as caught:
        registry().identify(root, NOW)

    assert caught.value.code in ("unknown_type", "version_not_served")


@pytest.mark.parametrize("name", HEADERS)
def test_the_header_of_a_message_is_found_without_its_profile(name):
    expected = HEADERS[name]

    found = detect(guard.parse((CORPUS / name).read_bytes()))

    header, references = found.reading.header, found.reading.header.references
    prefix = {"H": "ags:", "G-UBL": "leitweg:", "G-CII": "leitweg:"}.get(found.form, "")
    assert header.type.name == expected["root"]
    assert header.test == ("test" in expected)
    for key, value in [
        ("uuid", header.message_id),
        ("typ", header.type_code),
        ("zeit", header.created_at),
        ("leser", header.reader.removeprefix(prefix) if header.reader else None),
        ("autor", header.author),
        ("standard", header.type.standard),
        ("version", header.type.version),
        ("referenz", references.get("referenzUUID")),
        ("dienst", references.get("dvdvDienstkennung")),
    ]:
        assert key not in expected or value == expected[key], key


@pytest.mark.parametrize(
    "name",
    [
        name
        for name in VALIDITY
        if True in VALIDITY[name].values() and not any(part in name for part in NO_HEADER_OF_A_FORM)
    ],
)
def test_a_valid_message_has_a_header_without_errors(name):
    found = detect(guard.parse((CORPUS / name).read_bytes()))

    errors = [one for one in found.reading.findings if one.level == "error"]
    assert errors == []


@pytest.mark.parametrize("name", [name for name in HEADERS if not name.endswith("/bp_plan.gml")])  # of two towns
@settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_header_is_found_however_its_message_is_written(name, data):
    root = guard.parse((CORPUS / name).read_bytes())
    for child in list(root):
        if len(list(child.iter())) > 100:  # part of a body, and only slow
            root.remove(child)
    expected = detect(root)

    found = detect(guard.parse(data.draw(rewritten(etree.tostring(root, encoding="unicode")))))

    assert (found.form, found.reading.header) == (expected.form, expected.reading.header)
    assert Counter((one.level, one.text) for one in found.reading.findings) == Counter(
        (one.level, one.text) for one in expected.reading.findings
    )


def errors(name: str) -> list[Finding]:
    root = guard.parse((CORPUS / name).read_bytes())
    profile = registry().identify(root, NOW)
    findings = (*read(root, profile).findings, *registry().schema(profile).validate(root))
    return [one for one in findings if one.level == "error"]


@pytest.mark.parametrize("name", [name for name in of_the_six(VALIDITY) if True in VALIDITY[name].values()])
def test_a_message_that_is_really_valid_is_not_rejected_for_its_header(name):
    assert errors(name) == []


@pytest.mark.parametrize(
    "name", [name for name in HEADERS if "/xgwa2.2-" in name]
)  # the corpus has no official verdict on these: what is wrong with the invalid one lies in its body
def test_the_headers_of_xgewerbeanzeige_are_accepted(name):
    assert errors(name) == []


@pytest.mark.parametrize(
    ("name", "rule", "path"),
    [
        ("test-case-no-wohnung.xml", "SCHEMAV_ELEMENT_CONTENT", "xmeld:kpf"),
        ("testcase-22-aspekten.xml", "SCHEMAV_ELEMENT_CONTENT", "autor"),
    ],
)
def test_a_real_message_with_a_broken_header_is_rejected_at_the_place(name, rule, path):
    found = errors(f"xmeld-25.11a/instances-app/test/{name}")

    assert (rule, path) in [(one.rule, one.path.rpartition("/")[2]) for one in found]


def test_the_corpus_is_not_empty():
    assert len(of_the_six(HEADERS)) > 90
    assert len(of_the_six(VALIDITY)) > 430

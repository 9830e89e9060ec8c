"""The shipped samples are valid by the official schemas, not only by our own header schemas.

The corpus lies beside the checkout and is no part of it: its licences differ, see there.
"""

from __future__ import annotations

from functools import cache

import pytest
from lxml import etree

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

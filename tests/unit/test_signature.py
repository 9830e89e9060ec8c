"""Signatures: who is trusted, what is covered, and that a signature over something else counts for nothing."""

from __future__ import annotations

import copy
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from lxml import etree
from signxml import CanonicalizationMethod

from hub.errors import ConfigError
from hub.files import Files
from hub.xml.checks.table import Checks
from hub.xml.checks.values import Check, Document, Found
from hub.xml.saxon import Programs
from tests.checked import NS, document, registry
from tests.signing import Signer, signer
from tests.standards import NOW, parsed

DS = "{http://www.w3.org/2000/09/xmldsig#}"
PORTAL = signer("portal")
STRANGER = signer("fremd")
AUTHORITY = signer("wurzel", authority=True)
BETWEEN = signer("zwischen", AUTHORITY, authority=True)
ISSUED = signer("amt", AUTHORITY)
EXPIRED = signer("alt", until=NOW - timedelta(days=1))
TEXT = document("<titel>Baum</titel><teil><titel>Ast</titel></teil>")


def root(text: str = TEXT) -> etree._Element:
    return parsed(text)


def told(base: Path, signed: etree._Element, *trusted: Signer, covers: str = "") -> list[str]:
    """Return what the check says of a document that comes over the wire; nothing: the signature counts."""
    (base / "trust").mkdir(exist_ok=True)
    (base / "trust/liste.pem").write_text("".join(one.pem for one in trusted or (PORTAL,)))
    known, profile = registry(base)
    run = Checks(Files(base), known, Programs()).prepared(
        Check("signature", trust=("trust/liste.pem",), covers=covers), profile
    )
    found = list(run(Document(parsed(etree.tostring(signed).decode()), profile, NOW)))
    assert all(isinstance(one, Found) and one.rule == "signature" and one.level == "error" for one in found)
    return [one.text for one in found]


@pytest.mark.parametrize(
    "canonical",
    [
        CanonicalizationMethod.EXCLUSIVE_XML_CANONICALIZATION_1_0,
        CanonicalizationMethod.CANONICAL_XML_1_1,
        CanonicalizationMethod.CANONICAL_XML_1_0_WITH_COMMENTS,
    ],
)
def test_a_signature_over_the_whole_document_by_somebody_on_the_list_counts(tmp_path, canonical):
    assert told(tmp_path, PORTAL.sign(root(), canonical=canonical)) == []


def test_it_counts_where_an_authority_on_the_list_has_issued_the_certificate(tmp_path):
    assert told(tmp_path, ISSUED.sign(root()), AUTHORITY) == []


@pytest.mark.parametrize(
    ("signed", "trusted"),
    [
        (STRANGER.sign(root()), PORTAL),
        (STRANGER.sign(root()), AUTHORITY),
        (AUTHORITY.sign(root()), AUTHORITY),  # an authority issues; it signs no messages
        (signer("selbst", BETWEEN).sign(root()), AUTHORITY),  # the one between does not come along
    ],
)
def test_a_signature_by_somebody_else_counts_for_nothing(tmp_path, signed, trusted):
    assert told(tmp_path, signed, trusted) == ["is by nobody on the trust list"]


def test_a_certificate_must_have_been_valid_when_the_document_came(tmp_path):
    assert told(tmp_path, EXPIRED.sign(root()), EXPIRED) == ["is not valid (InvalidCertificate)"]


def test_a_changed_document_is_not_signed(tmp_path):
    signed = PORTAL.sign(root())
    signed[0].text = "Strauch"

    assert told(tmp_path, signed) == ["is not valid (InvalidDigest)"]


def test_the_stranger_who_signs_with_the_name_of_another_is_found(tmp_path):
    signed = STRANGER.sign(root())
    own = PORTAL.sign(root()).find(f".//{DS}X509Certificate")
    signed.find(f".//{DS}X509Certificate").text = own.text

    assert told(tmp_path, signed) == ["is not valid (InvalidSignature)"]


@pytest.mark.parametrize(
    ("times", "found"),
    [
        (0, "no signature"),
        (2, "2 signatures (/akte/ds:Signature[1], /akte/ds:Signature[2])"),
        (4, "4 signatures (/akte/ds:Signature[1], /akte/ds:Signature[2], /akte/ds:Signature[3], …)"),
    ],
)
def test_none_and_several_signatures_are_refused_with_their_places_however_good_they_are(tmp_path, times, found):
    signed = root()
    for _ in range(times):
        signed = PORTAL.sign(signed)

    assert told(tmp_path, signed) == [f"found {found}, expected exactly one, over /*"]


def test_a_signed_document_that_quotes_a_signed_one_has_two_signatures(tmp_path):
    whole = root()
    whole.find(f"{{{NS}}}teil").append(PORTAL.sign(root()))

    assert told(tmp_path, PORTAL.sign(whole))[0].startswith("found 2 signatures (/akte/teil/akte/ds:Signature, ")


# --- wrapping: the signature is good, and over something else than what the hub routes


def wrapped_beside(signed: etree._Element) -> etree._Element:
    """Move the signed copy into a wrapper, and put a forged one into its place."""
    forged = copy.deepcopy(signed)
    forged[0].text = "Strauch"
    del forged.attrib["Id"]
    wrapper = etree.SubElement(forged, "{urn:w}wrapper")
    signature = forged.find(f"{DS}Signature")
    inner = copy.deepcopy(signed)
    inner.remove(inner.find(f"{DS}Signature"))
    wrapper.append(inner)
    forged.append(signature)
    return forged


def wrapped_in_object(signed: etree._Element) -> etree._Element:
    """Move the signed copy into an Object of the signature itself."""
    forged = wrapped_beside(signed)
    wrapper = forged.find("{urn:w}wrapper")
    etree.SubElement(forged.find(f"{DS}Signature"), f"{DS}Object").append(wrapper[0])
    forged.remove(wrapper)
    return forged


def doubled_id(signed: etree._Element) -> etree._Element:
    """Leave the id at both: the verifier must not take the first for the one that is meant."""
    forged = wrapped_beside(signed)
    forged.set("Id", "a1")
    return forged


def over_a_part(_signed: etree._Element) -> etree._Element:
    """Sign an element of the document, not the document."""
    whole = root()
    whole.find(f"{{{NS}}}teil").set("Id", "teil")
    return PORTAL.sign(whole, reference="teil")


ELSEWHERE = "is valid, but over something else than what the hub routes"


@pytest.mark.parametrize(
    ("attack", "text"),
    [
        (wrapped_beside, ELSEWHERE),
        (wrapped_in_object, "is not valid (InvalidDigest)"),
        (over_a_part, ELSEWHERE),
        (doubled_id, "is not valid (InvalidInput)"),
    ],
)
def test_a_wrapped_copy_does_not_vouch_for_what_the_hub_routes(
    tmp_path, attack: Callable[[etree._Element], etree._Element], text: str
):
    whole = root()
    whole.set("Id", "a1")
    signed = PORTAL.sign(whole, reference="a1")
    assert told(tmp_path, signed) == []

    assert told(tmp_path, attack(signed)) == [text]


def test_a_signature_over_a_part_counts_where_the_route_says_that_the_part_is_covered(tmp_path):
    signed = over_a_part(root())

    assert told(tmp_path, signed, covers="/r:akte/r:teil") == []
    assert told(tmp_path, signed, covers="/r:akte/r:titel") == [ELSEWHERE]
    assert told(tmp_path, signed, covers="/r:akte/r:zahl") == ["/r:akte/r:zahl is not there exactly once"]


# --- what a verifier could be led to


def referring_to(uri: str) -> etree._Element:
    signed = PORTAL.sign(root())
    signed.find(f".//{DS}Reference").set("URI", uri)
    return signed


@pytest.mark.parametrize("uri", ["file:///etc/hostname", "http://127.0.0.1:9/x", "#xpointer(/)", "#nichts", "cid:1"])
def test_a_reference_out_of_the_document_is_not_followed(tmp_path, uri):
    assert told(tmp_path, referring_to(uri)) != []


@pytest.mark.parametrize(
    ("where", "what"),
    [
        ("SignatureMethod", "http://www.w3.org/2000/09/xmldsig#hmac-sha1"),
        ("SignatureMethod", "http://www.w3.org/2000/09/xmldsig#rsa-sha1"),
        ("DigestMethod", "http://www.w3.org/2000/09/xmldsig#sha1"),
        ("CanonicalizationMethod", "urn:eigene"),
        ("Transform", "http://www.w3.org/TR/1999/REC-xslt-19991116"),
    ],
)
def test_weak_and_foreign_algorithms_are_refused(tmp_path, where, what):
    signed = PORTAL.sign(root())
    signed.find(f".//{DS}{where}").set("Algorithm", what)

    assert told(tmp_path, signed) != []


def test_many_references_are_refused_before_any_is_looked_at(tmp_path):
    signed = PORTAL.sign(root())
    info = signed.find(f".//{DS}SignedInfo")
    for _ in range(1000):
        info.append(copy.deepcopy(info.find(f"{DS}Reference")))

    assert told(tmp_path, signed) == ["has more than 4 references"]


@pytest.mark.parametrize("name", ["SignedInfo", "SignatureValue", "KeyInfo", "X509Certificate", "Reference"])
@pytest.mark.parametrize("change", ["gone", "empty", "nonsense"])
def test_a_mutilated_signature_is_refused_and_never_a_crash(tmp_path, name, change):
    signed = PORTAL.sign(root())
    node = signed.find(f".//{DS}{name}")
    if change == "gone":
        node.getparent().remove(node)
    else:
        for child in list(node):
            node.remove(child)
        node.text = "" if change == "empty" else "Ü%"

    counts = told(tmp_path, signed) == []

    # Who signed need not be written down: the certificates of the list are tried.
    assert counts == (change == "gone" and name == "KeyInfo")


@pytest.mark.parametrize(
    ("content", "covers", "problem"),
    [("kein Zertifikat", "", "holds no certificate"), (PORTAL.pem, "//r:akte", "expected an absolute XPath")],
)
def test_a_trust_list_or_a_place_that_cannot_be_used_is_a_problem(tmp_path, content, covers, problem):
    (tmp_path / "t.pem").write_text(content)
    known, profile = registry(tmp_path)

    with pytest.raises(ConfigError, match=problem):
        Checks(Files(tmp_path), known, Programs()).prepared(
            Check("signature", trust=("t.pem",), covers=covers), profile
        )

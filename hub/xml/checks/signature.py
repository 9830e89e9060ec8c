"""``signature``: somebody on the trust list has signed what the hub routes (XML Signature 1.1).

The document must have exactly one signature: of several, whoever reads it could take another one for the one that
counts, and each enveloped one changes what the others are over. What it is over must be the element that ``covers``
names, the whole document without it. Where the signed copy lies, under which id it is found and what a transform makes
of it does not matter: what the verifier returns is compared with that element, so that a signature over a copy wrapped
elsewhere (or over an excerpt) counts for nothing. Nothing outside the document is ever read, and no clock is asked: a
certificate must have been valid when the document was received.
"""

from __future__ import annotations

import base64
import binascii
import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.x509.verification import Criticality, ExtensionPolicy, PolicyBuilder, Store, VerificationError
from lxml import etree
from signxml.algorithms import DigestAlgorithm, SignatureMethod
from signxml.exceptions import SignXMLException
from signxml.verifier import SignatureConfiguration, VerifyResult, XMLVerifier

from hub.files import Files
from hub.xml import guard
from hub.xml.checks.values import Check, Document, Found, Run, Sources, impossible
from hub.xml.place import path_of
from hub.xml.profile import Profile
from hub.xml.xpath import problem_with, select

_DS = "{http://www.w3.org/2000/09/xmldsig#}"
REFERENCES_MAX = 4  # of one signature: each costs a copy of the document. XAdES has two
CERTIFICATES_MAX = 10
PLACES_MAX = 3  # told of signatures where there are too many
_METHODS = frozenset(
    {
        SignatureMethod.RSA_SHA256, SignatureMethod.RSA_SHA384, SignatureMethod.RSA_SHA512,
        SignatureMethod.SHA256_RSA_MGF1, SignatureMethod.SHA384_RSA_MGF1, SignatureMethod.SHA512_RSA_MGF1,
        SignatureMethod.ECDSA_SHA256, SignatureMethod.ECDSA_SHA384, SignatureMethod.ECDSA_SHA512,
    }
)  # fmt: skip
_DIGESTS = frozenset({DigestAlgorithm.SHA256, DigestAlgorithm.SHA384, DigestAlgorithm.SHA512})
# Whatever a hostile signature makes the verifier stumble over: it was not verified.
_FAILURES = (
    SignXMLException,
    etree.LxmlError,
    UnsupportedAlgorithm,
    binascii.Error,
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    NotImplementedError,
    TypeError,
    ValueError,
)


class _Refused(Exception):
    """The signature counts for nothing. The text holds nothing of the document."""


@dataclass(frozen=True, slots=True)
class Trust:
    """Whose signatures count: these certificates, and those that these authorities have issued."""

    certificates: tuple[x509.Certificate, ...]
    authorities: tuple[x509.Certificate, ...]


def prepare(check: Check, profile: Profile, sources: Sources) -> Run:
    """Return the check by a trust list; its files are part of the snapshot."""
    trust = read_trust(sources.files, check.trust)
    covers = check.covers or "/*"
    for root in profile.roots:
        if problem := problem_with(covers, root.namespaces):
            raise impossible("", f"covers: {problem}")
    with guard.COMPILE_LOCK:
        XMLVerifier.schemas()  # type: ignore[no-untyped-call]  # signxml has none there; compiled now, not with the first message

    def run(document: Document) -> Iterable[Found]:
        signatures = list(document.root.iter(f"{_DS}Signature"))
        at = signatures[0] if signatures else document.root
        try:
            if len(signatures) != 1:
                raise _Refused(f"found {_counted(signatures)}, expected exactly one, over {covers}")
            covered = select(document.root, covers, document.profile.root_of(document.root).namespaces)
            if len(covered) != 1 or not isinstance(covered[0], etree._Element):
                raise _Refused(f"{covers} is not there exactly once")
            _verify(document, signatures[0], covered[0], trust)
        except _Refused as refusal:
            return [Found("signature", at, str(refusal))]
        return []

    return run


def read_trust(files: Files, names: Sequence[str]) -> Trust:
    """Return the certificates of PEM files, those of authorities apart.

    Raises:
        ConfigError: A file is not there, or holds no certificate.
    """
    found: list[x509.Certificate] = []
    for name in names:
        try:
            found += x509.load_pem_x509_certificates(files.read(name))
        except OSError as error:
            raise impossible(name, f"cannot be read: {error.strerror}") from error
        except ValueError as error:
            raise impossible(name, "holds no certificate, expected PEM") from error
    authorities = tuple(one for one in found if _is_authority(one))
    return Trust(tuple(one for one in found if one not in authorities), authorities)


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (x509.ExtensionNotFound, ValueError):
        return False


def _counted(signatures: Sequence[etree._Element]) -> str:
    """Return how many there are and where."""
    if not signatures:
        return "no signature"
    places = ", ".join(path_of(one) for one in signatures[:PLACES_MAX])
    more = ", …" if len(signatures) > PLACES_MAX else ""
    return f"{len(signatures)} signatures ({places}{more})"


# --- one document -------------------------------------------------------------------------------------------------


def _verify(document: Document, signature: etree._Element, covered: etree._Element, trust: Trust) -> None:
    """Return if the signature counts for ``covered``.

    Raises:
        _Refused: It does not; the text says why.
    """
    if len(list(signature.iter(f"{_DS}Reference"))) > REFERENCES_MAX:
        raise _Refused(f"has more than {REFERENCES_MAX} references")
    signed: list[VerifyResult] = []
    signers = _signers(signature, trust, document.at)
    for signer in signers:
        try:
            signed = _signed(document, signer)
            break
        except _FAILURES as error:
            why = type(error).__name__
    if not signed:
        raise _Refused(f"is not valid ({why})" if signers else "is by nobody on the trust list")
    expected = _comparable(_unsigned(covered))
    if not any(one.signed_xml is not None and _comparable(one.signed_xml) == expected for one in signed):
        raise _Refused("is valid, but over something else than what the hub routes")


def _signed(document: Document, signer: x509.Certificate) -> list[VerifyResult]:
    """Return all that the document's signature is over, if ``signer`` made it."""
    found = XMLVerifier().verify(
        document.root,
        x509_cert=signer,
        parser=guard.trusted_parser(),
        uri_resolver=None,
        expect_config=SignatureConfiguration(
            signature_methods=_METHODS,
            digest_algorithms=_DIGESTS,
            expect_references=True,  # any number
            verification_time=document.at,
        ),
    )
    return found if isinstance(found, list) else [found]


def _signers(signature: etree._Element, trust: Trust, at: datetime) -> Sequence[x509.Certificate]:
    """Return the certificates on the trust list by which the signature may be made, as it says itself."""
    try:
        named = [
            x509.load_der_x509_certificate(base64.b64decode("".join(one.itertext())))
            for one in list(signature.iter(f"{_DS}X509Certificate"))[:CERTIFICATES_MAX]
        ]
    except _FAILURES:
        return []
    if not named:
        return trust.certificates
    pinned = [one for one in named if one in trust.certificates]
    return pinned or [one for one in named if not _is_authority(one) and _issued(one, named, trust, at)]


def _issued(leaf: x509.Certificate, named: Sequence[x509.Certificate], trust: Trust, at: datetime) -> bool:
    """Tell whether a chain leads from a certificate to an authority of the trust list."""
    if not trust.authorities:
        return False
    policy = PolicyBuilder().store(Store(list(trust.authorities))).time(at)
    may_sign = ExtensionPolicy.permit_all().may_be_present(x509.KeyUsage, Criticality.AGNOSTIC, _may_sign)
    policy = policy.extension_policies(ee_policy=may_sign, ca_policy=ExtensionPolicy.webpki_defaults_ca())
    try:
        policy.build_client_verifier().verify(leaf, [one for one in named if one is not leaf])
    except VerificationError:
        return False
    return True


def _may_sign(_policy: object, _certificate: x509.Certificate, usage: x509.KeyUsage | None) -> None:
    if usage is not None and not (usage.digital_signature or usage.content_commitment):
        raise ValueError("the certificate is not for signatures")


def _unsigned(covered: etree._Element) -> etree._Element:
    """Return a copy of an element without the signature inside it; there is only one in the whole document."""
    plain = copy.deepcopy(covered)
    plain.tail = None
    for node in list(plain.iter(f"{_DS}Signature")):
        parent, before = node.getparent(), node.getprevious()
        if parent is None:
            continue
        if before is not None:
            before.tail = (before.tail or "") + (node.tail or "")
        else:
            parent.text = (parent.text or "") + (node.tail or "")
        parent.remove(node)
    return plain


def _comparable(element: etree._Element) -> bytes:
    """Return the canonical form of an element: the same for two that mean the same."""
    return etree.tostring(element, method="c14n", exclusive=True, with_comments=False)

"""An invented applicant who signs: the key is made when the demo starts, and ends with it. None is kept anywhere."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from lxml import etree
from signxml.algorithms import (
    CanonicalizationMethod,
    DigestAlgorithm,
    SignatureConstructionMethod,
    SignatureMethod,
)
from signxml.signer import XMLSigner

from hub.xml import guard

_SIGNATURE = "{http://www.w3.org/2000/09/xmldsig#}Signature"
_VALID_FOR = timedelta(days=1)


def sign(document: Path, trust: Path) -> None:
    """Sign a document in place of who has signed it, by a new key; its certificate goes on the trust list."""
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = _certificate(key)
    root = guard.parse(document.read_bytes())
    for old in root.findall(_SIGNATURE):
        root.remove(old)
    signer = XMLSigner(
        method=SignatureConstructionMethod.enveloped,
        signature_algorithm=SignatureMethod.ECDSA_SHA256,
        digest_algorithm=DigestAlgorithm.SHA256,
        c14n_algorithm=CanonicalizationMethod.EXCLUSIVE_XML_CANONICALIZATION_1_0,
    )
    signed = signer.sign(root, key=key, cert=[certificate])
    document.write_bytes(etree.tostring(signed.getroottree(), xml_declaration=True, encoding="UTF-8"))
    trust.write_bytes(trust.read_bytes() + certificate.public_bytes(serialization.Encoding.PEM))


def _certificate(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Schwerlast Beispiel GmbH (erfunden)")])
    now = datetime.now(UTC)
    usage = x509.KeyUsage(
        digital_signature=True, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=False, crl_sign=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _VALID_FOR)
        .not_valid_after(now + _VALID_FOR)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("schwerlast.example")]), critical=False)
        .sign(key, hashes.SHA256())
    )

"""TLS: who is trusted, who is not, and that the old versions are gone. All on loopback, with authorities of our own."""

from __future__ import annotations

import socket
import ssl
import warnings
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Thread
from typing import NamedTuple

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from hub.plugin import TlsSettings
from hub.tls import client_context, server_context


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    """A folder with two authorities and what they certified."""
    folder = tmp_path_factory.mktemp("tls")
    for name in ("ours", "theirs"):
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(folder / f"{name}-ca.pem"))
        certified = authority.issue_cert("localhost", "127.0.0.1", "hub.example")
        certified.private_key_pem.write_to_path(str(folder / f"{name}.key"))
        certified.cert_chain_pems[0].write_to_path(str(folder / f"{name}.pem"))
        certified.private_key_and_cert_chain_pem.write_to_path(str(folder / f"{name}-both.pem"))
        past = datetime.now(UTC) - timedelta(days=2)
        expired = authority.issue_cert("localhost", not_before=past, not_after=past + timedelta(days=1))
        expired.private_key_and_cert_chain_pem.write_to_path(str(folder / f"{name}-expired.pem"))
    write_self_signed(folder / "self-signed.pem")
    return folder


def write_self_signed(path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    plain = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(plain + certificate.public_bytes(pem))
    locked = key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"geheim-4711")
    )
    path.with_name("locked.key").write_bytes(locked)


class Met(NamedTuple):
    """What client and server saw of each other."""

    version: str | None
    cipher: str
    client: dict | None


def meet(server: ssl.SSLContext, client: ssl.SSLContext, host: str = "localhost") -> Met:
    """Let a client call a server and exchange a byte; raises what the client saw."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(10)
        seen: list[dict | None] = []

        def serve() -> None:
            accepted, _ = listening.accept()
            accepted.settimeout(10)
            try:
                with server.wrap_socket(accepted, server_side=True) as connection:
                    seen.append(connection.getpeercert())
                    connection.sendall(b"x")
            except OSError:
                accepted.close()

        thread = Thread(target=serve, daemon=True)
        thread.start()
        try:
            with (
                socket.create_connection(listening.getsockname(), timeout=10) as plain,
                client.wrap_socket(plain, server_hostname=host) as connection,
            ):
                if connection.recv(1) != b"x":
                    raise ConnectionResetError("the server hung up")
                cipher = connection.cipher()
                assert cipher is not None
                version = connection.version()
        finally:
            thread.join(10)
        return Met(version, cipher[0], seen[0])


OURS = TlsSettings(certificate="ours.pem", key="ours.key")
TRUSTING = TlsSettings(ca="ours-ca.pem")


def test_who_our_authority_certified_is_trusted(base):
    met = meet(server_context(OURS, base), client_context(TRUSTING, base))

    assert met.version == "TLSv1.3"


def test_certificate_and_key_may_stand_in_one_file(base):
    met = meet(server_context(TlsSettings(certificate="ours-both.pem"), base), client_context(TRUSTING, base))

    assert met.version == "TLSv1.3"


def test_tls_1_2_is_spoken_with_forward_secrecy_only(base):
    client = client_context(TRUSTING, base)
    client.maximum_version = ssl.TLSVersion.TLSv1_2

    met = meet(server_context(OURS, base), client)

    assert met.version == "TLSv1.2"
    assert met.cipher.startswith("ECDHE-")
    assert "GCM" in met.cipher


@pytest.mark.parametrize(
    ("certificate", "host"),
    [
        ("ours-both.pem", "andere.example"),
        ("theirs-both.pem", "localhost"),
        ("ours-expired.pem", "localhost"),
        ("self-signed.pem", "localhost"),
    ],
    ids=["wrong host", "unknown authority", "expired", "self-signed"],
)
def test_a_server_that_cannot_prove_who_it_is_gets_nothing(base, certificate, host):
    server = server_context(TlsSettings(certificate=certificate), base)

    with pytest.raises(ssl.SSLCertVerificationError):
        meet(server, client_context(TRUSTING, base), host)


def test_with_an_authority_of_its_own_a_client_trusts_no_other(base):
    assert len(client_context(TRUSTING, base).get_ca_certs()) == 1


def test_without_an_authority_of_its_own_a_client_still_verifies(base):
    with pytest.raises(ssl.SSLCertVerificationError):
        meet(server_context(OURS, base), client_context(TlsSettings(), base))


def old(context: ssl.SSLContext) -> ssl.SSLContext:
    """Make a context speak TLS 1.1 at most, as an old peer does."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    return context


def test_an_old_server_is_refused(base):
    server = old(server_context(OURS, base))
    with pytest.raises(OSError):
        meet(server, client_context(TRUSTING, base))

    assert meet(server, old(client_context(TRUSTING, base))).version == "TLSv1.1"


def test_an_old_client_is_refused(base):
    with pytest.raises(OSError):
        meet(server_context(OURS, base), old(client_context(TRUSTING, base)))


def test_a_weak_cipher_is_refused(base):
    client = client_context(TRUSTING, base)
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    client.set_ciphers("AES256-SHA:ECDHE-RSA-AES256-SHA:ECDHE-ECDSA-AES256-SHA:DHE-RSA-AES256-GCM-SHA384")

    with pytest.raises(OSError):
        meet(server_context(OURS, base), client)


WITH_CLIENTS = TlsSettings(certificate="ours.pem", key="ours.key", client_ca="theirs-ca.pem")


def test_a_client_shows_its_certificate_where_one_is_required(base):
    client = client_context(TlsSettings(ca="ours-ca.pem", certificate="theirs.pem", key="theirs.key"), base)

    met = meet(server_context(WITH_CLIENTS, base), client)

    assert met.client is not None
    assert ("DNS", "hub.example") in met.client["subjectAltName"]


@pytest.mark.parametrize("certificate", [None, "ours-both.pem", "self-signed.pem", "theirs-expired.pem"])
def test_a_client_without_a_certificate_of_the_named_authority_is_refused(base, certificate):
    client = client_context(TlsSettings(ca="ours-ca.pem", certificate=certificate), base)

    with pytest.raises(OSError):
        meet(server_context(WITH_CLIENTS, base), client)


@pytest.mark.parametrize(
    ("make", "settings", "named"),
    [
        (client_context, TlsSettings(ca="missing.pem"), "tls: ca: missing.pem"),
        (client_context, TlsSettings(ca="ours.key"), "tls: ca: ours.key"),
        (client_context, TlsSettings(certificate="missing.pem"), "tls: certificate: missing.pem"),
        (client_context, TlsSettings(certificate="ours.pem", key="theirs.key"), "tls: certificate: ours.pem"),
        (client_context, TlsSettings(certificate="ours.pem", key="locked.key"), "tls: certificate: ours.pem"),
        (server_context, TlsSettings(), "tls: certificate"),
        (server_context, TlsSettings(certificate="ours.pem"), "tls: certificate: ours.pem"),
        (server_context, WITH_CLIENTS.model_copy(update={"client_ca": "ours.key"}), "tls: client_ca: ours.key"),
    ],
)
def test_what_cannot_be_used_is_named(base, make, settings, named):
    with pytest.raises(OSError) as caught:
        make(settings, base)

    assert named in str(caught.value)
    assert str(base) not in str(caught.value)

"""Looking at a destination without handing anything in: name, connection, TLS, and what its adapter can ask besides.

    dns ─▶ tcp ─▶ tls ─▶ what the adapter's own ``probe`` looks at (wsdl, call, …)

What is shown is what the network says of itself: addresses, certificates, versions. No text of a peer, no secret.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    import ssl  # every adapter imports this module, few look

SECONDS = 5.0
ADDRESSES_MAX = 8


@dataclass(frozen=True, slots=True)
class Look:
    """One thing that a probe looked at: dns, tcp, tls, wsdl, call, folder, …"""

    what: str
    ok: bool
    text: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)


@runtime_checkable
class Probed(Protocol):
    """What an outbound adapter may have besides: a harmless look at its destination, for people who ask for one."""

    def probe(self) -> Iterable[Look]:
        """Look at the destination, step by step, and stop where a step fails. Hands nothing in, changes nothing."""


def look_at_peer(
    host: str, port: int, tls: Callable[[], ssl.SSLContext] | None, seconds: float = SECONDS
) -> Iterator[Look]:
    """Look at the name, the connection and, with ``tls``, the handshake and the certificates. Stop where one fails."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError:
        yield Look("dns", ok=False, text=f"{host} is not known")
        return
    addresses = list(dict.fromkeys(str(one[4][0]) for one in found))
    yield Look("dns", ok=True, text=", ".join(addresses[:ADDRESSES_MAX]), facts={"host": host, "addresses": addresses})
    started = time.monotonic()
    try:
        plain = socket.create_connection((host, port), seconds)
    except OSError as error:
        known = {TimeoutError: "no answer in time", ConnectionRefusedError: "refused: nobody listens there"}
        yield Look("tcp", ok=False, text=f"{host}:{port}: {known.get(type(error), 'no connection')}")
        return
    took = round((time.monotonic() - started) * 1000)
    with plain:
        yield Look("tcp", ok=True, text=f"{host}:{port} in {took} ms", facts={"port": port, "duration_ms": took})
        if tls is not None:
            yield _look_at_tls(plain, host, port, tls, seconds)


def _look_at_tls(plain: socket.socket, host: str, port: int, tls: Callable[[], ssl.SSLContext], seconds: float) -> Look:
    import ssl

    try:
        context = tls()
    except OSError as error:  # ssl.SSLError is one, too
        return Look("tls", ok=False, text=f"own certificate or CA cannot be used: {error.filename or error.strerror}")
    try:
        with context.wrap_socket(plain, server_hostname=host) as secure:
            chain = [_certificate(der) for der in _chain(secure)]
            facts = {"version": secure.version(), "cipher": (secure.cipher() or ("",))[0], "chain": chain}
            end = chain[0]["not_after"] if chain else "?"
            return Look("tls", ok=True, text=f"{secure.version()}, certificate until {end}", facts=facts)
    except ssl.SSLCertVerificationError as error:
        return Look("tls", ok=False, text=error.verify_message, facts={"chain": _unverified(host, port, seconds)})
    except OSError as error:
        return Look("tls", ok=False, text=getattr(error, "reason", None) or "the handshake was cut")


def _chain(secure: ssl.SSLSocket) -> list[bytes]:
    """Return the chain as it was verified, the peer's own first; before Python 3.13 the library keeps it to itself."""
    import ssl

    verified = getattr(secure, "get_verified_chain", None)
    if verified is not None:
        return list(verified())
    with suppress(AttributeError):
        return [one.public_bytes(ssl._ssl.ENCODING_DER) for one in secure._sslobj.get_verified_chain()]  # type: ignore[attr-defined]
    leaf = secure.getpeercert(binary_form=True)
    return [leaf] if leaf else []


def _unverified(host: str, port: int, seconds: float) -> list[dict[str, Any]]:
    """Return what a peer shows that is not trusted: to look at, and for nothing else."""
    import ssl

    try:
        pem = ssl.get_server_certificate((host, port), timeout=seconds)
        return [_certificate(ssl.PEM_cert_to_DER_cert(pem))]
    except (OSError, ValueError):
        return []


def _certificate(der: bytes) -> dict[str, Any]:
    from cryptography import x509

    try:
        found = x509.load_der_x509_certificate(der)
    except ValueError:
        return {"subject": "?", "issuer": "?", "not_after": "?"}
    end = found.not_valid_after_utc
    return {
        "subject": found.subject.rfc4514_string(),
        "issuer": found.issuer.rfc4514_string(),
        "not_before": found.not_valid_before_utc.isoformat(),
        "not_after": end.isoformat(),
        "days_left": (end - datetime.now(UTC)).days,
    }

"""TLS for both sides, as TR-02102-2 and the BSI's minimum standard want it. The only place that makes contexts.

TLS 1.2 or newer, forward secrecy and authenticated encryption only, certificates and host names verified. There is no
setting that switches any of it off.
"""

from __future__ import annotations

import errno
import ssl
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from hub.plugin import TlsSettings

CIPHERS = (  # of TLS 1.2; those of TLS 1.3 are good as they come
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256"
)


def client_context(settings: TlsSettings, base: Path, shown: Callable[[bytes], None] | None = None) -> ssl.SSLContext:
    """Return the context for calling a peer. With ``ca``, only what that file certifies is trusted.

    ``shown`` is called with each certificate (DER) that a peer has shown and that was found good.

    Raises:
        OSError: A file is missing, cannot be read or does not fit the others.
    """
    with _named("ca", settings.ca):
        ca = str(base / settings.ca) if settings.ca else None
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=ca)
    context.check_hostname = True
    context.verify_mode = ssl.CERT_REQUIRED
    _harden(context)
    if settings.certificate:
        _own_certificate(context, settings, base)
    if shown is not None:
        context.sslsocket_class = _telling(shown)
    return context


def server_context(settings: TlsSettings, base: Path) -> ssl.SSLContext:
    """Return the context for being called. With ``client_ca``, whoever calls must show a certificate of it.

    Files that are renewed on disk count from the next connection on; if they cannot be used, the last good ones do.

    Raises:
        OSError: A file is missing, cannot be read or does not fit the others.
    """
    context = _server_context(settings, base)
    context.sni_callback = _Renewing(settings, base)
    return context


class _Renewing:
    """Gives each connection the certificate as it is now: OpenSSL asks here at the beginning of every handshake."""

    def __init__(self, settings: TlsSettings, base: Path) -> None:
        names = (settings.certificate, settings.key, settings.client_ca)
        self._settings, self._base = settings, base
        self._files = [base / name for name in names if name]
        self._stamp = self._now()
        self._fresh: ssl.SSLContext | None = None  # None: the listener's own is

    def __call__(self, sock: ssl.SSLSocket | ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        try:
            stamp = self._now()
            if stamp != self._stamp:
                self._fresh = _server_context(self._settings, self._base)
                self._stamp = stamp
        except OSError:
            pass  # half of it is renewed, or it is not good: the next connection looks again
        if self._fresh is not None:
            sock.context = self._fresh

    def _now(self) -> list[tuple[int, ...]]:
        found = (file.stat() for file in self._files)
        return [(one.st_mtime_ns, one.st_size, one.st_ino) for one in found]


def _server_context(settings: TlsSettings, base: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _harden(context)
    if not settings.certificate:
        raise OSError(errno.EINVAL, "a server needs a certificate", "tls: certificate")
    _own_certificate(context, settings, base)
    if settings.client_ca:
        with _named("client_ca", settings.client_ca):
            context.load_verify_locations(base / settings.client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _telling(shown: Callable[[bytes], None]) -> type[ssl.SSLSocket]:
    """Return a kind of socket that tells which certificate its peer has shown; whoever wraps one need not know."""

    class Telling(ssl.SSLSocket):
        def do_handshake(self, block: bool = False) -> None:
            super().do_handshake(block)
            if der := self.getpeercert(binary_form=True):
                shown(der)

    return Telling


def _harden(context: ssl.SSLContext) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE


def _own_certificate(context: ssl.SSLContext, settings: TlsSettings, base: Path) -> None:
    assert settings.certificate is not None
    key = base / settings.key if settings.key else None  # else it stands in the certificate's file
    with _named("certificate", settings.certificate):
        # The empty password: a key that needs one is an error, not a question on the terminal of a daemon.
        context.load_cert_chain(base / settings.certificate, key, password="")


@contextmanager
def _named(key: str, file: str | None) -> Iterator[None]:
    """Let errors say which setting and file they are about; OpenSSL's own do not."""
    try:
        yield
    except ssl.SSLError as error:  # its number is one of OpenSSL's, not of the system's
        raise OSError(errno.EINVAL, error.reason or "not usable", f"tls: {key}: {file}") from error
    except OSError as error:
        raise OSError(error.errno or errno.EIO, error.strerror or "not readable", f"tls: {key}: {file}") from error

"""When certificates run out: of files, of peers that show theirs in a handshake, and of those that are renewed."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from hub.certificates import Shown, earliest_end, own, shown
from hub.errors import Unavailable
from hub.plugin import TlsSettings
from hub.probing import look_at_peer
from hub.store.watch_api import Seen
from hub.tls import client_context, server_context

NOW = datetime(2026, 11, 22, tzinfo=UTC)


@contextmanager
def served(folder: Path, name: str) -> Iterator[int]:
    """Answer handshakes with the certificate of a file, until the block ends."""
    context = server_context(TlsSettings(certificate=name), folder)
    listener = socket.create_server(("127.0.0.1", 0))

    def run() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with suppress(OSError), context.wrap_socket(connection, server_side=True) as secure:
                    secure.recv(1)

    threading.Thread(target=run, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()


@pytest.fixture
def ca(tmp_path: Path) -> trustme.CA:
    made = trustme.CA()
    made.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    return made


def issue(ca: trustme.CA, path: Path, days: int, host: str = "127.0.0.1") -> datetime:
    end = (datetime.now(UTC) + timedelta(days=days)).replace(microsecond=0)
    ca.issue_cert(host, not_after=end).private_key_and_cert_chain_pem.write_to_path(str(path))
    return end


def test_of_a_chain_the_link_that_breaks_first_counts(tmp_path: Path, ca: trustme.CA) -> None:
    end = issue(ca, tmp_path / "a.pem", 3)
    later = issue(ca, tmp_path / "b.pem", 300)
    both = (tmp_path / "b.pem").read_bytes() + (tmp_path / "a.pem").read_bytes()

    assert earliest_end((tmp_path / "b.pem").read_bytes()) == later
    assert earliest_end(both) == end
    assert earliest_end(b"geheim") is None
    assert earliest_end(b"-----BEGIN CERTIFICATE-----\nkaputt\n-----END CERTIFICATE-----\n") is None


def test_a_file_that_many_share_is_one(tmp_path: Path, ca: trustme.CA) -> None:
    end = issue(ca, tmp_path / "hub.pem", 3)

    (one,) = own([("a/x", "client", "hub.pem"), ("b/x", "client", "hub.pem"), ("c/x", "client", "gone.pem")], tmp_path)

    assert (one.places, one.not_after, one.place) == (("a/x", "b/x"), end, "a/x and 1 more")


def test_whoever_calls_is_told_what_the_peer_has_shown(tmp_path: Path, ca: trustme.CA) -> None:
    end = issue(ca, tmp_path / "server.pem", 20)
    kept: list[Seen] = []
    remember = Shown(kept.append, lambda: NOW)
    context = client_context(TlsSettings(ca="ca.pem"), tmp_path, lambda der: remember.note("a/x", der))

    with served(tmp_path, "server.pem") as port:
        for _ in range(3):
            with (
                socket.create_connection(("127.0.0.1", port)) as plain,
                context.wrap_socket(plain, server_hostname="127.0.0.1"),
            ):
                pass

    assert [(one.place, one.not_after) for one in kept] == [("a/x", end)]
    assert [one.places for one in shown([*kept, Seen("b/x", end, kept[0].sha256, NOW)])] == [("a/x", "b/x")]


def test_what_could_not_be_kept_is_kept_the_next_time(tmp_path: Path, ca: trustme.CA) -> None:
    issue(ca, tmp_path / "server.pem", 20)
    der = trustme.CA().cert_pem.bytes()
    tries: list[Seen] = []

    def keep(seen: Seen) -> None:
        tries.append(seen)
        if len(tries) == 1:
            raise Unavailable("the store is away")

    remember = Shown(keep, lambda: NOW)
    for _ in range(3):
        remember.note("a/x", ssl.PEM_cert_to_DER_cert(der.decode()))

    assert len(tries) == 2


def test_a_probe_names_what_is_wrong_with_a_certificate(tmp_path: Path, ca: trustme.CA) -> None:
    issue(ca, tmp_path / "over.pem", -1)
    issue(ca, tmp_path / "other.pem", 30, "anders.example")
    issue(trustme.CA(), tmp_path / "stranger.pem", 30)
    end = issue(ca, tmp_path / "good.pem", 30)
    told = {}
    for name in ("over", "other", "stranger", "good"):
        with served(tmp_path, f"{name}.pem") as port:
            *_, last = look_at_peer("127.0.0.1", port, lambda: client_context(TlsSettings(ca="ca.pem"), tmp_path))
        told[name] = last

    assert [told[name].ok for name in told] == [False, False, False, True]
    assert "expired" in told["over"].text
    assert "mismatch" in told["other"].text
    assert "issuer" in told["stranger"].text
    assert told["over"].facts["chain"][0]["days_left"] < 0
    assert told["good"].facts["chain"][0]["not_after"] == end.isoformat()
    assert len(told["good"].facts["chain"]) == 2  # its own, and the CA that it hangs on
    assert told["good"].facts["version"] == "TLSv1.3"


def test_a_probe_stops_where_it_fails() -> None:
    assert [(one.what, one.ok) for one in look_at_peer("gibt-es-nicht.invalid", 443, None)] == [("dns", False)]
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert [(one.what, one.ok) for one in look_at_peer("127.0.0.1", port, None)] == [("dns", True), ("tcp", True)]
    assert [(one.what, one.ok) for one in look_at_peer("127.0.0.1", port, None)] == [("dns", True), ("tcp", False)]


def shown_by(port: int, context: ssl.SSLContext) -> str:
    plain = socket.create_connection(("127.0.0.1", port))
    with plain, context.wrap_socket(plain, server_hostname="127.0.0.1") as secure:
        return str(secure.getpeercert()["notAfter"])  # type: ignore[index]


def test_a_renewed_certificate_of_a_server_counts_from_the_next_connection(tmp_path: Path, ca: trustme.CA) -> None:
    issue(ca, tmp_path / "server.pem", 5)
    context = client_context(TlsSettings(ca="ca.pem"), tmp_path)

    with served(tmp_path, "server.pem") as port:
        first = shown_by(port, context)
        (tmp_path / "server.pem").write_text("halb geschrieben")
        assert shown_by(port, context) == first
        issue(ca, tmp_path / "server.pem", 500)
        second = shown_by(port, context)
        assert shown_by(port, context) == second

    assert first != second


def test_so_it_does_where_asyncio_serves_and_a_renewed_client_ca_counts_too(tmp_path: Path, ca: trustme.CA) -> None:
    issue(ca, tmp_path / "server.pem", 5)
    issue(ca, tmp_path / "client.pem", 5)
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "clients.pem"))
    serving = server_context(TlsSettings(certificate="server.pem", client_ca="clients.pem"), tmp_path)
    calling = client_context(TlsSettings(ca="ca.pem", certificate="client.pem"), tmp_path)

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"willkommen")
        writer.close()

    async def ask(port: int) -> bytes:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=calling)
            said = await reader.read()
            writer.close()
            return said
        except (ssl.SSLError, ConnectionError):
            return b""

    async def run() -> tuple[bytes, bytes]:
        server = await asyncio.start_server(greet, "127.0.0.1", 0, ssl=serving)
        port = server.sockets[0].getsockname()[1]
        stranger = await ask(port)
        ca.cert_pem.write_to_path(str(tmp_path / "clients.pem"))
        known = await ask(port)
        server.close()
        return stranger, known

    assert asyncio.run(run()) == (b"", b"willkommen")

"""Whatever a network, a clock or a certificate does: only what is certainly not taken is called so.

Through a proxy that misbehaves, to a procedure that writes down what it took.
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from adapters.soap_transport import _Connection, _Watchdog
from hub.plugin import Blocked, Context, Deferred, Delivered, Limits, Phase, Reason, TlsSettings, Unclear
from hub.simulate import Answers, Ledger
from hub.simulate.soap import SoapProcedure
from hub.testing import outgoing
from tests.proxy import Proxy
from tests.soap_peer import Peer, brief, destination, http, reply, soap_context

BIG = b"<a>" + b"x" * 400_000 + b"</a>"


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return soap_context(tmp_path, limits=Limits(connect=timedelta(seconds=1), total=timedelta(seconds=1.5)))


@pytest.fixture
def procedure(tmp_path: Path) -> Iterator[SoapProcedure]:
    made = SoapProcedure("gewerbe", {}, Answers(), Ledger(tmp_path / "ledger.jsonl"))
    made.start()
    yield made
    made.stop()


@pytest.fixture
def proxy(procedure: SoapProcedure) -> Iterator[Proxy]:
    with Proxy(int(procedure.address.rpartition(":")[2].partition("/")[0])) as proxy:
        yield proxy


@pytest.mark.parametrize(
    ("toxic", "value", "expected", "phase", "taken"),
    [
        ("refuse", 0, (Deferred, Reason.UNREACHABLE, "connect-refused"), Phase.RESOLVED, False),
        ("reset_now", 0, (Unclear, Reason.UNCLEAR, "connection-lost"), None, False),
        ("blackhole", 0, (Unclear, Reason.TIMEOUT, "timeout"), Phase.REQUEST_SENT, False),
        ("cut_up", 1000, (Unclear, Reason.UNCLEAR, "connection-lost"), None, False),
        ("slow", 100_000, (Unclear, Reason.TIMEOUT, "timeout"), None, False),
        ("cut_down", 0, (Unclear, Reason.UNCLEAR, "connection-lost"), Phase.REQUEST_SENT, True),
        ("cut_down", 30, (Unclear, Reason.UNCLEAR, None), Phase.REQUEST_SENT, True),
        ("cut_down", 200, (Unclear, Reason.UNCLEAR, "reply-cut"), Phase.REQUEST_SENT, True),
        ("stall_down", 3, (Unclear, Reason.TIMEOUT, "timeout"), Phase.REQUEST_SENT, True),
        ("latency", 0.001, (Delivered, None, ""), Phase.RESPONSE_PARSED, True),
    ],
)
def test_what_a_network_does_is_never_called_delivered_and_never_not_taken_without_proof(
    context: Context,
    procedure: SoapProcedure,
    proxy: Proxy,
    toxic: str,
    value: float,
    expected: tuple[object, ...],
    phase: Phase | None,
    taken: bool,
) -> None:
    made = destination(context, f"http://127.0.0.1:{proxy.port}/ws")
    proxy.set(toxic, value)
    started = time.monotonic()

    outcome = made.deliver(outgoing(body=BIG))

    made.close()
    assert time.monotonic() - started < 3
    if toxic == "reset_now" and outcome.phase is Phase.RESOLVED:  # the reset came before a byte was sent
        expected = (Deferred, Reason.UNREACHABLE, "connect-reset")
    assert brief(outcome) == (*expected[:2], expected[2] if expected[2] is not None else outcome.code)
    assert phase is None or outcome.phase is phase
    assert bool(procedure.ledger.taken()) is taken


def test_a_name_that_nobody_knows_is_unreachable(context: Context) -> None:
    outcome = destination(context, "http://fachverfahren.invalid/ws").deliver(outgoing())

    assert brief(outcome) == (Deferred, Reason.UNREACHABLE, "dns")
    assert outcome.phase is Phase.NONE


def test_an_address_that_swallows_connections_is_unreachable_after_the_connect_time(context: Context) -> None:
    with socket.socket() as full:  # a listener whose backlog is full answers no SYN
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        fillers = [socket.socket() for _ in range(3)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        made = destination(context, f"http://127.0.0.1:{full.getsockname()[1]}/ws")

        outcome = made.deliver(outgoing())

        for filler in fillers:
            filler.close()
    assert brief(outcome) == (Deferred, Reason.UNREACHABLE, "connect-timeout")


def _drip(text: bytes) -> Callable[[socket.socket], None]:
    def drip(connection: socket.socket) -> None:
        never = threading.Event()
        for byte in text:
            connection.sendall(bytes([byte]))
            never.wait(0.05)

    return drip


@pytest.mark.parametrize("answer", [http(200, reply()), http(200, b" " * 500)[:-490] + b" " * 400])
def test_an_answer_that_drips_in_ends_at_the_deadline(context: Context, answer: bytes) -> None:
    with Peer(_drip(answer)) as peer:
        made = destination(context, peer.address)
        started = time.monotonic()

        outcome = made.deliver(outgoing(deadline=started + 0.5))

        took = time.monotonic() - started
    assert isinstance(outcome, Unclear)
    assert outcome.reason is Reason.TIMEOUT
    assert took < 1


def test_a_deadline_that_is_over_sends_nothing(context: Context, procedure: SoapProcedure) -> None:
    outcome = destination(context, procedure.address).deliver(outgoing(deadline=time.monotonic() - 1))

    assert brief(outcome) == (Deferred, Reason.UNREACHABLE, "deadline")
    assert procedure.ledger.entries() == []


def test_one_connection_serves_many_deliveries_if_the_peer_says_so(
    context: Context, procedure: SoapProcedure, proxy: Proxy
) -> None:
    made = destination(context, f"http://127.0.0.1:{proxy.port}/ws")

    outcomes = [made.deliver(outgoing(number)) for number in range(20)]

    made.close()
    assert {type(outcome) for outcome in outcomes} == {Delivered}
    assert proxy.connections == 1


def test_a_connection_that_was_cut_while_idle_is_not_used_again(
    context: Context, procedure: SoapProcedure, proxy: Proxy
) -> None:
    made = destination(context, procedure.address)
    made.deliver(outgoing(1))
    procedure.stop()
    procedure.start()

    outcome = made.deliver(outgoing(2))

    made.close()
    assert isinstance(outcome, Delivered)


def test_a_connection_is_used_again_only_if_the_peer_has_promised_to_stay(context: Context) -> None:
    with Peer() as peer:

        def answer_and_stay(connection: socket.socket) -> None:
            connection.sendall(http(200, reply()))
            connection.recv(1)

        peer.answer = answer_and_stay
        made = destination(context, peer.address)

        outcomes = [made.deliver(outgoing(number)) for number in (1, 2)]

    assert [type(outcome) for outcome in outcomes] == [Delivered, Delivered]
    assert len(peer.taken) == 2


def test_a_success_before_the_whole_request_was_read_is_unclear(context: Context) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as threads:
        listener.settimeout(20)  # on a busy machine the deadline is over before anybody connects: fail, do not hang

        def answer_early() -> socket.socket:
            connection, _ = listener.accept()
            connection.recv(1000)
            connection.sendall(http(200, reply()))
            return connection

        connection = threads.submit(answer_early)
        made = destination(context, f"http://127.0.0.1:{listener.getsockname()[1]}/ws")

        outcome = made.deliver(outgoing(body=BIG * 40, deadline=time.monotonic() + 3))

        connection.result().close()
    assert brief(outcome) == (Unclear, Reason.UNCLEAR, "reply-early")


def test_a_watchdog_that_comes_too_late_cuts_nothing() -> None:
    ours, theirs = socket.socketpair()
    connection = _Connection("127.0.0.1")
    connection.sock = ours
    with _Watchdog(connection, 60) as watchdog:
        pass

    watchdog._fire()

    ours.sendall(b"still there")
    assert theirs.recv(20) == b"still there"
    connection.close()
    theirs.close()


# --- TLS ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    return trustme.CA()


def server_tls(issuer: trustme.CA, name: str = "127.0.0.1", *, client_ca: trustme.CA | None = None) -> ssl.SSLContext:
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    issuer.issue_cert(name).configure_cert(tls)
    if client_ca is not None:
        client_ca.configure_trust(tls)
        tls.verify_mode = ssl.CERT_REQUIRED
    return tls


def client_tls(ca: trustme.CA, certificate: trustme.LeafCert | None = None) -> Callable[[TlsSettings], ssl.SSLContext]:
    def make(_: TlsSettings) -> ssl.SSLContext:
        tls = ssl.create_default_context(ssl.Purpose.SERVER_AUTH)
        tls.minimum_version = ssl.TLSVersion.TLSv1_2  # as the hub does; Debian leaves it to openssl.cnf
        ca.configure_trust(tls)
        if certificate is not None:
            certificate.configure_cert(tls)
        return tls

    return make


@pytest.mark.parametrize(
    ("case", "code"),
    [
        ("unknown-ca", "tls-unknown-ca"),
        ("other-name", "tls-hostname"),
        ("expired", "tls-expired"),
        ("old", "tls-tlsv1-alert-protocol-version"),
    ],
)
def test_a_server_that_cannot_be_trusted_blocks_and_gets_nothing(
    context: Context, ca: trustme.CA, case: str, code: str
) -> None:
    past = datetime(2020, 1, 1, tzinfo=UTC)
    tls = {
        "unknown-ca": lambda: server_tls(trustme.CA()),
        "other-name": lambda: server_tls(ca, "anderswo.example"),
        "expired": lambda: _with(ca.issue_cert("127.0.0.1", not_before=past, not_after=past + timedelta(days=1))),
        "old": lambda: _old(server_tls(ca)),
    }[case]()
    with Peer(http(200, reply()), tls) as peer:
        address = peer.address.replace("http:", "https:")

        outcome = destination(replace(context, tls=client_tls(ca)), address).deliver(outgoing())

    assert brief(outcome) == (Blocked, Reason.PEER_TLS, code)
    assert outcome.phase is Phase.CONNECTED
    assert peer.taken == []


def test_a_server_that_speaks_something_else_blocks(context: Context, ca: trustme.CA) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as threads:
        threads.submit(lambda: listener.accept()[0].sendall(b"220 mail.example ESMTP\r\n"))
        made = destination(replace(context, tls=client_tls(ca)), f"https://127.0.0.1:{listener.getsockname()[1]}/ws")

        outcome = made.deliver(outgoing())

    assert brief(outcome) == (Blocked, Reason.PEER_TLS, "tls-wrong-version-number")


def _with(certificate: trustme.LeafCert) -> ssl.SSLContext:
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate.configure_cert(tls)
    return tls


def _old(tls: ssl.SSLContext) -> ssl.SSLContext:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        tls.minimum_version = tls.maximum_version = ssl.TLSVersion.TLSv1_1
    tls.set_ciphers("ALL:@SECLEVEL=0")
    return tls


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("tickets", [0, 2])
@pytest.mark.parametrize("body", [b"<a/>", BIG * 10])
@pytest.mark.parametrize("case", ["none", "unknown", "expired", "good"])
def test_a_client_certificate_that_is_refused_blocks_and_the_right_one_delivers(
    context: Context, ca: trustme.CA, version: ssl.TLSVersion, tickets: int, body: bytes, case: str
) -> None:
    past = datetime(2020, 1, 1, tzinfo=UTC)
    certificate = {
        "none": lambda: None,
        "unknown": lambda: trustme.CA().issue_cert("hub@example.org"),
        "expired": lambda: ca.issue_cert("hub@example.org", not_before=past, not_after=past + timedelta(days=1)),
        "good": lambda: ca.issue_cert("hub@example.org"),
    }[case]()
    tls = server_tls(ca, client_ca=ca)
    tls.minimum_version = tls.maximum_version = version
    tls.num_tickets = tickets
    (context.base / "hub.pem").write_text("its content comes from the context")
    settings = {"tls": {"certificate": "hub.pem"}} if certificate else {}
    with Peer(http(200, reply()), tls) as peer:
        lent = replace(context, tls=client_tls(ca, certificate), limits=Limits())

        outcome = destination(lent, peer.address, **settings).deliver(outgoing(body=body))

    if case == "good":
        assert isinstance(outcome, Delivered)
    else:
        assert isinstance(outcome, Blocked), outcome
        assert outcome.reason is Reason.PEER_TLS
        assert peer.taken == []


def test_a_handshake_that_never_ends_is_unreachable_by_the_deadline(context: Context, ca: trustme.CA) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        made = destination(replace(context, tls=client_tls(ca)), f"https://127.0.0.1:{silent.getsockname()[1]}/ws")
        started = time.monotonic()

        outcome = made.deliver(outgoing(deadline=started + 0.5))

        assert time.monotonic() - started < 1
    assert isinstance(outcome, Deferred)
    assert outcome.reason is Reason.UNREACHABLE
    assert outcome.phase is Phase.CONNECTED


def test_a_renewed_certificate_counts_at_once_and_a_missing_one_blocks(context: Context, ca: trustme.CA) -> None:
    holder: list[trustme.LeafCert] = [trustme.CA().issue_cert("hub@example.org")]

    def lend(given: TlsSettings) -> ssl.SSLContext:
        return client_tls(ca, holder[0])(given)

    with Peer(http(200, reply()), server_tls(ca, client_ca=ca)) as peer:
        made = destination(replace(context, tls=lend), peer.address, tls={"certificate": "hub.pem"})
        missing = made.deliver(outgoing())
        (context.base / "hub.pem").write_text("wrong")
        wrong = made.deliver(outgoing())
        holder[0] = ca.issue_cert("hub@example.org")
        (context.base / "hub.pem").write_text("renewed")

        renewed = made.deliver(outgoing())

    assert brief(missing) == (Blocked, Reason.PEER_TLS, "tls-files")
    assert isinstance(wrong, Blocked)
    assert isinstance(renewed, Delivered)


def test_a_simulated_procedure_asks_for_a_certificate_too(context: Context, ca: trustme.CA, tmp_path: Path) -> None:
    server, own = ca.issue_cert("127.0.0.1"), ca.issue_cert("hub@example.org")
    server.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "server.pem"))
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    (tmp_path / "hub.pem").write_text("its content comes from the context")
    tls = {"certificate": str(tmp_path / "server.pem"), "client_ca": str(tmp_path / "ca.pem")}
    procedure = SoapProcedure("gewerbe", {"tls": tls}, Answers(), Ledger(tmp_path / "l.jsonl"))
    procedure.start()

    lent = replace(context, tls=client_tls(ca, own), limits=Limits())
    made = destination(lent, procedure.address, tls={"certificate": "hub.pem"})
    outcomes = [made.deliver(outgoing(number)) for number in range(3)]

    made.close()
    procedure.stop()
    assert {type(outcome) for outcome in outcomes} == {Delivered}
    assert len(procedure.ledger.taken()) == 3

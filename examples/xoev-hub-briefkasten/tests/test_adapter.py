"""The adapter keeps the contract of outbound adapters; what each answer and each accident means."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from ssl import PROTOCOL_TLS_SERVER, SSLContext, create_default_context

import pytest
import trustme
from hub.plugin import Blocked, Context, Deferred, Delivered, Limits, Outcome, Part, Reason, Refused, Unclear
from hub.testing import (
    Answer,
    Arrived,
    OutboundContract,
    RecordedLog,
    Request,
    Reset,
    ScriptedPeer,
    Silence,
    make_context,
    outgoing,
)
from hub.testing.peer import Move
from pydantic import ValidationError

from xoev_hub_briefkasten.adapter import ADAPTER, BriefkastenDestination, BriefkastenSettings

TOKEN = "geheim-und-lang-genug"
PLAIN = {"Content-Type": "text/plain; charset=utf-8"}
TAKEN = Answer(201, b"Eingangsnummer: BK-2026-4711\n", PLAIN)


def unpacked(request: Request) -> list[tuple[str, bytes]]:
    """Return the fields of a form: the head and the content of each."""
    boundary = request.headers["content-type"].partition("boundary=")[2].encode()
    first, *fields, last = (b"\r\n" + request.body).split(b"\r\n--" + boundary)
    assert (first, last) == (b"", b"--\r\n")
    parts = [field.removeprefix(b"\r\n").partition(b"\r\n\r\n") for field in fields]
    return [(head.decode(), content) for head, _, content in parts]


class TestBriefkasten(OutboundContract):
    @pytest.fixture
    def context(self, tmp_path: Path, log: RecordedLog) -> Context:
        return make_context(tmp_path, log=log, secrets={"env:TOKEN": TOKEN})

    @pytest.fixture
    def peer(self) -> Iterator[ScriptedPeer]:
        with ScriptedPeer(after=TAKEN) as peer:
            yield peer

    @pytest.fixture
    def adapter(self, peer: ScriptedPeer, context: Context) -> BriefkastenDestination:
        return briefkasten(peer.url, context, token="env:TOKEN")

    @pytest.fixture
    def arrived(self, peer: ScriptedPeer) -> Arrived:
        def arrived() -> list[tuple[str, bytes]]:
            forms = [unpacked(request) for request in peer.requests]
            return [(form[0][1].decode(), form[1][1]) for form in forms]

        return arrived

    @pytest.fixture
    def unreachable(self, context: Context) -> BriefkastenDestination:
        with socket.create_server(("127.0.0.1", 0)) as gone:
            return briefkasten(f"http://127.0.0.1:{gone.getsockname()[1]}", context)

    @pytest.fixture
    def silent(self, context: Context) -> Iterator[BriefkastenDestination]:
        with ScriptedPeer(after=Silence()) as peer:
            yield briefkasten(peer.url, context)


def briefkasten(address: str, context: Context, **settings: object) -> BriefkastenDestination:
    return BriefkastenDestination(BriefkastenSettings.model_validate({"address": address, **settings}), context)


@pytest.fixture
def deliver(tmp_path: Path) -> Callable[[Move], Outcome]:
    """Return a function that makes one delivery to a peer that does as it is told."""

    def deliver(move: Move) -> Outcome:
        with ScriptedPeer(move) as peer:
            destination = briefkasten(peer.url, make_context(tmp_path, limits=Limits(max_reply=100)))
            return destination.deliver(outgoing(deadline=time.monotonic() + 10))

    return deliver


# --- what arrives


def test_the_number_of_the_briefkasten_is_the_receipt(deliver: Callable[[Move], Outcome]) -> None:
    assert deliver(TAKEN) == Delivered(receipt="BK-2026-4711", reply=TAKEN.body)
    assert deliver(Answer(200, b"Eingangsnummer: BK-1", PLAIN)) == Delivered("BK-1", reply=b"Eingangsnummer: BK-1")


def test_attachments_go_along_and_their_names_stay_inside_their_quotes(tmp_path: Path) -> None:
    evil = Part('a";\r\nX-Evil: 1\r\n\r\n.pdf', "text/html\r\nX-Evil: 2", b"\r\n--\x00")
    with ScriptedPeer(TAKEN) as peer:
        briefkasten(f"{peer.url}/post?amt=7", make_context(tmp_path)).deliver(
            outgoing(deadline=time.monotonic() + 10, parts=(Part("plan.pdf", "application/pdf", b"%PDF"), evil))
        )

    (request,) = peer.requests
    assert request.path == "/post?amt=7"
    assert "authorization" not in request.headers
    assert unpacked(request)[2:] == [
        (
            'Content-Disposition: form-data; name="anlage"; filename="plan.pdf"\r\nContent-Type: application/pdf',
            b"%PDF",
        ),
        (
            'Content-Disposition: form-data; name="anlage"; filename="a_;__X-Evil: 1____.pdf"\r\n'
            "Content-Type: application/octet-stream",
            b"\r\n--\x00",
        ),
    ]


def test_the_token_is_read_anew_at_every_attempt_and_never_quoted(tmp_path: Path) -> None:
    secrets = {"env:TOKEN": TOKEN}
    with ScriptedPeer(after=TAKEN) as peer:
        destination = briefkasten(peer.url, make_context(tmp_path, secrets=secrets), token="env:TOKEN")
        outcomes = []
        for token in (TOKEN, "neu", "böse", "two\r\nlines"):
            secrets["env:TOKEN"] = token
            outcomes.append(destination.deliver(outgoing(deadline=time.monotonic() + 10)))
        del secrets["env:TOKEN"]
        outcomes.append(destination.deliver(outgoing(deadline=time.monotonic() + 10)))

    assert [request.headers["authorization"] for request in peer.requests] == [f"Bearer {TOKEN}", "Bearer neu"]
    assert outcomes[2:] == [Blocked(Reason.PEER_AUTH, code="secret-missing")] * 3


# --- what answers and accidents mean


@pytest.mark.parametrize(
    ("answer", "kind", "reason"),
    [
        (Answer(408), Deferred, Reason.BUSY),
        (Answer(429), Deferred, Reason.BUSY),
        (Answer(503), Deferred, Reason.BUSY),
        (Answer(400), Refused, Reason.REFUSED),
        (Answer(413), Refused, Reason.REFUSED),
        (Answer(422), Refused, Reason.REFUSED),
        (Answer(401), Blocked, Reason.PEER_AUTH),
        (Answer(403), Blocked, Reason.PEER_AUTH),
        (Answer(302, headers={"Location": "https://elsewhere.example/"}), Blocked, Reason.PEER_PROTOCOL),
        (Answer(404), Blocked, Reason.PEER_PROTOCOL),
        (Answer(500), Unclear, Reason.UNCLEAR),
        (Answer(502), Unclear, Reason.UNCLEAR),
        (Answer(204, headers=PLAIN), Unclear, Reason.UNCLEAR),
        (Answer(200, b"", PLAIN), Unclear, Reason.UNCLEAR),
        (Answer(200, b"Eingangsnummer:\n", PLAIN), Unclear, Reason.UNCLEAR),
        (Answer(201, b"Eingangsnummer: BK-4711", PLAIN, cut=19), Unclear, Reason.UNCLEAR),
        (Answer(201, b"Eingangsnummer: BK-4711" + b" " * 100, PLAIN), Unclear, Reason.UNCLEAR),
        (Answer(200, b"<html>Wartung</html>", {"Content-Type": "text/html"}), Unclear, Reason.PEER_PROTOCOL),
        (Reset(), Unclear, Reason.UNCLEAR),
    ],
    ids=str,
)
def test_what_an_answer_means(
    deliver: Callable[[Move], Outcome], answer: Move, kind: type[Outcome], reason: Reason
) -> None:
    outcome = deliver(answer)

    assert isinstance(outcome, kind)
    assert not isinstance(outcome, Delivered)
    assert getattr(outcome, "reason", None) is reason


def test_html_in_place_of_a_number_holds_the_destination_back(deliver: Callable[[Move], Outcome]) -> None:
    outcome = deliver(Answer(200, b"<html>Wartung</html>", {"Content-Type": "text/html"}))

    assert outcome == Unclear(Reason.PEER_PROTOCOL, phase=outcome.phase, code="media-type", blocks=True)


def test_a_busy_peer_says_how_long_and_its_words_are_kept_apart(deliver: Callable[[Move], Outcome]) -> None:
    outcome = deliver(Answer(503, b"bis morgen", {"Retry-After": "90"}))

    assert isinstance(outcome, Deferred)
    assert (outcome.retry_after, outcome.detail, outcome.code) == (timedelta(seconds=90), "bis morgen", "http-503")
    assert "morgen" not in repr(outcome)


def test_a_refusal_before_everything_was_read_is_heard(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def refuse() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(1 << 20):  # as a polite server does, or the refusal would be lost
                    pass

        threading.Thread(target=refuse, daemon=True).start()
        destination = briefkasten(f"http://127.0.0.1:{server.getsockname()[1]}", make_context(tmp_path))
        outcome = destination.deliver(outgoing(body=b"<a/>" * 2_000_000, deadline=time.monotonic() + 20))

    assert (type(outcome), outcome.code) == (Refused, "http-413")


def test_a_peer_that_drips_costs_no_more_than_the_deadline(tmp_path: Path) -> None:
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drip() -> None:
            connection, _ = server.accept()
            with connection:
                try:
                    while not over.wait(0.05):
                        connection.sendall(b"H")
                except OSError:
                    return

        thread = threading.Thread(target=drip, daemon=True)
        thread.start()
        destination = briefkasten(f"http://127.0.0.1:{server.getsockname()[1]}", make_context(tmp_path))
        started = time.monotonic()
        outcome = destination.deliver(outgoing(deadline=started + 0.5))
        took = time.monotonic() - started
        over.set()
        thread.join(10)

    assert (type(outcome), outcome.code) == (Unclear, "timeout")
    assert took < 3


# --- TLS


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def trusting(authority: trustme.CA) -> SSLContext:
    context = create_default_context()
    authority.configure_trust(context)
    return context


@pytest.fixture
def tls_peer(authority: trustme.CA) -> Iterator[ScriptedPeer]:
    server = SSLContext(PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(server)
    with ScriptedPeer(after=TAKEN, tls=server) as peer:
        yield peer


def test_a_peer_that_is_trusted_takes_it_over_tls(
    tmp_path: Path, authority: trustme.CA, tls_peer: ScriptedPeer
) -> None:
    destination = briefkasten(tls_peer.url, make_context(tmp_path, client_tls=trusting(authority)))

    assert isinstance(destination.deliver(outgoing(deadline=time.monotonic() + 10)), Delivered)


def test_a_peer_that_nobody_vouches_for_is_sent_nothing(tmp_path: Path, tls_peer: ScriptedPeer) -> None:
    destination = briefkasten(tls_peer.url, make_context(tmp_path, client_tls=trusting(trustme.CA())))

    outcome = destination.deliver(outgoing(deadline=time.monotonic() + 10))

    assert (type(outcome), outcome.code) == (Blocked, "tls-untrusted")
    assert tls_peer.requests == []


def test_a_peer_that_speaks_no_tls_is_blocked(tmp_path: Path) -> None:
    with ScriptedPeer(after=TAKEN) as peer:
        destination = briefkasten(peer.url.replace("http:", "https:"), make_context(tmp_path))
        outcome = destination.deliver(outgoing(deadline=time.monotonic() + 10))

    assert (type(outcome), outcome.code) == (Blocked, "tls-failed")


# --- settings


@pytest.mark.parametrize(
    "settings",
    [
        {"address": "ftp://host/"},
        {"address": "https://"},
        {"address": "https://user:geheim@host/"},
        {"address": "https://host:99999/"},
        {"address": "https://host/a b"},
        {"address": "https://host/", "token": "geheim"},
        {"address": "https://host/", "tokn": "env:TOKEN"},
    ],
    ids=str,
)
def test_settings_that_cannot_be_meant_are_refused_without_quoting_a_secret(settings: dict[str, str]) -> None:
    with pytest.raises(ValidationError) as refused:
        BriefkastenSettings.model_validate(settings)

    assert "geheim" not in "".join(error["msg"] for error in refused.value.errors())


def test_check_advises_to_prove_who_delivers(tmp_path: Path) -> None:
    assert ADAPTER.check is not None
    anonymous = BriefkastenSettings(address="https://briefkasten.example/")
    known = BriefkastenSettings.model_validate({"address": "https://briefkasten.example/", "token": "env:TOKEN"})

    assert [path for path, text in ADAPTER.check(anonymous, make_context(tmp_path)) if "warning: " in text] == [
        ("token",)
    ]
    assert list(ADAPTER.check(known, make_context(tmp_path))) == []

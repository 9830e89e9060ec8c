"""Who may come in over HTTP, by which socket, and which settings are refused."""

from __future__ import annotations

import http.client
import os
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from pydantic import ValidationError

from adapters.http import ADAPTER, HttpIn, HttpListener
from adapters.http_protocol import Bounds
from hub.testing import ScriptedIntake, make_context, samples
from tests.http_world import SENDERS, TOKEN, World, ask, running


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with running(tmp_path) as world:
        yield world


# --- who it is


@pytest.mark.parametrize("token", [None, "", "falsch", TOKEN + "x", TOKEN[:-1], f"{TOKEN},{TOKEN}"])
def test_without_a_valid_token_nobody_hands_in(world: World, token: str | None) -> None:
    reply = ask(world.listener, token=token)

    assert (reply.status, reply.json["code"]) == (401, "unauthenticated")
    assert reply.headers["www-authenticate"] == "Bearer"
    assert world.intake.offered == []
    assert world.desk.counted == [("online", "unauthenticated")]


def test_two_tokens_are_valid_while_one_replaces_the_other(tmp_path: Path) -> None:
    with running(tmp_path, senders={"a": {"token": ["env:TOKEN", "file:neu"]}, "b": {"token": "env:B"}}) as world:
        world.secrets |= {"file:neu": "neu\n", "env:B": "von-b"}

        statuses = [ask(world.listener, token=token).status for token in (TOKEN, "neu", "von-b")]

    assert statuses == [202, 202, 202]
    assert [incoming.sender for incoming in world.intake.offered] == ["a", "a", "b"]


def test_a_missing_secret_locks_out_its_sender_only_and_is_warned_about_once(tmp_path: Path) -> None:
    with running(tmp_path, senders={"a": {"token": "file:fehlt"}, "b": {"token": "env:TOKEN"}}) as world:
        statuses = [ask(world.listener, token=token).status for token in ("x", TOKEN, TOKEN)]
        world.secrets["file:fehlt"] = "wieder-da"
        statuses.append(ask(world.listener, token="wieder-da").status)

    assert statuses == [401, 202, 202, 202]
    assert world.log.events("warning") == ["secret_unreadable"]


def test_an_empty_secret_lets_nobody_in(tmp_path: Path) -> None:
    with running(tmp_path) as world:
        world.secrets["env:TOKEN"] = " \n"

        assert [ask(world.listener, token=token).status for token in ("", " ", "x")] == [401] * 3


def test_a_token_that_two_senders_share_says_nothing(tmp_path: Path) -> None:
    with running(tmp_path, senders={"a": {"token": "env:TOKEN"}, "b": {"token": "env:SAME"}}) as world:
        world.secrets["env:SAME"] = TOKEN

        assert ask(world.listener).status == 401


def test_a_refusal_comes_before_the_body(world: World) -> None:
    with socket.create_connection(("127.0.0.1", world.listener.port), timeout=10) as sender:
        sender.sendall(b"POST /v1/messages HTTP/1.1\r\nHost: hub\r\nContent-Length: 1000000\r\n\r\n")

        assert sender.recv(100).startswith(b"HTTP/1.1 401 ")


# --- the socket


def test_a_connection_is_kept_for_the_next_message_and_does_not_wait_for_acks(world: World) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", world.listener.port, timeout=10)
    headers = {"Content-Type": "application/xml", "Authorization": f"Bearer {TOKEN}"}
    connection.connect()
    own_end = connection.sock.getsockname()

    for _ in range(3):
        connection.request("POST", "/v1/messages", samples.BODY, headers)
        answer = connection.getresponse()
        assert (answer.status, answer.getheader("server")) == (202, None)
        answer.read()

    assert connection.sock.getsockname() == own_end
    assert _no_delay(world.listener)
    connection.close()


def _no_delay(listener: HttpListener) -> bool:
    """Ask the kernel, through the descriptors of this process, about the accepted end of a connection."""
    accepted = []
    for name in Path("/proc/self/fd").iterdir():
        try:
            with socket.socket(fileno=os.dup(int(name.name))) as candidate:
                if candidate.getpeername() and candidate.getsockname()[1] == listener.port:
                    accepted.append(candidate.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        except (OSError, IndexError, TypeError):
            continue
    return bool(accepted) and all(accepted)


def test_a_port_that_is_taken_is_an_error(world: World, tmp_path: Path) -> None:
    context = make_context(tmp_path)
    second = HttpListener(HttpIn(listen=f"127.0.0.1:{world.listener.port}", senders=SENDERS), context)

    with pytest.raises(OSError):
        second.listen(world.intake.accept, threading.Event())

    assert not second.wait_bound(0)


@pytest.fixture
def tls(tmp_path: Path) -> Iterator[tuple[HttpListener, ssl.SSLContext]]:
    """A source with TLS whose patience is short, and what its senders trust."""
    authority = trustme.CA()
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(server)
    authority.configure_trust(client)
    context = make_context(tmp_path, secrets={"env:TOKEN": TOKEN}, server_tls=server)
    settings = HttpIn(listen="127.0.0.1:0", senders=SENDERS, tls={"certificate": "hub.crt", "key": "hub.key"})
    listener, stop = HttpListener(settings, context, Bounds(head=2)), threading.Event()
    thread = threading.Thread(target=listener.listen, args=(ScriptedIntake().accept, stop), daemon=True)
    thread.start()
    assert listener.wait_bound(10)
    yield listener, client
    stop.set()
    thread.join(10)
    assert not thread.is_alive()


def test_tls_serves_who_trusts_the_authority(tls: tuple[HttpListener, ssl.SSLContext]) -> None:
    listener, client = tls
    connection = http.client.HTTPSConnection("127.0.0.1", listener.port, timeout=10, context=client)
    headers = {"Content-Type": "application/xml", "Authorization": f"Bearer {TOKEN}"}

    connection.request("POST", "/v1/messages", samples.BODY, headers)
    good = connection.getresponse().status
    connection.close()
    connection.request("POST", "/v1/messages", samples.BODY, {**headers, "Host": "a b"})
    bad = connection.getresponse().status

    connection.close()
    assert (good, bad) == (202, 400)


def test_who_never_ends_the_handshake_is_let_go_as_who_says_nothing(tls: tuple[HttpListener, ssl.SSLContext]) -> None:
    listener, _client = tls
    with socket.create_connection(("127.0.0.1", listener.port), timeout=30) as silent:
        silent.sendall(b"\x16\x03\x01")

        assert silent.recv(1000) == b""


# --- settings


@pytest.mark.parametrize(
    "settings",
    [
        {"listen": "8080"},
        {"listen": "127.0.0.1:99999"},
        {"path": "messages"},
        {"path": "/"},
        {"path": "/a/../b"},
        {"senders": {}},
        {"senders": {"a": {"token": "geheim"}}},
        {"senders": {"a": {"token": []}}},
        {"senders": {"a": {}}},
        {"unknown": "x"},
    ],
    ids=str,
)
def test_settings_that_cannot_be_meant_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ADAPTER.settings(**{"senders": SENDERS, **settings})


def test_a_login_that_says_nothing_is_a_problem_of_the_configuration(tmp_path: Path) -> None:
    def paths(**settings: Any) -> list[tuple[str, ...]]:
        assert ADAPTER.check is not None
        checked = HttpIn.model_validate({"senders": SENDERS, **settings})
        return [path for path, _ in ADAPTER.check(checked, make_context(tmp_path))]

    assert paths() == []
    assert paths(tls={"certificate": "a.crt", "key": "a.key"}) == []
    assert paths(tls={"certificate": "a.crt"}) == [("tls",)]
    assert paths(senders={"a": {"token": "env:T"}, "b": {"token": "env:T"}}) == [("senders", "b", "token")]

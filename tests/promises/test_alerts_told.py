"""Channels are really told: a webhook, a mail server and a program, each once; and one that fails is seen."""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import trustme

from hub.alerts.rules import NodeFacts
from hub.alerts.settings import AlertSettings, Channel, Command, Mail, Webhook
from hub.alerts.telling import Teller
from hub.alerts.watch import Watch
from hub.certificates import Expiry
from hub.delivery import EventKind
from hub.deployment import Deployment
from hub.plugin import SecretRef, TlsSettings
from hub.store.api import Control
from hub.store.sql import SqlStore
from hub.store.watch_api import Alert
from hub.tls import server_context
from tests.storing import GEWERBE, NOW, Place, acceptance, claim_one, settle

BLOCKED = Alert("blocked", GEWERBE, "wolfsburg/gewerbe is blocked: peer_tls", "mend it")
MINUTE = timedelta(minutes=1)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(f"sqlite:///{tmp_path}/var/hub.db", tmp_path / "var")


@pytest.fixture
def store(place: Place) -> Iterator[SqlStore]:
    opened = place.open()
    yield opened
    opened.close()


class Hook(BaseHTTPRequestHandler):
    """Takes what is posted, and answers with the status that the server is told to."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.taken.append((self.path, self.headers, json.loads(body)))  # type: ignore[attr-defined]
        self.send_response(self.server.status)  # type: ignore[attr-defined]
        self.send_header("Location", "https://elsewhere.example/")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def hook(status: int = 200, tls: Any = None) -> Iterator[Any]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hook)
    server.taken, server.status = [], status  # type: ignore[attr-defined]
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


class Smtp(socketserver.StreamRequestHandler):
    """As much of SMTP as one mail needs, with STARTTLS."""

    def handle(self) -> None:
        say = lambda text: self.wfile.write(text.encode() + b"\r\n")  # noqa: E731
        say("220 mail.test ESMTP")
        secure = False
        while line := self.rfile.readline():
            word = line.split()[0].upper().decode() if line.split() else ""
            if word == "EHLO":
                say("250-mail.test")
                if not secure:
                    say("250-STARTTLS")
                say("250 AUTH PLAIN")
            elif word == "STARTTLS":
                say("220 go on")
                self.request = self.server.tls.wrap_socket(self.request, server_side=True)  # type: ignore[attr-defined]
                self.rfile, self.wfile, secure = self.request.makefile("rb"), self.request.makefile("wb", 0), True
            elif word == "DATA":
                say("354 go on")
                letter = b""
                while (part := self.rfile.readline()) != b".\r\n":
                    letter += part
                self.server.taken.append((secure, letter.decode()))  # type: ignore[attr-defined]
                say("250 taken")
            elif word == "QUIT":
                say("221 bye")
                return
            else:
                say("235 welcome" if word == "AUTH" else "250 well")


@contextmanager
def mail_server(tls: Any) -> Iterator[Any]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Smtp) as server:
        server.daemon_threads = True
        server.taken, server.tls = [], tls  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def tls(tmp_path: Path) -> Any:
    """Give a server's context, and write the CA that trusts it to ca.pem."""
    ca = trustme.CA()
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    ca.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "server.pem"))
    return server_context(TlsSettings(certificate="server.pem"), tmp_path)


def teller(
    store: SqlStore, folder: Path, place: Place, channel: Channel, failed: Callable[[str], None] = print
) -> Teller:
    return Teller(store, lambda: AlertSettings({"betrieb": channel}), folder, place.clock, failed)


def raise_and_clear(store: SqlStore) -> None:
    store.watch.change([BLOCKED], [], ["betrieb"])
    store.watch.change([], [BLOCKED], ["betrieb"])


def test_a_webhook_is_told_once_with_its_token_and_over_tls(
    store: SqlStore, place: Place, tmp_path: Path, tls: Any
) -> None:
    (tmp_path / "token").write_text("geheim\n")
    with hook(tls=tls) as server:
        url = f"https://127.0.0.1:{server.server_address[1]}/alarm?an=betrieb"
        one = teller(store, tmp_path, place, Webhook(url, SecretRef("file", "token"), "ca.pem"))
        raise_and_clear(store)
        one.tell_due()
        one.tell_due()

    ((path, headers, body),) = server.taken
    assert (path, headers["Authorization"]) == ("/alarm?an=betrieb", "Bearer geheim")
    assert [(alert["name"], alert["object"], alert["what"]) for alert in body["alerts"]] == [
        ("blocked", GEWERBE, "raised"), ("blocked", GEWERBE, "cleared"),
    ]  # fmt: skip
    assert body["alerts"][0]["next"] == "mend it"


def test_a_webhook_of_a_stranger_is_not_trusted(store: SqlStore, place: Place, tmp_path: Path, tls: Any) -> None:
    with hook(tls=tls) as server:
        trustme.CA().cert_pem.write_to_path(str(tmp_path / "ca.pem"))
        one = teller(store, tmp_path, place, Webhook(f"https://127.0.0.1:{server.server_address[1]}/", None, "ca.pem"))
        raise_and_clear(store)
        one.tell_due()

    assert server.taken == []
    assert [notice.failure for notice in store.watch.mute()] == ["SSLCertVerificationError"]


def test_a_mail_goes_out_over_starttls(store: SqlStore, place: Place, tmp_path: Path, tls: Any) -> None:
    (tmp_path / "pw").write_text("geheim")
    with mail_server(tls) as server:
        mail = Mail(
            f"127.0.0.1:{server.server_address[1]}", "hub@stadt.example", ("a@stadt.example", "b@stadt.example"),
            "hub", SecretRef("file", "pw"), ca="ca.pem",
        )  # fmt: skip
        raise_and_clear(store)
        teller(store, tmp_path, place, mail).tell_due()

    ((secure, letter),) = server.taken
    assert secure
    assert f"raised: blocked {GEWERBE} (and 1 more)" in letter
    assert "To: a@stadt.example, b@stadt.example" in letter
    assert "next: mend it" in letter
    assert all(f"\n{name}: " in letter for name in ("Date", "Message-ID", "Auto-Submitted"))  # RFC 5322 §3.6
    assert not store.watch.mute()


def test_a_program_is_given_json_and_no_shell(store: SqlStore, place: Place, tmp_path: Path) -> None:
    script = tmp_path / "alarm"
    script.write_text(f'#!/bin/sh\necho "$1" >> {tmp_path}/args\ncat >> {tmp_path}/told\n')
    script.chmod(0o755)
    raise_and_clear(store)
    teller(store, tmp_path, place, Command((str(script), "; rm -rf $HOME"))).tell_due()

    assert (tmp_path / "args").read_text() == "; rm -rf $HOME\n"
    assert [one["what"] for one in json.loads((tmp_path / "told").read_text())["alerts"]] == ["raised", "cleared"]


@pytest.mark.parametrize(
    ("channel", "failure"),
    [
        (Command(("/bin/false",)), "exit-1"),
        (Command(("/nirgendwo/alarm",)), "FileNotFoundError"),
        (Webhook("http://127.0.0.1:9/"), "ConnectionRefusedError"),
        (Webhook("https://127.0.0.1:9/", SecretRef("file", "fehlt")), "FileNotFoundError"),
        (Mail("127.0.0.1:9", "a@b.example", ("c@d.example",)), "ConnectionRefusedError"),
    ],
    ids=["exit", "gone", "refused", "secret", "mail"],
)  # fmt: skip
def test_a_channel_that_fails_is_seen_and_tried_again(
    store: SqlStore, place: Place, tmp_path: Path, channel: Channel, failure: str
) -> None:
    failed: list[str] = []
    one = teller(store, tmp_path, place, channel, failed.append)
    raise_and_clear(store)

    one.tell_due()
    one.tell_due()

    assert failed == ["betrieb"]
    (notice,) = store.watch.mute()
    assert failure in notice.failure or notice.failure in ("OSError", failure)
    place.clock.now += MINUTE
    one.tell_due()
    assert failed == ["betrieb"] * 2


@pytest.mark.parametrize("status", [307, 401, 500])
def test_an_answer_that_is_no_success_is_none(store: SqlStore, place: Place, tmp_path: Path, status: int) -> None:
    with hook(status) as server:
        raise_and_clear(store)
        teller(store, tmp_path, place, Webhook(f"http://127.0.0.1:{server.server_address[1]}/")).tell_due()

    assert len(server.taken) == 1
    assert [notice.failure for notice in store.watch.mute()] == [f"http-{status}"]


# --- from facts to notices


def deployment(folder: Path, settings: AlertSettings) -> Deployment:
    return Deployment(folder, "production", {"portal": None}, {}, {}, {}, {}, (), alerts=settings)  # type: ignore[dict-item]


@pytest.fixture
def watch(store: SqlStore, place: Place, tmp_path: Path) -> Watch:
    settings = AlertSettings({"betrieb": Command(("/bin/true",))})
    made = Watch(store, lambda: deployment(tmp_path, settings), lambda: (), NodeFacts, place.clock)
    made._node = "hub-1"
    return made


def look(watch: Watch) -> None:
    watch._again_at = watch._slow_at = float("-inf")
    watch.look_shared()
    watch.look_here()


def told(store: SqlStore) -> list[tuple[str, str, str]]:
    notices = store.watch.notices("betrieb")
    store.watch.told(notices)
    return [(one.what, one.alert.name, one.alert.object) for one in notices]


def test_each_is_told_once_and_once_when_it_is_over(store: SqlStore, watch: Watch, place: Place) -> None:
    store.hold(Control(GEWERBE, "blocked", "peer_tls", NOW, "hub", until=NOW + MINUTE))
    store.accept(acceptance(dead="refused"))

    for _ in range(3):
        look(watch)
    assert told(store) == [("raised", "blocked", GEWERBE), ("raised", "dead_letters", "refused")]

    store.release(GEWERBE, by="op", now=NOW)
    look(watch)
    assert told(store) == [("cleared", "blocked", GEWERBE)]
    look(watch)
    assert told(store) == []


def test_a_night_outside_its_hours_is_no_waiting(store: SqlStore, watch: Watch, place: Place) -> None:
    store.accept(acceptance())
    store.hold(Control(GEWERBE, "closed", "hours", NOW, "hub", until=NOW + 600 * MINUTE))
    for minutes in (61, 599, 601, 630):
        place.clock.now = NOW + minutes * MINUTE
        look(watch)
        assert told(store) == [], minutes

    place.clock.now = NOW + 661 * MINUTE
    look(watch)
    assert told(store) == [("raised", "oldest_waiting", GEWERBE)]

    settle(store, claim_one(store, now=place.clock.now), EventKind.DELIVERED, at=place.clock.now)
    look(watch)
    assert told(store) == [("cleared", "oldest_waiting", GEWERBE)]


def test_silence_is_noticed_and_the_first_message_ends_it(store: SqlStore, watch: Watch, place: Place) -> None:
    week = timedelta(days=7)
    for number in (3, 2, 1, 0):
        for minute in range(0, 300, 30):
            if number or minute == 0:  # this week only the first one came
                at = NOW - number * week + minute * MINUTE
                store.accept(acceptance(sender="portal", received_at=at))
    place.clock.now = NOW + 200 * MINUTE

    look(watch)
    assert ("raised", "silence", "portal") in told(store)

    place.clock.now += MINUTE
    store.accept(acceptance(sender="portal", received_at=place.clock.now))
    place.clock.now += MINUTE
    watch._again_at = float("-inf")
    watch.look_shared()
    assert ("cleared", "silence", "portal") in told(store)


def test_a_node_clears_only_what_is_its_own(store: SqlStore, watch: Watch) -> None:
    other = Alert("disk", "hub-2", "1 GB", "")
    store.watch.change([other, Alert("disk", "hub-1", "1 GB", "")], [], [])

    look(watch)

    assert [one.alert.object for one in store.watch.standing()] == ["hub-2"]


def test_a_block_neither_clears_nor_repeats_the_alert_of_a_certificate(store: SqlStore, watch: Watch) -> None:
    watch._expiries = lambda: [Expiry((GEWERBE,), "client", NOW + timedelta(days=5), "tls/hub.pem")]
    look(watch)
    assert told(store) == [("raised", "certificate", f"{GEWERBE} client tls/hub.pem")]

    store.hold(Control(GEWERBE, "blocked", "peer_tls", NOW, "hub", until=NOW + MINUTE))
    look(watch)
    store.release(GEWERBE, by="op", now=NOW)
    look(watch)
    assert told(store) == [("raised", "blocked", GEWERBE), ("cleared", "blocked", GEWERBE)]

    watch._expiries = list
    look(watch)
    assert told(store) == [("cleared", "certificate", f"{GEWERBE} client tls/hub.pem")]

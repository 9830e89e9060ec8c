"""Taking from RabbitMQ: the contract of all listeners, what a message may say of itself, what settings may say."""

from __future__ import annotations

import json
import os
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest
import trustme
from pydantic import ValidationError

from adapters import amqp_arrival, http_app
from adapters.amqp_broker import parameters
from adapters.amqp_consumer import Consumer
from adapters.amqp_in import ADAPTER_IN, AmqpIn, AmqpListener
from hub.plugin import Conflict, Context, Finding, Limits, Rejected, TlsSettings
from hub.room import Budget
from hub.spool import FOLDER, Spool
from hub.testing import ListenerContract, RecordedDesk, RecordedLog, ScriptedIntake, make_context, samples
from hub.testing.listener import Told
from tests.queue_inbox import Inbox, running
from tests.rabbit import eventually, tls_server
from tests.servers import amqp_url

pytestmark = pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    inbox = Inbox(amqp_url())
    yield inbox
    inbox.delete()


@pytest.fixture
def log() -> RecordedLog:
    return RecordedLog()


@pytest.fixture
def desk() -> RecordedDesk:
    return RecordedDesk()


@pytest.fixture
def context(tmp_path: Path, inbox: Inbox, log: RecordedLog, desk: RecordedDesk) -> Context:
    return make_context(
        tmp_path, name="queue", log=log, desk=desk, sender="antragsportal", secrets={"env:AMQP_URL": inbox.wire.url}
    )


class TestContract(ListenerContract):
    @pytest.fixture
    def context(self, context: Context) -> Context:
        return context

    @pytest.fixture(autouse=True)
    def _lend(self, inbox: Inbox, log: RecordedLog) -> None:
        self.inbox, self.log_ = inbox, log

    def make(self, context: Context) -> AmqpListener:
        return AmqpListener(self.inbox.settings(), context)

    def wait_bound(self, listener: Any) -> None:
        """A queue takes messages at any time."""

    def send(self, listener: Any, body: bytes) -> Told:
        before = self.log_.events("warning").count("consuming_paused")
        id_ = self.inbox.publish(body)
        eventually(
            lambda: self.inbox.was("acked", id_) or self.log_.events("warning").count("consuming_paused") > before
        )
        if not self.inbox.was("acked", id_):
            return "unavailable"
        return "rejected" if self.inbox.rejected() else "accepted"


# --- room


def test_large_messages_wait_on_the_disk_until_there_is_room_and_small_ones_pass_them(
    inbox: Inbox, context: Context
) -> None:
    """The broker sends unasked: what it has sent must not be in memory before there is room for it."""
    base = context.base
    budget, intake = Budget(5_000_000, Spool(base)), ScriptedIntake()
    elsewhere = budget.of("elsewhere")
    assert elsewhere.take(4_000_000)
    bodies = [b"<a>" + bytes([65 + n]) * 2_000_000 + b"</a>" for n in range(6)]

    with running(inbox, replace(context, room=budget.of("queue")), intake.accept):
        large = [inbox.publish(body) for body in bodies]
        inbox.until("delivered", *large)
        inbox.until("acked", inbox.publish(samples.BODY))
        eventually(lambda: spool_files(base) == len(large))
        held = budget.in_flight
        elsewhere.give(4_000_000)
        inbox.until("acked", *large)

    assert held == 4_000_000
    assert sorted(one.body for one in intake.offered if one.body != samples.BODY) == bodies
    assert budget.in_flight == 0
    assert inbox.count("given back") == 0
    eventually(lambda: spool_files(base) == 0)


def test_a_large_message_that_is_rejected_comes_to_reject_to_byte_for_byte(inbox: Inbox, context: Context) -> None:
    room = Budget(5_000_000, Spool(context.base)).of("queue")
    body = b"<a>" + b"x" * 3_000_000 + b"</a>"

    with running(inbox, replace(context, room=room), ScriptedIntake(Rejected("schema_violation")).accept):
        inbox.until("acked", inbox.publish(body))

    [(told, rejected)] = inbox.rejected()
    assert (told.headers, rejected) == ({"x-hub-code": "schema_violation"}, body)


def spool_files(base: Path) -> int:
    links = [entry for entry in Path("/proc/self/fd").iterdir() if entry.is_symlink()]
    return sum(_target(link).startswith(f"{base}/{FOLDER}/") for link in links)


def _target(link: Path) -> str:
    try:
        return os.readlink(link)
    except OSError:  # closed since
        return ""


# --- what a message may say of itself


def test_what_is_said_beside_the_document_is_handed_in(inbox: Inbox, context: Context) -> None:
    intake = ScriptedIntake()
    told = {"Idempotency-Key": "a:1", "sender-reference": "Az. 1 – Höfe", "recipient": "wolfsburg", "else": 1}

    with running(inbox, context, intake.accept):
        inbox.until("acked", inbox.publish(samples.BODY, headers=told, content_type='text/xml; charset="utf-8"'))

    [incoming] = intake.offered
    assert (incoming.idempotency_key, incoming.sender_reference, incoming.recipient, incoming.charset) == (
        "a:1", "Az. 1 – Höfe", "wolfsburg", "utf-8"
    )  # fmt: skip


def test_what_a_publisher_says_of_itself_is_not_believed(inbox: Inbox, context: Context) -> None:
    intake = ScriptedIntake()

    with running(inbox, context, intake.accept):
        id_ = inbox.publish(samples.BODY, message_id="1", user_id="guest", app_id="stranger", type="antrag")
        inbox.until("acked", id_)

    [incoming] = intake.offered
    assert (incoming.sender, incoming.source) == ("antragsportal", "queue")
    assert (incoming.idempotency_key, incoming.sender_reference, incoming.recipient) == (None, None, None)


def test_a_message_without_any_property_is_handed_in(inbox: Inbox, context: Context) -> None:
    intake = ScriptedIntake()

    with running(inbox, context, intake.accept):
        inbox.until("acked", inbox.publish(samples.BODY, message_id=None, content_type=None))

    assert [one.charset for one in intake.offered] == [None]


@pytest.mark.parametrize(
    ("code", "properties"),
    [
        ("media_type", {"content_type": "application/json"}),
        ("media_type", {"content_type": "application/xml; charset=utf-8; x=y"}),
        ("content_encoding", {"content_encoding": "gzip"}),
        ("header", {"headers": {"idempotency-key": "two words"}}),
        ("header", {"headers": {"idempotency-key": "x" * 201}}),
        ("header", {"headers": {"idempotency-key": 5}}),
        ("header", {"headers": {"recipient": {"deep": ["table"]}}}),
        ("header", {"headers": {"recipient": ""}}),
        ("header", {"headers": {"sender-reference": "a\nb"}}),
        ("header", {"headers": {"sender-reference": "x" * 201}}),
        ("header", {"headers": {"recipient": "wolfsburg", "Recipient": "gifhorn"}}),
    ],
)
def test_what_no_document_can_be_is_rejected_without_being_handed_in(
    inbox: Inbox, context: Context, desk: RecordedDesk, code: str, properties: dict[str, Any]
) -> None:
    intake = ScriptedIntake()

    with running(inbox, context, intake.accept):
        inbox.until("acked", inbox.publish(samples.BODY, **properties))

    [(told, body)] = inbox.rejected()
    assert (told.headers, body) == ({"x-hub-code": code}, samples.BODY)
    assert intake.offered == []
    assert desk.counted == [("queue", code)]


def test_a_body_above_the_limit_is_rejected_and_one_at_the_limit_is_not(inbox: Inbox, context: Context) -> None:
    intake = ScriptedIntake()
    limited = replace(context, limits=Limits(max_body=100))

    with running(inbox, limited, intake.accept):
        inbox.until("acked", inbox.publish(b"x" * 101), inbox.publish(b"y" * 100))

    [(told, body)] = inbox.rejected()
    assert (told.headers, body) == ({"x-hub-code": "body_too_large"}, b"x" * 101)
    assert [one.body for one in intake.offered] == [b"y" * 100]


def test_both_ways_in_take_the_same_texts() -> None:
    assert amqp_arrival.KEY.pattern == http_app._KEY.pattern
    assert amqp_arrival.MEDIA_TYPE == http_app._MEDIA_TYPE


# --- what a rejected sender is told


def test_a_rejection_says_what_is_wrong_and_quotes_nothing(inbox: Inbox, context: Context) -> None:
    findings = [Finding("xsd", "/a/b[2]", 7, samples.MARKER), Finding("kosit", "/a", 9, samples.MARKER)]
    intake = ScriptedIntake(Rejected("schema_violation", findings, id="0192"))
    beside = {"headers": {"CC": ["secret-queue"], "recipient": "x"}, "reply_to": "amq.x", "expiration": "90000"}

    with running(inbox, context, intake.accept):
        inbox.until("acked", inbox.publish(samples.BODY, **beside))

    [(told, body)] = inbox.rejected()
    assert body == samples.BODY
    assert set(told.headers) == {"x-hub-code", "x-hub-id", "x-hub-findings"}
    assert (told.headers["x-hub-code"], told.headers["x-hub-id"]) == ("schema_violation", "0192")
    assert json.loads(told.headers["x-hub-findings"]) == [
        {"rule": "xsd", "path": "/a/b[2]", "line": 7},
        {"rule": "kosit", "path": "/a", "line": 9},
    ]
    assert (told.delivery_mode, told.reply_to, told.expiration, told.content_type) == (2, None, None, None)


def test_a_conflict_is_told_with_its_record(inbox: Inbox, context: Context) -> None:
    with running(inbox, context, ScriptedIntake(Conflict("other content", id="0193")).accept):
        inbox.until("acked", inbox.publish(samples.BODY))

    [(told, _)] = inbox.rejected()
    assert told.headers == {"x-hub-code": "conflict", "x-hub-id": "0193"}


def test_findings_without_end_are_cut_before_the_broker_minds(inbox: Inbox, context: Context) -> None:
    endless = [Finding("xsd", "/ä" * 2000, number) for number in range(1000)]

    with running(inbox, context, ScriptedIntake(Rejected("schema_violation", endless)).accept):
        inbox.until("acked", inbox.publish(samples.BODY))

    [(told, _)] = inbox.rejected()
    assert 0 < len(json.loads(told.headers["x-hub-findings"])) < 100
    assert len(told.headers["x-hub-findings"]) <= amqp_arrival.FINDINGS_BYTES_MAX


# --- what settings may say


def check(settings: AmqpIn, context: Context) -> list[tuple[str, ...]]:
    assert ADAPTER_IN.check is not None
    return [path for path, _ in ADAPTER_IN.check(settings, context)]


@pytest.mark.parametrize(("on_reject", "told"), [("standard", [b"<r/>"]), ("both", [samples.BODY, b"<r/>"])])
@pytest.mark.parametrize("error", [Rejected("schema_violation", document=b"<r/>"), Conflict("", document=b"<r/>")])
def test_the_standards_own_rejection_takes_the_bodys_place_or_follows_it(
    on_reject: str, told: list[bytes], error: Exception, inbox: Inbox, context: Context
) -> None:
    with running(inbox, replace(context, on_reject=on_reject), ScriptedIntake(error).accept):
        inbox.until("acked", inbox.publish(samples.BODY))

    found = inbox.rejected()
    assert [body for _, body in found] == told
    marks = [one.headers.get("x-hub-rejection") for one, _ in found]
    assert marks == [None, "standard"][-len(told) :]


SETTINGS = {"url": "env:AMQP_URL", "queue": "hub.in", "reject_to": "rejected/portal"}


def test_the_usual_settings_are_enough(tmp_path: Path) -> None:
    settings = AmqpIn(**SETTINGS)

    assert (settings.prefetch, settings.rejections) == (20, ("rejected", "portal"))
    assert check(settings, make_context(tmp_path)) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"reject_to": "rejected"},
        {"reject_to": "rejected/"},
        {"reject_to": "rejected/ä"},
        {"reject_to": "rejected/" + "k" * 201},
        {"reject_to": "re\njected/k"},
        {"reject_to": "e" * 128 + "/k"},
        {"prefetch": "0"},
        {"prefetch": "1001"},
        {"url": "amqp://hub:canary@127.0.0.1"},
        {"senders": {}},
    ],
    ids=str,
)
def test_wrong_settings_are_errors(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as error:
        AmqpIn(**(SETTINGS | wrong))

    assert [one["loc"][0] for one in error.value.errors()] == list(wrong)
    assert "canary" not in error.value.errors()[0]["msg"]


def test_a_queue_for_rejections_must_be_named() -> None:
    with pytest.raises(ValidationError) as error:
        AmqpIn(url="env:AMQP_URL", queue="hub.in")

    assert [(one["type"], one["loc"]) for one in error.value.errors()] == [("missing", ("reject_to",))]


@pytest.mark.parametrize(
    ("settings", "path"),
    [
        ({"queue": ""}, ("queue",)),
        ({"queue": "q" * 128}, ("queue",)),
        ({"queue": "a\0b"}, ("queue",)),
        ({"reject_to": "/hub.in"}, ("reject_to",)),
        ({"url": "amqp://example.org"}, ("url",)),
        ({"url": "amqp://127.0.0.1", "tls": TlsSettings(ca="ca.pem")}, ("url",)),
    ],
    ids=str,
)
def test_check_finds_what_can_be_seen_without_a_network(
    tmp_path: Path, settings: dict[str, Any], path: tuple[str, ...]
) -> None:
    assert check(AmqpIn(**(SETTINGS | settings)), make_context(tmp_path)) == [path]


def test_the_default_exchange_takes_rejections_by_the_name_of_a_queue(inbox: Inbox, context: Context) -> None:
    to = f"/{inbox.topology.name}.rejected"

    with running(inbox, context, ScriptedIntake(Rejected("limit")).accept, reject_to=to):
        inbox.until("acked", inbox.publish(samples.BODY))

    assert [body for _, body in inbox.rejected()] == [samples.BODY]


def test_a_queue_is_taken_from_over_tls(tmp_path: Path, inbox: Inbox, context: Context) -> None:
    authority, trusting = trustme.CA(), ssl.create_default_context()
    authority.configure_trust(trusting)
    port, stop_serving = tls_server(authority, amqp_url())
    settings = inbox.settings(url=f"amqps://127.0.0.1:{port}")
    dial = partial(parameters, settings, make_context(tmp_path, client_tls=trusting))
    bodies, stop = SimpleQueue[bytes](), threading.Event()

    consumer = Consumer(context, inbox.queue, 1, dial, lambda arrival: bodies.put(arrival.body))
    thread = threading.Thread(target=consumer.run, args=(stop,), daemon=True)
    thread.start()
    inbox.publish(samples.BODY)
    body = bodies.get(timeout=20)
    stop.set()
    thread.join(20)
    stop_serving()

    assert body == samples.BODY
    assert not thread.is_alive()


def test_a_stop_is_soon_although_the_broker_never_answers(tmp_path: Path, inbox: Inbox, context: Context) -> None:
    inbox.wire.mute.set()
    started = time.monotonic()

    with running(inbox, context, ScriptedIntake().accept):
        eventually(lambda: inbox.wire.connections > 0)

    assert time.monotonic() - started < 10

"""What the publisher makes of pika's callbacks, with a channel that follows a script. No broker."""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager, nullcontext
from types import SimpleNamespace
from typing import Any

import pika
import pytest
from pika import spec
from pika.adapters.select_connection import SelectConnection
from pika.exceptions import ChannelClosedByBroker, ChannelClosedByClient, NoFreeChannels

from adapters import amqp_publisher
from adapters.amqp_lane import TOGETHER_BYTES, WINDOW, Broker, Encoded, Lane, Publication, refusal
from adapters.amqp_publisher import Publisher
from hub.plugin import Blocked, Deferred, Delivered, Outcome, Reason, Refused, Unclear
from hub.testing import RecordedLog


class Script:
    """Stands in for pika's connection and its channels: keeps what is written, and says what a broker would say."""

    def __init__(self) -> None:
        self.ioloop = self
        self.connection = self
        self.written: list[tuple[str, str, str]] = []
        self.opened = 0
        self.channels_left = 100
        self.timers: list[Any] = []

    def channel(self, on_open_callback: Any) -> Script:
        if not self.channels_left:
            raise NoFreeChannels
        self.opened += 1
        self.on_open = on_open_callback
        return self

    def add_on_close_callback(self, callback: Any) -> None:
        self.on_close = callback

    def add_on_return_callback(self, callback: Any) -> None:
        self.on_return = callback

    def confirm_delivery(self, on_confirm: Any, callback: Any) -> None:
        self.on_confirm, self.on_select_ok = on_confirm, callback

    def together(self) -> AbstractContextManager[None]:
        return nullcontext()

    def basic_publish(self, exchange: str, key: str, body: bytes, properties: Any, *, mandatory: bool) -> None:
        assert mandatory
        self.written.append((exchange, key, properties.message_id))

    def call_later(self, _seconds: float, callback: Any) -> None:
        self.timers.append(callback)

    # what a test lets the broker say

    def open(self) -> None:
        self.on_open(self)
        self.on_select_ok(None)

    def ack(self, tag: int, *, multiple: bool = False) -> None:
        self.on_confirm(SimpleNamespace(method=spec.Basic.Ack(tag, multiple)))

    def nack(self, tag: int) -> None:
        self.on_confirm(SimpleNamespace(method=spec.Basic.Nack(tag, multiple=False)))

    def give_back(self, message_id: str) -> None:
        returned = spec.Basic.Return(312, "NO_ROUTE", "x", "k")
        self.on_return(self, returned, pika.BasicProperties(message_id=message_id), b"")

    def close(self, reason: BaseException) -> None:
        self.on_close(self, reason)


@pytest.fixture
def broker() -> Script:
    return Script()


@pytest.fixture
def lane(broker: Script) -> Lane:
    return Lane("x", room=lambda: None)


def waiting(lane: Lane, *names: str) -> list[Publication]:
    publications = [Publication("x", "k", b"<x/>", pika.BasicProperties(message_id=name)) for name in names]
    lane.waiting.extend(publications)
    return publications


def ready(lane: Lane, broker: Script, *names: str) -> list[Publication]:
    """Return publications that are written to a channel that has proved itself."""
    (first,) = waiting(lane, "first")
    lane.pump(broker)
    broker.open()
    lane.pump(broker)
    broker.ack(1)
    assert isinstance(ended(first), Delivered)
    publications = waiting(lane, *names)
    lane.pump(broker)
    return publications


def ended(publication: Publication) -> Outcome | None:
    return publication.future.result() if publication.future.done() else None


def test_nothing_is_written_before_the_channel_confirms(lane: Lane, broker: Script) -> None:
    waiting(lane, "a")
    lane.pump(broker)
    lane.pump(broker)

    assert (broker.opened, broker.written) == (1, [])

    broker.open()
    lane.pump(broker)

    assert broker.written == [("x", "k", "a")]


def test_the_first_message_of_a_channel_goes_alone_until_its_confirm(lane: Lane, broker: Script) -> None:
    waiting(lane, "a", "b", "c")
    lane.pump(broker)
    broker.open()
    lane.pump(broker)
    assert [message for _, _, message in broker.written] == ["a"]

    broker.ack(1)
    lane.pump(broker)

    assert [message for _, _, message in broker.written] == ["a", "b", "c"]


def test_a_first_message_that_is_stuck_holds_up_its_neighbours_for_a_moment_only(lane: Lane, broker: Script) -> None:
    stuck, good = waiting(lane, "stuck", "good")
    lane.pump(broker)
    broker.open()
    lane.pump(broker)

    broker.timers.pop()()
    lane.pump(broker)
    broker.ack(2)

    assert ended(stuck) is None
    assert ended(good) == Delivered("good")


def test_one_confirm_may_stand_for_all_before_it(lane: Lane, broker: Script) -> None:
    a, b, c = ready(lane, broker, "a", "b", "c")

    broker.ack(3, multiple=True)

    assert [ended(p) for p in (a, b, c)] == [Delivered("a"), Delivered("b"), None]


def test_a_returned_message_is_not_delivered_though_it_is_confirmed(lane: Lane, broker: Script) -> None:
    a, b = ready(lane, broker, "a", "b")

    broker.give_back("b")
    broker.ack(3, multiple=True)

    outcome = ended(b)
    assert ended(a) == Delivered("a")
    assert isinstance(outcome, Blocked)
    assert (outcome.reason, outcome.code) == (Reason.PEER_PROTOCOL, "unroutable")


def test_a_nack_concerns_its_own_message_only(lane: Lane, broker: Script) -> None:
    a, b = ready(lane, broker, "a", "b")

    broker.nack(2)
    broker.ack(3)

    outcome = ended(a)
    assert isinstance(outcome, Deferred)
    assert (outcome.reason, outcome.code) == (Reason.BUSY, "nack")
    assert ended(b) == Delivered("b")


def test_a_missing_exchange_is_certain_for_the_one_message_that_is_alone(lane: Lane, broker: Script) -> None:
    first, second = waiting(lane, "first", "second")
    lane.pump(broker)
    broker.open()
    lane.pump(broker)

    broker.close(ChannelClosedByBroker(404, "NOT_FOUND - no exchange 'x'"))

    outcome, later = ended(first), ended(second)
    assert isinstance(outcome, Blocked)
    assert (outcome.reason, outcome.code) == (Reason.PEER_PROTOCOL, "no-exchange")
    assert isinstance(later, Deferred)
    assert later.reason is Reason.UNREACHABLE


@pytest.mark.parametrize(
    ("code", "kind", "reason"),
    [(403, Blocked, Reason.PEER_AUTH), (406, Refused, Reason.REFUSED), (504, Unclear, Reason.UNCLEAR)],
)
def test_why_a_channel_was_closed_decides_about_the_message_that_was_alone(
    lane: Lane, broker: Script, code: int, kind: type, reason: Reason
) -> None:
    (publication,) = ready(lane, broker, "a")

    broker.close(ChannelClosedByBroker(code, "CLOSED"))

    outcome = ended(publication)
    assert isinstance(outcome, kind)
    assert outcome.reason is reason


def test_of_several_without_a_confirm_nobody_knows_which_one_closed_the_channel(lane: Lane, broker: Script) -> None:
    a, b = ready(lane, broker, "a", "b")

    broker.close(ChannelClosedByBroker(404, "NOT_FOUND"))

    assert [type(ended(p)) for p in (a, b)] == [Unclear, Unclear]


def test_a_message_given_up_may_be_the_one_that_closed_the_channel(lane: Lane, broker: Script) -> None:
    given_up, innocent = ready(lane, broker, "given-up", "innocent")
    lane.abandon(given_up)

    broker.close(ChannelClosedByBroker(406, "PRECONDITION_FAILED"))

    assert isinstance(ended(innocent), Unclear)


def test_a_later_confirm_clears_the_message_given_up(lane: Lane, broker: Script) -> None:
    given_up, _ = ready(lane, broker, "given-up", "confirmed")
    lane.abandon(given_up)
    broker.ack(3)
    (too_large,) = waiting(lane, "too-large")
    lane.pump(broker)

    broker.close(ChannelClosedByBroker(406, "PRECONDITION_FAILED"))

    assert isinstance(ended(too_large), Refused)


def test_the_next_message_after_a_closed_channel_opens_another_and_counts_from_one(lane: Lane, broker: Script) -> None:
    ready(lane, broker, "a")
    broker.close(ChannelClosedByBroker(404, "NOT_FOUND"))
    (again,) = waiting(lane, "again")

    lane.pump(broker)
    broker.open()
    lane.pump(broker)
    broker.ack(1)

    assert broker.opened == 2
    assert ended(again) == Delivered("again")


def test_a_lost_connection_leaves_the_written_unclear_and_the_unwritten_deferred(lane: Lane, broker: Script) -> None:
    (written,) = ready(lane, broker, "written")
    (unwritten,) = waiting(lane, "unwritten")

    broker.close(ChannelClosedByClient(0, "connection gone"))

    assert isinstance(ended(written), Unclear)
    assert isinstance(ended(unwritten), Deferred)


def test_a_message_taken_back_is_never_written(lane: Lane, broker: Script) -> None:
    back, kept = waiting(lane, "back", "kept")

    assert back.future.cancel()
    lane.pump(broker)
    broker.open()
    lane.pump(broker)

    assert [message for _, _, message in broker.written] == ["kept"]
    assert not kept.future.cancel(), "what is written cannot be taken back"


def test_no_more_than_a_window_is_without_a_confirm(lane: Lane, broker: Script) -> None:
    ready(lane, broker, *(str(number) for number in range(WINDOW + 50)))
    assert len(broker.written) == 1 + WINDOW

    broker.ack(11, multiple=True)
    lane.pump(broker)

    assert len(broker.written) == 1 + WINDOW + 10


def test_a_message_given_up_frees_its_place(lane: Lane, broker: Script) -> None:
    publications = ready(lane, broker, *(str(number) for number in range(WINDOW + 1)))

    lane.abandon(publications[0])
    lane.pump(broker)

    assert len(broker.written) == 1 + WINDOW + 1


def test_a_connection_without_a_free_channel_defers(lane: Lane, broker: Script) -> None:
    broker.channels_left = 0
    (publication,) = waiting(lane, "a")

    lane.pump(broker)

    outcome = ended(publication)
    assert isinstance(outcome, Deferred)
    assert outcome.reason is Reason.BUSY


@pytest.mark.parametrize(
    ("text", "kind", "reason"),
    [
        ("ConnectionClosedByBroker: (403) 'ACCESS_REFUSED - Login was refused'", Blocked, Reason.PEER_AUTH),
        ("ConnectionClosedByBroker: (530) 'NOT_ALLOWED - vhost x not found'", Blocked, Reason.PEER_AUTH),
        ("ConnectionClosedByBroker: (320) 'CONNECTION_FORCED'", Deferred, Reason.UNREACHABLE),
        ("StreamLostError: ('Transport indicated EOF',)", Deferred, Reason.UNREACHABLE),
        ("StreamLostError: (\"… SSLError(1, '[SSL: CERTIFICATE_REQUIRED]')\",)", Blocked, Reason.PEER_TLS),
        ("SSLCertVerificationError(1, 'certificate verify failed')", Blocked, Reason.PEER_TLS),
        ("SSLEOFError(8, 'EOF occurred')", Deferred, Reason.UNREACHABLE),
        ("ConnectionRefusedError(111, 'Connection refused')", Deferred, Reason.UNREACHABLE),
    ],
)
def test_why_there_is_no_connection_tells_a_wrong_destination_from_one_that_is_away(
    text: str, kind: type, reason: Reason
) -> None:
    outcome = refusal(pika.exceptions.ProbableAuthenticationError(text))

    assert isinstance(outcome, kind)
    assert outcome.reason is reason


# --- the thread


def publication(name: str) -> Publication:
    return Publication("x", "k", b"<x/>", pika.BasicProperties(message_id=name))


def test_a_thread_that_died_of_a_bug_is_reported_and_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    reported: list[type[BaseException]] = []
    monkeypatch.setattr(threading, "excepthook", lambda report: reported.append(report.exc_type))
    answers = iter([None])

    def dial() -> Blocked:
        if next(answers, "again") is None:
            raise RuntimeError("a bug")
        return Blocked(Reason.PEER_AUTH)

    publisher = Publisher("env:AMQP_URL", dial, RecordedLog())
    first, second = publication("first"), publication("second")
    publisher.publish(first)
    thread = publisher._thread
    first_outcome = first.future.result(5)
    publisher.publish(second)

    second_outcome = second.future.result(5)

    publisher.close()
    assert thread is not None
    thread.join(5)
    assert isinstance(first_outcome, Deferred)
    assert second_outcome == Blocked(Reason.PEER_AUTH)
    assert reported == [RuntimeError]


def test_a_broker_that_refuses_is_not_asked_again_before_somebody_wants_to_write(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(amqp_publisher, "PAUSE_SECONDS_MAX", 0.001)
    asked: list[int] = []

    def dial() -> Blocked:
        asked.append(1)
        return Blocked(Reason.PEER_AUTH)

    publisher = Publisher("env:AMQP_URL", dial, RecordedLog())
    one, another = publication("one"), publication("another")
    publisher.publish(one)
    one.future.result(5)
    before = len(asked)
    threading.Event().wait(0.1)  # a hundred pauses in which nobody wants anything
    publisher.publish(another)
    another.future.result(5)

    publisher.close()
    assert len(asked) == before + 1


def test_a_closed_publisher_takes_nothing() -> None:
    publisher = Publisher("env:AMQP_URL", lambda: Blocked(Reason.PEER_AUTH), RecordedLog())
    publisher.close()
    late = publication("late")

    publisher.publish(late)

    assert isinstance(late.future.result(0), Deferred)


def test_what_is_written_together_is_sent_with_one_call_and_what_is_much_is_not_gathered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sent: list[bytes] = []
    monkeypatch.setattr(SelectConnection, "_adapter_emit_data", lambda _self, data: sent.append(data))
    broker = Broker.__new__(Broker)

    with broker.together():
        broker._adapter_emit_data(b"method")
        broker._adapter_emit_data(b"body")
    broker._adapter_emit_data(b"heartbeat")
    with broker.together():
        broker._adapter_emit_data(bytes(TOGETHER_BYTES + 1))
        broker._adapter_emit_data(b"end")

    assert sent == [b"methodbody", b"heartbeat", bytes(TOGETHER_BYTES + 1), b"end"]


def test_properties_are_encoded_as_pika_does_it() -> None:
    told = {"content_type": "application/xml", "headers": {"x": "y"}, "delivery_mode": 2, "message_id": "m"}

    assert Encoded(**told).encode() == pika.BasicProperties(**told).encode()

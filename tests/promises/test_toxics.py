"""P7: every toxic at every adapter ends in its class: what proves nothing is neither success nor final failure.

One table for each way over a network. A folder has none: what a disk does to it is P3. Byte for byte, and over TLS, the
SOAP adapter is looked at in ``test_soap_network.py`` and ``test_soap_outcomes.py``.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from adapters.amqp import AmqpAdapter
from adapters.http import HttpIn, HttpListener
from adapters.http_protocol import Bounds
from hub.plugin import Context, Deferred, Delivered, Limits, OutboundAdapter, Outcome, Reason, Unclear
from hub.simulate import Answers, Ledger
from hub.simulate.soap import SoapProcedure
from hub.testing import ScriptedIntake, make_context, outgoing
from tests.proving.record import STORM, record
from tests.proxy import TOXICS, Proxy
from tests.rabbit import Topology, build, eventually
from tests.servers import amqp_url
from tests.soap_peer import Peer, destination, http, reply, soap_context

TOTAL_SECONDS = 1.5
GRACE_SECONDS = 8.0  # for a machine that does something else meanwhile; the deadline itself is promised elsewhere
BIG = b"<a>" + b"x" * 400_000 + b"</a>"

DONE = (Delivered, None)
LATER = (Deferred, Reason.UNREACHABLE)  # certainly not sent
NOBODY_KNOWS = (Unclear, Reason.UNCLEAR)
NO_ANSWER = (Unclear, Reason.TIMEOUT)
NO_HTTP = (Unclear, Reason.PEER_PROTOCOL)

# toxic, its value: the classes that are right (more than one: it hangs on the moment), and whether it has arrived
Expected = tuple[set[tuple[type, Reason | None]], set[bool]]
SOAP: dict[tuple[str, float], Expected] = {
    ("latency", 0.01): ({DONE}, {True}),
    ("refuse", 0): ({LATER}, {False}),
    ("reset_now", 0): ({LATER, NOBODY_KNOWS}, {False}),
    ("blackhole", 0): ({NO_ANSWER}, {False}),
    ("slow", 100_000): ({NO_ANSWER}, {False}),
    ("cut_up", 0): ({NOBODY_KNOWS}, {False}),
    ("cut_up", 200_000): ({NOBODY_KNOWS}, {False}),
    ("end_up", 200_000): ({NOBODY_KNOWS}, {False}),
    ("cut_down", 0): ({NOBODY_KNOWS}, {True}),
    ("cut_down", 150): ({NOBODY_KNOWS}, {True}),
    ("end_down", 0): ({NOBODY_KNOWS}, {True}),
    ("end_down", 30): ({NOBODY_KNOWS}, {True}),
    ("end_down", 250): ({NOBODY_KNOWS}, {True}),
    ("stall_down", 4): ({NO_ANSWER}, {True}),
    ("trickle", 20): ({NO_ANSWER, NOBODY_KNOWS}, {True}),
    ("mute", 0): ({NO_ANSWER, NOBODY_KNOWS}, {True}),
    ("garbage", 0): ({NO_HTTP, NOBODY_KNOWS, NO_ANSWER}, {True}),
    ("twice", 0): ({DONE}, {True}),  # the second answer belongs to no request: it is dropped with its connection
    ("once", 0): ({DONE}, {True}),
}
AT_CONNECT: dict[tuple[str, float], Expected] = {
    ("latency", 0.01): ({DONE}, {True}),
    ("refuse", 0): ({LATER}, {False}),
    ("reset_now", 0): ({LATER}, {False}),
    ("blackhole", 0): ({LATER}, {False}),
    ("slow", 100): ({LATER}, {False}),
    ("cut_up", 0): ({LATER}, {False}),
    ("end_up", 20): ({LATER}, {False}),
    ("cut_down", 0): ({LATER}, {False}),
    ("cut_down", 150): ({LATER}, {False}),
    ("end_down", 30): ({LATER}, {False}),
    ("stall_down", 4): ({LATER}, {False}),
    ("trickle", 20): ({LATER}, {False}),
    ("mute", 0): ({LATER}, {False}),
    ("garbage", 0): ({LATER}, {False}),
    ("twice", 0): ({LATER, DONE}, {False, True}),  # the handshake bears it, or not
}
WHILE_OPEN: dict[tuple[str, float], Expected] = {
    ("latency", 0.01): ({DONE}, {True}),
    ("slow", 100_000): ({NO_ANSWER}, {False}),
    ("cut_up", 0): ({NOBODY_KNOWS}, {False}),
    ("end_up", 0): ({NOBODY_KNOWS}, {False}),
    ("cut_down", 0): ({NOBODY_KNOWS}, {True}),
    ("end_down", 0): ({NOBODY_KNOWS}, {True}),
    ("trickle", 5): ({NO_ANSWER}, {True}),
    ("mute", 0): ({NO_ANSWER}, {True}),
    ("garbage", 0): ({NOBODY_KNOWS, NO_ANSWER}, {True}),
    ("twice", 0): ({DONE, NOBODY_KNOWS}, {True}),  # the confirm comes twice: the second is for nothing
    ("once", 0): ({NOBODY_KNOWS}, {False}),
}
BOUNDS = Bounds(head=1, total=1.5, keep_alive=1, linger=0.3)
# what arrives at the hub through it: is the whole document offered, and which answers may its sender see (None: none)
IN: dict[tuple[str, float], tuple[set[int], set[int | None]]] = {
    ("latency", 0.01): ({1}, {202}),
    ("refuse", 0): ({0}, {None}),
    ("reset_now", 0): ({0}, {None}),
    ("blackhole", 0): ({0}, {None}),
    ("slow", 100_000): ({0}, {408, None}),
    ("cut_up", 0): ({0}, {None}),
    ("cut_up", 200_000): ({0}, {None}),
    ("end_up", 200_000): ({0}, {None}),
    ("cut_down", 0): ({1}, {None}),
    ("cut_down", 20): ({1}, {None, 202}),
    ("end_down", 0): ({1}, {None}),
    ("stall_down", 4): ({1}, {None}),
    ("trickle", 100): ({1}, {202, None}),
    ("mute", 0): ({1}, {None}),
    ("garbage", 0): ({1}, {None}),
    ("twice", 0): ({1}, {202}),
    ("once", 0): ({1}, {202}),
}


def ids(case: tuple[str, float]) -> str:
    return f"{case[0]}-{case[1]:g}"


def judge(outcome: Outcome, expected: Expected, *, arrived: bool) -> None:
    classes, may_have_arrived = expected
    assert (type(outcome), getattr(outcome, "reason", None)) in classes, outcome
    assert arrived in may_have_arrived
    assert not (isinstance(outcome, Deferred) and arrived), "called not sent, and it has arrived"
    assert not (isinstance(outcome, Delivered) and not arrived), "called delivered, and it has not arrived"


def timed(adapter: OutboundAdapter, number: int) -> Outcome:
    started = time.monotonic()
    outcome = adapter.deliver(outgoing(number, body=BIG, deadline=started + TOTAL_SECONDS))
    assert time.monotonic() - started < TOTAL_SECONDS + GRACE_SECONDS
    return outcome


# --- SOAP out -----------------------------------------------------------------------------------------------------


@pytest.fixture
def limits() -> Limits:
    return Limits(connect=timedelta(seconds=1), total=timedelta(seconds=TOTAL_SECONDS))


@pytest.fixture
def procedure(tmp_path: Path) -> Iterator[SoapProcedure]:
    made = SoapProcedure("gewerbe", {}, Answers(), Ledger(tmp_path / "ledger.jsonl"))
    made.start()
    yield made
    made.stop()


@pytest.mark.parametrize("case", SOAP, ids=ids)
def test_soap_says_of_each_toxic_what_is_known(
    tmp_path: Path, limits: Limits, procedure: SoapProcedure, case: tuple[str, float]
) -> None:
    with Proxy(urlsplit(procedure.address).port or 0) as proxy:
        made = destination(soap_context(tmp_path, limits=limits), f"http://127.0.0.1:{proxy.port}/ws")
        proxy.set(*case)

        outcome = timed(made, 1)

        classes, arrives = SOAP[case]
        if arrives == {True}:  # a procedure may still be reading what its sender has given up
            eventually(lambda: bool(procedure.ledger.taken()))
        judge(outcome, SOAP[case], arrived=bool(procedure.ledger.taken()))
        if (Delivered, None) in classes:  # and the next one suffers nothing of it
            assert isinstance(timed(made, 2), Delivered if case[0] != "once" else Delivered | Unclear)
        proxy.clear()
        assert isinstance(timed(made, 3), Delivered)
        made.close()


def test_an_answer_that_ends_at_any_byte_is_never_more_than_unclear(tmp_path: Path) -> None:
    answer = http(200, reply())
    with Peer() as peer:
        made = destination(soap_context(tmp_path), peer.address)
        outcomes = []
        for length in range(len(answer)):
            peer.answer = answer[:length]
            outcomes.append(made.deliver(outgoing(length)))
        peer.answer = answer
        whole = made.deliver(outgoing(len(answer)))
        made.close()

    assert {type(outcome) for outcome in outcomes} == {Unclear}
    assert isinstance(whole, Delivered)


# --- AMQP out -----------------------------------------------------------------------------------------------------


@pytest.fixture
def topology() -> Iterator[Topology]:
    topology = Topology(amqp_url())
    topology.queue()
    yield topology
    topology.delete()


@pytest.fixture
def broker() -> Iterator[Proxy]:
    with Proxy(urlsplit(amqp_url()).port or 5672) as proxy:
        yield proxy


@pytest.fixture
def publisher(tmp_path: Path, topology: Topology, broker: Proxy, limits: Limits) -> Iterator[AmqpAdapter]:
    url = f"amqp://guest:guest@127.0.0.1:{broker.port}/%2F"
    context: Context = make_context(tmp_path, secrets={"env:AMQP_URL": url}, limits=limits)
    adapter = build(topology, context)
    yield adapter
    adapter.close()


@pytest.mark.parametrize("case", AT_CONNECT, ids=ids)
def test_amqp_sends_nothing_over_a_connection_that_does_not_come_about(
    publisher: AmqpAdapter, broker: Proxy, topology: Topology, case: tuple[str, float]
) -> None:
    broker.set(*case)
    publisher.open()

    outcome = timed(publisher, 1)

    judge(outcome, AT_CONNECT[case], arrived=bool(topology.messages()))
    broker.clear()
    if STORM or case[0] in ("refuse", "reset_now", "cut_down", "end_up"):  # the others hang on for ten seconds
        flows_again(publisher)


@pytest.mark.parametrize("case", WHILE_OPEN, ids=ids)
def test_amqp_says_of_each_toxic_on_an_open_connection_what_is_known(
    publisher: AmqpAdapter, broker: Proxy, topology: Topology, case: tuple[str, float]
) -> None:
    publisher.open()
    flows_again(publisher)
    topology.messages()
    broker.set(*case)

    outcome = timed(publisher, 1)

    if WHILE_OPEN[case][1] == {True}:
        eventually(lambda: topology.depth("bau") > 0)
    judge(outcome, WHILE_OPEN[case], arrived=bool(topology.messages()))
    broker.clear()
    if case[0] != "garbage":  # no frame begins where one is looked for: after a minute without a heartbeat it is over
        flows_again(publisher)


def flows_again(adapter: OutboundAdapter) -> None:
    """Wait until a connection that is not to blame any more carries something."""
    eventually(lambda: isinstance(timed(adapter, 99), Delivered))


# --- HTTP in ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", IN, ids=ids)
def test_over_http_a_document_comes_wholly_or_not_at_all(tmp_path: Path, case: tuple[str, float]) -> None:
    context = make_context(tmp_path, secrets={"env:TOKEN": "geheim"}, limits=Limits(max_body=1_000_000))
    settings = HttpIn.model_validate({"listen": "127.0.0.1:0", "senders": {"a": {"token": "env:TOKEN"}}})
    listener, stop, intake = HttpListener(settings, context, BOUNDS), threading.Event(), ScriptedIntake()
    thread = threading.Thread(target=listener.listen, args=(intake.accept, stop), daemon=True)
    thread.start()
    assert listener.wait_bound(10)
    with Proxy(listener.port) as proxy:
        proxy.set(*case)

        status = hand_in(proxy.port)

        offered, answers = IN[case]
        if offered == {1}:
            eventually(lambda: len(intake.offered) == 1)
        assert status in answers
        assert len(intake.offered) in offered
        assert {one.body for one in intake.offered} <= {BIG}
        before = len(intake.offered)
        proxy.clear()
        assert hand_in(proxy.port) == 202
        assert [one.body for one in intake.offered[before:]] == [BIG]
    stop.set()
    thread.join(10)


def hand_in(port: int) -> int | None:
    """Hand a document in as a client does that waits three seconds for its answer."""
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=3)
    headers: dict[str, Any] = {"Content-Type": "application/xml", "Authorization": "Bearer geheim"}
    try:
        connection.request("POST", "/v1/messages", BIG, headers)
        answer = connection.getresponse()
        answer.read()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
    return answer.status


# --- all of them --------------------------------------------------------------------------------------------------


def test_every_toxic_has_its_place_in_every_table() -> None:
    for table in (SOAP, IN, AT_CONNECT | WHILE_OPEN):
        assert {toxic for toxic, _ in table} == TOXICS

    cases = len(SOAP) + len(AT_CONNECT) + len(WHILE_OPEN) + len(IN)
    record(
        "P7",
        "toxics at every adapter: reset, refuse, black hole, trickle, cut, half-close, garbage, twice, …",
        {"toxics": len(TOXICS), "cases": cases, "in the wrong class": 0},
        "make test ARGS=tests/promises/test_toxics.py",
    )

"""Every source sends the standard's own receipt, once the message is on disk and not before."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from adapters.amqp_in import ADAPTER_IN, AmqpIn
from adapters.folder_in import FolderIn, FolderPoller
from hub.plugin import Context, Incoming, Receipt, Unavailable
from hub.testing import RecordedDesk, RecordedLog, ScriptedIntake, make_context, samples
from tests.http_world import ID, ask
from tests.http_world import running as serving
from tests.queue_inbox import Inbox, running
from tests.rabbit import eventually
from tests.servers import amqp_url

RECEIPT = b"<quittung/>"


class Watched(RecordedDesk):
    """A desk that writes down when it is asked, beside what the intake has taken."""

    def __init__(self, *receipts: bytes | BaseException | None) -> None:
        super().__init__()
        self.receipts = list(receipts)
        self.intake = ScriptedIntake(before=lambda _: self.order.append("accepted"))
        self.order: list[str] = []

    def receipt(self, incoming: Incoming, receipt: Receipt) -> bytes | None:
        self.order.append("receipted")
        return super().receipt(incoming, receipt)


# --- HTTP


def test_over_http_the_hub_is_asked_after_it_has_accepted(tmp_path: Path) -> None:
    with serving(tmp_path, Receipt(ID), on_accept="standard") as world:
        world.desk.receipts = [RECEIPT]

        reply = ask(world.listener, Accept="application/xml")

    assert (reply.status, reply.body) == (202, RECEIPT)
    assert reply.headers["content-type"] == "application/xml; charset=utf-8"
    assert (reply.headers["x-hub-id"], reply.headers["location"]) == (ID, f"/v1/messages/{ID}")
    ((incoming, receipt),) = world.desk.receipted
    assert (incoming.body, receipt) == (samples.BODY, Receipt(ID))


@pytest.mark.parametrize("answer", [None, Unavailable("no worker is free")], ids=["none", "not now"])
def test_over_http_the_hubs_own_receipt_says_that_it_is_on_disk_where_there_is_no_other(
    answer: Any, tmp_path: Path
) -> None:
    with serving(tmp_path, Receipt(ID), on_accept="standard") as world:
        world.desk.receipts = [answer]

        reply = ask(world.listener, Accept="application/xml")

    assert (reply.status, reply.json["id"]) == (202, ID)


def test_a_source_that_does_not_say_so_sends_none(tmp_path: Path) -> None:
    with serving(tmp_path, Receipt(ID)) as world:
        world.desk.receipts = [RECEIPT]

        reply = ask(world.listener, Accept="application/xml")

    assert reply.json["id"] == ID
    assert world.desk.receipted == []


# --- folder


def test_a_file_whose_receipt_cannot_be_built_now_stays_and_gets_it_later(tmp_path: Path) -> None:
    desk = Watched(Unavailable("no worker is free"), RECEIPT)
    context = replace(make_context(tmp_path, desk=desk, sender="portal"), on_accept="standard")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.xml").write_bytes(samples.BODY)
    poller = FolderPoller(FolderIn(path="in"), context)

    poller.poll(desk.intake.accept)
    poller.poll(desk.intake.accept)
    stayed = (tmp_path / "in" / "a.xml").exists()
    poller.poll(desk.intake.accept)

    assert stayed
    assert desk.order == ["accepted", "receipted"] * 2
    (file, receipt) = sorted(os.listdir(tmp_path / "in" / "done"), key=len)
    assert receipt == f"{file}.receipt.xml"
    assert (tmp_path / "in" / "done" / receipt).read_bytes() == RECEIPT


# --- queue


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    inbox = Inbox(amqp_url())
    inbox.topology.queue("receipts")
    yield inbox
    inbox.delete()


def listening(base: Path, inbox: Inbox, desk: RecordedDesk, log: RecordedLog | None = None) -> Context:
    context = make_context(
        base, name="queue", desk=desk, log=log, sender="portal", secrets={"env:AMQP_URL": inbox.wire.url}
    )
    return replace(context, on_accept="standard")


def test_a_queue_gets_it_at_its_place_before_the_message_leaves(inbox: Inbox, tmp_path: Path) -> None:
    desk = Watched(RECEIPT)
    place = f"{inbox.topology.exchange}/receipts"

    with running(inbox, listening(tmp_path, inbox, desk), desk.intake.accept, receipt_to=place):
        inbox.until("acked", inbox.publish(samples.BODY, reply_to="elsewhere"))

    ((properties, body),) = inbox.topology.messages("receipts")
    assert body == RECEIPT
    assert properties.headers["x-hub-receipt"] == "standard"
    assert properties.headers["x-hub-id"] == desk.receipted[0][1].message_id
    assert (properties.delivery_mode, properties.reply_to) == (2, None)
    assert desk.order == ["accepted", "receipted"]
    assert inbox.rejected() == []


def test_without_a_place_of_its_own_it_goes_where_rejections_go(inbox: Inbox, tmp_path: Path) -> None:
    desk = Watched(RECEIPT)

    with running(inbox, listening(tmp_path, inbox, desk), desk.intake.accept):
        inbox.until("acked", inbox.publish(samples.BODY))

    ((properties, body),) = inbox.rejected()
    assert body == RECEIPT
    assert "x-hub-code" not in properties.headers


def test_a_receipt_that_no_queue_takes_keeps_the_message_until_one_does(inbox: Inbox, tmp_path: Path) -> None:
    desk, log, topology = Watched(RECEIPT), RecordedLog(), inbox.topology
    place = f"{topology.exchange}/nowhere"

    with running(inbox, listening(tmp_path, inbox, desk, log), desk.intake.accept, receipt_to=place):
        id_ = inbox.publish(samples.BODY)
        eventually(lambda: "consuming_paused" in log.events("warning"))
        acknowledged_early = inbox.was("acked", id_)
        topology.channel.queue_bind(f"{topology.name}.receipts", topology.exchange, "nowhere")
        inbox.until("acked", id_)

    assert not acknowledged_early
    assert [body for _, body in topology.messages("receipts")] == [RECEIPT]
    assert desk.order == ["accepted", "receipted"], "only the telling is tried again"


def test_a_message_whose_receipt_cannot_be_built_now_is_held_and_gets_it_as_a_repetition(
    inbox: Inbox, tmp_path: Path
) -> None:
    desk = Watched(Unavailable("no worker is free"), RECEIPT)

    with running(inbox, listening(tmp_path, inbox, desk), desk.intake.accept):
        inbox.until("acked", inbox.publish(samples.BODY))

    assert [body for _, body in inbox.rejected()] == [RECEIPT]
    assert desk.order == ["accepted", "receipted"] * 2


def test_where_the_standard_has_none_the_message_leaves_without(inbox: Inbox, tmp_path: Path) -> None:
    desk = Watched(None)

    with running(inbox, listening(tmp_path, inbox, desk), desk.intake.accept):
        inbox.until("acked", inbox.publish(samples.BODY))

    assert inbox.rejected() == []


@pytest.mark.parametrize(("place", "problem"), [("/hub.in", ("receipt_to",)), ("x/receipts", None)])
def test_receipts_must_not_come_in_as_messages(place: str, problem: Any, tmp_path: Path) -> None:
    settings = AmqpIn(url="env:AMQP_URL", queue="hub.in", reject_to="x/rejected", receipt_to=place)

    assert ADAPTER_IN.check is not None
    found = [path for path, _ in ADAPTER_IN.check(settings, make_context(tmp_path))]
    assert found == ([problem] if problem else [])

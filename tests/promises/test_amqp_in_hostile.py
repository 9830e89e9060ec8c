"""Group ``amqp`` of the hostile corpus: what publishers put around a document stops no consumer and steers no hub."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pika
import pytest

from hub.plugin import Context, Rejected
from hub.testing import RecordedLog, ScriptedIntake, make_context, samples
from tests.queue_inbox import Inbox, running
from tests.rabbit import eventually
from tests.servers import amqp_url
from tests.world import World

pytestmark = pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")

HOSTILE = Path(__file__).parent.parent / "hostile"
CASES: dict[str, dict[str, Any]] = {
    case["id"]: case for case in json.loads((HOSTILE / "cases.json").read_text())["cases"] if case["group"] == "amqp"
}
HEADERS_BYTES_MAX = 120_000  # of a content header; RabbitMQ takes 128 kB


def hostile(case: str) -> bytes:
    return (HOSTILE / "cases" / CASES[case]["file"]).read_bytes()


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    inbox = Inbox(amqp_url())
    yield inbox
    inbox.delete()


@pytest.fixture
def log() -> RecordedLog:
    return RecordedLog()


@pytest.fixture
def context(tmp_path: Path, log: RecordedLog, inbox: Inbox) -> Context:
    return make_context(tmp_path, name="online", log=log, sender="formular", secrets={"env:AMQP_URL": inbox.wire.url})


def test_every_case_of_the_group_has_a_test() -> None:
    assert set(CASES) == {"A01", "A02", "A04"}


def test_a_redelivery_without_message_id_is_known_by_the_documents_own(  # A01
    inbox: Inbox, context: Context, tmp_path: Path
) -> None:
    world = World(tmp_path)
    receipts = []
    body = hostile("A01").replace(b"08111000", b"03103000")  # a town that this hub serves

    inbox.wire.deaf_to_acks.set()
    with running(inbox, context, lambda incoming: receipts.append(one := world.intake.accept(incoming)) or one):
        inbox.publish(body, message_id=None)
        eventually(lambda: inbox.count("withheld") == 1)
        inbox.wire.deaf_to_acks.clear()
        inbox.wire.cut()
        eventually(lambda: inbox.count("acked") == 1)
    due = world.deliver_due()
    world.store.close()

    assert [one.duplicate for one in receipts] == [False, True]
    assert due == 2, "one for each destination of the route, and none for the redelivery"


class Raw(pika.BasicProperties):
    """Properties whose header table is written byte by byte."""

    def __init__(self, table: bytes, reply_to: str) -> None:
        super().__init__(reply_to=reply_to)
        self.table = table

    def encode(self) -> list[bytes]:
        flags = pika.BasicProperties.FLAG_HEADERS | pika.BasicProperties.FLAG_REPLY_TO
        to = str(self.reply_to).encode()
        return [struct.pack(">H", flags), struct.pack(">I", len(self.table)), self.table, bytes([len(to)]), to]


def nested(depth: int, kind: bytes = b"F") -> bytes:
    """Return the inside of a table with tables (or lists) in it, so many levels deep."""
    if kind == b"F":
        return b"".join(b"\x01aF" + struct.pack(">I", 7 * (depth - level - 1)) for level in range(depth))
    return b"\x01a" + b"".join(b"A" + struct.pack(">I", 5 * (depth - level - 1)) for level in range(depth))


@pytest.mark.parametrize(
    ("table", "code"),
    [
        (nested(200), None),
        (nested(200) + b"\x01xS" + struct.pack(">I", 100_000) + b"x" * 100_000, None),
        (nested(HEADERS_BYTES_MAX // 7), "header"),
        (nested(HEADERS_BYTES_MAX // 5, b"A"), "header"),
        (b"\x01aT" + struct.pack(">Q", 2**63), "header"),
    ],
    ids=["200 deep", "200 deep, 100 kB", "17,000 deep", "24,000 lists deep", "a time after all times"],
)
def test_headers_that_no_program_expects_stop_no_consumer_and_no_reply_is_sent(  # A02
    inbox: Inbox, context: Context, log: RecordedLog, table: bytes, code: str | None
) -> None:
    intake = ScriptedIntake(*([] if code else [Rejected("unknown_type")]))
    foreign = inbox.topology.queue("foreign")

    with running(inbox, context, intake.accept):
        publish_raw(inbox, Raw(table, foreign))
        eventually(lambda: inbox.count("acked") == 1)
        inbox.until("acked", inbox.publish(samples.BODY))

    [(told, body)] = inbox.rejected()
    assert body == hostile("A02")
    assert told.headers == {"x-hub-code": code or "unknown_type"}
    assert inbox.topology.messages("foreign") == []
    assert inbox.wire.connections == 2, "one to take from, one to publish on: neither was lost"
    assert log.events("warning") == []


def publish_raw(inbox: Inbox, properties: pika.BasicProperties) -> None:
    inbox.topology.channel.basic_publish(inbox.topology.exchange, "in", hostile("A02"), properties, mandatory=True)


def test_a_body_that_says_it_is_compressed_is_never_looked_into(inbox: Inbox, context: Context) -> None:  # A04
    intake = ScriptedIntake()

    with running(inbox, context, intake.accept):
        inbox.until("acked", inbox.publish(hostile("A04"), content_encoding="gzip"))

    [(told, body)] = inbox.rejected()
    assert (told.headers, body) == ({"x-hub-code": "content_encoding"}, hostile("A04"))
    assert intake.offered == []

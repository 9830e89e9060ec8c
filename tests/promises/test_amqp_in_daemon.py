"""A queue as a way into a whole hub: `xoev-hub run`, killed in between, and what its operators see."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from lxml import etree

from tests import rejections
from tests.daemon import Daemon, until
from tests.leinen import PROFILE, Leinen, folder_out, leinen
from tests.queue_inbox import Inbox
from tests.servers import amqp_url

HALTER = "Jürgen Müßig"


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    inbox = Inbox(amqp_url())
    yield inbox
    inbox.delete()


@pytest.fixture
def deployment(tmp_path: Path, inbox: Inbox) -> Leinen:
    deployment = Leinen(tmp_path, {"nordheim": folder_out("out")})
    deployment.routes["inbound"]["queue"] = {
        "adapter": "amqp",
        "sender": "amt",
        "url": "env:AMQP_URL",
        "queue": inbox.queue,
        "prefetch": "10",
        "reject_to": f"{inbox.topology.exchange}/rejected",
    }
    return deployment


def test_what_is_published_arrives_once_and_unchanged_although_the_hub_is_killed(
    inbox: Inbox, deployment: Leinen
) -> None:
    documents = [leinen() for _ in range(60)]
    with Daemon(deployment, AMQP_URL=inbox.wire.url) as hub:
        first = [inbox.publish(document) for document in documents[:30]]
        until(lambda: inbox.count("acked") >= 5, "some are acknowledged")
        hub.kill()
        second = [inbox.publish(document) for document in documents[30:]]
        hub.start()
        inbox.until("acked", *first, *second)
        out = deployment.folder / "out"
        until(lambda: len(list(out.glob("*.xml"))) >= len(documents), "all are delivered")
        until(lambda: not hub.messages("--state", "open"), "nothing is under way")
        accepted = hub.messages()

    assert sorted(path.read_bytes() for path in out.glob("*.xml")) == sorted(documents)
    assert {(one["source"], one["sender"], one["status"]) for one in accepted} == {("queue", "amt", "delivered")}
    assert len(accepted) == len(documents)
    assert inbox.rejected() == []


def test_a_rejected_document_comes_back_with_the_id_of_its_record_and_stays_out_of_the_log(
    inbox: Inbox, deployment: Leinen
) -> None:
    broken = leinen(alter="uralt", halter=HALTER)
    with Daemon(deployment, AMQP_URL=inbox.wire.url) as hub:
        inbox.until("acked", inbox.publish(broken))
        [(told, body)] = inbox.rejected()
        record = hub.show(told.headers["x-hub-id"])
        hub.signal()
        ended = hub.wait()

    [finding] = json.loads(told.headers["x-hub-findings"])
    assert body == broken
    assert told.headers["x-hub-code"] == record["code"] == "schema_violation"
    assert (record["status"], record["sender"]) == ("rejected", "amt")
    assert (set(finding), finding["line"]) == ({"rule", "path", "line"}, 11)
    assert HALTER not in json.dumps(told.headers)
    assert HALTER not in hub.log.read_text("utf-8")
    assert ended == 0
    assert inbox.count("given back") == 0


def test_what_is_on_disk_is_receipted_in_the_standards_form_although_the_hub_is_killed(
    inbox: Inbox, deployment: Leinen
) -> None:
    answered = f"receipt_with: {rejections.RECEIPT}\nreject_with: {rejections.TYPE}\n"
    deployment.file("schemas/xoev/leinen/1.0/profile.yaml", PROFILE + answered)
    rejections.install(deployment.folder)
    inbox.topology.queue("receipts")
    deployment.routes["inbound"]["queue"] |= {
        "on_accept": "standard", "on_reject": "standard", "rejected_by": rejections.OFFICE,
        "receipt_to": f"{inbox.topology.exchange}/receipts",
    }  # fmt: skip
    numbers = [str(uuid.uuid4()) for _ in range(40)]
    with Daemon(deployment, AMQP_URL=inbox.wire.url) as hub:
        first = [inbox.publish(leinen(id_=number)) for number in numbers[:25]]
        until(lambda: inbox.count("acked") >= 3, "some are acknowledged")
        hub.kill()
        second = [inbox.publish(leinen(id_=number)) for number in numbers[25:]]
        hub.start()
        inbox.until("acked", *first, *second, inbox.publish(leinen(alter="uralt")))
        known = {one["id"] for one in hub.messages() if one["status"] != "rejected"}

    told = inbox.topology.messages("receipts")
    by_number: dict[str, set[bytes]] = {}
    for properties, body in told:
        number = etree.fromstring(body).findtext("bezug/referenz") or ""
        by_number.setdefault(number, set()).add(body)
        assert properties.headers["x-hub-id"] in known
    assert by_number.keys() == set(numbers)
    assert {len(bodies) for bodies in by_number.values()} == {1}, "a repetition got another one"
    assert len(known) == len(numbers)
    [(marked, body)] = inbox.rejected()
    assert marked.headers["x-hub-rejection"] == "standard"
    assert etree.QName(etree.fromstring(body)).localname == "rueckweisung.0010"


def test_the_daemon_starts_without_its_broker(inbox: Inbox, deployment: Leinen) -> None:
    inbox.wire.close()

    with Daemon(deployment, AMQP_URL=inbox.wire.url) as hub:
        answer = hub.hand_in(leinen())

    assert answer.status_code == 202


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("reject_to", None, "'reject_to' is missing"),
        ("reject_to", "rejected", "expected EXCHANGE/KEY, where rejected messages go"),
        ("sender", None, "expected `sender`"),
        ("prefetch", "0", "found '0', expected at least 1"),
    ],
)
def test_check_says_what_is_wrong_with_a_queue(deployment: Leinen, key: str, value: str | None, told: str) -> None:
    queue = deployment.routes["inbound"]["queue"]
    queue.pop(key, None)
    queue |= {key: value} if value else {}
    deployment.write()

    checked = Daemon(deployment).cli("check")

    assert checked.returncode == 78
    assert "inbound.queue" in checked.stderr
    assert told in checked.stderr
    assert "1 problem\n" in checked.stderr

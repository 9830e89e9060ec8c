"""A PDF of 30 MB in base64 goes through the whole hub byte for byte; what is too large is refused, and says why."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from hub.simulate import Answers, Ledger
from hub.simulate.soap import SoapProcedure
from tests.accounts import entries
from tests.anlagen import MB, TARGET, Anlagen, antrag, pdf
from tests.daemon import Daemon, until
from tests.leinen import folder_out, leinen, soap
from tests.queue_inbox import Inbox
from tests.servers import amqp_url, fresh_database

ATTACHMENT = pdf(30 * MB)
MAPPED = frozenset({"akten"})
HUGE = etree.XMLParser(huge_tree=True, resolve_entities=False)


@pytest.fixture
def procedure(tmp_path: Path) -> Iterator[SoapProcedure]:
    made = SoapProcedure("fach", {}, Answers(), Ledger(tmp_path / "ledger.jsonl"))
    made.start()
    yield made
    made.stop()


@pytest.fixture
def deployment(tmp_path: Path, procedure: SoapProcedure) -> Anlagen:
    whole = soap(procedure.address, operation="Hinweis", parameters={"_value_1": {"payload": "xml"}}, reply="any")
    return Anlagen(
        tmp_path / "hub",
        {"nordheim": folder_out("out/klein")},
        {
            "akten": folder_out("out/akten"),
            "original": folder_out("out/original"),
            "base64": soap(procedure.address),
            "xml": whole,
        },
        mapped=MAPPED,
    )


def delivered(hub: Daemon, id_: str) -> dict[str, Any]:
    until(lambda: hub.status(id_).json()["status"] != "open", "nothing is under way", 120)
    shown = hub.show(id_)
    assert {one["destination"]: one["state"] for one in shown["deliveries"]} == {
        f"nordheim/{name}": "delivered" for name in ("akten", "original", "base64", "xml")
    }
    return shown


def test_a_pdf_of_30_mb_arrives_by_every_way_byte_for_byte(deployment: Anlagen, procedure: SoapProcedure) -> None:
    body = antrag(ATTACHMENT)
    with Daemon(deployment) as hub:
        answer = hub.hand_in(body)
        assert answer.status_code == 202, answer.text
        delivered(hub, answer.json()["id"])
        explained = hub.cli("explain", "--message", answer.json()["id"], "--json")
        again = hub.hand_in(body)

    out = deployment.folder / "out"
    (original,) = (out / "original").glob("*.xml")
    assert original.read_bytes() == body
    (mapped,) = (out / "akten").glob("*.xml")
    root = etree.parse(str(mapped), HUGE).getroot()
    assert root.findtext(f"{{{TARGET}}}zeichen") == str(len(base64.b64encode(ATTACHMENT)))
    assert base64.b64decode(root.findtext(f"{{{TARGET}}}dokument") or "") == ATTACHMENT
    assert hashlib.sha256(body).hexdigest() in {entry["sha256"] for entry in entries(procedure)}
    assert len(entries(procedure)) == 2
    assert (again.status_code, again.json()["duplicate"]) == (200, True)
    plan = json.loads(explained.stdout)
    assert plan["rejected"] is None
    assert {one["destination"]: one["size"] for one in plan["plan"]}["nordheim/original"] == len(body)


def test_on_postgresql_a_large_document_is_in_rows_and_arrives_all_the_same(deployment: Anlagen) -> None:
    body = antrag(ATTACHMENT)
    with fresh_database() as url:
        hub = Daemon(deployment, XOEV_HUB_STORE=url)
        deployment.write()
        migrated = hub.cli("store", "migrate")
        assert migrated.returncode == 0, migrated.stderr
        with hub:
            answer = hub.hand_in(body)
            assert answer.status_code == 202, answer.text
            delivered(hub, answer.json()["id"])

    (original,) = (deployment.folder / "out" / "original").glob("*.xml")
    assert original.read_bytes() == body
    assert not (hub.state / "payloads").exists()


def test_large_documents_come_by_folder_and_queue_and_go_by_queue(tmp_path: Path, procedure: SoapProcedure) -> None:
    inbox = Inbox(amqp_url())
    goal = inbox.topology.queue("goal")
    out = {
        "adapter": "amqp",
        "url": "env:AMQP_URL",
        "exchange": inbox.topology.exchange,
        "routing_key": "goal",
        "timeout": {"connect": "20s", "total": "60s"},
    }
    deployment = Anlagen(tmp_path / "hub", {"nordheim": folder_out("out/klein")}, {"schlange": out})
    size = {"max_body": "50MB", "max_text": "45MB", "sender": "amt"}
    deployment.routes["inbound"] |= {
        "ordner": {"adapter": "folder", "path": "in", "every": "200ms", **size},
        "queue": {
            "adapter": "amqp", "url": "env:AMQP_URL", "queue": inbox.queue,
            "reject_to": f"{inbox.topology.exchange}/rejected", **size,
        },
    }  # fmt: skip
    (deployment.folder / "in").mkdir(parents=True)
    bodies = [antrag(ATTACHMENT) for _ in range(2)]
    too_large = antrag(pdf(35 * MB))

    try:
        with Daemon(deployment, AMQP_URL=amqp_url()) as hub:
            inbox.publish(bodies[0])
            inbox.publish(too_large)
            (deployment.folder / "in" / "brief.xml").write_bytes(bodies[1])
            until(lambda: inbox.topology.depth("goal") == 2, "both are in the queue", 120)
            arrived = inbox.topology.messages("goal")
            until(lambda: not hub.messages("--state", "open"), "nothing is under way")
            until(lambda: inbox.topology.depth("rejected") == 1, "one is rejected", 120)
            sources = {one["source"] for one in hub.messages("--state", "delivered")}
            until(lambda: not list((deployment.folder / "in").glob("*.xml")), "the file has left its folder")
        [(told, rejected)] = inbox.rejected()
    finally:
        inbox.delete()

    assert goal
    assert sorted(body for _, body in arrived) == sorted(bodies)
    assert sources == {"ordner", "queue"}
    assert (told.headers["x-hub-code"], rejected == too_large) == ("limit", True)


@pytest.mark.parametrize(
    ("max_body", "max_text", "attachments", "status", "code", "text"),
    [
        ("50MB", "10MB", [8 * MB], 413, "limit", "a text longer than 10000000 characters"),
        ("50MB", "20MB", [16 * MB], 413, "limit", "a text longer than 20000000 characters"),
        ("20MB", "20MB", [8 * MB, 8 * MB], 413, "body_too_large", None),
    ],
)
def test_what_is_just_above_a_limit_is_refused_and_what_is_just_below_is_taken(
    tmp_path: Path, max_body: str, max_text: str, attachments: list[int], status: int, code: str, text: str | None
) -> None:
    deployment = Anlagen(
        tmp_path / "hub",
        {"nordheim": folder_out("out/klein")},
        {"original": folder_out("out/original")},
        max_body=max_body,
        max_text=max_text,
    )
    above = antrag(*(pdf(size, number) for number, size in enumerate(attachments)))
    limit = int(max_text.removesuffix("MB")) * MB if text else int(max_body.removesuffix("MB")) * MB
    room = (limit if text else limit - len(antrag(b"", *map(pdf, attachments[1:])))) // 4 * 3
    below = antrag(pdf(room), *map(pdf, attachments[1:]))

    with Daemon(deployment) as hub:
        refused, taken = hub.hand_in(above), hub.hand_in(below)
        known = deployment.file("zu-gross.xml", above.decode("ascii"))
        explained = hub.cli("explain", str(known), "--json")

    assert (refused.status_code, refused.json()["code"]) == (status, code)
    assert taken.status_code == 202, taken.text
    assert limit - 1000 < (len(base64.b64encode(pdf(room))) if text else len(below)) <= limit
    if text:
        (finding,) = refused.json()["findings"]
        assert finding["text"] == text
        assert finding["line"] == 4
    assert explained.returncode == 65
    assert json.loads(explained.stdout)["rejected"] == code


def test_one_wrong_character_in_a_large_attachment_is_found_and_not_quoted_at_length(deployment: Anlagen) -> None:
    good = antrag(pdf(20 * MB))
    at = len(good) // 2

    with Daemon(deployment) as hub:
        answer = hub.hand_in(good[:at] + b"%" + good[at + 1 :])

    (finding, *_) = answer.json()["findings"]
    assert (answer.status_code, answer.json()["code"]) == (422, "schema_violation")
    assert (finding["path"], finding["line"]) == ("/antrag/anlage", 4)
    assert len(answer.content) < 5000


def test_what_finds_no_room_comes_again_and_nothing_is_lost(deployment: Anlagen) -> None:
    bodies = [antrag(pdf(15 * MB, number)) for number in range(5)]
    statuses: list[int] = []
    with Daemon(deployment, XOEV_HUB_BYTES_IN_FLIGHT="30MB") as hub:

        def insist(body: bytes) -> None:
            while True:
                answer = hub.hand_in(body)
                statuses.append(answer.status_code)
                if answer.status_code != 503:
                    return
                assert answer.headers["Retry-After"] == "5"
                small = hub.hand_in(leinen())
                assert small.status_code == 202, "a small one always finds room beside a large one"
                time.sleep(0.05)  # as a sender that comes again; it promises nothing

        senders = [threading.Thread(target=insist, args=(body,)) for body in bodies]
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join(120)
        original = deployment.folder / "out" / "original"
        until(lambda: len(list(original.glob("*.xml"))) == len(bodies), "all have arrived", 120)

    assert statuses.count(202) == len(bodies)
    assert statuses.count(503) > 0
    assert sorted(path.read_bytes() for path in original.glob("*.xml")) == sorted(bodies)


def test_a_hub_that_is_killed_over_a_large_document_leaves_nothing_and_takes_it_again(deployment: Anlagen) -> None:
    body = antrag(ATTACHMENT)
    with Daemon(deployment) as hub:
        standing = hub.workers()
        sender = threading.Thread(target=_hand_in_vain, args=(hub, body))
        sender.start()
        until(lambda: (hub.state / "spool").exists() and hub.workers() - standing, "it has a worker of its own")
        hub.kill()
        sender.join(60)
        spool, payloads = hub.state / "spool", hub.state / "payloads"
        left = [path for path in spool.rglob("*") if path.is_file()]
        (spool / "tmp0815abc").write_bytes(body)  # as on a file system that gives every file a name
        hub.start()
        after = [path for path in (*spool.rglob("*"), *payloads.rglob("*")) if path.is_file()]
        again = hub.hand_in(body)
        delivered(hub, again.json()["id"])

    assert left == after == []
    assert again.status_code == 202


def _hand_in_vain(hub: Daemon, body: bytes) -> None:
    with pytest.raises(OSError):
        hub.hand_in(body)

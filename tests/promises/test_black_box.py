"""The contract of the way in, from outside: a standard, a deployment and a day that the hub has never seen.

Everything here goes through files, HTTP, signals and the command line. INTERFACE §2, §4, §5.
"""

from __future__ import annotations

import base64
import hashlib
import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from hub.simulate import Answers, Ledger
from hub.simulate.soap import SoapProcedure
from tests.daemon import Daemon, until
from tests.leinen import Leinen, folder_out, leinen, soap

NORDHEIM, SUEDHEIM = 0, 1
SAME = "7f3c1e52-0a4b-4f0e-9c55-3b1f6f0e4711"


@pytest.fixture(scope="module")
def procedure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SoapProcedure]:
    ledger = Ledger(tmp_path_factory.mktemp("procedure") / "ledger.jsonl")
    made = SoapProcedure("nordheim", {}, Answers(), ledger)
    made.start()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory, procedure: SoapProcedure) -> Iterator[Daemon]:
    folder = tmp_path_factory.mktemp("hub")
    deployment = Leinen(folder, {"nordheim": soap(procedure.address), "suedheim": folder_out("out")})
    with Daemon(deployment) as running:
        yield running


def delivered(hub: Daemon, id_: str) -> dict[str, Any]:
    """Wait until all of a message is delivered, and return what its sender is told."""
    until(lambda: hub.status(id_).json()["status"] == "delivered", "it is delivered")
    return dict(hub.status(id_).json())


# --- accepted -----------------------------------------------------------------------------------------------------


def test_an_accepted_message_says_where_to_ask_for_it(hub: Daemon) -> None:
    answer = hub.hand_in(leinen())

    assert answer.status_code == 202
    id_ = answer.json()["id"]
    assert answer.json() == {"id": id_, "status": "accepted", "duplicate": False}
    assert answer.headers["Location"] == f"/v1/messages/{id_}"
    assert answer.headers["Content-Type"].startswith("application/json")


def test_its_sender_is_told_how_it_goes_and_what_the_procedure_said(hub: Daemon) -> None:
    id_ = hub.hand_in(leinen()).json()["id"]

    told = delivered(hub, id_)

    (delivery,) = told["deliveries"]
    assert (delivery["state"], delivery["stage"], delivery["reason"]) == ("delivered", "delivered", None)
    assert delivery["values"]["aktenzeichen"]
    reply = hub.get(f"/{id_}/replies/{delivery['id']}")
    assert reply.status_code == 200
    assert f"<az>{delivery['values']['aktenzeichen']}</az>".encode() in reply.content


def test_nobody_else_is_told_anything(hub: Daemon) -> None:
    id_ = hub.hand_in(leinen(), sender="portal").json()["id"]
    delivery = delivered(hub, id_)["deliveries"][0]["id"]

    for path in (f"/{id_}", f"/{id_}/replies/{delivery}"):
        assert hub.get(path, sender="amt").status_code == 404
        assert requests.get(hub.url + path, timeout=60).status_code == 401


def test_the_bytes_reach_a_soap_procedure_unchanged(hub: Daemon, procedure: SoapProcedure) -> None:
    body = leinen(NORDHEIM, halter="Ægir Ðorðarson").replace(b"\n", b"\r\n")

    id_ = hub.hand_in(body).json()["id"]
    (delivery,) = delivered(hub, id_)["deliveries"]

    entries = [entry for entry in procedure.ledger.entries() if entry["delivery"] == delivery["id"]]
    assert [entry["sha256"] for entry in entries] == [hashlib.sha256(body).hexdigest()]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "iso-8859-1"])
def test_the_bytes_reach_a_folder_unchanged_whatever_their_encoding(hub: Daemon, encoding: str) -> None:
    body = leinen(SUEDHEIM).decode().replace("UTF-8", encoding).encode(encoding)

    id_ = hub.hand_in(body).json()["id"]
    (delivery,) = delivered(hub, id_)["deliveries"]

    assert (hub.deployment.folder / "out" / f"{delivery['id']}.xml").read_bytes() == body


def test_a_reference_of_the_sender_finds_its_message(hub: Daemon) -> None:
    id_ = hub.hand_in(leinen(), Sender_Reference="vorgang-0815").json()["id"]

    assert [message["id"] for message in hub.messages("--reference", "vorgang-0815")] == [id_]


# --- again --------------------------------------------------------------------------------------------------------


def test_the_same_again_gets_the_same_receipt_and_is_not_delivered_twice(hub: Daemon, procedure: SoapProcedure) -> None:
    body = leinen()
    id_ = hub.hand_in(body).json()["id"]
    delivered(hub, id_)

    again = hub.hand_in(body)

    assert again.status_code == 200
    assert again.json() == {"id": id_, "status": "accepted", "duplicate": True, "state": "delivered"}
    digest = hashlib.sha256(body).hexdigest()
    assert sum(entry["sha256"] == digest for entry in procedure.ledger.entries()) == 1


def test_the_same_of_another_sender_is_another_message(hub: Daemon) -> None:
    body = leinen()

    first, second = hub.hand_in(body, sender="portal"), hub.hand_in(body, sender="amt")

    assert (first.status_code, second.status_code) == (202, 202)
    assert first.json()["id"] != second.json()["id"]


def test_other_content_under_the_same_message_id_is_a_conflict_on_record(hub: Daemon) -> None:
    hub.hand_in(leinen(id_=SAME))

    answer = hub.hand_in(leinen(id_=SAME, name="Waldi"))

    assert problem(answer) == (409, "conflict")
    assert hub.show(answer.json()["id"])["code"] == "conflict"


def test_a_key_of_the_sender_counts_before_the_document(hub: Daemon) -> None:
    key, body = f"auftrag:{uuid.uuid4()}", leinen()
    first = hub.hand_in(body, Idempotency_Key=key)

    assert hub.hand_in(body, Idempotency_Key=key).json()["id"] == first.json()["id"]
    assert problem(hub.hand_in(leinen(), Idempotency_Key=key)) == (409, "conflict")


# --- refused ------------------------------------------------------------------------------------------------------


def problem(answer: requests.Response) -> tuple[int, str]:
    """Return status and code of a refusal, whose form is always the same."""
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    told = answer.json()
    assert told["status"] == answer.status_code
    assert told["title"]
    assert told["instance"].startswith("/v1/messages")
    return answer.status_code, told["code"]


@pytest.mark.parametrize(
    "authorization", [None, "Bearer ", "Bearer falsch", "Basic " + base64.b64encode(b"portal:x").decode()]
)
def test_without_the_right_token_nobody_comes_in(hub: Daemon, authorization: str | None) -> None:
    headers = {"Content-Type": "application/xml"} | ({"Authorization": authorization} if authorization else {})

    answer = requests.post(hub.url, data=leinen(), headers=headers, timeout=60)

    assert problem(answer) == (401, "unauthenticated")


def test_an_invalid_document_comes_back_with_what_is_wrong_and_where(hub: Daemon) -> None:
    answer = hub.hand_in(leinen(alter="dreieinhalb", chip="4711"))

    assert problem(answer) == (422, "schema_violation")
    findings = {finding["path"].rpartition("/")[2]: finding for finding in answer.json()["findings"]}
    assert findings["l:alter"]["line"] == 11
    assert "dreieinhalb" in findings["l:alter"]["text"]
    assert any(finding["line"] == 8 and "chip" in finding["path"] + finding["text"] for finding in findings.values())
    shown = hub.show(answer.json()["id"])
    assert (shown["status"], shown["code"], shown["deliveries"]) == ("rejected", "schema_violation", [])
    assert {finding["line"] for finding in shown["findings"]} == {8, 11}


def test_an_unknown_addressee_is_named_to_the_sender(hub: Daemon) -> None:
    answer = hub.hand_in(leinen(leser="03999999"))

    assert problem(answer) == (422, "unknown_recipient")
    (finding,) = answer.json()["findings"]
    assert (finding["path"], finding["line"]) == ("/l:anmeldung/l:kopf/l:leser", 6)


REFUSED = {
    "not xml": (b"Sehr geehrte Damen und Herren", (400, "not_well_formed")),
    "cut": (leinen()[:-9], (400, "not_well_formed")),
    "nothing": (b"", (400, "not_well_formed")),
    "doctype": (leinen().replace(b"?>\n", b"?>\n<!DOCTYPE anmeldung>\n", 1), (400, "doctype_forbidden")),
    "encoding": (leinen().replace(b"UTF-8", b"EBCDIC-DE"), (400, "encoding")),
    "unknown root": (b"<brief/>", (422, "unknown_type")),
    "other version": (leinen().replace(b'fassung="1.0"', b'fassung="9.9"'), (422, "version_not_served")),
    "too large": (leinen(name="x" * 1_000_001), (413, "body_too_large")),
    "too deep": (leinen().replace(b"Bello", b"<d>" * 10_000 + b"</d>" * 10_000), (413, "limit")),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_taken_is_refused_by_its_code(hub: Daemon, case: str) -> None:
    body, expected = REFUSED[case]

    assert problem(hub.hand_in(body)) == expected


@pytest.mark.parametrize("media_type", ["text/plain", "application/json", "application/xml+zip", "multipart/form-data"])
def test_another_media_type_is_refused(hub: Daemon, media_type: str) -> None:
    assert problem(hub.hand_in(leinen(), Content_Type=media_type)) == (415, "media_type")


def test_a_packed_body_is_refused(hub: Daemon) -> None:
    assert problem(hub.hand_in(leinen(), Content_Encoding="gzip")) == (415, "content_encoding")


def test_other_paths_and_methods_are_refused(hub: Daemon) -> None:
    headers = {"Authorization": "Bearer token-des-portals-4711"}

    assert problem(requests.put(hub.url, data=b"<a/>", headers=headers, timeout=60)) == (405, "method")
    assert hub.get("/nichts").status_code == 404
    assert hub.get(f"/{uuid.uuid4()}").status_code == 404


def test_a_refusal_binds_no_identity(hub: Daemon) -> None:
    id_ = str(uuid.uuid4())
    assert hub.hand_in(leinen(id_=id_, alter="drei")).status_code == 422

    assert hub.hand_in(leinen(id_=id_)).status_code == 202


# --- the edges for operators --------------------------------------------------------------------------------------


def test_the_machine_is_told_that_all_is_well(hub: Daemon) -> None:
    hub.hand_in(leinen())

    assert hub.asked("/livez") == "ok\n"
    assert hub.asked("/readyz") == "ok\n"
    assert 'xoev_hub_messages_accepted_total{source="online"}' in hub.asked("/metrics")


def test_a_second_daemon_on_the_same_store_ends_with_1_and_harms_nobody(hub: Daemon) -> None:
    second = hub.spawn()

    assert second.wait(60) == 1
    assert hub.hand_in(leinen()).status_code == 202
    assert "Traceback" not in hub.log.read_text("utf-8")


def test_a_daemon_whose_port_is_taken_ends_with_1_and_names_it(hub: Daemon, tmp_path: Path) -> None:
    twin = Leinen(tmp_path, {"nordheim": folder_out("out")})
    twin.routes["inbound"]["online"]["listen"] = f"127.0.0.1:{hub.deployment.port}"
    twin.write()
    daemon = Daemon(twin)

    assert daemon.spawn().wait(60) == 1
    said = daemon.log.read_text("utf-8")
    assert "this is a bug" not in said
    assert "online" in said


def test_a_daemon_whose_admin_port_is_taken_ends_with_1_and_names_it(hub: Daemon, tmp_path: Path) -> None:
    twin = Leinen(tmp_path, {"nordheim": folder_out("out")})
    twin.write()
    daemon = Daemon(twin, XOEV_HUB_ADMIN_LISTEN=hub.admin.removeprefix("http://"))

    assert daemon.spawn().wait(60) == 1
    said = daemon.log.read_text("utf-8")
    assert "this is a bug" not in said
    assert hub.admin.removeprefix("http://") in said


def test_a_listing_gives_every_message_once_page_by_page(hub: Daemon) -> None:
    for _ in range(3):
        hub.hand_in(leinen())

    every = [message["id"] for message in hub.messages()]
    page = json.loads(hub.cli("messages", "list", "--json", "--limit", "2").stdout)

    assert len(every) == len(set(every))
    assert [message["id"] for message in page["items"]] == every[:2]
    assert page["next"]

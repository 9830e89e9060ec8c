"""What people wrote reaches procedures and their own sender, and nobody else: no log, no metric, no event, no listing.

A marker stands in every text and attribute of every document here, and in all that procedures answer. Each document
takes another way to fail; then everything that the hub has written and can say is searched.
"""

from __future__ import annotations

import base64
import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing
from functools import partial
from typing import Any

import pytest

from tests.daemon import Daemon, until
from tests.leinen import Leinen, folder_out, leinen, soap
from tests.nosy import MARKER, STEPS, XSLT, installed
from tests.soap_peer import NAMESPACE, Peer, http
from tests.soap_peer import reply as soap_reply
from tests.soap_peer import soap as envelope

ANSWERED = f"{MARKER}-Antwort"


def page(status: int, body: str, media_type: str, *more: str) -> bytes:
    return http(status, body.encode(), media_type, *more)


FAULT = (
    "<s:Fault><faultcode>{0}</faultcode><faultstring>{1}</faultstring><faultactor>{1}</faultactor>"
    '<detail><fehler wert="{1}">{1}</fehler></detail></s:Fault>'
)
ANSWERS: dict[str, tuple[bytes, str, str]] = {  # town: what its procedure answers, and what becomes of it
    "fault-client": (http(500, envelope(FAULT.format("s:Client", ANSWERED))), "dead", "refused"),
    "fault-other": (http(500, envelope(FAULT.format(ANSWERED, ANSWERED))), "dead", "unclear"),
    "code": (http(200, soap_reply(f"<rc>{ANSWERED}</rc><text>{ANSWERED}</text>")), "dead", "unclear"),
    "code-listed": (http(200, soap_reply(f"<rc>17</rc><text>{ANSWERED}</text>")), "dead", "refused"),
    "number": (http(200, soap_reply(f"<rc>0</rc><az>{ANSWERED}</az>")), "delivered", ""),
    "html": (page(200, f"<html><title>{ANSWERED}</title></html>", "text/html"), "dead", "unclear"),
    "status": (page(500, ANSWERED, f"text/{ANSWERED}", f"X-Name: {ANSWERED}"), "dead", "unclear"),
    "busy": (page(503, ANSWERED, "text/plain", f"Retry-After: {ANSWERED}"), "waiting", "busy"),
    "redirect": (page(302, ANSWERED, "text/plain", f"Location: /{ANSWERED}"), "waiting", "peer_protocol"),
    "login": (page(401, ANSWERED, "text/plain", f'WWW-Authenticate: Basic realm="{ANSWERED}"'), "waiting", "peer_auth"),
    "broken": (http(200, f"<a name='{ANSWERED}'>{ANSWERED}</b>".encode()), "dead", "unclear"),
    "reply-doctype": (http(200, f"<!DOCTYPE {ANSWERED}><a/>".encode()), "dead", "unclear"),
    "element": (http(200, envelope(f'<f:{ANSWERED} xmlns:f="{NAMESPACE}"/>')), "dead", "unclear"),
    "not-http": (f"{ANSWERED} 200 OK\r\n\r\n".encode(), "dead", "unclear"),
}
STEPPED: dict[str, tuple[dict[str, str], str, str]] = {
    "raises": ({"python": "steps:raises"}, "dead", "transform_failed"),
    "leaves": ({"python": "steps:leaves"}, "dead", "transform_failed"),
    "rejects": ({"python": "steps:rejects"}, "dead", "transform_failed"),
    "dies": ({"python": "steps:dies"}, "dead", "transform_failed"),
    "talks": ({"python": "steps:talks"}, "delivered", ""),
    "message": ({"xslt": "message.xsl"}, "dead", "transform_failed"),
    "target": ({"python": "steps:spoils"}, "dead", "target_invalid"),
}
PLUGGED = {
    "plugin-raises": ("raises", "waiting", "crashed"),
    "plugin-opens": ("opens", "waiting", "crashed"),
    "plugin-nothing": ("nothing", "waiting", "crashed"),
    "plugin-code": ("code", "waiting", "busy"),
    "plugin-talks": ("talks", "delivered", ""),
}
EXPECTED = {town: (state, reason) for ways in (ANSWERS, STEPPED, PLUGGED) for town, (_, state, reason) in ways.items()}
TOWNS = list(EXPECTED)


def marked(town: str = TOWNS[0], **texts: str) -> bytes:
    """Return a valid document with the marker wherever a text may stand."""
    known = {name: f"{MARKER}-{name}" for name in ("id_", "halter", "name", "rasse")}
    known["id_"] += f"-{town}"
    return leinen(TOWNS.index(town), **known | texts)


def plain(body: bytes) -> str:
    return body.decode()


REJECTED: dict[str, tuple[bytes, str]] = {
    "cut": (marked()[:-20], "not_well_formed"),
    "crossed": (plain(marked()).replace("</l:halter>", f"</{MARKER}>").encode(), "not_well_formed"),
    "doctype": (marked().replace(b"?>", f'?><!DOCTYPE a [<!ENTITY e "{MARKER}">]>'.encode(), 1), "doctype_forbidden"),
    "encoding": (marked().replace(b"UTF-8", MARKER.encode()), "encoding"),
    "not utf-8": (marked().replace(b"-name", b"\xff-name"), "not_well_formed"),
    "invalid": (marked(alter=f"{MARKER}-alter", chip=f"{MARKER}-chip"), "schema_violation"),
    "unknown addressee": (marked(leser=f"{MARKER}-leser"), "unknown_recipient"),
    "unknown attribute": (marked().replace(b"rasse=", b'art="Zwirbelmann-art" rasse='), "schema_violation"),
    "other version": (
        marked().replace(b'"1.0" ', b'"1.0" ').replace(b'fassung="1.0"', b'fassung="Zwirbelmann"'),
        "version_not_served",
    ),
    "other root": (f'<brief an="{MARKER}">{MARKER}</brief>'.encode(), "unknown_type"),
    "conflict": (marked(chip="276000000000002"), "conflict"),
}
UNFINISHED = ("cut", "doctype")  # a folder gives them a minute to become whole


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    folder = tmp_path_factory.mktemp("privacy")
    with ExitStack() as stack:
        peers = {town: stack.enter_context(Peer(answer)) for town, (answer, _, _) in ANSWERS.items()}
        settings = {town: soap(peer.address, on_unclear="hold") for town, peer in peers.items()}
        for town, (step, _, _) in STEPPED.items():
            steps = [step, {"validate": "leinen/1.0"}] if town == "target" else [step]
            settings[town] = folder_out(f"out/{town}") | {"steps": steps}
        for town, (how, _, _) in PLUGGED.items():
            settings[town] = {"adapter": "nosy", "how": how, "retry": {"first": "1m"}}
        deployment = Leinen(folder / "hub", settings)
        deployment.file("steps.py", STEPS)
        deployment.file("message.xsl", XSLT)
        deployment.routes["inbound"]["ablage"] = {
            "adapter": "folder", "path": "in", "every": "100ms", "sender": "ablage"
        }  # fmt: skip
        deployment.routes["senders"]["ablage"] = {}
        (deployment.folder / "in").mkdir()
        plugins = folder / "plugins"
        installed(plugins)
        environment = {"PYTHONPATH": str(plugins), "XOEV_HUB_LOG_LEVEL": "DEBUG"}
        yield stack.enter_context(Daemon(deployment, **environment))


@pytest.fixture(scope="module")
def day(hub: Daemon) -> dict[str, str]:
    """Everything that can happen to a document has happened; gives the messages' ids."""
    ids = {}
    for town in TOWNS:
        answer = hub.hand_in(marked(town), Sender_Reference=f"{MARKER}-{town}")
        assert answer.status_code == 202, (town, answer.text)
        ids[town] = answer.json()["id"]
    for way, (body, code) in REJECTED.items():
        answer = hub.hand_in(body, Sender_Reference=f"{MARKER}-{code}")
        assert answer.json()["code"] == code, (way, answer.text)
        ids[way] = answer.json()["id"]
    inbox = hub.deployment.folder / "in"
    for number, (way, (body, _)) in enumerate(REJECTED.items()):
        if way not in UNFINISHED:
            (inbox / f"{number}.xml").write_bytes(body)
    until(lambda: not list(inbox.glob("*.xml")), "the folder is empty")
    for town, expected in EXPECTED.items():
        until(partial(ends_as, hub, ids[town], expected), f"{town} ends as {expected}")
    return ids


def ends_as(hub: Daemon, id_: str, expected: tuple[str, str]) -> bool:
    (delivery,) = hub.status(id_).json()["deliveries"]
    return (delivery["state"], delivery["reason"] or "") == expected


# --- the search ---------------------------------------------------------------------------------------------------


def spellings() -> re.Pattern[str]:
    """Return what the marker looks like, also in the middle of base64 and as hexadecimal digits."""
    raw = MARKER[1:].encode()
    inner = {base64.b64encode(b"\0" * shift + raw).decode()[4 if shift else 0 :][:12] for shift in range(3)}
    return re.compile("|".join([re.escape(MARKER[1:]), raw.hex(), *map(re.escape, inner)]), re.IGNORECASE)


def found_in(text: str) -> list[str]:
    """Return the places where the marker stands, with what stands around it."""
    return [text[max(match.start() - 100, 0) : match.end() + 40] for match in spellings().finditer(text)]


def test_the_search_finds_the_marker_where_it_may_stand(hub: Daemon, day: dict[str, str]) -> None:
    sent = hub.hand_in(REJECTED["invalid"][0])
    with closing(sqlite3.connect(f"file:{hub.state}/hub.db?mode=ro", uri=True)) as store:
        header = store.execute("SELECT header, arrival FROM message WHERE verdict = 'accepted'").fetchall()
    shown = hub.cli("messages", "show", day["fault-client"], "--payload", "fault", "--reason", "Test")

    assert found_in(sent.text), "a sender is told what it wrote"
    assert found_in(str(header))
    assert found_in(shown.stdout), "who may see payloads sees them"
    assert found_in(base64.b64encode(b"xx" + MARKER.encode()).decode())


def test_no_log_line_holds_what_people_wrote(hub: Daemon, day: dict[str, str]) -> None:
    log = hub.log.read_text("utf-8")

    assert not found_in(log)
    for event in ("adapter_crashed", "worker_died", "message_rejected", "destination_blocked"):
        assert f'"event": "{event}"' in log
    assert "Traceback" not in log


def test_no_metric_holds_what_people_wrote(hub: Daemon, day: dict[str, str]) -> None:
    metrics = hub.asked("/metrics")

    assert not found_in(metrics)
    assert 'code="schema_violation"' in metrics


WITH_DOCUMENTS = {"payload", "reference"}  # the only tables for what people wrote, and
OF_DOCUMENTS = {("message", "header"), ("message", "arrival")}  # what the header reader found, what a sender added


def test_no_table_but_those_of_documents_holds_what_people_wrote(hub: Daemon, day: dict[str, str]) -> None:
    town = f"{TOWNS[0]}/leinen"
    hub.cli_each(
        [
            ("pause", town, "--reason", "Wartung"),
            ("resume", town, "--reason", "Wartung beendet"),
            ("replay", day["raises"], "--reason", "Schritt berichtigt"),
            ("close", day["leaves"], "--as", "cancelled", "--reason", "erledigt"),
        ]
    )
    searched = set()
    with closing(sqlite3.connect(f"file:{hub.state}/hub.db?mode=ro", uri=True)) as store:
        store.text_factory = lambda raw: raw.decode("utf-8", "replace")
        tables = {name for (name,) in store.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        for table in tables - WITH_DOCUMENTS:
            cursor = store.execute(f'SELECT * FROM "{table}"')
            columns = [column[0] for column in cursor.description]
            for row in cursor:
                for column, value in zip(columns, row, strict=True):
                    if (table, column) not in OF_DOCUMENTS:
                        assert not found_in(str(value)), (table, column)
                        searched.add(table)

    assert searched >= {"message", "delivery", "event", "control", "job", "job_item", "audit"}


def test_no_listing_holds_what_people_wrote(hub: Daemon, day: dict[str, str]) -> None:
    shown = [("messages", "show", id_, *json_) for id_ in day.values() for json_ in ((), ("--json",))]
    listed = [
        (*command, *json_)
        for command in (("messages", "list"), ("messages", "list", "--state", "rejected"), ("doctor",))
        for json_ in ((), ("--json",))
    ]
    refused = [("replay", day["dies"], "--reason", "Probe", "--dry-run"), ("messages", "show", "gibt-es-nicht")]
    done = hub.cli_each([*shown, *listed, *refused])

    assert not found_in(done.stdout + done.stderr)
    assert "this is a bug" not in done.stderr
    assert done.returncode == 0
    for id_ in day.values():
        assert done.stdout.count(f"message    {id_}") == 1, "each was shown"
    for code in {code for _, code in REJECTED.values()}:
        assert f'"code": "{code}"' in done.stdout


def test_no_file_of_the_hub_is_named_after_what_people_wrote(hub: Daemon, day: dict[str, str]) -> None:
    names = [str(path.relative_to(hub.state)) for path in hub.state.rglob("*")]

    assert not found_in("\n".join(names))
    assert names


def test_what_a_folder_gives_back_names_places_and_no_values(hub: Daemon, day: dict[str, str]) -> None:
    said: dict[str, Any] = {
        path.name: json.loads(path.read_text("utf-8"))
        for path in (hub.deployment.folder / "in").glob("rejected/*.json")
    }

    assert not found_in(json.dumps(said))
    # No conflict: another sender is another identity.
    codes = {code for way, (_, code) in REJECTED.items() if way not in (*UNFINISHED, "conflict")}
    assert {one["code"] for one in said.values()} == codes
    assert any(finding["line"] == 8 for one in said.values() for finding in one["findings"])


def test_a_restart_after_a_crash_says_nothing_either(hub: Daemon, day: dict[str, str]) -> None:
    hub.kill()
    hub.start()

    assert not found_in(hub.log.read_text("utf-8"))

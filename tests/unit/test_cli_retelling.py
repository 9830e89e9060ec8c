"""``explain --message ID``: the decision of then, repeated by the snapshot that was kept, and what today differs in."""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
from collections.abc import Mapping
from typing import Any

import pytest

from hub.message import new_id
from hub.store.api import Rejection
from tests.command import TOWN, VILLAGE, Office
from tests.storing import NOW

KEYS = {"type", "header", "findings", "routes", "plan", "rejected", "snapshot"}
PERSON = "Jürgen Müßig"
TO_TEXT = """<xsl:stylesheet version="1.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform">
<xsl:param name="delivery_id"/>
<xsl:template match="/"><eingang art="{art}" zustellung="{{$delivery_id}}"><xsl:value-of select="//*[local-name()='name']"/>
</eingang></xsl:template>
</xsl:stylesheet>
"""
TO_PYTHON = """
from dataclasses import replace
from hub.plugin import Outgoing

def mappe(outgoing: Outgoing) -> Outgoing:
    return replace(outgoing, body=b"<eingang art='{art}'/>")
"""


def told(office: Office, id_: str, *more: str) -> dict[str, Any]:
    done = office("explain", "--message", id_, "--json", *more)
    assert done.code in (0, 65), done.err
    assert PERSON not in done.out + done.err
    shown: dict[str, Any] = done.json
    return shown


def with_stylesheet(office: Office, art: str) -> None:
    (office.folder / "transforms").mkdir(exist_ok=True)
    (office.folder / "transforms" / "eingang.xsl").write_text(TO_TEXT.replace("{art}", art), encoding="utf-8")


def steps(office: Office, step: str) -> None:
    office.change("    checks: [xsd]  ", f"    steps: [{step}]\n    checks: [xsd]  ")


def different(shown: Mapping[str, Any]) -> list[tuple[str, str | None]]:
    return [(one["what"], one["destination"]) for one in shown["differences"]]


def test_what_was_decided_is_told_as_of_then_although_everything_has_changed(office: Office) -> None:
    with_stylesheet(office, "alt")
    steps(office, "{xslt: transforms/eingang.xsl}")
    message = office.accepted()
    (sent,) = (one for one in message["payloads"] if one["role"] == "outgoing")
    with_stylesheet(office, "neu")
    office.change("  antraege:\n", "  umbenannt:\n")
    office.change("route: antraege", "route: umbenannt")

    shown = told(office, message["id"])

    assert shown.keys() >= KEYS
    assert (shown["message"], shown["snapshot"]) == (message["id"], message["snapshot"])
    assert (shown["type"], shown["rejected"], shown["recipient"]) == ("antrag/1.0/antrag.0101", None, "musterstadt")
    assert [(one["name"], one["matched"]) for one in shown["routes"]] == [("antraege", True)]
    assert [(one["destination"], one["route"], one["sha256"]) for one in shown["plan"]] == [
        (TOWN, "antraege", sent["sha256"])
    ]
    assert shown["repeated"] == {"done": True, "exactly": True, "obstacle": None, "others": [], "differences": []}
    assert [one["name"] for one in shown["today"]["routes"]] == ["umbenannt"]
    assert shown["today"]["snapshot"] != shown["snapshot"]
    assert different(shown) == [("route", TOWN), ("bytes", TOWN)]


def test_nothing_is_different_while_nothing_has_changed_and_reading_is_audited(office: Office) -> None:
    id_ = office.accepted()["id"]

    done = office("explain", "--message", id_, "--json", SUDO_USER="erika")

    assert done.code == 0
    assert done.json["repeated"]["exactly"]
    assert done.json["differences"] == []
    assert done.json["today"]["snapshot"] == done.json["snapshot"]
    (audit,) = office.audits()
    assert (audit.actor, audit.action, audit.object) == ("erika", "read_payload", f"{id_} received")
    assert audit.reason == "explain --message"


def test_a_delivery_stands_for_its_message(office: Office) -> None:
    message = office.accepted()

    assert told(office, message["deliveries"][0]["id"])["message"] == message["id"]


def test_a_message_that_goes_elsewhere_today_is_told_so(office: Office) -> None:
    id_ = office.accepted()["id"]
    office.change('    deliver_to: ["{municipality}/antrag"]', "    deliver_to: [musterdorf/antrag]")
    office.change("deliver_to: [musterstadt/antrag]", "deliver_to: [musterdorf/antrag]")

    shown, people = told(office, id_), office("explain", "--message", id_)

    assert [one["destination"] for one in shown["plan"]] == [TOWN]
    assert [one["destination"] for one in shown["today"]["plan"]] == [VILLAGE]
    assert different(shown) == [("destination", TOWN), ("destination", VILLAGE)]
    assert [one["after"] for one in shown["differences"]] == [None, "planned"]
    assert people.code == 0
    assert "repeated   exactly" in people.out
    assert f"it does not go to {TOWN}" in people.out
    assert f"it goes to {VILLAGE}" in people.out


def test_a_message_without_a_route_then_has_its_nearest_miss_and_its_route_of_today(office: Office) -> None:
    office.change("match: {type: antrag/1.0/*}", "match: {type: antrag/1.0/*, municipality: [musterdorf]}")
    id_ = office.accepted()["id"]
    office.change(", municipality: [musterdorf]}", "}")

    shown, people = told(office, id_), office("explain", "--message", id_)

    assert [(one["destination"], one["reason"]) for one in shown["plan"]] == [(None, "no_route")]
    assert shown["routes"][0]["why"].startswith("nearest miss: addressed to musterstadt")
    assert different(shown) == [("destination", None), ("destination", TOWN)]
    assert "deliver    nowhere: dead: no_route" in people.out


def test_a_rejected_message_is_told_with_its_findings_and_exit_code_65(office: Office) -> None:
    office("send", str(office.bad), "--sender", "portal")
    (listed,) = office.listed("--state", "rejected")
    schema = office.folder / "schemas" / "xoev" / "antrag" / "1.0" / "antrag.xsd"
    schema.write_text(schema.read_text("utf-8").replace('name="name"', 'name="name" minOccurs="0"'), encoding="utf-8")

    done = office("explain", "--message", listed["id"], "--json")
    people = office("explain", "--message", listed["id"])

    assert (done.code, people.code) == (65, 65)
    shown = done.json
    assert (shown["rejected"], shown["plan"]) == ("schema_violation", [])
    assert {one["rule"] for one in shown["findings"]} and all("text" not in one for one in shown["findings"])
    assert shown["repeated"]["exactly"]
    assert different(shown) == [("verdict", None), ("destination", TOWN)]
    assert "verdict    rejected: schema_violation" in people.out
    assert "verdict: rejected: schema_violation → accepted" in people.out


def test_python_of_then_runs_and_not_that_of_today(office: Office) -> None:
    (office.folder / "mappen").mkdir()
    module = office.folder / "mappen" / "eingang.py"
    module.write_text(TO_PYTHON.replace("{art}", "alt"), encoding="utf-8")
    steps(office, '{python: "mappen.eingang:mappe"}')
    id_ = office.accepted()["id"]
    shutil.rmtree(module.parent)
    office.change('    steps: [{python: "mappen.eingang:mappe"}]\n', "")

    shown = told(office, id_)

    assert shown["repeated"]["exactly"]
    assert shown["plan"][0]["sha256"] == hashlib.sha256(b"<eingang art='alt'/>").hexdigest()
    assert different(shown) == [("bytes", TOWN)]


def test_a_step_that_gives_something_else_each_time_is_no_exact_repetition(office: Office) -> None:
    (office.folder / "mappen").mkdir()
    module = office.folder / "mappen" / "eingang.py"
    module.write_text(
        TO_PYTHON.replace(
            "b\"<eingang art='{art}'/>\"", "b'<e>' + __import__('os').urandom(9).hex().encode() + b'</e>'"
        )
    )
    steps(office, '{python: "mappen.eingang:mappe"}')
    id_ = office.accepted()["id"]

    shown, people = told(office, id_), office("explain", "--message", id_)

    assert (shown["repeated"]["done"], shown["repeated"]["exactly"]) == (True, False)
    assert [(one["what"], one["destination"]) for one in shown["repeated"]["differences"]] == [("bytes", TOWN)]
    assert "not exactly as then" in people.out


def test_a_step_of_then_that_never_ends_ends_with_its_worker(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hub.workerend.DOCUMENT_SECONDS", 1.0)
    flag = office.folder / "endlos"
    (office.folder / "mappen").mkdir()
    module = office.folder / "mappen" / "eingang.py"
    loop = f"    while __import__('os').path.exists({str(flag)!r}):\n        pass\n    return replace("
    module.write_text(TO_PYTHON.replace("    return replace(", loop))
    steps(office, '{python: "mappen.eingang:mappe"}')
    id_ = office.accepted()["id"]
    office.change('    steps: [{python: "mappen.eingang:mappe"}]\n', "")
    flag.touch()

    shown = told(office, id_)

    assert [(one["what"], one["after"]) for one in shown["repeated"]["differences"]] == [("reason", "transform_failed")]


def test_programs_of_another_version_are_named_and_nothing_is_called_exact(office: Office) -> None:
    id_ = office.accepted()["id"]
    versions = {"hub": "0.0.1", "lxml": "1.2", "fremde-schritte": "7"}
    _rewrite(office, "update snapshot set versions = ?", json.dumps(versions))
    office.change("version: 1", "version: 1\n# geändert")

    shown, people = told(office, id_), office("explain", "--message", id_)

    others = {one["program"]: one["then"] for one in shown["repeated"]["others"]}
    assert others.items() >= versions.items()
    assert next(one["now"] for one in shown["repeated"]["others"] if one["program"] == "fremde-schritte") is None
    assert not shown["repeated"]["exactly"]
    assert "hub was 0.0.1, is " in people.out
    assert "fremde-schritte was 7, is not there" in people.out


def test_a_snapshot_that_was_not_kept_is_said_and_the_record_is_told(office: Office) -> None:
    id_ = office.accepted()["id"]
    office.change("version: 1", "version: 1\n# geändert")
    _rewrite(office, "delete from snapshot")

    shown, people = told(office, id_), office("explain", "--message", id_)

    assert not shown["repeated"]["done"]
    assert "were not kept" in shown["repeated"]["obstacle"]
    assert (shown["header"], shown["routes"]) == (None, [])
    assert [one["destination"] for one in shown["plan"]] == [TOWN]
    assert shown["differences"] == []
    assert "were not kept. Above is what the record says" in people.out


def test_a_damaged_file_of_a_snapshot_is_said(office: Office) -> None:
    id_ = office.accepted()["id"]
    office.change("version: 1", "version: 1\n# geändert")
    _rewrite(office, "update file set bytes = x'00'")

    assert "gone or damaged" in told(office, id_)["repeated"]["obstacle"]


def test_a_configuration_of_then_that_todays_program_refuses_is_said(office: Office) -> None:
    office.change('    adapter: folder\n    path: "ausgang', '    adapter: folder\n    # x\n    path: "ausgang')
    id_ = office.accepted()["id"]
    office.change("# x\n", "# y\n")
    broken = (
        office.config.read_bytes()
        .replace(b"# y", b"# x")
        .replace(b"adapter: folder\n    # x", b"adapter: fehlt\n    # x")
    )
    _keep_as(office, "routes.yaml", broken)

    shown = told(office, id_)

    assert "today's program refuses the configuration of then: routes.yaml:" in shown["repeated"]["obstacle"]
    assert [one["destination"] for one in shown["plan"]] == [TOWN]


def test_a_configuration_that_is_broken_today_does_not_hide_what_was(office: Office) -> None:
    id_ = office.accepted()["id"]
    office.change("version: 1", "version: 2")

    shown, people = told(office, id_), office("explain", "--message", id_)

    assert shown["repeated"]["exactly"]
    assert shown["today"] is None
    assert "routes.yaml:" in shown["today_obstacle"]
    assert people.code == 0
    assert "today      nobody can tell: the configuration of today cannot be used: routes.yaml:" in people.out


def test_another_main_file_than_then_is_said(office: Office) -> None:
    id_ = office.accepted()["id"]
    other = office.config.rename(office.folder / "anders.yaml")
    office.config = other

    assert "has no anders.yaml" in told(office, id_)["repeated"]["obstacle"]


def test_of_an_erased_message_the_record_is_told_and_nothing_guessed(office: Office) -> None:
    office("send", str(office.bad), "--sender", "portal")
    (listed,) = office.listed("--state", "rejected")
    _rewrite(office, "delete from payload where role = 'received'")

    done = office("explain", "--message", listed["id"], "--json")
    people = office("explain", "--message", listed["id"])

    assert (done.code, people.code) == (1, 1)
    assert done.json["rejected"] == "schema_violation"
    assert (done.json["today"], done.json["repeated"]["done"]) == (None, False)
    assert done.json["repeated"]["obstacle"] == "the original bytes are erased"
    assert "the original bytes are erased" in people.out


def test_of_an_erased_message_that_had_arrived_nobody_says_that_it_was_dead(office: Office) -> None:
    id_ = office.accepted()["id"]
    _rewrite(office, "update delivery set state = 'delivered', attempts = 1, revision = 2, payload_id = null")
    _rewrite(office, "delete from payload")
    _rewrite(office, "update message set header = null")

    done = office("explain", "--message", id_)
    shown = office("messages", "show", id_)

    assert "deliver    musterstadt/antrag: its bytes are erased" in done.out
    assert "dead" not in done.out
    assert "its bytes and its header are erased" in shown.out


def test_what_was_refused_before_a_snapshot_was_asked_is_said(office: Office) -> None:
    store = office.store()
    id_ = new_id()
    store.reject(
        Rejection(
            id=id_, code="conflict", source="online", sender="portal", sha256="0" * 64, received_at=NOW, snapshot="",
            payloads=office.message().payloads,
        )
    )  # fmt: skip
    store.close()

    shown = told(office, id_)

    assert (shown["rejected"], shown["snapshot"]) == ("conflict", "")
    assert "no snapshot took part" in shown["repeated"]["obstacle"]


def test_a_date_is_assumed_for_today_only(office: Office) -> None:
    id_ = office.accepted()["id"]

    shown = told(office, id_, "--as-of", "2024-12-31")

    assert (shown["rejected"], shown["repeated"]["exactly"]) == (None, True)
    assert shown["today"]["rejected"] == "version_not_served"


def test_what_a_replay_planned_is_not_the_decision_of_then(office: Office) -> None:
    office.change("match: {type: antrag/1.0/*}", "match: {type: antrag/1.0/*, municipality: [musterdorf]}")
    id_ = office.accepted()["id"]
    office.change(", municipality: [musterdorf]}", "}")
    assert office("replay", id_, "--reason", "neue Route").code == 0

    shown = told(office, id_)

    assert [(one["destination"], one["reason"]) for one in shown["plan"]] == [(None, "unknown")]
    assert shown["repeated"]["exactly"]


def _rewrite(office: Office, statement: str, *values: str) -> None:
    """Change the store behind everybody's back."""
    with sqlite3.connect(office.folder / "var" / "hub.db") as connection:
        connection.execute(statement, values)
    connection.close()


def _keep_as(office: Office, name: str, body: bytes) -> None:
    """Put other bytes in the place of a kept file, as if an older program had taken them."""
    import zlib

    with sqlite3.connect(office.folder / "var" / "hub.db") as connection:
        (files,) = connection.execute("select files from snapshot").fetchone()
        digest = hashlib.sha256(body).hexdigest()
        connection.execute("insert into file (sha256, bytes) values (?, ?)", (digest, zlib.compress(body)))
        connection.execute("update snapshot set files = ?", (json.dumps(json.loads(files) | {name: digest}),))
    connection.close()

"""``groups``, ``audit``, ``stats``, ``routes``, ``messages tail`` and the timeline, over the command line."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from hub.cli.drawing import bar, sparkline
from tests.command import TOWN, Office

ROOT = Path(__file__).parents[2]


def dead(office: Office, count: int = 3, **more: str) -> list[str]:
    """Keep messages whose deliveries are dead, and return the messages' ids."""
    kept = office.keep(*(office.message(dead="no_route", **more) for _ in range(count)))
    return [one.message.id for one in kept]


def test_many_dead_are_one_line_with_the_next_step_and_everything_takes_their_fingerprint(office: Office):
    ids = dead(office)
    other = office.keep(office.message(dead="refused"))[0].message.id

    groups = office("groups", "list", "--json").json["items"]
    token = groups[0]["fingerprint"]

    assert [(one["count"], one["reason"], one["destination"]) for one in groups] == [
        (3, "no_route", TOWN),
        (1, "refused", TOWN),
    ]
    assert groups[0]["trend"]["last_hour"] == 3
    assert groups[0]["example"] in groups[0]["next_step"]
    assert {one["id"] for one in office.listed("--fingerprint", token)} == set(ids)
    preview = office("resend", "--fingerprint", token, "--dry-run", "--reason", "Ticket 47", "--json").json
    assert len(preview["items"] if "items" in preview else preview["deliveries"]) == 3
    assert other not in str(preview)
    told = office("groups", "list").out
    assert f"{token}       3 dead" in told
    assert "next: " in told


def test_a_note_is_kept_with_its_author_shown_with_its_group_and_audited(office: Office):
    dead(office)
    (group,) = office("groups", "list", "--json").json["items"]

    done = office("groups", "note", group["fingerprint"], "Zertifikat", "erneuert", SUDO_USER="erika")

    assert done.code == 0
    (noted,) = office("groups", "list", "--json").json["items"]
    assert [(one["actor"], one["text"]) for one in noted["notes"]] == [("erika", "Zertifikat erneuert")]
    assert "erika: Zertifikat erneuert" in office("groups", "list").out
    (entry,) = office("audit", "list", "--action", "note", "--json").json["items"]
    assert (entry["actor"], entry["object"], entry["reason"]) == (
        "erika",
        f"group {group['fingerprint']}",
        "Zertifikat erneuert",
    )


@pytest.mark.parametrize("token", ["x", "0" * 11, "'--"], ids=["a letter", "too short", "a quote"])
def test_what_is_no_fingerprint_is_refused(office: Office, token: str):
    dead(office, 1)

    assert office("messages", "list", "--fingerprint", token).code == 2
    assert office("groups", "note", token, "text").code == 2
    assert office("groups", "note", "0" * 12, "text").code == 1
    empty = office("groups", "note", "0" * 12, " ")
    assert (empty.code, "Invalid value for TEXT" in empty.err) == (2, True)


def test_rejections_are_groups_of_their_own_without_a_value(office: Office):
    office("send", str(office.bad), "--sender", "portal")

    done = office("groups", "list", "--json")

    (group,) = done.json["items"]
    assert (group["kind"], group["reason"], group["code"]) == (
        "rejected",
        "schema_violation",
        "SCHEMAV_ELEMENT_CONTENT",
    )
    assert group["path"] == "/antrag.0101/inhalt/bemerkung"
    assert office("groups", "list", "--kind", "dead", "--json").json["items"] == []


def test_the_timeline_leads_from_the_first_byte_to_what_people_did_and_why(office: Office):
    message = office.accepted()
    (delivery,) = message["deliveries"]
    office("close", delivery["id"], "--as", "cancelled", "--reason", "doppelt", SUDO_USER="erika")
    office("messages", "show", message["id"], "--payload", "received", "--reason", "Ticket 47", SUDO_USER="max")

    told = office("messages", "show", message["id"], "--json").json["timeline"]

    assert [one["what"] for one in told][:5] == ["received", "header", "check", "decision", "planned"]
    received, header, check, decision, planned = told[:5]
    assert (received["sender"], received["authenticated_by"]) == ("portal", "token")
    assert received["size"] > 0
    assert header["reader"] == "ags:09999001"
    assert (check["name"], check["state"]) == ("xsd", "done")
    assert check["ms"] > 0
    assert decision["routes"] == [{"name": "antraege", "matched": True, "why": "every condition holds"}]
    assert planned["destination"] == TOWN
    job, closed, read = ([one for one in told if one["what"] == what][-1] for what in ("job", "closed", "audit"))
    assert (job["kind"], job["actor"], job["reason"], job["result"]) == ("close", "erika", "doppelt", "done")
    assert (closed["reason"], closed["actor"], closed["job"]) == ("cancelled", "erika", job["job"])
    assert (read["action"], read["actor"], read["reason"]) == ("read_payload", "max", "Ticket 47")
    assert [one["at"] for one in told] == sorted(one["at"] for one in told)


def test_a_message_that_no_route_serves_is_told_the_nearest_miss_without_its_bytes_being_read(office: Office):
    office.change("type: antrag/1.0/*", "type: antrag/1.0/*, sender: niemand")
    office.change("senders:\n", "senders:\n  niemand: {}\n")
    message = office.accepted()

    told = office("messages", "show", message["id"], "--json").json["timeline"]

    (decision,) = [one for one in told if one["what"] == "decision"]
    assert "nearest miss: sender is portal" in decision["routes"][0]["why"]
    assert office.audits() == []
    assert "nearest miss" in office("messages", "show", message["id"]).out


def test_statistics_are_told_by_what_is_asked_for_a_spreadsheet_too(office: Office):
    office.accepted()
    office("send", str(office.bad), "--sender", "portal")
    dead(office, 2)
    month = f"{datetime.now(UTC):%Y-%m}"

    items = office("stats", "--by", "municipality", "--json").json["items"]
    rows = list(csv.DictReader(io.StringIO(office("stats", "--by", "destination", "--month", month, "--csv").out)))

    (town,) = items
    assert (town["municipality"], town["in"], town["rejected"], town["dead"], town["waiting"]) == (
        "musterstadt",
        3,
        1,
        2,
        1,
    )
    assert town["oldest_waiting_at"].endswith("Z")
    assert {row["destination"]: row["in"] for row in rows} == {"": "0", TOWN: "3"}
    assert "musterstadt" in office("stats").out
    assert office("stats", "--csv", "--json").code == 2
    assert office("stats", "--month", "2026-13").code == 2
    assert "choose one" in office("stats", "--month", "2026-11", "--days", "3").err


def test_routes_say_where_they_lead_what_is_missing_and_what_nobody_uses(office: Office):
    office.accepted()
    office.change(
        "routes:\n",
        'routes:\n  nie:\n    match: {type: antrag/1.0/*, sender: niemand}\n    deliver_to: ["{municipality}/antrag"]\n    priority: 1\n',
    )
    office.change("senders:\n", "senders:\n  niemand: {}\n")

    listed = {one["name"]: one for one in office("routes", "list", "--json").json["items"]}

    assert listed["antraege"]["last_used_at"].endswith("Z")
    assert listed["nie"]["last_used_at"] is None
    assert [one["name"] for one in office("routes", "unused", "--json").json["items"]] == ["nie"]
    assert TOWN in office("routes", "show", "antraege", "--json").json["destinations"]
    assert office("routes", "show", "nirgends").code == 1
    assert office("routes", "gaps", "--json").json["items"] == []


def test_following_shows_what_comes_and_what_becomes_of_it(office: Office):
    office.accepted()
    words = ["-m", "hub", "-c", str(office.config), "messages", "tail", "--json", "--every", "0.1", "--for", "90"]
    lines: list[dict] = []
    with subprocess.Popen([sys.executable, *words], cwd=ROOT, stdout=subprocess.PIPE, text=True) as following:
        assert following.stdout is not None
        lines.append(json.loads(following.stdout.readline()))
        second = office.accepted()
        lines.append(json.loads(following.stdout.readline()))
        office("close", second["deliveries"][0]["id"], "--as", "cancelled", "--reason", "doppelt")
        lines.append(json.loads(following.stdout.readline()))
        following.terminate()

    assert [one["status"] for one in lines] == ["open", "open", "closed"]
    assert [one["id"] for one in lines[1:]] == [second["id"]] * 2


def test_pictures_tell_nothing_from_a_little():
    assert sparkline([0, 1, 8]) == "·▁█"
    assert bar(0, 10, 4) == "    "
    assert bar(0.001, 10, 4).strip()
    assert bar(10, 10, 4) == "████"
    assert bar(5, 10, 4) == "██  "

"""It is 2 a.m.: 400 trade registrations are dead because a transformation broke with yesterday's configuration.

The operator sees one alert and one group, understands, fixes the route, releases one to see it work, releases the rest
at a rate, watches it, and has the record for the morning. All of it by the command line, beside a hub in service.
STORY=400 for the figures of the promise (400, at 5 per second); the suite takes fewer, and faster.
"""

from __future__ import annotations

import json
import os
import uuid
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from hub.simulate import Answers, Ledger
from hub.simulate.soap import SoapProcedure
from tests.daemon import Daemon, until
from tests.leinen import Leinen, soap

DEAD = int(os.environ.get("STORY", "60"))
RATE = "5/s" if "STORY" in os.environ else "100/s"
REASON = "Ticket 4711: Gewerbeamt Wolfsburg, Stylesheet berichtigt"
REGISTRATION = (Path(__file__).parents[1] / "messages" / "gewerbeanmeldung-wolfsburg.xml").read_text("utf-8")
TOKEN = "token-von-gewerbe-online"  # of an invented portal
STYLESHEET = """<?xml version="1.0" encoding="UTF-8"?>
<xsl:stylesheet version="1.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform"
    xmlns:xga="http://www.xgewerbeanzeige.de/spezifikation/2.2" exclude-result-prefixes="xga">
  <xsl:template match="/">
    <xsl:variable name="id" select="//xga:{id}"/>
    <xsl:if test="not(string($id))"><xsl:message terminate="yes">no id</xsl:message></xsl:if>
    <vorgang betrieb="{{$id}}"><name><xsl:value-of select="//xga:eingetragenerName"/></name></vorgang>
  </xsl:template>
</xsl:stylesheet>
"""
GOOD, BROKEN = STYLESHEET.format(id="gewerbebetriebID"), STYLESHEET.format(id="gewerbebetriebsId")


def registration() -> bytes:
    """Return a registration of an invented business of its own."""
    text = REGISTRATION.replace("8d2f4a10-3c5b-4e6d-9f70-1a2b3c4d0001", str(uuid.uuid4()))
    return text.replace("6f2b8d3e-1a57-4c0e-8a9b-5d0c3f7e2101", str(uuid.uuid4())).encode()


@pytest.fixture
def office(tmp_path: Path) -> Iterator[SoapProcedure]:
    made = SoapProcedure("wolfsburg", {}, Answers(), Ledger(tmp_path / "ledger.jsonl"))
    made.start()
    yield made
    made.stop()


@pytest.fixture
def hub(tmp_path: Path, office: SoapProcedure) -> Iterator[Daemon]:
    deployment = Leinen(tmp_path / "hub", {"wolfsburg": soap(office.address)})
    deployment.file("transforms/gewerbe.xsl", GOOD)
    deployment.file("secrets/gewerbe-online", TOKEN)
    routes = deployment.routes
    routes["senders"]["gewerbe-online"] = {}
    routes["inbound"]["online"]["senders"]["gewerbe-online"] = {"token": "file:secrets/gewerbe-online"}
    routes["municipalities"]["wolfsburg"]["ags"] = "03103000"
    routes["routes"]["gewerbeanmeldung"] = {
        "match": {"type": "xgewerbeanzeige/2.2/*"},
        "checks": [{"xsd": "header"}],
        "steps": [{"xslt": "transforms/gewerbe.xsl"}],
        "deliver_to": ["{municipality}/leinen"],
    }
    alerts = ["/bin/sh", "-c", f"cat >> {tmp_path / 'alerts'}; echo >> {tmp_path / 'alerts'}"]
    routes["alerts"] = {"tell": {"bereitschaft": {"command": alerts}}}
    with Daemon(deployment) as running:
        yield running


def told(folder: Path) -> list[tuple[str, str]]:
    """Return which alerts the person on call was told, and whether they were raised or cleared."""
    path = folder / "alerts"
    lines = path.read_text("utf-8").splitlines() if path.exists() else []
    found = [(one["name"], one["what"]) for line in lines if line.strip() for one in json.loads(line)["alerts"]]
    return [one for one in found if one[0] != "disk"]  # that one is about the machine of the test


def hand_in(hub: Daemon) -> str:
    answer = hub.hand_in(registration(), sender=TOKEN)
    assert answer.status_code == 202, answer.text
    id_: str = answer.json()["id"]
    return id_


def asked(hub: Daemon, *arguments: str, code: int = 0) -> Any:
    """Run a command as the operator does, and return its JSON."""
    done = hub.cli(*arguments, "--json")
    assert done.returncode == code, (arguments, done.returncode, done.stderr)
    return json.loads(done.stdout)


@pytest.mark.timeout(600)
def test_dead_registrations_are_found_understood_and_released_without_fear(
    hub: Daemon, office: SoapProcedure, tmp_path: Path
) -> None:
    first = hand_in(hub)
    until(lambda: hub.show(first)["status"] == "delivered", "yesterday morning all is well")
    hub.deployment.file("transforms/gewerbe.xsl", BROKEN)
    assert hub.cli("reload").returncode == 0
    with ThreadPoolExecutor(8) as threads:
        dead = list(threads.map(lambda _: hand_in(hub), range(DEAD)))

    until(lambda: told(tmp_path), "somebody is told")
    _sees_one_cause(hub)
    _compares_before_and_after_the_fix(hub)
    office.answers.set([{"code": "23"}])  # the procedure is busy: the canary takes its time
    job = _releases_one_first(hub)
    office.answers.set(["ok"])
    beside = [hand_in(hub) for _ in range(10)]  # what comes in meanwhile is delivered as ever
    watched = hub.cli("jobs", "show", job, "--watch")

    assert watched.returncode == 0, watched.stderr
    assert f"{DEAD} of {DEAD}: {DEAD} done" in watched.stderr
    until(lambda: len(delivered(hub)) == 1 + DEAD + len(beside), "all are delivered")
    _has_the_record(hub, office, job, dead)
    until(lambda: len(told(tmp_path)) > 1, "the end of the alert is told")
    assert told(tmp_path) == [("dead_letters", "raised"), ("dead_letters", "cleared")]


def delivered(hub: Daemon) -> list[Any]:
    return hub.messages("--state", "delivered")


def _sees_one_cause(hub: Daemon) -> None:
    """One group with one cause and one place, and one complaint."""
    (group,) = asked(hub, "groups", "list", "--kind", "dead")["items"]
    assert (group["count"], group["reason"], group["destination"]) == (DEAD, "transform_failed", "wolfsburg/leinen")
    items = asked(hub, "doctor", code=1)["items"]
    (complaint,) = [one for one in items if one["needs_person"]]
    assert f"{DEAD} to wolfsburg/leinen: transform_failed" in complaint["text"]


def _compares_before_and_after_the_fix(hub: Daemon) -> None:
    """Nothing is different while the cause is there; with it mended, all of them go out in the same way."""
    selection = ("--state", "dead", "--route", "gewerbeanmeldung", "--reason", REASON)
    preview = asked(hub, "replay", *selection, "--dry-run")["preview"]
    assert (preview["count"], preview["delivered"], preview["unclear"]) == (DEAD, 0, 0)
    assert [(one["municipality"], one["destination"], one["count"]) for one in preview["groups"]] == [
        ("wolfsburg", "wolfsburg/leinen", DEAD)
    ]
    (same,) = asked(hub, "replay", *selection, "--dry-run", "--diff")["items"]
    assert (same["count"], same["differences"]) == (DEAD, [])

    hub.deployment.file("transforms/gewerbe.xsl", GOOD)
    (mended,) = asked(hub, "replay", *selection, "--dry-run", "--diff")["items"]
    assert (mended["count"], mended["obstacle"]) == (DEAD, None)
    assert [(one["what"], one["before"], one["after"]) for one in mended["differences"]] == [
        ("reason", "transform_failed", None)
    ]
    assert hub.cli("reload").returncode == 0
    assert len(hub.messages("--state", "dead")) == DEAD  # looking has changed nothing


def _releases_one_first(hub: Daemon) -> str:
    """The count is asked for; then one goes, and the others wait for it."""
    wish = ("replay", "--state", "dead", "--route", "gewerbeanmeldung", "--reason", REASON)
    refused = hub.cli(*wish)
    assert (refused.returncode, f"say --confirm {DEAD}" in refused.stderr) == (2, True)
    started = hub.start_cli(*wish, "--rate", RATE, "--canary", "1", "--confirm", str(DEAD))

    def one_is_out() -> Any:
        jobs = asked(hub, "jobs", "list", "--state", "open")["items"]
        return next((one for one in jobs if one["progress"]["done"] == 1), None)

    job = until(one_is_out, "one is released")
    (canary,) = asked(hub, "jobs", "show", job["id"], "--result", "done")["results"]
    until(lambda: len(hub.show(_message_of(hub, canary["detail"]))["deliveries"][-1]["events"]) >= 4, "it is tried")
    held = asked(hub, "jobs", "show", job["id"])
    assert (held["progress"]["done"], held["progress"]["left"], held["canary_passed"]) == (1, DEAD - 1, False)
    started.kill()
    started.wait()
    id_: str = job["id"]
    return id_


def _message_of(hub: Daemon, delivery: str) -> str:
    id_: str = hub.show(delivery)["id"]
    return id_


def _has_the_record(hub: Daemon, office: SoapProcedure, job: str, dead: list[str]) -> None:
    """Who did what, when and why; each item's end; and the procedure has each registration once."""
    record = asked(hub, "jobs", "show", job, "--limit", "1000")
    assert (record["state"], record["reason"], record["count"], record["canary_passed"]) == ("done", REASON, DEAD, True)
    assert {one["result"] for one in record["results"]} == {"done"}
    assert len({one["item"] for one in record["results"]}) == DEAD

    done = [(one["action"], one["reason"]) for one in asked(hub, "audit", "list")["items"] if job in one["object"]]
    assert done == [("replay", REASON)]

    old, new = hub.show(dead[0])["deliveries"]
    assert (old["state"], old["reason"], old["replayed_as"]) == ("closed", "superseded", [new["id"]])
    assert [(one["kind"], one["job"], one["actor"]) for one in old["events"]] == [("closed", job, record["actor"])]
    assert (new["state"], new["replay_of"]) == ("delivered", old["id"])

    taken = [one for one in office.ledger.entries() if one["taken"]]
    for what in ("delivery", "sha256"):  # no delivery twice, and no business twice
        assert set(Counter(one[what] for one in taken).values()) == {1}
    assert len(taken) == 1 + DEAD + 10
    assert hub.messages("--state", "dead") == []
    assert hub.cli("doctor").returncode == 0

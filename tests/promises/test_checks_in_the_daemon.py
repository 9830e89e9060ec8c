"""Checks where they are used: in the worker processes of a running hub, in ``check``, ``test`` and ``explain``."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

import hub.config
from hub.files import Files
from hub.xml import saxon
from tests.daemon import Daemon, until
from tests.leinen import NAMESPACE, PROFILE, Leinen, folder_out, leinen

RULES = f"""\
<schema xmlns="http://purl.oclc.org/dsdl/schematron" queryBinding="xslt2">
  <ns prefix="l" uri="{NAMESPACE}"/>
  <pattern><rule context="l:hund">
    <assert id="L-1" test="matches(l:name, '^\\p{{Lu}}')">Der Name <value-of select="l:name"/> beginnt klein.</assert>
    <assert id="L-2" test="xs:integer(l:alter) lt 30">Der Hund ist <value-of select="l:alter"/> Jahre alt.</assert>
    <report id="L-3" flag="warning" test="l:name = 'Bello'">So heißen viele.</report>
    <assert id="L-4" test="@rasse != 'teile durch null' or 1 idiv count(l:nichts) = 1">x</assert>
  </rule></pattern>
</schema>
"""
SHEET = f"""\
<xsl:stylesheet version="3.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform" xmlns:l="{NAMESPACE}" expand-text="yes"
    exclude-result-prefixes="#all"><xsl:template match="/"><hund>{{upper-case(//l:name)}}</hund></xsl:template></xsl:stylesheet>
"""

pytestmark = pytest.mark.skipif(not saxon.available(), reason="the extra xslt3 is not installed")


def deployment(folder: Path, rules: str = RULES) -> Leinen:
    """Return a deployment whose route checks by rules, accepts one of them, and transforms by XSLT 3.0."""
    made = Leinen(folder, {"wolfsburg": folder_out("akten")})
    made.file("schemas/xoev/leinen/1.0/profile.yaml", PROFILE + "schematron: [regeln.sch]\n")
    made.file("schemas/xoev/leinen/1.0/regeln.sch", rules)
    made.file("gross.xsl", SHEET)
    made.file("gut.xml", leinen().decode())
    made.file("klein.xml", leinen(name="bello").decode())
    made.routes["routes"]["leinen"] |= {
        "checks": ["xsd", "idref", "schematron"],
        "accept": {"L-2": "warning"},
        "steps": [{"xslt": "gross.xsl"}],
    }
    made.routes["tests"] = [
        {"name": "gut", "message": "gut.xml", "sender": "portal", "expect": {"route": "leinen"}},
        {"name": "klein", "message": "klein.xml", "sender": "portal", "expect": {"rejected": "schematron"}},
    ]
    return made


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    running = Daemon(deployment(tmp_path_factory.mktemp("hub")))
    running.start()
    yield running
    running.kill()


def test_a_document_that_breaks_a_rule_is_rejected_and_its_sender_learns_rule_path_line_and_text(daemon):
    answer = daemon.hand_in(leinen(name="bello"))

    assert answer.status_code == 422
    assert answer.json()["code"] == "schematron"
    (finding,) = answer.json()["findings"]
    assert finding["rule"] == "L-1"
    assert finding["path"] == "/l:anmeldung/l:hund"
    assert (finding["line"], finding["column"]) == (8, 3)
    assert finding["text"] == "Der Name bello beginnt klein."
    assert "bello" not in daemon.log.read_text("utf-8")


def test_what_the_route_accepts_goes_on_and_a_step_of_xslt_3_makes_what_is_sent(daemon):
    answer = daemon.hand_in(leinen(name="Wuff", alter="44"))

    assert answer.status_code == 202
    id_ = answer.json()["id"]
    until(lambda: daemon.status(id_).json()["status"] == "delivered", "it is delivered")
    (delivery,) = daemon.status(id_).json()["deliveries"]
    (file,) = daemon.deployment.folder.glob(f"akten/{delivery['id']}.xml")
    assert file.read_bytes().endswith(b"<hund>WUFF</hund>")


def test_a_rule_that_ends_with_an_error_proves_nothing_and_the_worker_lives_on(daemon):
    answer = daemon.hand_in(leinen(rasse="teile durch null"))

    assert answer.status_code == 422
    assert answer.json()["code"] == "inspection_failed"
    assert "xoev_hub_worker_deaths_total 0.0" in daemon.asked("/metrics")


def test_a_killed_worker_is_replaced_by_one_that_checks_as_well(daemon):
    workers = [int(line.split()[0]) for line in children(daemon.process.pid)]
    for pid in workers:
        os.kill(pid, signal.SIGKILL)

    until(lambda: daemon.hand_in(leinen(name="bello")).status_code == 422, "it checks again")
    assert daemon.hand_in(leinen(name="bello")).json()["code"] == "schematron"


def test_explain_lists_the_checks_with_what_became_of_them(daemon):
    folder = daemon.deployment.folder

    good = json.loads(daemon.cli("explain", "--json", str(folder / "gut.xml")).stdout)
    (folder / "kaputt.xml").write_bytes(leinen(alter="alt"))
    bad = json.loads(daemon.cli("explain", "--json", str(folder / "kaputt.xml")).stdout)

    assert [(one["name"], one["state"]) for one in good["checks"]] == [
        ("xsd", "done"), ("idref", "done"), ("schematron", "done"),
    ]  # fmt: skip
    assert [one["rule"] for one in good["findings"]] == ["L-3"]
    assert [one["state"] for one in bad["checks"]] == ["done", "skipped", "skipped"]
    assert bad["rejected"] == "schema_violation"


def children(pid: int) -> Iterator[str]:
    """Yield the processes that a worker set has forked."""
    for set_ in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        yield from Path(f"/proc/{set_}/task/{set_}/children").read_text().split()


# --- before it runs


@pytest.mark.parametrize("command", ["check", "run"])
def test_a_rule_that_does_not_compile_is_found_before_the_first_message(tmp_path, command):
    made = deployment(tmp_path, RULES.replace("matches(", "passt("))
    made.write()

    done = Daemon(made).cli(command)

    assert done.returncode == 78
    assert "regeln.sch" in done.stderr
    assert "passt" in done.stderr


def test_the_route_tests_are_checked_too(tmp_path):
    made = deployment(tmp_path)
    made.write()

    done = Daemon(made).cli("test")

    assert done.returncode == 0, done.stderr


def test_without_the_extra_check_says_which_one_is_missing(tmp_path, monkeypatch):
    made = deployment(tmp_path)
    made.write()
    monkeypatch.setattr(saxon, "available", lambda: False)

    problems = hub.config.read(Files(tmp_path)).problems

    (found,) = [one for one in problems if "xslt3" in one.text]
    assert found.text == "schematron needs the extra xslt3, which is not installed: pip install 'xoev-hub[xslt3]'"
    assert found.path == "routes.leinen.checks[2]"

"""``init``, ``config``, ``schemas``, ``adapters``: what a deployment is made of."""

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest

from tests.command import Office, command

ROOT = Path(__file__).parents[2]
BROKEN_PROFILE = "standard: kaputt\nversion: 1\nunknown: key\n"

# --- init


def test_init_makes_a_deployment_that_is_good_and_passes_its_tests(tmp_path):
    made = command("init", str(tmp_path / "neu"))
    office = Office(tmp_path / "neu")

    assert made.code == 0
    assert str(office.config) in made.out.splitlines()
    assert made.err == f"next: cd {office.folder}; xoev-hub check; xoev-hub test; xoev-hub run\n"
    assert office("check").code == 0
    assert office("test").code == 0
    assert office("doctor").code == 1  # there is no store yet


def test_what_is_said_to_be_done_next_can_be_pasted_into_a_shell(tmp_path):
    folder = tmp_path / "Stadt Köln; Büro"

    made = command("init", str(folder))
    begun = command("adapters", "new", "postfach", "--into", str(folder))

    assert shlex.split(made.err.removeprefix("next: "))[1] == f"{folder};"
    assert shlex.split(begun.err)[-1] == f"{folder}/hub-postfach"


def test_init_touches_nothing_that_is_there(tmp_path):
    (tmp_path / "routes.yaml").write_text("meine")

    done = command("init", ".", cwd=tmp_path)

    assert done.code == 78
    assert "routes.yaml: is there already, nothing was written" in done.err
    assert [path.name for path in tmp_path.iterdir()] == ["routes.yaml"]
    assert (tmp_path / "routes.yaml").read_text() == "meine"


def test_init_says_where_it_could_not_write(tmp_path):
    (tmp_path / "datei").write_text("")

    done = command("init", str(tmp_path / "datei" / "neu"))

    assert done.code == 78
    assert "cannot be written" in done.err


# --- config


def test_everything_that_has_a_name_is_listed(office):
    done = office("config", "show", "--json")

    assert done.code == 0
    assert {(one["kind"], one["name"]) for one in done.json["items"]} == {
        ("sender", "portal"), ("source", "online"), ("source", "eingang"), ("municipality", "musterstadt"),
        ("municipality", "musterdorf"), ("destination", "musterstadt/antrag"), ("destination", "musterdorf/antrag"),
        ("route", "antraege"),
    }  # fmt: skip
    assert "destination   musterstadt/antrag" in office("config", "show").out


def test_each_value_says_where_it_comes_from(office):
    done = office("config", "show", "musterdorf/antrag", "--origin")

    lines = office.config.read_text().splitlines()
    path = next(number for number, line in enumerate(lines, 1) if "ausgang/dorf" in line)
    assert done.code == 0
    assert f"path = ausgang/dorf    # routes.yaml:{path}\n" in done.out
    assert "    # default\n" in done.out


def test_values_are_listed_for_programs(office):
    items = office("config", "show", "musterdorf/antrag", "--origin", "--json").json["items"]

    assert {"key": "adapter", "value": "folder"}.items() <= items[0].items()
    assert all(one.keys() == {"key", "value", "origin"} for one in items)


def test_secrets_are_shown_as_references(office):
    done = office("config", "show", "online")

    assert "env:PORTAL_TOKEN" in done.out
    assert "token-des-portals" not in done.out


def test_a_name_that_nobody_has_is_said(office):
    done = office("config", "show", "niemand")

    assert (done.code, done.out) == (1, "")
    assert "nothing is called 'niemand'" in done.err


def test_a_broken_configuration_cannot_be_shown(office):
    office.change("version: 1", "version: 2")

    assert office("config", "show").code == 78


def test_the_schema_for_editors_needs_no_deployment(tmp_path):
    done = command("config", "schema", cwd=tmp_path)

    assert done.code == 0
    assert done.json["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert {"routes", "municipalities", "inbound"} <= done.json["properties"].keys()


# --- schemas


def test_shipped_standards_are_listed_wherever_one_stands(tmp_path):
    done = command("schemas", "list", "--json", cwd=tmp_path)

    listed = {(one["standard"], one["version"]): one for one in done.json["items"]}
    assert done.code == 0
    assert {
        ("xmeld", "25.11a"), ("xgewerbeanzeige", "2.2"), ("xbau", "2.6"), ("xbeteiligung", "1.2"),
        ("xdomea", "3.0.0"), ("xrechnung", "3.0"),
    } <= listed.keys()  # fmt: skip
    assert listed["xbau", "2.6"]["level"] == "header"
    assert listed["antrag", "1.0"].keys() >= {"title", "identity", "folder", "roots", "valid_from", "valid_to"}
    assert re.search(r"^xbau +2\.6 ", command("schemas", "list", cwd=tmp_path).out, re.MULTILINE)


def test_an_own_standard_comes_before_the_shipped_one(office):
    shown = office("schemas", "show", "antrag/1.0", "--json").json

    assert shown["folder"] == "schemas/xoev/antrag/1.0"
    assert shown["names"] == ["antrag.0101"]


def test_a_standard_is_shown_to_people(office):
    done = office("schemas", "show", "xmeld/25.11a")

    assert done.code == 0
    assert "xmeld" in done.out.splitlines()[0]


@pytest.mark.parametrize("name", ["xmeld/1.0", "xmeld", "", "../..", "niemand/1"])
def test_a_standard_that_is_not_there_is_said(office, name):
    done = office("schemas", "show", name)

    assert done.code == 1
    assert "xoev-hub schemas list" in done.err


def test_schemas_are_compiled(office):
    done = office("schemas", "check", "--json")

    assert done.code == 0
    assert {one["error"] for one in done.json["items"]} == {None}
    assert all(one["ms"] > 0 for one in done.json["items"])


def test_a_schema_that_cannot_be_compiled_is_named(office):
    xsd = office.folder / "schemas" / "xoev" / "antrag" / "1.0" / "antrag.xsd"
    xsd.write_text(xsd.read_text().replace("xs:string", "xs:strang"))

    done = office("schemas", "check", "--json")

    assert done.code == 78
    assert [one["standard"] for one in done.json["items"] if one["error"]] == ["antrag"]
    assert "antrag.xsd" in done.err


@pytest.mark.parametrize("what", ["list", "check"])
def test_a_profile_that_cannot_be_read_is_named_and_the_others_are_there(office, what):
    shutil.copytree(office.folder / "schemas/xoev/antrag", office.folder / "schemas/xoev/kaputt")
    (office.folder / "schemas/xoev/kaputt/1.0/profile.yaml").write_text(BROKEN_PROFILE)

    done = office("schemas", what, "--json")

    assert done.code == 78
    assert "schemas/xoev/kaputt/1.0/profile.yaml" in done.err
    assert any(one["standard"] == "antrag" for one in done.json["items"])


# --- adapters


def test_adapters_are_listed_with_where_they_come_from(tmp_path):
    done = command("adapters", "list", "--json", cwd=tmp_path)

    assert done.code == 0
    assert {(one["name"], one["direction"], one["error"]) for one in done.json["items"]} >= {
        ("http", "in", None), ("folder", "in", None), ("folder", "out", None), ("soap", "out", None),
        ("amqp", "out", None),
    }  # fmt: skip
    assert {one["distribution"] for one in done.json["items"]} == {"xoev-hub"}


def test_a_broken_plugin_is_listed_and_is_a_failure(tmp_path, monkeypatch):
    info = tmp_path / "fremd-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fremd\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[xoev_hub.adapters]\nfremd = gibt_es_nicht:ADAPTER\n")
    monkeypatch.syspath_prepend(str(tmp_path))

    done = command("adapters", "list", "--json")

    (broken,) = [one for one in done.json["items"] if one["error"]]
    assert done.code == 1
    assert (broken["name"], broken["distribution"]) == ("fremd", "fremd")
    assert "gibt_es_nicht" in broken["error"]


def test_the_example_is_a_good_deployment(tmp_path):
    done = command("-c", str(ROOT / "routes.yaml"), "check", "--json", XOEV_HUB_STATE_DIR=str(tmp_path))

    assert done.code == 0, json.dumps(done.json)
    assert done.json["items"] == []

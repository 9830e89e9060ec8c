"""``release DATE``: who is ready for a day on which versions change. Two versions of one small standard, two towns."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from tests import umzug
from tests.command import Office

ROUTES = """\
version: 1
senders:
  portal: {}
inbound:
  eingang: {adapter: folder, path: eingang, sender: portal}
municipalities:
  dorf: {name: Dorf, ags: 09999002, procedures: {umzug: {like: alt}}}
  stadt: {name: Stadt, ags: 09999001, procedures: {umzug: {like: wechselnd}}}
procedures:
  alt: {adapter: folder, path: ausgang, accepts: [umzug/1.0]}
  wechselnd:
    adapter: folder
    path: ausgang
    accepts: [{type: umzug/1.0, until: 2026-05-02T18:00}, {type: umzug/2.0, from: 2026-05-02T18:00}]
    steps:
      - convert: {from: umzug/2.0, to: umzug/1.0, fidelity: lossy, xslt: transforms/zurueck.xsl}
      - convert: {from: umzug/1.0, to: umzug/2.0, fidelity: lossless, xslt: transforms/vorwaerts.xsl}
routes:
  umzug: {match: {type: umzug}, allow_lossy: true, deliver_to: ["{municipality}/umzug"]}
tests:
"""
TEST = """\
  - {name: NAME, message: tests/messages/FILE, expect: {route: umzug, deliver_to: [TOWN/umzug]}}
"""
TOWNS = {"dorf": "09999002", "stadt": "09999001"}


@pytest.fixture
def office(tmp_path: Path) -> Office:
    umzug.write(tmp_path)
    (tmp_path / "tests/messages").mkdir(parents=True)
    tests = ""
    for town, ags in TOWNS.items():
        for version in (umzug.V1, umzug.V2):
            name = f"{town}-{version}"
            (tmp_path / f"tests/messages/{name}.xml").write_bytes(umzug.document(version, ags=ags, telephone=""))
            tests += TEST.replace("NAME", name).replace("FILE", f"{name}.xml").replace("TOWN", town)
    (tmp_path / "routes.yaml").write_text(ROUTES + tests)
    return Office(tmp_path)


GOLDEN = {
    "2026-04-30": (
        0,
        """\
               municipality  version    schema  routes  tests     accepts    why
        green  dorf          umzug/1.0  full    umzug   1 passed  umzug/1.0
        green  stadt         umzug/1.0  full    umzug   1 passed  umzug/1.0
        """,
    ),
    "2026-05-02T17:59": (
        1,
        """\
                municipality  version    schema  routes  tests               accepts    why
        green   dorf          umzug/1.0  full    umzug   1 passed            umzug/1.0
        red     dorf          umzug/2.0  full    umzug   0 passed, 1 failed  umzug/1.0  DEAD
        green   stadt         umzug/1.0  full    umzug   1 passed            umzug/1.0
        yellow  stadt         umzug/2.0  full    umzug   1 passed            umzug/1.0  converted for stadt/umzug: BACK
        """,
    ),
    "2026-05-02T18:00": (
        1,
        """\
                municipality  version    schema  routes  tests               accepts    why
        green   dorf          umzug/1.0  full    umzug   1 passed            umzug/1.0
        red     dorf          umzug/2.0  full    umzug   0 passed, 1 failed  umzug/1.0  DEAD
        yellow  stadt         umzug/1.0  full    umzug   1 passed            umzug/2.0  converted for stadt/umzug: FORTH
        green   stadt         umzug/2.0  full    umzug   1 passed            umzug/2.0
        """,
    ),
    "2026-06-01": (
        1,
        """\
               municipality  version    schema  routes  tests               accepts    why
        red    dorf          umzug/2.0  full    umzug   0 passed, 1 failed  umzug/1.0  DEAD
        green  stadt         umzug/2.0  full    umzug   1 passed            umzug/2.0
        """,
    ),
}
WORDS = {
    "DEAD": "dorf/umzug does not accept it, and no conversion leads there: meldung.0101; route test fails: dorf-2.0",
    "BACK": "umzug/2.0 to umzug/1.0, lossy",
    "FORTH": "umzug/1.0 to umzug/2.0, lossless",
}


@pytest.mark.parametrize("at", GOLDEN)
def test_people_see_who_is_ready(office: Office, at: str) -> None:
    code, table = GOLDEN[at]
    for word, text in WORDS.items():
        table = table.replace(word, text)

    done = office("release", at, TZ="America/New_York")

    assert done.out == textwrap.dedent(table)
    assert done.code == code


def test_programs_see_it_in_full(office: Office) -> None:
    shown = office("release", "2026-05-02", "--json").json

    assert (shown["api"], shown["next"]) == (1, None)
    assert shown["items"][-1] == {
        "municipality": "stadt",
        "standard": "umzug",
        "version": "2.0",
        "state": "yellow",
        "schema": "full",
        "routes": ["umzug"],
        "tests": {"passed": 1, "failed": []},
        "destinations": [
            {
                "name": "stadt/umzug",
                "accepts": ["umzug/1.0/*"],
                "conversions": ["umzug/2.0 to umzug/1.0, lossy"],
            }
        ],
        "red": [],
        "yellow": ["converted for stadt/umzug: umzug/2.0 to umzug/1.0, lossy"],
    }


def why(office: Office, at: str = "2026-06-01") -> dict[str, list[str]]:
    items = office("release", at, "--json").json["items"]
    return {f"{one['municipality']} {one['version']}": [one["state"], *one["red"], *one["yellow"]] for one in items}


def test_a_version_that_no_route_takes_is_red(office: Office) -> None:
    office.change("match: {type: umzug}", "match: {type: umzug/1.0}")

    assert why(office)["stadt 2.0"] == ["red", "no route takes it", "route test fails: stadt-2.0"]


def test_a_standard_of_which_no_version_is_served_any_more_is_red(office: Office) -> None:
    profile = office.folder / "schemas/xoev/umzug/2.0/profile.yaml"
    profile.write_text(profile.read_text() + "valid_to: 2026-06-01\n")

    assert why(office)["stadt None"] == ["red", "no version is served then (xoev-hub schemas import)"]


def test_a_version_that_is_agreed_on_and_whose_schema_is_missing_is_red(office: Office) -> None:
    office.change(
        "{type: umzug/2.0, from: 2026-05-02T18:00}]", "{type: umzug/2.0}, {type: umzug/3.0, from: 2026-11-01}]"
    )

    assert why(office, "2026-10-31T23:59")["stadt 2.0"] == ["green"]
    assert why(office, "2026-11-01")["stadt 2.0"] == [
        "red", "stadt/umzug accepts umzug/3.0 then, whose schema is not here",
    ]  # fmt: skip


def test_what_nobody_tests_or_checks_in_full_is_yellow(office: Office) -> None:
    text = office.config.read_text()
    office.config.write_text(text[: text.index("tests:")].replace("allow_lossy", "checks: [xsd: header], allow_lossy"))
    profile = office.folder / "schemas/xoev/umzug/2.0/profile.yaml"
    profile.write_text(profile.read_text() + "level: header\n")

    assert why(office)["stadt 2.0"] == [
        "yellow", "no route test", "only its header is checked: the official schema is not here",
    ]  # fmt: skip


def test_a_lossy_conversion_that_the_route_does_not_allow_is_refused_before_anything_else(office: Office) -> None:
    office.change("allow_lossy: true, ", "")

    for command in (["release", "2026-05-02"], ["check"], ["check", "--as-of", "2026-05-02"]):
        done = office(*command)
        assert done.code == 78
        assert "routes.yaml:16:74: routes.umzug: route 'umzug' leads here (stadt/umzug)" in done.err
        assert "expected `allow_lossy: true` on that route" in done.err
        assert done.err.endswith("1 problem\n")


@pytest.mark.parametrize(
    ("type_", "refused"), [("umzug/1.0", False), ("umzug/2.0", True), ("umzug/*/meldung.0101", True)]
)
def test_a_route_answers_for_the_lossy_conversions_that_its_messages_may_come_to(
    office: Office, type_: str, refused: bool
) -> None:
    office.change("{match: {type: umzug}, allow_lossy: true,", f"{{match: {{type: {type_}}},")
    office.config.write_text(office.config.read_text().partition("tests:")[0])

    assert ("the conversion is lossy" in office("check").err) is refused


def test_a_lossy_conversion_behind_a_lossless_one_is_found_as_well(office: Office) -> None:
    office.change("{match: {type: umzug}, allow_lossy: true,", "{match: {type: umzug/1.0},")
    office.config.write_text(office.config.read_text().partition("tests:")[0])
    office.change(
        "fidelity: lossless, xslt: transforms/vorwaerts.xsl}",
        "fidelity: lossless, xslt: transforms/vorwaerts.xsl}\n      - convert: {from: umzug/2.0, to: umzug/1.0, fidelity: lossy, xslt: transforms/zurueck.xsl}",
    )

    assert "routes.yaml:18:" in office("check").err


def test_check_tells_towns_whose_procedures_are_alike_together(office: Office) -> None:
    office.change("like: wechselnd", "like: alt")

    items = office("check", "--as-of", "2026-06-01", "--json").json["items"]

    (told,) = (one for one in items if "is not accepted" in one["text"])
    assert told["level"] == "error"
    assert told["text"].startswith("dorf/umzug, stadt/umzug: umzug/2.0 is not accepted at 2026-06-01T00:00")


def test_what_is_no_date_and_what_cannot_be_used_is_said(office: Office) -> None:
    assert office("release", "demnächst").code == 2
    office.change("like: alt", "like: uralt")
    assert office("release", "2026-05-01").code == 78

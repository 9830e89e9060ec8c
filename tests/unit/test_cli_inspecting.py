"""``check``, ``test`` and ``explain`` as they are called."""

import hashlib
import re
from pathlib import Path

import pytest
from lxml import etree

from tests import umzug
from tests.command import TOWN, command, program

BROKEN = Path(__file__).parent / "broken"
EXPECTATION = re.compile(r"# (\d+:\d+) (.+)")

KEYS = {"type", "header", "findings", "routes", "plan", "rejected", "snapshot"}
HEADER_KEYS = {
    "standard", "version", "name", "message_id", "type_code", "created_at", "author", "reader", "test", "references",
}  # fmt: skip

NO_ROUTE = """
  nur-dorf:
    match: {type: antrag/1.0/antrag.0101, municipality: [musterdorf]}
    deliver_to: ["{municipality}/antrag"]
    priority: 5
  nur-amt:
    match: {type: antrag/1.0/antrag.0101, sender: [portal], municipality: [musterstadt]}
    deliver_to: ["{municipality}/antrag"]
    priority: 3
  bau:
    match: {type: xbau/2.6/*}
    checks: [xsd: header]
    deliver_to: ["{municipality}/antrag"]
"""

# --- check


def test_check_says_what_it_has_found_good(office):
    done = office("check")

    assert (done.code, done.out) == (0, "")
    assert re.match(r"ok: 2 municipalities, 2 destinations, 1 routes, snapshot [0-9a-f]{12}\n", done.err)


def test_check_needs_no_secret(office):
    assert command("-c", str(office.config), "check").code == 0


def test_check_tells_all_problems_with_line_and_caret(office):
    office.change("antrag: {like: ablage}  ", "antrag: {like: ablag}  ")
    office.change("may_send: [antrag/*]", "may_sent: [antrag/*]")

    done = office("check")

    assert (done.code, done.out) == (78, "")
    heads = [line for line in done.err.splitlines() if line.startswith("routes.yaml:")]
    assert [re.match(r"routes\.yaml:(\d+):(\d+): ", head)[0] for head in heads]
    assert "may_sent" in heads[0]
    assert "ablage" in heads[1]
    assert done.err.count("^") == 2
    assert done.err.endswith("2 problems\n")


@pytest.mark.parametrize("path", sorted(BROKEN.glob("*.yaml")), ids=lambda path: path.stem)
def test_one_fault_is_exit_code_78_and_its_place(path, tmp_path):
    place, text = EXPECTATION.fullmatch(path.read_text().splitlines()[0]).groups()

    done = command("-c", str(path), "check", XOEV_HUB_STATE_DIR=str(tmp_path))

    assert (done.code, done.out) == (78, "")
    assert done.err.startswith(f"{path.name}:{place}: ")
    assert text in done.err
    assert done.err.endswith("\n1 problem\n")
    assert "CANARY" not in done.err


def test_a_fault_is_told_by_a_process_of_its_own_in_the_same_way(tmp_path):
    path = BROKEN / "unknown_key.yaml"

    done = program("-c", str(path), "check", cwd=tmp_path, XOEV_HUB_STATE_DIR=str(tmp_path))

    assert (done.returncode, done.stdout) == (78, b"")
    assert done.stderr.startswith(b"unknown_key.yaml:")
    assert b"Traceback" not in done.stderr


def test_problems_are_listed_for_programs(office):
    office.change("may_send: [antrag/*]", "may_sent: [antrag/*]")

    done = office("check", "--json")

    assert done.code == 78
    (problem,) = done.json["items"]
    assert {key: problem[key] for key in ("file", "level")} == {"file": "routes.yaml", "level": "error"}
    assert problem["line"] > 1
    assert problem["column"] == 5
    assert (done.json["api"], done.json["next"]) == (1, None)


@pytest.mark.parametrize("name", ["missing.yaml", "routes.yaml"])
def test_programs_get_json_whatever_is_broken(office, name):
    (office.folder / "hub.toml").write_text("stage = 7")

    done = command("-c", str(office.folder / name), "check", "--json")

    assert done.code == 78
    assert done.json["items"][0]["level"] == "error"


def test_the_matrix_shows_who_is_served_with_what(office):
    office.change("      antrag: {like: ablage, path:", "      bauen: {like: ablage, path:")

    done = office("check", "--matrix")

    assert [line.split() for line in done.out.splitlines()] == [
        ["municipality", "name", "antrag", "bauen"],
        ["musterdorf", "Gemeinde", "Musterdorf", "-", "own"],
        ["musterstadt", "Stadt", "Musterstadt", "own", "-"],
    ]


def test_the_matrix_is_part_of_the_one_json_document(office):
    done = office("check", "--matrix", "--json")

    assert done.code == 0
    assert done.json["items"] == []
    assert {one["municipality"]: one["services"] for one in done.json["matrix"]} == {
        "musterdorf": {"antrag": "own"}, "musterstadt": {"antrag": "own"}
    }  # fmt: skip


def test_check_connect_opens_every_destination(office):
    (office.folder / "ausgang" / "musterstadt").mkdir(exist_ok=True)
    (office.folder / "ausgang" / "dorf").mkdir(exist_ok=True)
    good = office("check", "--connect")
    (office.folder / "ausgang" / "dorf").rmdir()

    bad = office("check", "--connect")

    assert (good.code, bad.code) == (0, 1)
    gone = office.folder / "ausgang" / "dorf"
    assert f"musterdorf/antrag: does not open: {gone}: No such file or directory" in bad.err
    assert f"{TOWN}: opens" in bad.err


# --- test


def test_the_tests_of_the_configuration_run(office):
    done = office("test")

    assert done.code == 0
    assert [line.split()[0] for line in done.out.splitlines()] == ["ok", "ok"]
    assert done.err == "2 passed, 0 failed\n"


def test_a_test_that_fails_says_where_it_stands_and_what_differs(office):
    office.change("expect: {rejected: schema_violation}", "expect: {route: antraege, deliver_to: [musterstadt/antrag]}")

    done = office("test")

    assert done.code == 1
    assert "1 passed, 1 failed" in done.err
    assert re.search(r"routes\.yaml:\d+:\d+: expected antraege, got rejected schema_violation", done.err)


def test_one_test_can_be_chosen_and_must_exist(office):
    chosen = office("test", "Ein Antrag ohne Namen wird abgewiesen")
    unknown = office("test", "Diesen gibt es nicht")

    assert (chosen.code, chosen.err) == (0, "1 passed, 0 failed\n")
    assert unknown.code == 2
    assert "there is no test 'Diesen gibt es nicht'" in unknown.err


def test_results_are_written_for_machines(office, tmp_path):
    office.change("Ein Antrag ohne Namen wird abgewiesen", "'<Antrag> & \"Co\" ohne Namen'")
    office.change("expect: {rejected: schema_violation}", "expect: {rejected: unknown_recipient}")

    done = office("test", "--junit", str(tmp_path / "junit.xml"))

    suite = etree.parse(tmp_path / "junit.xml").getroot()
    assert done.code == 1
    assert (suite.tag, suite.get("tests"), suite.get("failures")) == ("testsuite", "2", "1")
    assert suite.xpath("testcase/@name")[1] == '<Antrag> & "Co" ohne Namen'
    assert "schema_violation" in suite.xpath("string(testcase/failure/@message)")


def test_results_for_machines_go_to_stdout_where_a_dash_says_so(office):
    done = office("test", "--junit", "-")

    assert done.code == 0
    assert etree.fromstring(done.raw).get("tests") == "2"
    assert done.err.count("ok ") == 2


def test_results_for_machines_need_a_folder_before_a_test_runs(office, tmp_path):
    done = office("test", "--junit", str(tmp_path / "gone" / "junit.xml"))

    assert (done.code, done.out) == (2, "")
    assert "'--junit'" in done.err or "--junit: its folder does not exist" in done.err


def test_a_mistyped_test_is_answered_by_the_nearest_name(office):
    done = office("test", "Ein Antrag ohne Name wird abgewiesen")

    assert done.code == 2
    assert "did you mean 'Ein Antrag ohne Namen wird abgewiesen'?" in done.err


def test_tests_do_not_run_with_a_broken_configuration(office):
    office.change("version: 1", "version: 2")

    assert office("test").code == 78


# --- explain


def test_explain_tells_programs_what_it_is_and_where_it_goes(office):
    done = office("explain", str(office.good), "--json")

    shown = done.json
    body = office.good.read_bytes()
    assert done.code == 0
    assert shown.keys() >= KEYS
    assert shown["header"].keys() == HEADER_KEYS
    assert (shown["type"], shown["rejected"]) == ("antrag/1.0/antrag.0101", None)
    assert shown["header"]["reader"] == "ags:09999001"
    assert shown["routes"] == [{"name": "antraege", "matched": True, "why": "every condition holds"}]
    (planned,) = shown["plan"]
    assert planned["destination"] == TOWN
    assert (planned["size"], planned["sha256"]) == (len(body), hashlib.sha256(body).hexdigest())
    assert planned["content_type"] == "application/xml"
    assert re.fullmatch("[0-9a-f]{64}", shown["snapshot"])


def test_explain_compiles_what_its_document_may_be_of_and_names_the_same_snapshot(office):
    umzug.write(office.folder)
    whole = office("check").err
    explained = office("explain", str(office.good), "--json").json["snapshot"]
    schema = office.folder / "schemas/xoev/umzug/2.0/umzug.xsd"
    schema.write_text(schema.read_text().replace('type="xs:string"', 'type="xs:gibtsnicht"', 1))

    checked, good = office("check"), office("explain", str(office.good))
    broken = office("explain", "-", stdin=umzug.document("2.0"))

    assert f"snapshot {explained[:12]}" in whole
    assert (checked.code, good.code, broken.code) == (78, 0, 78)
    assert "umzug.xsd" in checked.err
    assert "umzug.xsd" in broken.err


def test_explain_reads_from_a_pipe(office):
    done = office("explain", "-", "--json", stdin=office.document(town="09999002"))

    assert done.json["plan"][0]["destination"] == "musterdorf/antrag"


def test_a_name_that_is_empty_is_no_file_and_not_stdin_either(office):
    done = office("explain", "", stdin=office.document())

    assert (done.code, done.out) == (2, "")
    assert "expected a file, or - for stdin" in done.err


def test_a_document_that_would_be_rejected_is_exit_code_65_with_its_findings(office):
    done = office("explain", str(office.bad), "--json")

    assert done.code == 65
    assert done.json["rejected"] == "schema_violation"
    (finding,) = done.json["findings"]
    assert finding.keys() >= {"rule", "path", "line", "text"}
    assert (finding["rule"], finding["line"]) == ("SCHEMAV_ELEMENT_CONTENT", 11)
    assert done.json["plan"] == []


def test_people_are_told_the_same(office):
    good, bad = office("explain", str(office.good)), office("explain", str(office.bad))

    assert "type       antrag/1.0/antrag.0101" in good.out
    assert f"deliver    {TOWN}: 563 bytes application/xml" in good.out
    assert "verdict    accepted" in good.out
    assert "verdict    rejected: schema_violation" in bad.out
    assert "line 11" in bad.out


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "not_well_formed"),
        (b"{}", "not_well_formed"),
        (b"<!DOCTYPE a><a/>", "doctype_forbidden"),
        (b"<a/>", "unknown_type"),
        (b"<?xml version='1.0' encoding='UTF-7'?><a/>", "encoding"),
    ],
)
def test_whatever_is_piped_in_is_explained(office, body, code):
    done = office("explain", "-", "--json", stdin=body)

    assert done.code == 65
    assert done.json["rejected"] == code


def test_every_route_says_why_it_did_or_did_not_match(office):
    office.change("routes:\n", f"routes:{NO_ROUTE}")

    routes = office("explain", str(office.good), "--sender", "portal", "--json").json["routes"]

    assert {one["name"]: (one["matched"], one["why"]) for one in routes} == {
        "nur-dorf": (False, "addressed to musterstadt, the route asks for musterdorf"),
        "nur-amt": (True, "every condition holds"),
        "antraege": (False, "matches, but nur-amt has a higher priority"),
        "bau": (False, "type is antrag/1.0/antrag.0101, the route asks for xbau/2.6/*"),
    }


def test_a_condition_that_was_not_checked_is_named(office):
    office.change("routes:\n", f"routes:{NO_ROUTE}")

    routes = office("explain", str(office.good), "--json").json["routes"]

    assert [one["why"] for one in routes if one["matched"]] == [
        "every condition holds; sender not given, its condition was not checked"
    ]


def test_without_a_route_the_nearest_miss_is_named_and_the_delivery_would_be_dead(office):
    office.change("match: {type: antrag/1.0/*}", "match: {type: antrag/1.0/*, municipality: [musterdorf]}")

    shown = office("explain", str(office.good), "--json").json

    assert [one["why"] for one in shown["routes"]] == [
        "nearest miss: addressed to musterstadt, the route asks for musterdorf"
    ]
    assert [(one["destination"], one["reason"]) for one in shown["plan"]] == [(None, "no_route")]


def test_a_date_can_be_assumed(office):
    before = office("explain", str(office.good), "--as-of", "2024-12-31", "--json", TZ="UTC")
    after = office("explain", str(office.good), "--as-of", "2025-01-01", "--json", TZ="UTC")

    assert (before.code, after.code) == (65, 0)
    assert before.json["rejected"] == "version_not_served"


@pytest.mark.parametrize(
    "arguments",
    [
        ["explain"],
        ["explain", "FILE", "--message", "01a20104-3a88-770c-80d3-230e6fb12b06"],
        ["explain", "--message", "01a20104-3a88-770c-80d3-230e6fb12b06", "--sender", "portal"],
        ["explain", "there-is-no-such-file.xml"],
        ["explain", "."],
        ["explain", "-", "--sender", "niemand"],
        ["explain", "-", "--source", "nirgends"],
        ["explain", "-", "--as-of", "bald"],
    ],
)
def test_explain_refuses_what_makes_no_sense(office, arguments):
    assert office(*arguments).code == 2


@pytest.mark.parametrize("id_", ["01a20104-3a88-770c-80d3-230e6fb12b06", "x", "", "../../etc/passwd", "\udcff"])
def test_a_message_that_is_not_there_is_said(office, id_):
    office.keep()

    done = office("explain", "--message", id_)

    assert done.code == 1
    assert "there is no message" in done.err


SWITCHING = """
    accepts: [{type: umzug/1.0, until: 2026-05-02T18:00}, {type: umzug/2.0, from: 2026-05-02T18:00}]
    steps: [{convert: {from: umzug/2.0, to: umzug/1.0, fidelity: lossy, xslt: transforms/zurueck.xsl}}]
"""


def test_explain_tells_what_a_conversion_leaves_out_and_when_none_is_needed(office):
    umzug.write(office.folder)
    office.change('    adapter: folder\n    path: "ausgang', f'    adapter: folder{SWITCHING}    path: "ausgang')
    route = '\n  umzug: {match: {type: umzug}, allow_lossy: true, deliver_to: ["{municipality}/antrag"]}\n'
    office.change("\nroutes:\n", f"\nroutes:\n{route}")
    body = umzug.document("2.0", telephone="0000 4711", ags="09999001")

    before, after = (
        office("explain", "-", "--as-of", at, "--json", stdin=body) for at in ("2026-05-02T17:59", "2026-05-02T18:00")
    )
    told = office("explain", "-", "--as-of", "2026-05-02", stdin=body).out

    (old,), (new,) = before.json["plan"], after.json["plan"]
    assert [(one["rule"], one["path"]) for one in old["findings"]] == [("dropped", "/meldung.0101/person/telefon")]
    assert (new["findings"], new["sha256"]) == ([], hashlib.sha256(body).hexdigest())
    assert "warning: dropped /meldung.0101/person/telefon" in told


@pytest.mark.parametrize(
    ("step", "path", "text"),
    [
        ('{python: "nowhere.mod:f"}', "steps[0].python", "no module 'nowhere.mod'"),
        ("{xslt: half.xsl}", "steps[0].xslt", "half.xsl:1: not well-formed"),
        ("xslt", "steps[0]", "expected a mapping of one of xslt, python, validate and convert"),
        ("{xsl: half.xsl, python: x}", "steps[0].xsl", "unknown key 'xsl'; did you mean 'xslt'?"),
        ("{other: x}", "steps[0].other", "unknown key 'other'; known: convert, python, validate, xslt"),
    ],
    ids=["python", "xslt", "text", "near", "other"],
)
def test_a_problem_of_a_step_says_where_it_is_and_what_is_allowed(office, step, path, text):
    (office.folder / "half.xsl").write_text("<a")
    office.change("checks: [xsd]", f"steps: [{step}]\n    checks: [xsd]")

    found = office("check", "--json").json["items"]

    assert [one for one in found if one["path"] == f"routes.antraege.{path}" and one["text"].startswith(text)], found

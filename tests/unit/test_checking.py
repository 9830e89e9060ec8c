"""What checks found is one thing, whether a route accepts it another; what did not run has not passed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pytest

from hub.checking import Result, run_checks
from hub.errors import ConfigError, Problem
from hub.message import Finding
from hub.xml.bundle import FINDINGS_MAX
from hub.xml.checks.values import Check, Document, Found, Inconclusive
from tests.checked import document, registry
from tests.standards import NOW, parsed


class Scripted:
    """Checks that find what is written here: findings as ``rule level``, or what they raise."""

    def __init__(self, script: Mapping[str, Any]) -> None:
        self._script = script

    def prepared(self, check: Check, _profile: object) -> Any:
        answer = self._script.get(check.name, [])
        if isinstance(answer, ConfigError):
            raise answer

        def run(document: Document) -> Iterable[Found]:
            if isinstance(answer, Exception):
                raise answer
            for one in answer:
                rule, level = one.split()
                yield Found(rule, document.root, f"Wert von {rule}", level)

        return run


@pytest.fixture
def judged(tmp_path):
    _, profile = registry(tmp_path)
    root = parsed(document("<titel>Jürgen</titel>"))

    def judge(
        names: Sequence[str], accept: Mapping[str, str] = {}, header: Sequence[Finding] = (), **script: Any
    ) -> Result:
        checks = [Check(name) for name in names]
        scripted: Any = Scripted(script)
        return run_checks(checks, Document(root, profile, NOW), scripted, accept=accept, about_header=header)

    return judge


ALL = ("xsd", "idref", "din91379", "codelists", "schematron", "signature")


def states(result: Result) -> dict[str, str]:
    return {one.name: one.state for one in result.checks}


def test_checks_run_in_the_order_of_the_route_and_each_is_reported(judged):
    result = judged(("signature", "xsd", "schematron"), schematron=["R1 warning"])

    assert [(one.name, one.state) for one in result.checks] == [(n, "done") for n in ("signature", "xsd", "schematron")]
    assert result.code == ""
    assert [(one.rule, one.level) for one in result.findings] == [("R1", "warning")]


def test_what_is_not_valid_is_not_looked_at_further(judged):
    result = judged(("signature", "xsd", "idref", "schematron"), xsd=["X error"], schematron=["R1 error"])

    assert result.code == "schema_violation"
    assert states(result) == {"signature": "done", "xsd": "done", "idref": "skipped", "schematron": "skipped"}
    assert [one.rule for one in result.findings] == ["X"]


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("idref", "schema_violation"),
        ("din91379", "schema_violation"),
        ("codelists", "code_list"),
        ("schematron", "schematron"),
        ("signature", "signature"),
    ],
)
def test_an_error_rejects_with_the_code_of_its_check_and_the_others_still_run(judged, name, code):
    result = judged(ALL, **{name: ["R1 error", "R2 warning"]})

    assert result.code == code
    assert set(states(result).values()) == {"done"}
    assert [one.rule for one in result.findings] == ["R1"]


def test_the_first_check_that_found_an_error_gives_the_code_and_the_sender_gets_all_errors(judged):
    result = judged(ALL, schematron=["R1 error"], codelists=["code_unknown error"])

    assert result.code == "code_list"
    assert {one.rule for one in result.findings} == {"R1", "code_unknown"}


@pytest.mark.parametrize(
    ("accept", "code"),
    [
        ({"BR-DE-1": "warning"}, ""),
        ({"BR-DE-*": "warning"}, ""),
        ({"BR-DE-1": "warning", "*": "error"}, ""),
        ({"*": "error", "BR-DE-1": "warning"}, "schematron"),
        ({"br-de-1": "warning"}, "schematron"),
        ({}, "schematron"),
    ],
)
def test_a_route_may_accept_what_a_rule_finds(judged, accept, code):
    result = judged(ALL, accept, schematron=["BR-DE-1 error"])

    assert result.code == code
    assert [one.level for one in result.findings] == ["error" if code else "warning"]


def test_a_route_may_refuse_what_is_a_warning_elsewhere(judged):
    assert (
        judged(ALL, {"list_version_unknown": "error"}, codelists=["list_version_unknown warning"]).code == "code_list"
    )


@pytest.mark.parametrize("name", ["xsd", "signature"])
def test_a_broken_schema_and_a_broken_signature_cannot_be_accepted(judged, name):
    assert judged(ALL, {"*": "warning"}, **{name: ["R1 error"]}).code != ""


@pytest.mark.parametrize(
    "failure",
    [
        Inconclusive("the engine ended with an error"),
        ConfigError([Problem("profile.yaml", 0, 0, "", "names no code lists")]),
        ValueError("Jürgen ist schuld"),
        RecursionError(),
        MemoryError(),
    ],
)
def test_a_check_that_could_not_tell_has_not_passed_and_no_route_accepts_that(judged, failure, capfd):
    result = judged(ALL, {"*": "warning"}, codelists=failure, schematron=["R1 warning"])

    assert result.code == "inspection_failed"
    assert states(result)["codelists"] == "crashed"
    assert states(result)["schematron"] == "done"
    (finding,) = result.findings
    assert finding.rule == "codelists"
    assert finding.text.startswith("could not be checked: ")
    assert "Jürgen" not in finding.text + capfd.readouterr().err


def test_no_error_is_lost_behind_a_thousand_that_the_route_accepts(judged):
    result = judged(ALL, {"R1": "warning"}, schematron=["R1 error"] * 1000 + ["R2 error"])

    assert result.code == "schematron"
    assert [one.rule for one in result.findings] == ["R2"]


def test_at_most_a_hundred_findings_are_shown_with_at_most_500_characters_each(judged):
    result = judged(ALL, schematron=[f"R{number}{'x' * 600} error" for number in range(500)])

    assert len(result.findings) == FINDINGS_MAX == 100
    assert {len(one.text) for one in result.findings} == {500}


def test_what_the_header_says_counts_like_the_schema(judged):
    wrong, odd = Finding("header", "/a", 2, "x"), Finding("header", "/b", 3, "y", level="warning")

    assert judged(("xsd",), header=[wrong, odd]).code == "schema_violation"
    assert [one.path for one in judged(("xsd",), header=[wrong, odd]).findings] == ["/a"]
    assert [one.path for one in judged(("xsd",), header=[odd]).findings] == ["/b"]


def test_findings_keep_the_values_of_the_document_out_of_their_representation(judged):
    result = judged(ALL, schematron=["R1 error"])

    assert "Wert" not in repr(result)
    assert "Jürgen" not in repr(result)

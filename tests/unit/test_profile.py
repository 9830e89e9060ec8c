"""profile.yaml: strict, and every problem with its line and column in one run."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hub.xml.header import read
from tests.standards import NS, PROFILE, notiz, parsed


@pytest.mark.parametrize(
    ("old", "new", "line", "column", "text"),
    [
        ("xsd: notiz.xsd", "xsd: notiz.xsd\nlevl: full", 5, 1, "unknown key 'levl'; did you mean 'level'?"),
        ("standard: notiz\n", "", 1, 1, "standard is missing"),
        ("standard: notiz", "standard: Notiz", 1, 11, "the folder is named 'notiz'"),
        ('version: "1"', 'version: "2"', 2, 10, "the folder is named '1'"),
        ("xsd: notiz.xsd", "xsd: ../notiz.xsd", 4, 6, "expected a schema file in this folder"),
        ("xsd: notiz.xsd\n", "", 3, 8, "xsd is missing"),
        ("header: {form: none}\n", "", 3, 8, "header is missing"),
        ('names: "*"', "names: notiz", 3, 45, 'expected a list of names or "*"'),
        ("form: none", "form: Z", 5, 16, "found 'Z', expected one of none, A, B, C"),
        ("form: none", "message_id: //a", 5, 22, "expected an absolute XPath"),
        ("form: none", "message_id: a/b", 5, 22, "expected an absolute XPath"),
        ("form: none", "message_id: /a/x:b", 5, 22, "is no XPath that can be used here"),
        ("form: none", 'message_id: "/a["', 5, 22, "is no XPath that can be used here"),
        ("form: none", 'message_id: "/a[fremd()]"', 5, 22, "is no XPath that can be used here"),
        ("form: none", 'message_id: "/a[x:b]"', 5, 22, "unknown x"),
        ("form: none", 'message_id: "/a | string(/b)"', 5, 22, "expected an absolute XPath"),
        ("form: none", "message_id: /a = /b", 5, 22, "expected an XPath that selects a node"),
        ("form: none", "type_mismatch: fatal", 5, 25, "expected one of warning, error"),
        ("form: none", 'reader: {xpath: /a, prefix: "a:"}', 5, 38, "expected letters such as ags"),
        ("form: none", "reader: {prefix: ags}", 5, 18, "xpath is missing"),
        ("xsd: notiz.xsd", "xsd: notiz.xsd\nkeys: {az: {xpath: /a, pattern: '['}}", 5, 33, "is no regular expression"),
        ("xsd: notiz.xsd", "xsd: notiz.xsd\nbusiness_keys: [az]", 5, 16, "none of keys"),
        ("xsd: notiz.xsd", "xsd: notiz.xsd\nvalid_from: 1.5.2026", 5, 13, "expected a date such as 2026-05-01"),
        (
            "xsd: notiz.xsd",
            "valid_from: 2026-05-01\nvalid_to: 2026-04-01\nxsd: notiz.xsd",
            5,
            11,
            "found 2026-04-01, expected a date later than valid_from, 2026-05-01",
        ),
        (
            "xsd: notiz.xsd",
            "valid_from: 2026-05-01\nvalid_to: 2026-05-01\nxsd: notiz.xsd",
            5,
            11,
            "found 2026-05-01, expected a date later than valid_from, 2026-05-01",
        ),
        (
            "xsd: notiz.xsd",
            "valid_to: 2026-05-01\ngrace_until: 2026-04-30\nxsd: notiz.xsd",
            5,
            14,
            "found 2026-04-30, expected a date not before valid_to, 2026-05-01",
        ),
        ("xsd: notiz.xsd", "xsd: notiz.xsd\ncodelists: [../a.xml]", 5, 13, "expected a file in this folder"),
        ("xsd: notiz.xsd", "xsd: notiz.xsd\nschematron: a.sch", 5, 13, "expected a list"),
        ("xsd: notiz.xsd", "xsd: notiz.xsd\nversion_from: version", 5, 15, "expected fixed"),
        ("xsd: notiz.xsd", "xsd: notiz.xsd\nidentity: uuid", 5, 11, "expected one of message_id, digest"),
        ("xsd: notiz.xsd", "xsd: notiz.xsd\nxsd: b.xsd", 5, 1, "a second time"),
        ("xsd: notiz.xsd", "xsd: notiz.xsd\ntitle: [a", 6, 7, ""),
        ("xsd: notiz.xsd", "xsd: notiz.xsd\nreject_with: 0910", 5, 14, "expected `problem` or a message type"),
        ("xsd: notiz.xsd", "xsd: notiz.xsd\nreceipt_with: 1180", 5, 15, "expected `none` or a message type"),
        ("xsd: notiz.xsd", "xsd: notiz.xsd\nanswers: {a: {type_code: 1}}", 5, 14, "form is missing"),
        ("xsd: notiz.xsd", "xsd: notiz.xsd\nanswers: {a: {form: x, type_code: 1}}", 5, 21, "expected one of xinneres"),
    ],
)
def test_a_broken_profile_is_a_problem_at_its_line_and_column(old, new, line, column, text, tmp_path):
    registry, problems = notiz(tmp_path, PROFILE.replace(old, new, 1))

    assert ("notiz", "1") not in registry.profiles
    assert [(one.file, one.line, one.column) for one in problems] == [
        ("schemas/xoev/notiz/1/profile.yaml", line, column)
    ]
    assert text in problems[0].text


def test_a_profile_names_its_code_lists_and_schematron_files(tmp_path):
    named = 'codelists: ["codelists/Amtssprache EU_2.xml"]\nschematron: [schematron/regeln.sch]\nwithout: [urn:a]\n'

    registry, problems = notiz(tmp_path, PROFILE + named)

    profile = registry.profiles["notiz", "1"]
    assert problems == []
    assert profile.codelists == ("codelists/Amtssprache EU_2.xml",)
    assert profile.schematron == ("schematron/regeln.sch",)
    assert profile.without == {"urn:a"}


def test_all_problems_of_a_profile_come_in_one_run(tmp_path):
    broken = PROFILE.replace("notiz.xsd", "notiz.txt").replace("none", "Z") + "valid_to: morgen\nneu: 1\n"

    _, problems = notiz(tmp_path, broken)

    assert [one.line for one in problems] == [4, 5, 6, 7]


def test_a_key_of_several_roots_is_read_by_one_xpath(tmp_path):
    more = 'keys:\n  az: {xpath: "/r:notiz/r:az | /r:alt/r:az", pattern: "[0-9/]+"}\nbusiness_keys: [az]\n'

    registry, problems = notiz(tmp_path, PROFILE + more)

    assert problems == []
    assert registry.profiles["notiz", "1"].business_keys == {"az"}
    assert registry.profiles["notiz", "1"].keys["az"].pattern == "[0-9/]+"


def test_an_xpath_may_have_conditions_and_axes(tmp_path):
    xpath = """/*[local-name()='notiz' and not(@alt="//x:y")]/child::r:az[position() = 1]/text()"""

    _, problems = notiz(tmp_path, f"{PROFILE}keys:\n  az:\n    xpath: >-\n      {xpath}\n")

    assert problems == []


def test_an_xpath_that_fails_only_with_a_document_finds_nothing(tmp_path):
    registry, problems = notiz(tmp_path, PROFILE + 'keys: {az: {xpath: "/r:notiz[contains(1)]"}}\n')
    assert problems == []

    reading = read(parsed(f'<notiz xmlns="{NS}"/>'), registry.profiles["notiz", "1"])

    assert dict(reading.header.keys) == {}


@pytest.mark.parametrize(("written", "level"), [("", "warning"), (", type_mismatch: error", "error")])
def test_a_profile_says_how_bad_a_type_code_is_that_differs_from_the_roots_name(written, level, tmp_path):
    own = f'header: {{form: none, namespaces: {{n: "{NS}"}}, type_code: /n:notiz.0101/n:typ{written}}}'
    registry, problems = notiz(tmp_path, PROFILE.replace("header: {form: none}", own))
    root = parsed(f'<notiz.0101 xmlns="{NS}"><typ>0102</typ></notiz.0101>')

    assert problems == []
    profile = registry.profiles["notiz", "1"]
    profile = replace(profile, roots=(replace(profile.roots[0], names=frozenset({"notiz.0101"})),))
    assert [one.level for one in read(root, profile).findings] == [level]


def test_a_profile_says_with_what_its_messages_are_rejected(tmp_path):
    own = 'reject_with:\n  abruf.*: notiz/1/notiz.0910\n  "*": andere/6/rueckweisung.0010\n'

    registry, problems = notiz(tmp_path, PROFILE + own)

    profile = registry.profiles["notiz", "1"]
    assert problems == []
    assert str(profile.rejection_of("abruf.0101")) == "notiz/1/notiz.0910"
    assert str(profile.rejection_of("notiz.0101")) == "andere/6/rueckweisung.0010"


def test_a_profile_says_with_what_its_messages_are_receipted(tmp_path):
    own = 'receipt_with:\n  "*.11[4-7]?": notiz/1/quittung.1180\n'

    registry, problems = notiz(tmp_path, PROFILE + own)

    profile = registry.profiles["notiz", "1"]
    assert problems == []
    assert str(profile.receipt_of("dokument.1150")) == "notiz/1/quittung.1180"
    assert profile.receipt_of("quittung.1180") is None


@pytest.mark.parametrize(
    ("own", "expected"), [("", None), ("reject_with: problem\n", None), ("reject_with: a/1/b.c\n", "a/1/b.c")]
)
def test_where_nothing_is_said_a_rejection_is_the_problem_document(own, expected, tmp_path):
    registry, _ = notiz(tmp_path, PROFILE + own)

    found = registry.profiles["notiz", "1"].rejection_of("notiz.0101")

    assert (str(found) if found else None) == expected


def test_a_profile_says_how_its_own_answers_are_filled(tmp_path):
    own = 'answers:\n  notiz.0910: {form: xmeld, type_code: "0910", codes: {conflict: S100}, list_version: "5"}\n'

    registry, problems = notiz(tmp_path, PROFILE + own)

    answer = registry.profiles["notiz", "1"].answers["notiz.0910"]
    assert problems == []
    assert (answer.form, answer.type_code, dict(answer.codes), answer.list_version) == (
        "xmeld",
        "0910",
        {"conflict": "S100"},
        "5",
    )

"""The checks beyond the schema, each by documents that the schema finds valid."""

from __future__ import annotations

import pytest

from hub.errors import ConfigError
from hub.xml.checks.values import Check
from tests.checked import code_list, document, findings, registry, rules
from tests.standards import parsed

TITLE = "<titel>Baum</titel>"
LISTS = {"codes/a.xml": code_list("9", "D", "F"), "codes/b.xml": code_list("10", "D", "PL")}
NAMED = "codelists: [codes/a.xml, codes/b.xml]\n"


# --- what the schema says of each element


def test_every_element_of_a_valid_document_has_a_type_also_inherited_grouped_and_named_by_xsi_type(tmp_path):
    known, profile = registry(tmp_path)
    text = document(
        TITLE + '<zusatz>x</zusatz><teil xsi:type="Akte"><titel>y</titel><frei><code xmlns="">1</code></frei></teil>',
        'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"',
    )
    types = known.types(profile)["akte.xsd"]

    typed = {one.node.tag.rpartition("}")[2]: one for one in types.walk(parsed(text))}

    assert {name for name, one in typed.items() if one.type is None} == set()
    assert typed["teil"].type == "{urn:test:akte}Akte"
    assert types.resolved(typed["frei"].type).attributes.keys() == {"listURI", "listVersionID"}
    assert "{http://www.w3.org/2001/XMLSchema}string" in types.simple(typed["zusatz"].type).names


def test_what_stands_at_a_wildcard_undeclared_has_no_type_and_what_is_declared_has_one(tmp_path):
    known, profile = registry(tmp_path)
    text = document(TITLE + '<mehr><fremd xmlns="urn:x"><b/></fremd><zusatz>x</zusatz></mehr>')
    types = known.types(profile)["akte.xsd"]

    typed = {one.node.tag: one.type for one in types.walk(parsed(text))}

    assert typed["{urn:x}fremd"] is None
    assert typed["{urn:test:akte}zusatz"] is not None


# --- idref


@pytest.mark.parametrize(
    ("inside", "attributes", "expected"),
    [
        (TITLE + "<verweis>a</verweis>", 'kennung="a"', []),
        (TITLE + "<verweis>b</verweis>", 'kennung="a"', [("idref", "error", "/akte/verweis")]),
        (TITLE + "<verweis> n </verweis><nummer>n</nummer>", "", []),
        (TITLE + '<teil siehe="a n"><titel>x</titel><nummer>n</nummer></teil>', 'kennung="a"', []),
        (TITLE + '<teil siehe="a c"><titel>x</titel></teil>', 'kennung="a"', [("idref", "error", "/akte/teil")]),
        (TITLE + "<nummer>a</nummer>", 'kennung="a"', [("id", "error", "/akte/nummer")]),
    ],
)
def test_a_reference_that_names_nothing_and_an_id_that_stands_twice_are_found(tmp_path, inside, attributes, expected):
    assert rules(findings(tmp_path, Check("idref"), document(inside, attributes))) == expected


# --- din91379


@pytest.mark.parametrize(
    ("inside", "expected"),
    [
        (TITLE, []),
        ("<titel/>", [("S030", "error", "/akte/titel")]),
        ("<titel><!-- nichts --></titel>", [("S030", "error", "/akte/titel")]),
        ("<titel> </titel>", []),
        (TITLE + "<untertitel/>", []),
        (TITLE + '<kuerzel xmlns=""/>', []),
        (TITLE + "<zahl/>", []),
        (TITLE + "<teil><titel>x</titel></teil><teil><titel/></teil>", [("S030", "error", "/akte/teil[2]/titel")]),
        (TITLE + "<zusatz/>", []),
    ],
)
def test_an_empty_mandatory_text_is_found_and_an_empty_optional_one_is_not(tmp_path, inside, expected):
    assert rules(findings(tmp_path, Check("din91379"), document(inside))) == expected


# --- codelists


def state(code: str, version: str) -> str:
    return document(f'{TITLE}<staat listVersionID="{version}"><code xmlns="">{code}</code></staat>')


@pytest.mark.parametrize(
    ("code", "version", "lenient", "strict"),
    [
        ("D", "10", [], []),
        ("F", "9", [], []),
        ("PL", "9", ["code_unknown error"], ["code_unknown error"]),
        ("F", "10", ["code_unknown error"], ["code_unknown error"]),
        (" D ", "10", [], []),
        ("F<!-- D -->", "10", ["code_unknown error"], ["code_unknown error"]),
        ("<?x?>F", "10", ["code_unknown error"], ["code_unknown error"]),
        ("X", "11", ["list_version_unknown warning"], ["list_version_unknown error"]),
        # As real senders write it: no version is stated, so the newest that is here counts. 10 is newer than 9.
        ("PL", "", [], ["list_version_unknown error"]),
        ("PL", "0", [], ["list_version_unknown error"]),
        ("F", "0", ["code_unknown error"], ["list_version_unknown error", "code_unknown error"]),
    ],
)
def test_a_code_is_looked_up_in_the_list_and_version_that_its_element_names(tmp_path, code, version, lenient, strict):
    for check, expected in ((Check("codelists"), lenient), (Check("codelists", strict=True), strict)):
        found = findings(tmp_path, check, state(code, version), LISTS, NAMED)

        assert [f"{one.rule} {one.level}" for one in found] == expected


def test_a_code_of_a_list_that_is_not_here_is_an_error_unless_the_schema_lists_the_codes_itself(tmp_path):
    text = document(
        TITLE + '<art><code xmlns="">A</code></art>'
        '<frei listURI="urn:fremd" listVersionID="1"><code xmlns="">1</code></frei>'
        '<frei><code xmlns="">ohne Liste</code></frei>'
    )

    found = findings(tmp_path, Check("codelists"), text, LISTS, NAMED)

    assert rules(found) == [("list_unknown", "error", "/akte/frei[1]/code")]


@pytest.mark.parametrize(("strict", "level"), [(False, "warning"), (True, "error")])
def test_a_code_whose_list_has_no_name_cannot_be_looked_up(tmp_path, strict, level):
    text = document(TITLE + '<frei listURI="" listVersionID=""><code xmlns="">1</code></frei>')

    found = findings(tmp_path, Check("codelists", strict=strict), text, LISTS, NAMED)

    assert rules(found) == [("list_unnamed", level, "/akte/frei")]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("<CodeList><Identification/></CodeList>", "is no genericode"),
        (code_list("1", "A").replace('Ref="SCHLUESSEL"', 'Ref="fehlt"'), "names no key column"),
        ("<CodeList>", "is not well-formed"),
    ],
)
def test_a_code_list_that_cannot_be_read_is_a_problem_of_its_file(tmp_path, text, problem):
    with pytest.raises(ConfigError, match=problem) as caught:
        findings(tmp_path, Check("codelists"), document(TITLE), {"codes/a.xml": text}, "codelists: [codes/a.xml]\n")

    assert caught.value.problems[0].file == "schemas/xoev/akte/1/codes/a.xml"


def test_two_files_of_one_version_of_a_list_must_have_the_same_codes(tmp_path):
    files = {"codes/a.xml": code_list("1", "A"), "codes/b.xml": code_list("1", "A")}
    named = "codelists: [codes/a.xml, codes/b.xml]\n"
    assert findings(tmp_path, Check("codelists"), document(TITLE), files, named) == []

    with pytest.raises(
        ConfigError, match="has other codes than another file with version 1 of the code list"
    ) as caught:
        findings(tmp_path, Check("codelists"), document(TITLE), files | {"codes/b.xml": code_list("1", "B")}, named)

    assert caught.value.problems[0].file == "schemas/xoev/akte/1/codes/b.xml"


def test_findings_show_at_most_the_beginning_of_a_value(tmp_path):
    found = findings(tmp_path, Check("codelists"), state("X" * 5000, "10"), LISTS, NAMED)

    assert len(found[0].text) < 500
    assert "X" * 100 not in found[0].text

"""ISO Schematron: what its parts mean, and that its rules reach nothing but the document."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hub.errors import ConfigError
from hub.files import Files
from hub.message import Finding
from hub.xml.checks.values import Check, Inconclusive
from hub.xml.schematron import read_schematron
from tests.checked import NS, document, findings

pytest.importorskip("saxonche")

TITLE = "<titel>Baum</titel>"


def schema(inside: str, attributes: str = 'queryBinding="xslt2"') -> str:
    return f"""\
<schema xmlns="http://purl.oclc.org/dsdl/schematron" xmlns:xsl="http://www.w3.org/1999/XSL/Transform" {attributes}>
  <ns prefix="a" uri="{NS}"/>
  {inside}
</schema>
"""


def rule(test: str, context: str = "a:akte", kind: str = "assert", more: str = 'id="R1"', text: str = "nein") -> str:
    return f'<pattern id="p"><rule context="{context}"><{kind} test="{test}" {more}>{text}</{kind}></rule></pattern>'


def found(base: Path, rules: str, text: str = document(TITLE), phase: str = "", **more: str) -> list[Finding]:
    files = {f"regeln/{name}.sch": body for name, body in {"haupt": rules, **more}.items()}
    return findings(base, Check("schematron", phase=phase), text, files, "schematron: [regeln/haupt.sch]\n")


def test_a_finding_bears_rule_path_line_and_the_text_with_what_it_computes(tmp_path):
    rules = schema(
        rule("@kennung", "a:teil", text='Teil <value-of select="a:titel"/> von <name path="/*"/> {hat}\n keine Kennung')
    )
    text = document(f'{TITLE}\n<teil kennung="a">{TITLE}</teil>\n<teil>{TITLE}</teil>')

    (finding,) = found(tmp_path, rules, text)

    assert finding == Finding("R1", "/akte/teil[2]", 3, "Teil Baum von akte {hat} keine Kennung")


@pytest.mark.parametrize(
    ("attributes", "level"),
    [
        ("", "error"),
        ('flag="fatal"', "error"),
        ('flag="warning"', "warning"),
        ('flag="information"', "warning"),
        ('role="WARN"', "warning"),
        ('role="warning" flag="error"', "error"),
    ],
)
def test_flag_or_role_says_how_much_a_finding_weighs(tmp_path, attributes, level):
    assert found(tmp_path, schema(rule("false()", more=attributes)))[0].level == level


def test_a_report_finds_what_holds_and_the_first_rule_that_fits_a_node_is_the_only_one(tmp_path):
    rules = schema(
        f"""<pattern id="erst">
          <rule context="a:titel[. = 'Baum']"><report test="true()" id="baum">x</report></rule>
          <rule context="a:titel"><report test="true()" id="titel">x</report></rule>
        </pattern>{rule("true()", "a:titel", "report", 'id="zweit"')}"""
    )

    assert [one.rule for one in found(tmp_path, rules)] == ["baum", "zweit"]


def test_variables_keys_functions_and_diagnostics_are_known_to_the_rules(tmp_path):
    rules = schema(
        """<let name="titel" value="/a:akte/a:titel"/>
        <xsl:key name="nach" match="a:teil" use="a:titel"/>
        <xsl:function name="a:doppelt"><xsl:param name="x"/><xsl:sequence select="concat($x, $x)"/></xsl:function>
        <pattern><let name="wort" value="'Baum'"/><rule context="a:akte"><let name="laenge" value="string-length($titel)"/>
          <assert id="R1" diagnostics="d1" test="a:doppelt($wort) = 'x' or $laenge = 5 or key('nach', 'q')">nein</assert>
        </rule></pattern>
        <diagnostics><diagnostic id="d1">weil <value-of select="$laenge"/></diagnostic></diagnostics>""",
        'queryBinding="xslt3"',
    )

    assert found(tmp_path, rules)[0].text == "nein weil 4"


def test_each_pattern_has_variables_of_its_own(tmp_path):
    rules = schema(
        """<let name="alle" value="1"/>
        <pattern><let name="wort" value="'Baum'"/><rule context="a:titel[. = $wort]">
          <assert id="R1" test="$wort = 'x'">x</assert></rule></pattern>
        <pattern><rule abstract="true" id="leer"><assert id="R2" diagnostics="d1" test="$wort != 'Ast'">x</assert></rule>
          <let name="wort" value="'Ast'"/><let name="wort-2" value="concat($wort, $alle)"/>
          <rule context="a:titel[. != $wort]"><let name="alle" value="$wort"/><extends rule="leer"/>
          <assert id="R3" test="false()"><value-of select="$wort-2"/> <value-of select="$alle"/></assert></rule></pattern>
        <pattern id="dritte" is-a="muster"><param name="was" value="'Laub'"/></pattern>
        <pattern id="vierte" is-a="muster"><param name="was" value="'Holz'"/></pattern>
        <pattern id="muster" abstract="true"><let name="wort" value="$was"/>
          <rule context="a:akte"><report test="true()"><value-of select="$wort"/></report></rule></pattern>
        <diagnostics><diagnostic id="d1"><value-of select="$wort"/></diagnostic></diagnostics>"""
    )

    said = [(one.rule, one.text) for one in found(tmp_path, rules)]

    assert said == [("R1", "x"), ("R2", "x Ast"), ("R3", "Ast1 Ast"), ("dritte", "Laub"), ("vierte", "Holz")]


def test_abstract_rules_and_patterns_are_filled_in_and_includes_read(tmp_path):
    rules = schema(
        """<include href="teile.sch#abstrakt"/>
        <pattern id="konkret" is-a="abstrakt"><param name="was" value="a:titel"/><param name="wasnicht" value="'Baum'"/></pattern>
        <pattern id="q"><rule abstract="true" id="leer"><assert test="a:zahl" id="R2">x</assert></rule>
          <rule context="a:akte"><extends rule="leer"/></rule></pattern>"""
    )
    parts = schema(
        """<pattern id="abstrakt" abstract="true"><rule context="$was"><assert test=". != $wasnicht" id="R1">x</assert></rule></pattern>"""
    )

    assert [one.rule for one in found(tmp_path, rules, teile=parts)] == ["R1", "R2"]


def test_a_test_without_an_id_bears_its_patterns_with_a_number_where_that_has_several(tmp_path):
    rules = schema(
        rule("false()", more="").replace('id="p"', 'id="allein"')
        + """<pattern id="zwei"><rule context="a:akte"><assert test="false()">x</assert><assert test="false()">y</assert>
          <assert id="R" test="false()">z</assert></rule></pattern>
        <pattern id="muster" abstract="true"><rule context="$was"><assert test="false()">x</assert></rule></pattern>
        <pattern is-a="muster"><param name="was" value="a:akte"/></pattern>"""
    )

    assert [one.rule for one in found(tmp_path, rules)] == ["allein", "zwei-1", "zwei-2", "R", "muster"]


def test_a_route_may_choose_among_the_files_of_the_profile(tmp_path):
    files = {f"regeln/{name}.sch": schema(rule("false()", more=f'id="{name}"')) for name in ("straf", "zoll")}
    named = "schematron: [regeln/straf.sch, regeln/zoll.sch]\n"

    def rules_of(*globs: str) -> list[str]:
        return [one.rule for one in findings(tmp_path, Check("schematron", files=globs), document(TITLE), files, named)]

    assert rules_of() == ["straf", "zoll"]
    assert rules_of("*zoll*") == ["zoll"]
    with pytest.raises(
        ConfigError, match=r"no Schematron file fits 'kasse'; there are regeln/straf.sch, regeln/zoll.sch"
    ):
        rules_of("kasse")


def test_a_phase_chooses_its_patterns_and_the_schemas_own_counts_where_the_route_says_none(tmp_path):
    phases = """<phase id="kurz"><active pattern="p"/></phase><phase id="lang"><active pattern="p"/><active pattern="q"/></phase>"""
    both = rule("false()") + rule("false()", more='id="R2"').replace('id="p"', 'id="q"')
    rules = schema(phases + both, 'queryBinding="xslt2" defaultPhase="kurz"')

    assert [one.rule for one in found(tmp_path, rules)] == ["R1"]
    assert [one.rule for one in found(tmp_path, rules, phase="lang")] == ["R1", "R2"]
    assert [one.rule for one in found(tmp_path, rules, phase="#ALL")] == ["R1", "R2"]
    with pytest.raises(ConfigError, match="has no phase 'x'; phases: kurz, lang"):
        found(tmp_path, rules, phase="x")


@pytest.mark.parametrize(
    ("rules", "problem"),
    [
        (schema("", 'queryBinding="xquery"'), "expected an ISO Schematron schema with a query binding of"),
        (schema('<include href="../../../../geheim.sch"/>'), "lies outside the standard's folder"),
        (schema('<include href="haupt.sch"/>'), "or includes itself"),
        (schema('<pattern is-a="fehlt"/>'), "no such abstract pattern"),
        (schema('<pattern><rule context="a:b"><extends rule="fehlt"/></rule></pattern>'), "no such abstract rule"),
        (schema('<pattern documents="doc(.)"/>'), "a check knows its document only"),
    ],
)
def test_what_cannot_be_a_program_is_a_problem_of_its_file(tmp_path, rules, problem):
    with pytest.raises(ConfigError, match=problem) as caught:
        found(tmp_path, rules)

    assert caught.value.problems[0].file.endswith(".sch")


@pytest.mark.parametrize(
    "test",
    [
        "doc('file:///etc/hostname')/x",
        "document('file:///etc/hostname')",
        "unparsed-text('file:///etc/hostname') != ''",
        "doc(concat('file://', '/etc/hostname'))/x",
        "error((), string(a:titel))",
        "xs:integer(a:titel) = 1",
    ],
)
def test_a_rule_that_asks_for_more_than_its_document_or_fails_proves_nothing(tmp_path, test, capfd):
    with pytest.raises(Inconclusive) as caught:
        found(tmp_path, schema(rule(test)))

    assert "Baum" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert capfd.readouterr().err == ""


def test_a_rule_sees_no_environment_and_writes_no_file(tmp_path):
    os.environ["XOEV_HUB_CANARY"] = "CANARY"
    rules = schema(
        rule(
            "environment-variable('XOEV_HUB_CANARY') = 'CANARY' or available-environment-variables() != ''",
            kind="report",
        )
    )
    writing = schema(
        f'<pattern><let name="x"><xsl:result-document href="{tmp_path.as_uri()}/out.xml"><x/></xsl:result-document></let>'
        '<rule context="*"><report test="$x">x</report></rule></pattern>'
    )

    assert found(tmp_path, rules) == []
    with pytest.raises(Inconclusive):
        found(tmp_path, writing)
    assert not (tmp_path / "out.xml").exists()


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        read_schematron(Files(tmp_path), "schemas/xoev/akte/1", "fehlt.sch")

"""What a stylesheet of XSLT 3.0 can do as a step, and what it cannot."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hub.deployment import Mark, StepSpec
from hub.errors import ConfigError, Rejected
from hub.files import Files
from hub.steps import compile_step
from hub.xml import guard, saxon
from hub.xml.registry import Registry
from hub.xml.saxon import Programs
from hub.xml.transform3 import Stylesheet3
from tests.unit.test_steps import outgoing

DOCUMENT = b'<a xmlns="urn:a"><name>J\xc3\xbcrgen M\xc3\xbc\xc3\x9fig</name></a>'


def sheet(body: str, head: str = 'version="3.0"') -> str:
    return (
        f'<xsl:stylesheet {head} exclude-result-prefixes="#all" xmlns:xs="http://www.w3.org/2001/XMLSchema" '
        f'xmlns:xsl="http://www.w3.org/1999/XSL/Transform" xmlns:a="urn:a">{body}</xsl:stylesheet>'
    )


def root(body: str) -> str:
    return sheet(f'<xsl:template match="/">{body}</xsl:template>')


def compiled(base: Path, text: str) -> Stylesheet3:
    (base / "s.xsl").write_text(text, encoding="utf-8")
    return Stylesheet3("s.xsl", Files(base), Programs())


def applied(base: Path, text: str, **values: str) -> bytes:
    return compiled(base, text).apply(guard.parse(DOCUMENT), values)


def failure(base: Path, text: str, capfd: pytest.CaptureFixture[str]) -> Rejected:
    with pytest.raises(Rejected) as caught:
        applied(base, text)
    told = str(caught.value) + repr(caught.value) + "".join(one.text for one in caught.value.findings)
    assert "Jürgen" not in told + capfd.readouterr().err
    assert caught.value.__cause__ is None
    return caught.value


@pytest.mark.usefixtures("engine")
def test_it_transforms_with_what_only_3_0_can_and_takes_the_parameters_that_it_declares(tmp_path):
    text = sheet(
        '<xsl:param name="sender"/><xsl:param name="zahl" as="xs:string" select="\'7\'"/>'
        '<xsl:template match="/" expand-text="yes"><o s="{$sender}" z="{$zahl}">'
        "{string-join(tokenize(a:a/a:name, ' ') ! upper-case(.), '-')}</o></xsl:template>"
    )

    assert (
        applied(tmp_path, text, sender="portal", fremd="x", **{"nicht gut": "y"}).decode()
        == '<?xml version="1.0" encoding="UTF-8"?><o s="portal" z="7">JÜRGEN-MÜSSIG</o>'
    )


@pytest.mark.usefixtures("engine")
def test_the_result_is_utf_8_whatever_the_stylesheet_wants(tmp_path):
    body = '<xsl:output encoding="ISO-8859-1"/><xsl:template match="/"><o><xsl:value-of select="a:a/a:name"/></o></xsl:template>'

    assert "Jürgen".encode() in applied(tmp_path, sheet(body))


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize(
    "body",
    [
        "<xsl:copy-of select=\"doc('file:///etc/hostname')\"/>",
        "<xsl:copy-of select=\"document('file:///etc/hostname')\"/>",
        "<xsl:value-of select=\"unparsed-text('file:///etc/hostname')\"/>",
        "<xsl:copy-of select=\"collection('file:///etc?select=host*')\"/>",
        '<xsl:source-document href="file:///etc/hostname"><xsl:copy-of select="."/></xsl:source-document>',
        "<xsl:evaluate xpath=\"'unparsed-text(''file:///etc/hostname'')'\"/>",
        "<xsl:value-of select=\"Q{java:java.lang.System}getenv('HOME')\"/>",
        '<o><xsl:value-of select="xs:integer(a:a/a:name)"/></o>',
        '<o><xsl:value-of select="error((), a:a/a:name)"/></o>',
        '<xsl:message terminate="yes"><xsl:value-of select="a:a/a:name"/></xsl:message>',
        "",
    ],
)
def test_what_asks_for_more_than_the_message_or_fails_says_nothing_of_it(tmp_path, body, capfd):
    refusal = failure(tmp_path, root(body), capfd)

    assert refusal.code == "transform_failed"


@pytest.mark.usefixtures("engine")
def test_it_sees_no_environment_writes_no_file_and_logs_nothing(tmp_path, capfd):
    os.environ["XOEV_HUB_CANARY"] = "CANARY"
    text = root(
        "<o><xsl:message select=\"'Jürgen'\"/><xsl:value-of select=\"environment-variable('XOEV_HUB_CANARY')\"/>"
        "<xsl:value-of select=\"trace('Jürgen', 'x') ! ''\"/></o>"
    )

    assert b"CANARY" not in applied(tmp_path, text)
    assert capfd.readouterr().err == ""
    failure(
        tmp_path, root(f'<xsl:result-document href="{tmp_path.as_uri()}/out.xml"><x/></xsl:result-document>'), capfd
    )
    assert not (tmp_path / "out.xml").exists()


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (sheet('<xsl:import href="b.xsl"/>'), r"s.xsl:1: 'b.xsl': expected a file of this deployment"),
        (sheet('<xsl:include href="b.xsl"/>', 'version="2.0"'), "'b.xsl': expected a file of this deployment"),
        (sheet('<xsl:include href="../b.xsl"/>'), "expected a file of this deployment"),
        (sheet('<xsl:include href="/etc/hostname"/>'), "expected a file of this deployment"),
        (sheet('<xsl:include href="file:///etc/hostname"/>'), "expected a file of this deployment"),
        (sheet('<xsl:include href="https://example.org/b.xsl"/>'), "expected a file of this deployment"),
        (sheet('<xsl:include href="data:application/xml,b"/>'), "expected a file of this deployment"),
        (sheet('<xsl:include _href="b.xsl"/>'), "expected a file of this deployment"),
        (sheet('<xsl:include href="s.xsl"/>'), "'s.xsl' imports or includes itself"),
        (sheet('<xsl:use-package name="b"/>'), "xsl:use-package is not available here"),
        (sheet('<xsl:output method="text"/>'), "expected the output method xml"),
    ],
)
def test_what_it_cannot_have_is_a_problem_of_the_stylesheet(tmp_path, text, problem):
    with pytest.raises(ConfigError, match=problem):
        compiled(tmp_path, text)


FAMILY = {
    "s.xsl": sheet('<xsl:import href="gemeinsam/alles%20hier.xsl"/><xsl:include href="eigen.xsl"/>'),
    "eigen.xsl": sheet('<xsl:template match="a:name" expand-text="yes"><n>{upper-case(.)}<xsl:next-match/></n></xsl:template>'),
    "gemeinsam/alles hier.xsl": sheet(
        '<xsl:import href="tiefer/ä.xsl"/><xsl:import href="tiefer/../leer.xsl"/>'
        '<xsl:template match="a:name">nur, wo niemand sonst ist: <xsl:next-match/></xsl:template>'
    ),
    "gemeinsam/tiefer/ä.xsl": sheet(
        '<xsl:import href="../leer.xsl"/><xsl:param name="sender"/>'
        '<xsl:template match="/" expand-text="yes"><o s="{$sender}">ä 100% &lt;<xsl:apply-templates/></o></xsl:template>',
        'version="2.0"',
    ).replace('="yes"', '="yes" xsl:version="3.0"').replace(" xsl:version", " version"),
    "gemeinsam/leer.xsl": sheet(""),
}  # fmt: skip


@pytest.mark.usefixtures("engine")
def test_what_it_imports_and_includes_comes_from_the_deployment_and_belongs_to_the_snapshot(tmp_path):
    for name, text in FAMILY.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    files = Files(tmp_path)

    result = Stylesheet3("s.xsl", files, Programs()).apply(guard.parse(DOCUMENT), {"sender": "portal"})

    assert result.decode().endswith(
        '<o s="portal">ä 100% &lt;<n>JÜRGEN MÜSSIGnur, wo niemand sonst ist: Jürgen Müßig</n></o>'
    )
    assert set(files.contents) == set(FAMILY)


@pytest.mark.usefixtures("engine")
def test_an_error_in_what_it_imports_names_that_file(tmp_path):
    (tmp_path / "unten").mkdir()
    (tmp_path / "unten/b c.xsl").write_text(sheet('\n<xsl:variable name="x" select="fehlt()"/>'))
    (tmp_path / "unten/a.xsl").write_text(sheet('<xsl:import href="b%20c.xsl"/>'))
    (tmp_path / "s.xsl").write_text(
        sheet('<xsl:import href="unten/a.xsl"/><xsl:template match="/"><o/></xsl:template>')
    )
    programs = Programs()
    Stylesheet3("s.xsl", Files(tmp_path), programs)

    (problem,) = programs.compile()

    assert "XPST0017" in problem.text
    assert "line 2" in problem.text
    assert "of unten/b c.xsl:" in problem.text
    assert "%3C" not in problem.text


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize(
    ("b", "problem"),
    [
        ('<xsl:import href="s.xsl"/>', "b.xsl:1: 's.xsl' imports or includes itself"),
        ('<xsl:import href="c.xsl"/>', "b.xsl:1: 'c.xsl': expected a file of this deployment"),
        ('<xsl:output method="html"/>', "b.xsl:1: expected the output method xml"),
        ("<xsl:import", "b.xsl:1:.*not well-formed"),
    ],
)
def test_what_is_wrong_with_what_it_imports_is_a_problem_there(tmp_path, b, problem):
    (tmp_path / "b.xsl").write_text(sheet(b))

    with pytest.raises(ConfigError, match=problem):
        compiled(tmp_path, sheet('<xsl:include href="b.xsl"/>'))


@pytest.mark.usefixtures("engine")
def test_imports_that_double_each_time_are_stopped(tmp_path):
    for number in range(40):
        both = f'<xsl:import href="{number + 1}.xsl"/>' * 2
        (tmp_path / f"{number}.xsl").write_text(sheet(both))
    (tmp_path / "40.xsl").write_text(sheet("<!--" + "x" * 100_000 + "-->"))

    with pytest.raises(ConfigError, match="more than 32 MB"):
        compiled(tmp_path, sheet('<xsl:import href="0.xsl"/>'))


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("declaration", ["import", "include"])
def test_a_name_that_is_made_while_it_compiles_reaches_no_file(tmp_path, declaration):
    (tmp_path / "geheim.xsl").write_text(sheet('<xsl:template match="/"><geheim/></xsl:template>'))
    uri = (tmp_path / "geheim.xsl").as_uri()
    programs = Programs()
    (tmp_path / "s.xsl").write_text(
        sheet(f'<xsl:{declaration} href="leer.xsl" _href="{{$wo}}"/>').replace(
            "<xsl:i", f'<xsl:param name="wo" static="yes" select="\'{uri}\'"/><xsl:i', 1
        )
    )
    (tmp_path / "leer.xsl").write_text(sheet(""))
    Stylesheet3("s.xsl", Files(tmp_path), programs)

    (problem,) = programs.compile()

    assert "prohibited" in problem.text


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize(
    "href",
    [
        "data:application/xml,%3C!DOCTYPE%20b%20[%3C!ENTITY%20e%20SYSTEM%20%22file:///etc/hostname%22%3E]%3E%3Cb%3E&amp;e;%3C/b%3E",
        "data:application/xml,%3C!DOCTYPE%20b%20[%3C!ENTITY%20e%20%22x%22%3E]%3E%3Cb%3E&amp;e;%3C/b%3E",
        "file:///etc/hostname",
        "jar:file:///etc/hostname!/a",
        "http://127.0.0.1:9/",
    ],
)
def test_an_address_that_a_document_names_leads_nowhere(tmp_path, href):
    read = compiled(tmp_path, root('<o><xsl:copy-of select="doc(string(/a/@h))"/></o>'))

    with pytest.raises(Rejected):
        read.apply(guard.parse(f'<a h="{href}"/>'.encode()), {})
    harmless = read.apply(guard.parse(b'<a h="data:application/xml,%3Cb/%3E"/>'), {})
    assert b"<b/>" in harmless  # it holds what the document itself could hold


@pytest.mark.usefixtures("engine")
def test_an_error_in_the_stylesheet_is_found_when_its_programs_are_compiled(tmp_path):
    (tmp_path / "s.xsl").write_text(root('<xsl:value-of select="fehlt()"/>'))
    programs = Programs()
    Stylesheet3("s.xsl", Files(tmp_path), programs)

    (problem,) = programs.compile()

    assert problem.file == "s.xsl"
    assert "XPST0017" in problem.text


def test_without_the_extra_the_step_names_it(tmp_path, monkeypatch):
    monkeypatch.setattr(saxon, "available", lambda: False)

    with pytest.raises(ConfigError, match=r"XSLT 3.0 needs the extra xslt3.*pip install"):
        compiled(tmp_path, root("<o/>"))


@pytest.mark.usefixtures("engine")
def test_a_step_takes_the_engine_that_its_stylesheet_asks_for(tmp_path):
    (tmp_path / "s.xsl").write_text(root("<o><xsl:value-of select=\"tokenize('1 2', ' ')[2]\"/></o>"), encoding="utf-8")
    registry, _ = Registry.load(Files(tmp_path))

    step = compile_step(StepSpec("xslt", "s.xsl", Mark("routes.yaml", 1, 1)), Files(tmp_path), registry)

    assert step(outgoing()).body.endswith(b"<o>2</o>")


@pytest.fixture
def engine() -> None:
    pytest.importorskip("saxonche")

"""What a stylesheet can do, and what it cannot."""

from __future__ import annotations

from pathlib import Path

import pytest

from hub.errors import ConfigError, Rejected
from hub.files import Files
from hub.xml import guard
from hub.xml.transform import Stylesheet

DOCUMENT = b'<a xmlns="urn:a"><name>J\xc3\xbcrgen M\xc3\xbc\xc3\x9fig</name></a>'


def sheet(body: str, head: str = 'version="1.0"') -> str:
    head += ' exclude-result-prefixes="a"'
    return f'<xsl:stylesheet {head} xmlns:xsl="http://www.w3.org/1999/XSL/Transform" xmlns:a="urn:a">{body}</xsl:stylesheet>'


def root(body: str) -> str:
    return sheet(f'<xsl:template match="/">{body}</xsl:template>')


def compiled(tmp_path: Path, main: str, **others: str) -> Stylesheet:
    for name, text in {"main": main, **others}.items():
        path = tmp_path / "transforms" / f"{name.replace('__', '/')}.xsl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Stylesheet("transforms/main.xsl", Files(tmp_path))


def problems(tmp_path: Path, main: str, **others: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        compiled(tmp_path, main, **others)
    return [str(problem) for problem in caught.value.problems]


def run(stylesheet: Stylesheet, values: dict[str, str] | None = None) -> bytes:
    return stylesheet.apply(guard.parse(DOCUMENT), values or {})


def failure(stylesheet: Stylesheet) -> Rejected:
    with pytest.raises(Rejected) as caught:
        run(stylesheet)
    assert caught.value.code == "transform_failed"
    assert "Jürgen" not in repr((caught.value, caught.value.findings, caught.value.findings[0].text))
    assert caught.value.__context__ is None or isinstance(caught.value.__context__, Rejected)
    return caught.value


def test_the_result_is_written_as_the_stylesheet_says(tmp_path: Path) -> None:
    text = sheet(
        '<xsl:output encoding="UTF-8"/><xsl:template match="/"><o><xsl:value-of select="//a:name"/></o></xsl:template>'
    )

    assert run(compiled(tmp_path, text)) == '<?xml version="1.0" encoding="UTF-8"?>\n<o>Jürgen Müßig</o>\n'.encode()


def test_values_arrive_as_text_whatever_they_hold(tmp_path: Path) -> None:
    text = sheet(
        '<xsl:param name="key.x"/><xsl:template match="/"><o><xsl:value-of select="$key.x"/></o></xsl:template>'
    )

    body = run(compiled(tmp_path, text), {"key.x": 'it\'s "1" < 2 or //a:name', "no name": "x", "{urn:a}b": "y"})

    assert guard.parse(body).text == 'it\'s "1" < 2 or //a:name'


def test_a_name_that_is_not_declared_is_found_all_the_same(tmp_path: Path) -> None:
    stylesheet = compiled(tmp_path, root('<o x="{$sender}"/>'))

    assert guard.parse(run(stylesheet, {"sender": "portal"})).get("x") == "portal"


def test_a_value_that_is_no_xml_fails_the_step_that_asks_for_it(tmp_path: Path) -> None:
    stylesheet = compiled(tmp_path, root('<o x="{$recipient}"/>'))

    with pytest.raises(Rejected) as caught:
        run(stylesheet, {"recipient": "a\x00b"})

    assert caught.value.findings[0].rule == "xslt-ValueError"


def test_the_same_document_gives_the_same_bytes_after_a_failure_in_between(tmp_path: Path) -> None:
    text = root("<o><xsl:if test=\"//a:b\"><xsl:message terminate='yes'/></xsl:if></o>")
    stylesheet = compiled(tmp_path, text)

    first = run(stylesheet)
    with pytest.raises(Rejected):
        stylesheet.apply(guard.parse(b'<a xmlns="urn:a"><b/></a>'), {})

    assert run(stylesheet) == first


def test_files_of_the_deployment_may_be_imported_and_become_part_of_the_snapshot(tmp_path: Path) -> None:
    main = sheet('<xsl:import href="lib/names.xsl"/><xsl:include href="../transforms/two%20words.xsl"/>')
    (tmp_path / "transforms").mkdir()
    (tmp_path / "transforms/two words.xsl").write_text(sheet('<xsl:template name="two"><two/></xsl:template>'))
    (tmp_path / "transforms/main.xsl").write_text(main)
    (tmp_path / "transforms/lib").mkdir()
    lib = root('<o><xsl:call-template name="two"/></o>')
    (tmp_path / "transforms/lib/names.xsl").write_text(lib)
    files = Files(tmp_path)

    read = run(Stylesheet("transforms/main.xsl", files))
    (tmp_path / "transforms/lib/names.xsl").unlink()
    again = run(Stylesheet("transforms/main.xsl", Files.frozen(tmp_path, files.contents)))

    assert read == again == b'<?xml version="1.0"?>\n<o><two/></o>\n'
    assert sorted(files.contents) == [
        "transforms/lib/names.xsl",
        "transforms/main.xsl",
        "transforms/two words.xsl",
    ]


@pytest.mark.parametrize(
    "href",
    [
        "http://127.0.0.1:9/x.xsl",
        "file:///etc/passwd",
        "FILE:///etc/passwd",
        "/etc/passwd",
        "//host/x.xsl",
        "\\\\host\\x.xsl",
        "../../../../etc/passwd",
        "%2e%2e/%2e%2e/etc/passwd",
        "missing.xsl",
        "",
    ],
)
def test_nothing_else_can_be_imported(tmp_path: Path, href: str) -> None:
    found = problems(tmp_path, sheet(f'\n<xsl:import href="{href}"/>'))

    assert found == [f"transforms/main.xsl:2: {href!r}: expected a file of this deployment"]


def test_imports_in_a_circle_end(tmp_path: Path) -> None:
    found = problems(
        tmp_path,
        sheet('<xsl:import href="other.xsl"/>'),
        other=sheet('<xsl:import href="main.xsl"/>'),
    )

    assert len(found) == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<xsl:stylesheet", "transforms/main.xsl:1:16: not well-formed"),
        (sheet("\n<xsl:template match='///'/>"), "transforms/main.xsl:2: xsltCompilePattern"),
        (sheet("", 'version="2.0"'), "expected an XSLT stylesheet of version 1.0, got '2.0'"),
        ("<html/>", "expected an XSLT stylesheet of version 1.0, got None"),
        (sheet('<xsl:output method="text"/>'), "expected the output method xml, got 'text'"),
        (root("<o><xsl:copy-of select=\"document('http://127.0.0.1/x')\"/></o>"), "document() is not available"),
        (root('<o a="{count( document ( //a:name ))}"/>'), "document() is not available"),
    ],
)
def test_what_can_never_work_is_found_before_the_first_message(tmp_path: Path, text: str, expected: str) -> None:
    found = problems(tmp_path, text)

    assert len(found) == 1
    assert expected in found[0]


def test_the_word_document_alone_is_no_offence(tmp_path: Path) -> None:
    text = root("<o t=\"document (1)\" u=\"{'document(2)'}\"><xsl:value-of select=\"concat('document(', 'x)')\"/></o>")

    assert b"document(x)" in run(compiled(tmp_path, text))


def test_all_problems_come_at_once(tmp_path: Path) -> None:
    main = sheet('<xsl:import href="http://127.0.0.1:9/x"/><xsl:import href="a.xsl"/><xsl:output method="html"/>')

    assert len(problems(tmp_path, main, a="<broken")) == 3


def test_a_missing_stylesheet_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        Stylesheet("transforms/none.xsl", Files(tmp_path))

    assert str(caught.value) == "transforms/none.xsl: cannot be read: no such file"


@pytest.mark.parametrize(
    ("text", "rule", "line"),
    [
        (root("\n\n<o><xsl:element name='{//a:name}'/></o>"), "xslt-error", 3),
        (root("\n<o><xsl:value-of select='nix(//a:name)'/></o>"), "xslt-error", 2),
        (root("<xsl:message terminate='yes'><xsl:copy-of select='/'/></xsl:message>"), "xslt-message", 0),
        (root(""), "xslt-empty", 0),
        (root("<xsl:value-of select='//a:name'/>"), "xslt-empty", 0),
        (root("<o/><p/>"), "xslt-result", 0),
        (root("<o/><xsl:value-of select='//a:name'/>"), "xslt-result", 0),
        (root("<o><xsl:value-of disable-output-escaping='yes' select=\"'&lt;'\"/></o>"), "xslt-result", 0),
        (sheet("<xsl:output doctype-system='x'/><xsl:template match='/'><o/></xsl:template>"), "xslt-result", 0),
    ],
)
def test_a_failure_names_its_kind_and_line_and_quotes_nothing(tmp_path: Path, text: str, rule: str, line: int) -> None:
    finding = failure(compiled(tmp_path, text)).findings[0]

    assert (finding.rule, finding.line) == (rule, line)


def test_a_failure_in_an_imported_stylesheet_names_that_one(tmp_path: Path) -> None:
    stylesheet = compiled(tmp_path, sheet('<xsl:import href="lib.xsl"/>'), lib=root("\n<o a='{nix()}'/>"))

    assert failure(stylesheet).findings[0].text == "transforms/lib.xsl failed in line 2 (XPATH_UNKNOWN_FUNC_ERROR)"


def test_a_message_that_does_not_terminate_harms_nobody(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    stylesheet = compiled(tmp_path, root("<o><xsl:message><xsl:copy-of select='/'/></xsl:message></o>"))

    assert run(stylesheet)
    assert "Jürgen" not in "".join(capfd.readouterr())

"""YAML text into a tree: scalars stay text, everything has its position, no bytes end in a traceback."""

import os
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import hub.config
from hub.config.document import parse
from hub.config.report import Report
from hub.errors import ConfigError
from hub.files import Files

HOSTILE = Path(__file__).parents[1] / "hostile" / "cases"


def read(text):
    report = Report()
    node = parse(text if isinstance(text, bytes) else text.encode(), "routes.yaml", report)
    return node, report.problems()


@pytest.mark.parametrize(
    "scalar",
    [
        "03103000",
        "01001000",
        "no",
        "on",
        "yes",
        "2.10",
        "2026-01-01",
        "12:30:00",
        "0x1F",
        "1_000",
        "1e3",
        ".inf",
        "true",
    ],
)
def test_scalars_stay_text_as_they_are_written(scalar):
    node, problems = read(f"a: {scalar}\nb: '{scalar}'\n")

    assert node.plain() == {"a": scalar, "b": scalar}
    assert problems == ()


@pytest.mark.parametrize("nothing", ["", "~", "null"])
def test_only_a_plain_null_is_nothing(nothing):
    node, _ = read(f"a: {nothing}\nb: '{nothing}'\n")

    assert node.plain() == {"a": None, "b": nothing}


def test_every_key_and_value_knows_its_line_and_column():
    node, _ = read("routes:\n  eins:\n    checks: [xsd, {xsd:  header}]\n")

    header = node.items["routes"].items["eins"].items["checks"].value[1].items["xsd"]
    assert (header.line, header.column, header.key) == (3, 26, (3, 20))
    assert header.path == "routes.eins.checks[1].xsd"


@pytest.mark.parametrize("text", ["\ufeffa: 1\r\nb:\r\n  c: 2\r\n", "a: 1\rb:\r  c: 2\r", "a: 1\nb:\n  c: 2"])
def test_byte_order_mark_and_line_ends_of_every_system_are_read(text):
    node, problems = read(text)

    assert problems == ()
    assert (node.items["b"].items["c"].line, node.items["b"].items["c"].column) == (3, 6)


def test_umlauts_count_as_one_column():
    _, problems = read("größe: {ä: 1, ä: 2}\n")

    assert [(one.line, one.column) for one in problems] == [(1, 15)]


def test_problems_of_form_do_not_stop_the_reading():
    _, problems = read("a: &x 1\na: 2\nb: !!int 3\n<<: {c: 1}\n")

    assert [(one.line, one.column) for one in problems] == [(1, 4), (2, 1), (3, 4), (4, 1)]


@pytest.mark.parametrize(
    ("raw", "line", "column"),
    [
        ("a: 1\nb: ä".encode("latin-1"), 2, 4),
        ("a: 1\nb: 2\n".encode("utf-16"), 1, 1),
        (b"a: 1\nb: \x00", 2, 4),
        (b"a:\n\t- 1", 2, 1),
        (b"a: [1, 2\nb: 3", 2, 2),
    ],
)
def test_what_is_no_yaml_has_a_position_too(raw, line, column):
    node, problems = read(raw)

    assert node is None
    assert [(one.line, one.column) for one in problems] == [(line, column)]


def test_control_characters_never_reach_the_terminal():
    _, problems = read(b"a: \x1b[2J\n")

    assert "\x1b" not in str(problems[0])


@pytest.mark.parametrize("path", sorted(HOSTILE.glob("y*.yaml")), ids=lambda path: path.stem)
def test_hostile_files_are_problems_with_file_line_and_column(path, tmp_path):
    (tmp_path / "routes.yaml").write_bytes(path.read_bytes())
    begun = time.process_time()

    with pytest.raises(ConfigError) as caught:
        hub.config.load(tmp_path / "routes.yaml")

    first = caught.value.problems[0]
    assert (first.file, first.line > 0, first.column > 0) == ("routes.yaml", True, True)
    assert "CANARY" not in str(caught.value)
    assert time.process_time() - begun < 2


def test_a_file_that_grows_without_end_is_refused(tmp_path):
    (tmp_path / "routes.yaml").write_bytes(b"a: " + b"x" * (5 << 20))

    with pytest.raises(ConfigError, match="larger than 4 MB"):
        hub.config.load(tmp_path / "routes.yaml")


SEED = (Path(__file__).parent / "interface_example" / "routes.yaml").read_text()
WORDS = [
    "&a ",
    "*a",
    "<<: ",
    "!!x ",
    "{",
    "}",
    "[",
    "]",
    ": ",
    "- ",
    "\t",
    "\n",
    "---\n",
    "'",
    '"',
    "#",
    "|",
    ">",
    "%",
    "null",
    "{service}",
]


@st.composite
def damaged(draw):
    """The example with pieces cut out, doubled or put in."""
    text = SEED
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.integers(0, 40)))
        piece = draw(st.sampled_from([*WORDS, "", text[start:end] * 2]) | st.text(max_size=8))
        text = text[:start] + piece + text[end:]
    return text.encode("utf-8", "replace")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    raw=damaged() | st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "replace"))
)
def test_whatever_the_bytes_are_there_are_problems_and_no_traceback(raw):
    base = Path(__file__).parent / "interface_example"
    contents = {path.relative_to(base).as_posix(): path.read_bytes() for path in base.rglob("*") if path.is_file()} | {
        "routes.yaml": raw
    }

    reading = hub.config.read(Files.frozen(base, contents))

    assert (reading.deployment is None) == any(one.level == "error" for one in reading.problems)
    for problem in reading.problems:
        assert str(problem)
        assert problem.file
        assert problem.line > 0 or problem.column == 0


def test_the_report_shows_line_and_caret():
    _, problems = read("eins: 1\n  zwei: {a: &x 2}\n".replace("  zwei", "zwei"))

    assert str(problems[0]).splitlines() == [
        "routes.yaml:2:11: zwei: found an anchor, expected the value alone; `like` is for what is shared",
        "    zwei: {a: &x 2}",
        "    " + " " * 10 + "^",
    ]


def test_no_working_directory_is_meant(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    relative = os.path.relpath(Path(__file__).parent / "interface_example" / "routes.yaml")

    assert hub.config.load(Path(relative)).base == Path(__file__).parent / "interface_example"

"""Broken configurations, one fault each: the first line of the file says where it is and what is said about it."""

import re
from pathlib import Path

import pytest

import hub.config
from hub.errors import ConfigError
from hub.files import Files

BROKEN = Path(__file__).parent / "broken"
EXPECTATION = re.compile(r"# (\d+):(\d+) (.+)")


@pytest.mark.parametrize("path", sorted(BROKEN.glob("*.yaml")), ids=lambda path: path.stem)
def test_one_fault_is_one_problem_with_its_line_and_column(path):
    line, column, text = EXPECTATION.fullmatch(path.read_text().splitlines()[0]).groups()

    problems = hub.config.read(Files(BROKEN), path.name).problems

    errors = [problem for problem in problems if problem.level == "error"]
    assert [(error.file, error.line, error.column) for error in errors] == [(path.name, int(line), int(column))]
    assert text in errors[0].text
    assert "CANARY" not in "".join(map(str, problems))


@pytest.mark.parametrize("path", sorted(BROKEN.glob("*.yaml")), ids=lambda path: path.stem)
def test_load_raises_it_with_the_line_and_a_caret(path):
    with pytest.raises(ConfigError) as caught:
        hub.config.load(path)

    line, column, _ = EXPECTATION.fullmatch(path.read_text().splitlines()[0]).groups()
    shown = next(str(problem) for problem in caught.value.problems if problem.level == "error").splitlines()
    assert shown[0].startswith(f"{path.name}:{line}:{column}: ")
    assert shown[2] == " " * (4 + int(column) - 1) + "^"


def test_there_are_at_least_thirty():
    assert len(list(BROKEN.glob("*.yaml"))) >= 30

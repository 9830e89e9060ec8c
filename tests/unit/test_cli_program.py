"""The program as such: its commands, what it finds where, and how it ends."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

from hub.cli import program as the_program
from hub.cli.examples import EXAMPLES
from tests.command import TOWN, command, program

NAMED = (
    "run", "init", "check", "test", "explain", "send", "messages list", "messages show", "replay", "resend", "close",
    "pause", "resume", "schemas list", "schemas show", "schemas check", "adapters list", "config show",
    "config schema", "simulate", "doctor", "store migrate", "demo",
)  # fmt: skip

READING = (
    ["messages", "list"],
    ["messages", "show", "01a20104-3a88-770c-80d3-230e6fb12b06"],
    ["replay", "--state", "dead", "--reason", "Test"],
    ["resend", "01a20104-3a88-770c-80d3-230e6fb12b06", "--reason", "Test"],
    ["close", "01a20104-3a88-770c-80d3-230e6fb12b06", "--as", "cancelled", "--reason", "Test"],
    ["pause", TOWN, "--reason", "Test"],
    ["resume", TOWN, "--reason", "Test"],
    ["explain", "--message", "01a20104-3a88-770c-80d3-230e6fb12b06"],
)


def test_the_version_is_told():
    done = command("--version")

    assert (done.code, done.out) == (0, "xoev-hub, version 0.1.0\n")


def commands():
    """Return every command that there is, by its words."""
    context = click.Context(the_program)
    for name in the_program.list_commands(context):
        made = the_program.get_command(context, name)
        yield from (
            [f"{name} {inner}" for inner in made.list_commands(context)] if isinstance(made, click.Group) else [name]
        )


@pytest.mark.parametrize("name", sorted(commands()))
def test_every_command_says_what_it_does(name):
    done = command(*name.split(), "--help")

    assert done.code == 0
    assert done.out.startswith(f"Usage: xoev-hub {name} ")
    assert len(done.out.splitlines()[2].strip()) > 10
    assert "``" not in done.out
    assert all(f"  {line}\n" in done.out for line in EXAMPLES[name])
    assert "Examples:" in done.out


def test_no_example_is_of_a_command_that_is_gone():
    assert set(EXAMPLES) == set(commands())


@pytest.mark.parametrize("line", [line for lines in EXAMPLES.values() for line in lines])
def test_an_example_is_what_its_command_takes(line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "procedures.yaml").touch()

    words = shlex.split(re.split(r" (?:<|>|&&|\|\|) ", line)[0])[1:]
    command, context = the_program, click.Context(the_program)
    words = words[2:] if words[0] == "-c" else words
    while isinstance(command, click.Group):
        name, command, words = command.resolve_command(context, words)
        context = click.Context(command, parent=context)

    command.make_context(name, words)  # raises what the command line would say


def test_no_command_is_missing():
    assert set(NAMED) <= set(commands())


@pytest.mark.parametrize(
    "arguments",
    [["unknown"], ["check", "--unknown"], ["messages", "unknown"], ["send"], [], ["messages"], ["explain"]],
)
def test_what_nobody_understands_is_exit_code_2_and_says_how_it_goes(arguments):
    done = command(*arguments)

    assert done.code == 2
    assert "Usage: xoev-hub" in done.err
    assert done.out == ""


def test_a_configuration_that_is_not_there_is_named(tmp_path):
    done = command("check", cwd=tmp_path)

    assert done.code == 78
    assert f"{tmp_path}/routes.yaml: there is no such file" in done.err
    assert "xoev-hub init" in done.err


@pytest.mark.parametrize("arguments", [["run"], ["test"], ["explain", "-"], ["config", "show"]])
def test_no_command_starts_without_a_configuration(tmp_path, arguments):
    done = command("-c", str(tmp_path / "nowhere" / "routes.yaml"), *arguments)

    assert done.code == 78
    assert f"{tmp_path}/nowhere/routes.yaml: there is no such file" in done.err


def test_a_folder_is_no_configuration(tmp_path):
    assert command("-c", str(tmp_path), "check").code == 2


def test_the_environment_names_the_configuration(office):
    done = command("check", cwd=Path("/"), XOEV_HUB_CONFIG=str(office.config))

    assert done.code == 0
    assert "2 municipalities" in done.err


def test_the_option_beats_the_environment(office, tmp_path):
    assert command("-c", str(office.config), "check", XOEV_HUB_CONFIG=str(tmp_path / "other.yaml")).code == 0


def test_paths_count_from_the_configuration_and_not_from_here(office, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()

    sent = command("-c", "../office/routes.yaml", "send", str(office.good), "--sender", "portal", cwd=elsewhere)
    listed = command("-c", "../office/routes.yaml", "messages", "list", "--json", cwd=elsewhere)

    assert sent.code == 0, sent.err
    assert len(listed.json["items"]) == 1
    assert (office.folder / "var" / "hub.db").is_file()
    assert list(elsewhere.iterdir()) == []


def test_a_file_that_is_named_counts_from_here(office):
    done = command("-c", str(office.config), "explain", office.good.name, cwd=office.documents)

    assert done.code == 0


def test_settings_beside_the_configuration_are_heard_and_the_environment_beats_them(office, tmp_path):
    (office.folder / "hub.toml").write_text('state_dir = "zustand"\n')

    by_file = office("messages", "list")
    by_environment = office("messages", "list", XOEV_HUB_STATE_DIR=str(tmp_path / "umgebung"))

    assert (by_file.code, by_environment.code) == (69, 69)
    assert f"there is no store at {office.folder}/zustand/hub.db" in by_file.err
    assert f"there is no store at {tmp_path}/umgebung/hub.db" in by_environment.err


def test_broken_settings_are_a_broken_configuration(office):
    (office.folder / "hub.toml").write_text("workers = 0\n")

    for arguments in (["check"], ["messages", "list"], ["run"]):
        done = office(*arguments)
        assert done.code == 78
        assert "hub.toml:1:1" in done.err


@pytest.mark.parametrize("arguments", READING, ids=lambda arguments: " ".join(arguments[:2]))
def test_what_only_reads_creates_no_store_and_names_where_it_looked(office, arguments):
    done = office(*arguments)

    assert done.code == 69
    assert f"there is no store at {office.folder}/var/hub.db" in done.err
    assert done.out == ""
    assert not (office.folder / "var" / "hub.db").exists()


def test_a_store_that_is_none_is_unavailable(office):
    (office.folder / "var" / "hub.db").write_bytes(b"this is no database, whatever its name says" * 100)

    done = office("messages", "list")

    assert done.code == 69
    assert "hub.db" in done.err


def test_a_store_of_somebody_else_is_not_permitted(office, monkeypatch):
    office.keep()
    monkeypatch.setattr(os, "access", lambda path, _mode: not str(path).endswith("hub.db"))  # root may read everything

    done = office("messages", "list")

    assert done.code == 77
    assert f"not permitted: {office.folder}/var/hub.db" in done.err


def test_a_reader_who_has_gone_is_no_failure(office):
    office.keep(*(office.message() for _ in range(40)))
    listing = subprocess.Popen(
        [sys.executable, "-m", "hub", "-c", str(office.config), "messages", "list", "--json"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    listing.stdout.read(1)
    listing.stdout.close()

    assert listing.wait(60) == 0
    assert listing.stderr.read() == b""
    listing.stderr.close()


def test_a_terminal_without_umlauts_gets_them_described(office):
    shown = program("-c", str(office.config), "explain", str(office.good), cwd=Path("/"), PYTHONIOENCODING="latin-1")

    assert shown.returncode == 0, shown.stderr
    assert b"route  \\u2713" in shown.stdout


def test_python_m_hub_is_the_same_program(tmp_path):
    done = program("check", cwd=tmp_path)

    assert done.returncode == 78
    assert b"there is no such file" in done.stderr
    assert b"Traceback" not in done.stderr


def test_a_wsdl_that_does_not_fit_itself_is_a_problem_and_no_warning_of_a_library(office):
    wsdl = office.folder / "wsdl"
    wsdl.mkdir()
    examples = Path(__file__).parents[2] / "wsdl"
    for name in ("fachverfahren.wsdl", "fachverfahren.xsd"):
        text = (examples / name).read_text("utf-8").replace('name="Uebergeben"', 'name="Anders"', 2)
        (wsdl / name).write_text(text, encoding="utf-8")
    office.change(
        "  ablage:\n    adapter: folder\n",
        "  fach: {adapter: soap, wsdl: wsdl/fachverfahren.wsdl, operation: Uebergeben, service: Fachverfahren,\n"
        "    port: Fachverfahren11, address: 'http://127.0.0.1:9/ws', payload: raw, reply: any, on_unclear: hold}\n"
        "  ablage:\n    adapter: folder\n",
    )
    office.change("antrag: {like: ablage}       #", "antrag: {like: fach}       #")

    checked = subprocess.run(
        [sys.executable, "-m", "hub", "-c", str(office.config), "check"], capture_output=True, text=True, check=False
    )

    assert checked.returncode == 78
    assert "procedures.fach.operation: found 'Uebergeben'" in checked.stderr
    assert "Warning" not in checked.stderr

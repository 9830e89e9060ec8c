"""``run``, ``simulate``, ``store migrate``: what starts something, in processes of their own."""

import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from hub.loopback import free_port
from hub.store import migrations
from tests.command import command, program
from tests.daemon import until
from tests.servers import fresh_database

NEWEST = max(one.name[:4] for one in Path(migrations.__file__).parent.glob("versions/[0-9]*.py"))
SCRIPT = """
procedures:
  bau:
    soap: {{listen: "127.0.0.1:{port}"}}
    answers: [ok]
"""


# --- run


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("version: 1", "version: 2", "routes.yaml:5:10: version"),
        ("{like: ablage}", "{like: ablag}", "did you mean 'ablage'?"),
    ],
)
def test_a_broken_configuration_does_not_run(office, old, new, said):
    office.change(old, new)

    done = program("-c", str(office.config), "run", cwd=Path("/"), PORTAL_TOKEN="x")

    assert done.returncode == 78
    assert said in done.stderr.decode()
    assert b"Traceback" not in done.stderr


def test_a_second_daemon_on_a_store_ends_with_1_and_says_whose_it_is(office):
    first = office.store()

    done = program(
        "-c", str(office.config), "run", cwd=Path("/"), PORTAL_TOKEN="x", XOEV_HUB_ADMIN_LISTEN="127.0.0.1:0"
    )

    assert done.returncode == 1
    assert f"another daemon has the store {office.folder}/var/hub.db" in done.stderr.decode()
    assert b"Traceback" not in done.stderr
    first.close()


# --- store migrate


def test_a_store_is_created_by_migrating(office):
    shutil.rmtree(office.folder / "var")

    done = office("store", "migrate")

    assert (done.code, done.err) == (0, "the store is up to date\n")
    assert (office.folder / "var").stat().st_mode & 0o777 == 0o700
    assert office("messages", "list", "--json").json["items"] == []
    assert office("store", "migrate").code == 0


def test_a_store_that_a_daemon_has_is_left_alone(office):
    daemon = office.store()

    done = office("store", "migrate")

    assert done.code == 1
    assert "another daemon has the store" in done.err
    daemon.close()


def test_a_store_of_a_newer_program_is_refused_by_its_version(office):
    office.keep()
    with sqlite3.connect(office.folder / "var" / "hub.db") as connection:
        connection.execute("update alembic_version set version_num = '0999'")
    connection.close()

    for arguments in (["messages", "list"], ["store", "migrate"], ["send", str(office.good), "--sender", "portal"]):
        done = office(*arguments)
        assert done.code == 69
        assert "the store's tables are of version 0999" in done.err


@pytest.mark.live
def test_postgresql_is_migrated_by_command_and_by_nothing_else(office):
    with fresh_database() as url:
        before = office("messages", "list", XOEV_HUB_STORE=url)
        migrated = office("store", "migrate", XOEV_HUB_STORE=url)
        again = office("store", "migrate", XOEV_HUB_STORE=url)
        sent = office("send", str(office.good), "--sender", "portal", XOEV_HUB_STORE=url)
        after = office("messages", "list", "--json", XOEV_HUB_STORE=url)

    assert before.code == 69
    assert "xoev-hub store migrate" in before.err
    assert (migrated.code, again.code, sent.code) == (0, 0, 0)
    assert migrated.err == f"the store is at version {NEWEST}\n"
    assert len(after.json["items"]) == 1


def test_a_postgresql_that_does_not_answer_is_unavailable_and_its_password_is_not_shown(office):
    url = f"postgresql+psycopg://hub:geheim@127.0.0.1:{free_port()}/hub"

    for arguments in (["messages", "list"], ["store", "migrate"], ["doctor"]):
        done = office(*arguments, XOEV_HUB_STORE=url)
        assert done.code == (1 if arguments == ["doctor"] else 69)
        assert "geheim" not in done.err + done.out


# --- simulate


def test_simulated_procedures_run_until_a_signal_ends_them(tmp_path):
    script = tmp_path / "procedures.yaml"
    script.write_text(SCRIPT.format(port=free_port()))
    with subprocess.Popen(
        [sys.executable, "-m", "hub", "simulate", str(script)], stderr=subprocess.PIPE, cwd=tmp_path
    ) as running:
        port = int(script.read_text().split("127.0.0.1:")[1].split('"')[0])
        until(lambda: _listens(port), "the procedure listens")

        running.send_signal(signal.SIGTERM)

        assert running.wait(30) == 0
        assert b"Traceback" not in running.stderr.read()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "expected a mapping"),
        ("procedures: {bau: {answers: [ok]}}", "procedures.bau"),
        ("procedures: {bau: {soap: {listen: '127.0.0.1:0'}, answers: [vielleicht]}}", "vielleicht"),
        ("procedures: [", "procedures.yaml"),
        ("\x00", "procedures.yaml"),
    ],
)
def test_a_script_that_cannot_be_used_is_a_broken_configuration(tmp_path, text, said):
    script = tmp_path / "procedures.yaml"
    script.write_text(text)

    done = program("simulate", str(script), cwd=tmp_path)

    assert done.returncode == 78, done.stderr
    assert said in done.stderr.decode()
    assert b"Traceback" not in done.stderr


def test_a_script_that_is_not_there_is_said(tmp_path):
    assert command("simulate", str(tmp_path / "fehlt.yaml")).code == 2


def test_a_port_that_is_taken_is_a_failure(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        (tmp_path / "procedures.yaml").write_text(SCRIPT.format(port=port))

        done = program("simulate", "procedures.yaml", cwd=tmp_path)

    assert done.returncode == 1
    assert b"Traceback" not in done.stderr
    assert b"ddress already in use" in done.stderr


def _listens(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), 1):
            return True
    except OSError:
        return False

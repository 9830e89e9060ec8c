"""A mistyped variable of the environment is said by whoever reads the environment, and stops nobody."""

import re
from pathlib import Path

from hub.config.process import PREFIX, strange_variables
from tests.daemon import ROOT, Daemon, until
from tests.leinen import Leinen, folder_out

WORKRES = f"{PREFIX}WORKRES"  # put together: a test below reads this file, too
NOWHERE = f"{PREFIX}SOMETHING_ELSE"


def told(environ, *contents):
    return [str(one) for one in strange_variables(environ, contents)]


def test_the_nearest_name_is_said_or_all_that_there_are():
    near, far = told({NOWHERE: "1", WORKRES: "4", "PATH": "/bin"})[::-1]

    assert (
        near == f"{WORKRES}: nothing reads this variable of the environment; did you mean XOEV_HUB_WORKERS? (warning)"
    )
    assert "known: XOEV_HUB_ADMIN_LISTEN, " in far


def test_a_secret_may_be_called_as_its_owner_likes():
    assert told({NOWHERE: "geheim"}, b"token: env:" + NOWHERE.encode()) == []


def test_what_the_program_its_proofs_and_its_tests_read_is_known():
    found = {
        name
        for folder in ("hub", "adapters", "bench", "tests", "deploy")
        for path in (ROOT / folder).rglob("*")
        if path.is_file()
        and path.suffix in (".py", ".service", ".yaml", ".yml", "")
        and "__pycache__" not in path.parts
        for name in re.findall(rf"\b{PREFIX}[A-Z_]*[A-Z]\b", path.read_text("utf-8", "ignore"))
    }

    assert len(found) > 15
    assert told(dict.fromkeys(found, "1")) == []


def test_check_and_doctor_say_it_and_go_on(office):
    office.keep()

    checked = office("check", **{WORKRES: "4"})
    doctored = office("doctor", **{WORKRES: "4"})

    assert (checked.code, doctored.code) == (0, 0)
    for said in (checked.err, doctored.out):
        assert f"{WORKRES}: nothing reads this variable of the environment; did you mean XOEV_HUB_WORKERS?" in said
    assert office("check").err.count("nothing reads") == 0


def test_a_daemon_says_it_in_its_log(tmp_path: Path):
    with Daemon(Leinen(tmp_path / "hub", {"nordheim": folder_out("out")}), **{WORKRES: "4"}) as running:
        until(lambda: "did you mean XOEV_HUB_WORKERS?" in running.log.read_text("utf-8"), "the log says it")

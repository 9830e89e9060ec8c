"""P1, P4, P5: a hub that is killed again and again, at random and at each named place, loses and alters nothing.

The proof is the one that users run on their own machines: ``xoev-hub selftest --crash``. 20 kills in the suite, 200 by
``make storm``. XOEV_HUB_TEST_SEED repeats a run.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from hub import crashpoint
from hub.cli import program
from hub.selftest.scratch import Scratch
from hub.store import open_store
from hub.store.accounting import read_account
from tests.daemon import ROOT
from tests.proving.record import STORM, record, seed

KILLS, RECEIPTS_PER_KILL, RECEIPTS_MIN = (200, 130, 20_000) if STORM else (20, 40, 400)
SEED = str(seed())
COMMAND = f"xoev-hub selftest --crash --kills {KILLS} --receipts {RECEIPTS_PER_KILL} --seed {{seed}}"


def selftest(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: text for name, text in os.environ.items() if not name.startswith("XOEV_HUB_")}
    environment["PYTHONPATH"] = str(ROOT)
    command = [sys.executable, "-m", "hub", "selftest", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    print(f"XOEV_HUB_TEST_SEED={SEED}")
    folder = tmp_path_factory.mktemp("kills")
    asked = ["--kills", str(KILLS), "--receipts", str(RECEIPTS_PER_KILL), "--seed", SEED, "--folder", str(folder)]
    done = selftest(folder, "--crash", "--json", *asked)
    assert done.returncode in (0, 1), done.stderr
    assert done.stdout, done.stderr
    read: dict[str, Any] = json.loads(done.stdout)
    assert not list(folder.glob("selftest-*")), "the scratch store was left behind"
    return read


pytestmark = pytest.mark.timeout(120 + 30 * KILLS)


def test_what_has_a_receipt_survives_kill_9_at_any_moment_unaltered(told: dict[str, Any]) -> None:
    figures = told["figures"]

    assert told["violations"] == []
    assert (told["verdict"], figures["lost"], figures["altered"]) == ("kept", 0, 0)
    assert figures["receipts"] >= RECEIPTS_MIN
    assert figures["accepted"] >= figures["receipts"]
    assert told["kills"]["all"] == KILLS
    record(
        "P1",
        "kill -9 of the hub under load, at random moments and at every named place",
        {
            "kills": KILLS, "places": len(told["kills"]) - 1, "receipts": figures["receipts"], "lost": figures["lost"],
            "altered": figures["altered"], "seed": told["seed"],
        },
        COMMAND.format(seed=SEED),
    )  # fmt: skip


def test_every_named_place_was_one_to_die_at(told: dict[str, Any]) -> None:
    # Rejected documents are erased once a minute: the place in the erasure has its test with the store.
    assert set(told["kills"]) >= {*crashpoint.PLACES, "random moment"} - {"during-erasure"}


def test_what_was_accepted_is_all_accounted_for_per_destination(told: dict[str, Any]) -> None:
    figures = told["figures"]

    assert set(told["destinations"]) == {"probe/akte", "probe/ablage"}
    for states in told["destinations"].values():
        assert sum(states.values()) == figures["accepted"]
        assert set(states) <= {"delivered", "dead"}
    record(
        "P4",
        "after all kills: accepted against delivered, taken, dead, closed and open, per destination",
        {
            "accepted": figures["accepted"], "deliveries": figures["deliveries"], "delivered": figures["delivered"],
            "dead": figures["dead"], "open": figures["waiting"] + figures["sending"],
            "violations": figures["violations"],
        },
        COMMAND.format(seed=SEED),
    )  # fmt: skip


def test_what_came_twice_was_in_flight_and_has_the_same_delivery_id(told: dict[str, Any]) -> None:
    duplicates = told["figures"]["duplicates"]
    doubled = [one for one in told["violations"] if one["kind"] == "doubled"]

    assert doubled == []
    assert duplicates <= KILLS * 4  # the procedure's max_in_flight
    record(
        "P5",
        "what procedures took twice over all kills",
        {
            "kills": KILLS, "duplicates": duplicates, "per_kill": round(duplicates / KILLS, 2),
            "in_flight_max": 4, "with_another_id": len(doubled),
        },
        COMMAND.format(seed=SEED),
    )  # fmt: skip


def test_a_hub_killed_while_it_erases_has_erased_wholly_at_the_next_start(tmp_path: Path) -> None:
    url, killed = f"sqlite:///{tmp_path / 'hub.db'}", Counter[int]()
    for number in range(3):
        environment = {**os.environ, "PYTHONPATH": str(ROOT), crashpoint.VARIABLE: "during-erasure"}
        command = [sys.executable, "-c", ERASING, url, str(tmp_path), str(number)]
        killed[subprocess.run(command, env=environment, capture_output=True).returncode] += 1
        files = [path for path in (tmp_path / "payloads").rglob("*") if path.is_file()]
        assert len(files) == 1, "killed between the rows and the files"

        open_store(url, state_dir=tmp_path, mode="daemon").close()

        assert not [path for path in (tmp_path / "payloads").rglob("*") if path.is_file()]
        account = read_account(url, tmp_path)
        assert [one.original for one in account.messages.values()] == [None] * (number + 1)
    assert killed == {-signal.SIGKILL: 3}


ERASING = """
import os, sys
from datetime import timedelta
from pathlib import Path
from hub import crashpoint
from hub.cli import program
from hub.selftest.scratch import Scratch
from hub.store import open_store
from hub.store.accounting import read_account
from hub.message import new_id
from hub.store import open_store, utc_now
from hub.store.api import Payload, PayloadRole, Rejection

crashpoint.arm(os.environ, "test")
store = open_store(sys.argv[1], state_dir=Path(sys.argv[2]), mode="daemon")
body = Payload(new_id(), PayloadRole.RECEIVED, os.urandom(1_500_000))
store.reject(Rejection(new_id(), "schema_violation", "box", "amt", "0" * 64, utc_now(), "s" * 64, payloads=(body,)))
store.erase_rejected("box", before=utc_now() + timedelta(days=1), up_to=0)
"""


def test_the_report_says_where_and_with_what_it_was_made(told: dict[str, Any]) -> None:
    assert told["machine"].keys() >= {"name", "system", "cores", "file_system"}
    assert told["versions"].keys() >= {"xoev-hub", "python", "sqlite"}
    assert str(told["seed"]) == SEED


def test_it_asks_what_to_prove(tmp_path: Path) -> None:
    done = selftest(tmp_path)

    assert (done.returncode, "--crash" in done.stderr) == (2, True)


def test_a_hub_that_loses_is_found_out_and_the_exit_code_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What has a receipt is taken out of the store while the hub is dead: the proof must not pass over it."""
    kill = Scratch.kill

    def kill_and_steal(hub: Scratch) -> None:
        kill(hub)
        if (database := hub.state / "hub.db").exists():
            steal_oldest(database)

    monkeypatch.setattr(Scratch, "kill", kill_and_steal)
    arguments = ["--kills", "2", "--seed", "7", "--receipts", "30", "--json", "--folder", str(tmp_path)]
    done = CliRunner().invoke(program, ["selftest", "--crash", *arguments])

    assert isinstance(done.exception, SystemExit), done.exception
    assert done.exit_code == 1, done.output
    assert done.stdout, done.stderr
    told = json.loads(done.stdout)
    assert told["verdict"] == "broken"
    assert {"lost"} <= {one["kind"] for one in told["violations"]}


def steal_oldest(database: Path) -> None:
    with sqlite3.connect(database) as connection:
        try:
            found = connection.execute("SELECT id FROM message ORDER BY seq LIMIT 1").fetchone()
        except sqlite3.OperationalError:
            return  # killed before there were tables
        if found is None:
            return
        for table in ("delivery", "reference", "payload"):  # not the events: a trigger keeps them
            connection.execute(f"DELETE FROM {table} WHERE message_id = ?", found)
        connection.execute("DELETE FROM message WHERE id = ?", found)

"""P2, P3, P15: a database that promises less than the hub is refused; one that is killed costs no message.

The server is the tests' own. 5 kills of its postmaster in the suite, 50 by ``make storm``; XOEV_HUB_TEST_SEED repeats
a run.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from hub.selftest.checker import Given, check
from hub.selftest.ledgers import SenderLedger
from hub.selftest.scratch import SOAP, Scratch, probe
from hub.selftest.senders import Senders
from hub.simulate import Answers, Ledger
from hub.simulate.soap import SoapProcedure
from hub.store import migrate
from hub.store.accounting import count_states, read_account
from hub.store.sharing import LOOKUP_SECONDS
from tests.daemon import ROOT, until
from tests.postgres import Server
from tests.proving.record import STORM, record, seed

KILLS = 50 if STORM else 5
SEED = seed()
COMMAND = f"XOEV_HUB_TEST_SEED={SEED} {'XOEV_HUB_STORM=1 ' if STORM else ''}make test ARGS=tests/promises/test_database_storm.py"

pytestmark = pytest.mark.timeout(240 + 60 * KILLS)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server() as running:
        migrate(running.url())
        yield running


@pytest.fixture(scope="module")
def procedure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SoapProcedure]:
    ledger = Ledger(tmp_path_factory.mktemp("procedure") / "ledger.jsonl")
    made = SoapProcedure(SOAP, {}, Answers([{"slow": "5ms"}]), ledger)
    made.start()
    yield made
    made.stop()


# --- databases that promise less ----------------------------------------------------------------------------------

WEAK_PRAGMAS = """
from hub.store import database
database.PRAGMAS = tuple("PRAGMA synchronous={how}" if "synchronous" in one else one for one in database.PRAGMAS)
"""
SETTINGS = {
    "synchronous=NORMAL": "NORMAL",
    "synchronous=OFF": "OFF",
    "fsync=off": "ALTER SYSTEM SET fsync = off",
    "full_page_writes=off": "ALTER SYSTEM SET full_page_writes = off",
    "synchronous_commit=off": "ALTER ROLE postgres SET synchronous_commit = off",
    "synchronous_commit=local": "ALTER ROLE postgres SET synchronous_commit = local",
}
refused: Counter[str] = Counter()


def execute(server: Server, *statements: str) -> None:
    with psycopg.connect(server.url().replace("+psycopg", ""), autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)


def ends(hub: Scratch) -> tuple[int, str]:
    """Start a hub that is expected not to come up; return its exit code and what it said."""
    hub.spawn()
    assert hub.process is not None
    try:
        return hub.process.wait(90), hub.log.read_text("utf-8")
    except subprocess.TimeoutExpired:
        hub.kill()
        pytest.fail("the hub has started")


@pytest.mark.parametrize("setting", list(SETTINGS))
def test_a_database_that_answers_before_it_has_stored_is_refused_at_the_start(
    server: Server, tmp_path: Path, setting: str
) -> None:
    statement = SETTINGS[setting]
    if statement.startswith("ALTER"):
        execute(server, statement, "SELECT pg_reload_conf()")
        undo = "ALTER SYSTEM RESET ALL" if "SYSTEM" in statement else "ALTER ROLE postgres RESET ALL"
        hub = Scratch(tmp_path / "hub", "http://127.0.0.1:1/", store=server.url())
    else:
        (tmp_path / "sitecustomize.py").write_text(WEAK_PRAGMAS.format(how=statement))
        path = os.pathsep.join([str(tmp_path), str(ROOT)])
        hub, undo = Scratch(tmp_path / "hub", "http://127.0.0.1:1/", {"PYTHONPATH": path}), ""

    try:
        code, said = ends(hub)
    finally:
        if undo:
            execute(server, undo, "SELECT pg_reload_conf()")

    assert code == 69
    assert setting.partition("=")[0] in said
    refused[setting] += 1
    if len(refused) == len(SETTINGS):
        attack = "databases that answer before they have stored: refused at the start"
        record("P2", attack, {"settings": len(SETTINGS), "refused": len(refused)}, COMMAND)


# --- a server that is killed --------------------------------------------------------------------------------------


def test_a_server_that_is_killed_again_and_again_costs_no_message_and_no_commit_is_guessed(
    server: Server, procedure: SoapProcedure, tmp_path: Path
) -> None:
    print(f"XOEV_HUB_TEST_SEED={SEED}")
    chance = random.Random(SEED)
    ledger = SenderLedger(tmp_path / "senders.jsonl")
    back: list[float] = []
    away = 0.0
    with Scratch(tmp_path / "hub", procedure.address, store=server.url()) as hub:
        senders = Senders(hub, ledger, lambda one: probe(one.choice([200, 3_000])), SEED)
        hub.start()
        with senders.streaming():
            for _ in range(KILLS):
                senders.wait_for(chance.randint(5, 60))
                threading.Event().wait(chance.uniform(0, 0.05))  # the moment is what is tested, not waited for
                server.kill()
                killed = time.monotonic()
                refusal = first_refusal(hub)
                server.start()
                answered = time.monotonic()
                away = max(away, answered - killed)
                senders.wait_for(1)
                back.append(time.monotonic() - answered)
                assert refusal < 30
        senders.hand_in_again()
        until(lambda: not {"waiting", "sending"} & count_states(hub.store).keys(), "everything is delivered", 120)
        assert hub.stop() == 0
        given = [
            Given(one["procedure"], one["delivery"], one["sha256"], one["taken"]) for one in procedure.ledger.entries()
        ]
        verdict = check(
            ledger.receipts(), read_account(hub.store, hub.state), [*given, *hub.filed()], repeated_max=4 * KILLS
        )

    looked_up = Counter(one["state"] for one in events(hub) if one["event"] == "commit_looked_up")
    assert verdict.violations == ()
    assert ledger.refused() == []
    # A writer asks a server for so long; one that a busy machine keeps away for longer leaves the sender to ask again.
    assert away > LOOKUP_SECONDS / 2 or not any(one["event"] == "commit_unknown" for one in events(hub))
    assert max(back) < 60  # the figure says how long it is; a machine that does other things takes longer
    figures = {
        "kills": KILLS, "receipts": verdict.figures["receipts"], "lost": verdict.figures["lost"],
        "altered": verdict.figures["altered"], "duplicates": verdict.figures["duplicates"],
        "commits_looked_up": sum(looked_up.values()), "of_these_committed": looked_up["committed"],
        "seconds_until_receipts_again": round(max(back), 1), "seed": SEED,
    }  # fmt: skip
    record("P15", "kill -9 of the postmaster under load", figures, COMMAND)


def test_while_the_database_is_away_everything_is_refused_within_a_second(
    server: Server, procedure: SoapProcedure, tmp_path: Path
) -> None:
    with Scratch(tmp_path / "hub", procedure.address, store=server.url()) as hub:
        hub.start()
        with hub.session() as sender:
            assert sender.post(hub.url, data=probe(200), timeout=60).status_code == 202
            server.kill()
            took = []
            for _ in range(5):
                began = time.monotonic()
                answer = sender.post(hub.url, data=probe(200), timeout=60)
                took.append(time.monotonic() - began)
                assert (answer.status_code, "Retry-After" in answer.headers) == (503, True)
            server.start()
            began = time.monotonic()
            until(lambda: sender.post(hub.url, data=probe(200), timeout=60).status_code == 202, "it takes again")
            back = time.monotonic() - began

    figures = {"refused_within_seconds": round(max(took), 2), "takes_again_after_seconds": round(back, 2)}
    record("P3", "the database server is away", figures, COMMAND)


def first_refusal(hub: Scratch) -> float:
    """Return how long it takes until a sender is told that nothing can be stored."""
    began = time.monotonic()
    with hub.session() as sender:
        until(lambda: sender.post(hub.url, data=probe(200), timeout=60).status_code == 503, "it refuses")
    return time.monotonic() - began


def events(hub: Scratch) -> list[dict[str, str]]:
    lines = hub.log.read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines if line.startswith("{")]

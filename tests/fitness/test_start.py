"""The command line starts fast: what a command imports, and that what is left out changes no answer."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from hub.store import open_store

ROOT = Path(__file__).parents[2]
MESSAGE = ROOT / "tests/messages/gewerbeanmeldung-wolfsburg.xml"

LIBRARIES = ("zeep", "requests", "urllib3", "pika", "uvicorn", "httptools", "httpx")
ENDPOINTS = (*LIBRARIES, "asyncio", "ssl", "http.client")
"""What only who calls a peer, or is called, needs."""
STORE = ("sqlalchemy", "alembic", "psycopg", "sqlite3", "hub.store.api")
OTHERS = (
    "structlog", "apscheduler", "saxonche", "hub.daemon", "hub.log", "hub.wire", "hub.jobs", "hub.cli.retelling", "tomllib",
)  # fmt: skip
OTHER_DOCUMENTS = ("signxml", "cryptography", "hub.rejecting", "hub.xml.answers")
"""What documents of other standards are checked with, and how they are answered."""
CONFIGURATION = ("lxml", "pydantic", "yaml")
NO_ROUTE = ("adapters.folder_in", "adapters.soap_settings", "hub.config.endpoints", "hub.config.crosscheck")
"""What reads the other sections of a configuration."""
MESSAGES = ("hub.store.api", "hub.store.rows", "hub.store.listing", "hub.store.holding")
"""What only listings of messages need of the store's reading."""
WRITING = (
    "alembic",
    "psycopg",
    "hub.store.sql",
    "hub.store.writer",
    "hub.store.migrating",
    "hub.service",
    "hub.plugin",
)


def loaded(arguments: Sequence[str], watched: Sequence[str], state: Path) -> list[str]:
    """Run a command in a process of its own, and return what it has loaded of the watched modules."""
    watch = (
        "import sys\nfrom hub.cli import main\n"
        f"sys.argv = ['xoev-hub', '-c', {str(ROOT / 'routes.yaml')!r}, *{list(arguments)!r}]\n"
        "try:\n    main()\nexcept SystemExit as stop:\n    assert not stop.code, stop.code\n"
        f"print(sorted(set({tuple(watched)!r}) & set(sys.modules)), file=sys.stderr)"
    )
    environment = {"XOEV_HUB_STATE_DIR": str(state), "PATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", watch], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=110
    )
    assert done.returncode == 0, done.stderr
    return list(json.loads(done.stderr.splitlines()[-1].replace("'", '"')))


@pytest.mark.parametrize(
    ("arguments", "watched"),
    [
        (["--version"], (*ENDPOINTS, *STORE, *OTHERS, *OTHER_DOCUMENTS, *CONFIGURATION)),
        (["--help"], (*LIBRARIES, "sqlalchemy", "structlog", *OTHER_DOCUMENTS, *CONFIGURATION)),
        (["explain", str(MESSAGE)], (*ENDPOINTS, *STORE, *OTHERS, *OTHER_DOCUMENTS)),
        (["routes", "list"], (*LIBRARIES, "alembic", "psycopg", *OTHERS, *OTHER_DOCUMENTS, *NO_ROUTE, *MESSAGES)),
        (["routes", "gaps"], (*ENDPOINTS, *STORE, *OTHERS, *OTHER_DOCUMENTS)),
    ],
    ids=lambda value: " ".join(value[:2]).partition(" /")[0] if isinstance(value, list) else "",
)
def test_a_command_loads_nothing_that_it_does_not_need(
    arguments: list[str], watched: tuple[str, ...], tmp_path: Path
) -> None:
    assert loaded(arguments, watched, tmp_path) == []


@pytest.mark.parametrize(
    ("arguments", "watched"),
    [
        (["messages", "list"], (*CONFIGURATION, *OTHERS, *WRITING)),
        (["audit", "list"], (*CONFIGURATION, *OTHERS, *WRITING, "hub.store.listing", "hub.store.rows")),
        (["stats"], (*CONFIGURATION, *OTHERS, *WRITING, *MESSAGES)),
        (
            ["routes", "unused"],
            (*LIBRARIES, *OTHERS, *OTHER_DOCUMENTS, *NO_ROUTE, "hub.store.listing", "hub.store.rows"),
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_listing_loads_of_the_store_what_it_reads(
    arguments: list[str], watched: tuple[str, ...], tmp_path: Path
) -> None:
    open_store(f"sqlite:///{tmp_path}/hub.db", state_dir=tmp_path, mode="daemon").close()

    assert loaded(arguments, watched, tmp_path) == []


def test_what_is_watched_is_seen(tmp_path: Path) -> None:
    """A name that nothing bears would be missed for ever."""
    assert loaded(["check"], ("zeep", "requests", "urllib3", "ssl", "signxml", "cryptography", "yaml"), tmp_path) == [
        "cryptography", "requests", "signxml", "ssl", "urllib3", "yaml", "zeep",
    ]  # fmt: skip

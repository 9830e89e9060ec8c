"""What goes wrong around a running hub is told to who looks: where it is, what was found, what to do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from hub.loopback import free_port
from tests.daemon import Daemon, until
from tests.leinen import Leinen, folder_out


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    deployment = Leinen(tmp_path_factory.mktemp("told"), {"nordheim": folder_out("out/nordheim")})
    akten = {"adapter": "folder", "path": "in/akten", "every": "100ms", "sender": "portal"}
    deployment.routes["inbound"]["akten"] = akten
    deployment.routes["inbound"]["queue"] = {
        "adapter": "amqp", "sender": "portal", "url": "env:NO_BROKER", "queue": "q", "reject_to": "/rejected",
    }  # fmt: skip
    with Daemon(deployment, NO_BROKER=f"amqp://nobody:secret@127.0.0.1:{free_port()}/") as daemon:
        yield daemon


def complaints(hub: Daemon) -> dict[str, Any]:
    """Return what doctor says of the sources, by their names."""
    items = json.loads(hub.cli("doctor", "--json").stdout)["items"]
    return {one["text"].split()[0]: one for one in items if one["what"] == "source"}


def said(hub: Daemon, event: str) -> list[dict[str, Any]]:
    lines = (json.loads(line) for line in hub.log.read_text("utf-8").splitlines() if line.startswith("{"))
    return [one for one in lines if one["event"] == event]


def test_a_source_that_cannot_be_read_is_said_once_in_the_log_and_by_doctor(hub: Daemon) -> None:
    folder: Path = hub.deployment.folder / "in" / "akten"
    until(lambda: said(hub, "poll_failed"), "the source is looked at")
    broken = complaints(hub)  # takes longer than some looks

    folder.mkdir(parents=True)
    until(lambda: said(hub, "poll_works"), "it goes on by itself")
    mended = complaints(hub)

    assert broken["akten"]["text"] == "akten cannot be read: FileNotFoundError: No such file or directory"
    assert broken["akten"]["next"].startswith("xoev-hub config show akten")
    assert broken["akten"]["needs_person"]
    assert "akten" not in mended
    assert len(said(hub, "poll_failed")) == 1


def test_a_queue_whose_broker_is_away_is_said_by_doctor(hub: Daemon) -> None:
    until(lambda: said(hub, "source_unreachable"), "the broker is away")

    told = complaints(hub)["queue"]

    assert told["text"].startswith("queue cannot be read: source unreachable: ")
    assert "secret" not in told["text"]
    assert told["next"].startswith("xoev-hub config show queue says what it reads; it goes on by itself")
    assert told["needs_person"]


@pytest.mark.parametrize(("path", "status"), [("/livez", 200), ("/readyz", 200), ("/metrics", 200), ("/other", 404)])
def test_a_balancer_may_ask_for_the_head_alone(hub: Daemon, path: str, status: int) -> None:
    whole, head = requests.get(hub.admin + path, timeout=10), requests.head(hub.admin + path, timeout=10)

    assert (whole.status_code, head.status_code, head.content) == (status, status, b"")
    assert head.headers["Content-Type"] == whole.headers["Content-Type"]


def test_an_address_that_somebody_else_has_is_named(hub: Daemon, tmp_path: Path) -> None:
    other = Daemon(Leinen(tmp_path, {"nordheim": folder_out("out/nordheim")}))
    other.deployment.routes["inbound"]["online"]["listen"] = f"127.0.0.1:{hub.deployment.port}"
    other.deployment.write()

    done = other.cli("run")

    assert done.returncode == 1
    assert f"source online: 127.0.0.1:{hub.deployment.port}: Address already in use" in done.stderr

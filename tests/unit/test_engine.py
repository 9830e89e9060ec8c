"""The running hub as a whole: when it says it is ready, and when it must end."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from adapters.http import HttpListener
from hub.config.process import ProcessSettings
from hub.daemon import engine as module
from hub.daemon import sources
from hub.daemon.engine import Engine, utc_now
from hub.errors import Rejected
from hub.message import Incoming
from hub.plugin import Accept, StopSignal
from tests.daemon import until
from tests.leinen import Leinen, folder_out, leinen


@pytest.fixture
def failures() -> threading.Event:
    return threading.Event()


@pytest.fixture
def engine(tmp_path: Path, failures: threading.Event, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    monkeypatch.setattr(module, "WATCH_SECONDS", 0.1)
    deployment = Leinen(tmp_path, {"nordheim": folder_out("out/nord")})
    settings = ProcessSettings(tmp_path / "var", f"sqlite:///{tmp_path}/var/hub.db", workers=1)
    made = Engine(deployment.write(), settings, failures.set)
    yield made
    made.stop()


def test_it_is_not_ready_before_its_sources_are_open_nor_while_it_drains(engine: Engine) -> None:
    before = engine.not_ready()
    engine.start()
    running = engine.not_ready()
    engine.stop()

    assert (before, running, engine.not_ready()) == ("starting", None, "draining")


def test_a_listener_that_fails_is_known_until_it_works_again(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(listener: HttpListener, _accept: Accept, _stop: StopSignal) -> None:
        listener.bound.set()
        raise RuntimeError("Jürgen Müßig")

    monkeypatch.setattr(sources, "RESTART_SECONDS", 0.1)
    monkeypatch.setattr(HttpListener, "listen", fails)

    engine.start()
    until(lambda: engine.sources.failing() == {"online": "RuntimeError"}, "it is known")
    monkeypatch.setattr(HttpListener, "listen", lambda _listener, _accept, stop: stop.wait())
    until(lambda: not engine.sources.failing(), "it works again")


def test_a_store_that_can_write_no_more_ends_the_hub(
    engine: Engine, failures: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.start()

    monkeypatch.setattr(type(engine.store), "failed", "disk-io")

    assert failures.wait(30)


def test_bodies_of_rejected_documents_go_after_their_time(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Rejected) as rejected:
        engine.intake.accept(Incoming(leinen(alter="alt"), "online", "portal"))
    before = len(engine.store.payloads(rejected.value.id or ""))
    monkeypatch.setattr(engine._retaining, "_clock", lambda: utc_now() + timedelta(days=8))

    engine._retention(lambda: None)

    assert before > len(engine.store.payloads(rejected.value.id or ""))

"""A hub erases by itself what its sources keep no longer, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hub.config.process import ProcessSettings
from hub.daemon import engine as daemon
from hub.daemon.engine import Engine
from hub.message import Incoming
from tests.daemon import until
from tests.leinen import Leinen, folder_out, leinen
from tests.storing import Place


@pytest.fixture
def engine(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    monkeypatch.setattr(daemon, "RETENTION_SECONDS", 0.2)
    hub = Leinen(tmp_path, {"nordheim": folder_out("out/nord"), "suedheim": folder_out("out/gone")})
    (tmp_path / "out" / "gone").rmdir()  # a share that is not mounted
    hub.routes["inbound"]["online"]["keep_accepted"] = "1s"
    made = Engine(hub.write(), ProcessSettings(place.state_dir, place.url, workers=1))
    made.start()
    yield made
    made.stop()


def test_what_is_over_is_erased_after_its_time_and_what_waits_is_not(engine: Engine, tmp_path: Path) -> None:
    delivered = engine.accept(Incoming(leinen(), "online", "portal")).message_id
    waiting = engine.accept(Incoming(leinen(1), "online", "portal")).message_id

    until(lambda: not engine.store.payloads(delivered), "the delivered one is erased")

    record = engine.store.message(delivered)
    assert record is not None
    assert record.status == "delivered"
    assert len(engine.store.payloads(waiting)) >= 1
    (tmp_path / "out" / "gone").mkdir()
    until(lambda: list((tmp_path / "out" / "gone").glob("*.xml")), "the other arrives, with its bytes")
    until(lambda: not engine.store.payloads(waiting), "and goes then")

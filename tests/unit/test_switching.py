"""What waits while its destination goes over to another version is planned anew, before it goes out in the old shape."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from hub.config.process import ProcessSettings
from hub.daemon import engine as module
from hub.daemon.engine import Engine
from hub.daemon.switching import switched
from hub.delivery import Delivery, State
from hub.deployment import Accepts, Destination
from hub.message import Incoming
from hub.plugin import Settings
from hub.store.api import Control
from tests import umzug
from tests.daemon import until

ROUTES = """\
version: 1
senders:
  portal: {}
inbound:
  eingang: {adapter: folder, path: eingang, sender: portal}
municipalities:
  wolfsburg: {name: Stadt Wolfsburg, ags: 03103000, procedures: {umzug: {like: meldewesen}}}
procedures:
  meldewesen:
    adapter: folder
    path: ausgang
    accepts: [{type: umzug/1.0, until: "SWITCH"}, {type: umzug/2.0, from: "SWITCH"}]
    steps: [{convert: {from: umzug/1.0, to: umzug/2.0, fidelity: lossless, xslt: transforms/vorwaerts.xsl}}]
routes:
  umzug: {match: {type: umzug}, deliver_to: ["{municipality}/umzug"]}
"""
THERE = "wolfsburg/umzug"
NOW = datetime.now(UTC)
SWITCH = NOW + timedelta(days=1)


class Clock:
    """The time of this machine, and some days more."""

    ahead = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "utc_now", clock)
    monkeypatch.setattr(module, "SWITCH_SECONDS", 0.1)
    return clock


@pytest.fixture
def engine(tmp_path: Path, clock: Clock) -> Iterator[Engine]:
    umzug.write(tmp_path, windows=dict.fromkeys((umzug.V1, umzug.V2), ""))
    for folder in ("eingang", "ausgang"):
        (tmp_path / folder).mkdir()
    config = tmp_path / "routes.yaml"
    config.write_text(ROUTES.replace("SWITCH", SWITCH.isoformat()))
    settings = ProcessSettings(tmp_path / "var", f"sqlite:///{tmp_path}/var/hub.db", workers=1)
    made = Engine(config, settings)
    made.start()
    made.store.hold(Control(THERE, "paused", "Umstellung", clock(), by="erika"))
    yield made
    made.stop()


def hand_in(engine: Engine, version: str = umzug.V1) -> str:
    return engine.intake.accept(Incoming(umzug.document(version), "eingang", "portal")).message_id


def deliveries(engine: Engine, id_: str) -> list[Delivery]:
    record = engine.store.message(id_)
    assert record is not None
    return list(record.deliveries)


def test_what_waits_over_the_switch_goes_out_in_the_new_version(engine: Engine, clock: Clock, tmp_path: Path) -> None:
    id_ = hand_in(engine)

    clock.ahead = timedelta(days=2)
    until(lambda: len(deliveries(engine, id_)) == 2, "it is planned anew")
    engine.store.release(THERE, by="erika", now=clock())
    engine.deliverers.wake([THERE])
    (file,) = until(lambda: list((tmp_path / "ausgang").glob("*.xml")), "it arrives")

    old, new = deliveries(engine, id_)
    assert (old.state, old.reason, new.replay_of) == (State.CLOSED, "superseded", old.id)
    assert b'version="2.0"' in file.read_bytes().partition(b"?>")[2]
    assert engine.store.events(old.id)[-1].actor == "hub"


def test_what_the_new_time_does_not_accept_any_more_is_dead_and_is_not_sent(engine: Engine, clock: Clock) -> None:
    clock.ahead = timedelta(days=2)
    until(lambda: engine._accepted and engine._accepted[1] > SWITCH, "the switch was seen")
    id_ = hand_in(engine, umzug.V2)
    text = engine._config.read_text().replace(
        'from: "', f'until: "{(SWITCH + timedelta(hours=1)).isoformat()}", from: "'
    )
    engine._config.write_text(text)

    engine.reload()

    until(lambda: len(deliveries(engine, id_)) == 2, "it is planned anew")
    assert [(one.state, one.reason) for one in deliveries(engine, id_)] == [
        (State.CLOSED, "superseded"),
        (State.DEAD, "target_invalid"),
    ]


def test_what_is_still_right_after_a_reload_stays_as_it_is(engine: Engine) -> None:
    id_ = hand_in(engine)
    engine._config.write_text(engine._config.read_text() + "# nothing else\n")

    engine.reload()
    until(lambda: engine._accepted and engine._accepted[0] == engine.snapshot, "it was looked at")
    until(lambda: not engine.store.jobs.unfinished(), "the job is done")

    assert [one.state for one in deliveries(engine, id_)] == [State.WAITING]


def test_only_who_switches_between_two_looks_is_looked_at() -> None:
    plain = Destination("a/b", "a", "b", "folder", Settings())
    switching = replace(plain, accepts=(Accepts("umzug/1.0/*", until=SWITCH), Accepts("umzug/2.0/*", from_=SWITCH)))
    both, second = [plain, switching], timedelta(seconds=1)

    assert list(switched(both, None, NOW)) == [switching]
    assert list(switched(both, NOW, SWITCH - second)) == []
    assert list(switched(both, SWITCH - second, SWITCH)) == [switching]
    assert list(switched(both, SWITCH, SWITCH + second)) == []

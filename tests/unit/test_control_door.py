"""The daemon's own door: a socket beside its store, wherever that is."""

from __future__ import annotations

from pathlib import Path

import pytest

from hub.daemon.control import NAME, ControlDoor, ask


def test_it_answers_in_a_folder_whose_path_is_longer_than_that_of_a_socket_may_be(tmp_path: Path) -> None:
    state = tmp_path / ("städtischer-betrieb-" * 6) / ("zustand-" * 10)
    state.mkdir(parents=True)
    assert len(str(state / NAME).encode()) > 107

    with ControlDoor(state, lambda asked: {"ok": True, "done": asked["do"]}):
        assert (state / NAME).stat().st_mode & 0o777 == 0o600
        assert ask(state, {"do": "reload"}) == {"ok": True, "done": "reload"}

    assert not (state / NAME).exists()


def test_a_former_daemons_socket_is_replaced(tmp_path: Path) -> None:
    ControlDoor(tmp_path, lambda _asked: {})._server.server_close()  # killed: the file is left

    with ControlDoor(tmp_path, lambda _asked: {"ok": True}):
        assert ask(tmp_path, {"do": "reload"}) == {"ok": True}


@pytest.mark.parametrize("there", [True, False], ids=["no-daemon", "no-folder"])
def test_where_nobody_answers_is_an_error_of_the_system(tmp_path: Path, there: bool) -> None:
    with pytest.raises(OSError):
        ask(tmp_path if there else tmp_path / "nowhere", {"do": "reload"})

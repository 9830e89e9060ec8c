"""Named places at which a proof kills the hub: ``XOEV_HUB_CRASH_AT=NAME[:N]``, dead at the N-th time it gets there.

It dies by SIGKILL: nothing is caught, flushed or told. Never in service: on the stage production a hub with that
variable refuses to start, and on the stage test it says so at every start. An unknown name is refused, too, as a proof
that never gets to its place would prove nothing. Unset, a place costs one comparison.
"""

from __future__ import annotations

import os
import re
import signal
import threading
from collections.abc import Mapping
from typing import Final, Literal

from hub.errors import ConfigError, Problem
from hub.log import get_log

log = get_log(__name__)

VARIABLE: Final = "XOEV_HUB_CRASH_AT"

Place = Literal[
    "after-read",  # the whole message has come in, nothing is known of it
    "before-insert",  # it is planned, its large payloads are files; nothing names them
    "inside-commit",  # all rows of a transaction are written, it is not committed
    "after-commit",  # committed, and nobody has been told
    "before-answer",  # the sender's receipt is made, not sent
    "before-send",  # claimed, and the adapter has not been called
    "after-send",  # the procedure has answered, and nothing of it is recorded
    "before-mark",  # what has to be recorded of an attempt is on its way to the store
    "during-reload",  # the new workers stand, the old ones still serve
    "during-migration",  # the tables are changed, the transaction is open
    "during-erasure",  # rows are erased, their files are still there
]
PLACES: Final[tuple[Place, ...]] = Place.__args__  # type: ignore[attr-defined]  # a Literal has them

_SPELLED = re.compile(r"([a-z-]+)(?::([1-9][0-9]{0,6}))?", re.ASCII)
_armed: str | None = None
_left = 0
_counting = threading.Lock()


def arm(environ: Mapping[str, str], stage: str) -> None:
    """Read the variable, once, at the start of a process.

    Raises:
        ConfigError: It is set on the stage production, or names no place.
    """
    global _armed, _left  # one process, one place to die
    asked = environ.get(VARIABLE)
    if not asked:
        return
    found = _SPELLED.fullmatch(asked)
    if found is None or found[1] not in PLACES:
        expected = f"one of {', '.join(PLACES)}, with :N for the N-th time"
        raise ConfigError([Problem(VARIABLE, 0, 0, "", f"found {asked[:60]!r}, expected {expected}")])
    if stage != "test":
        text = "is for proofs on the stage test: it kills the hub. Take it out of the environment"
        raise ConfigError([Problem(VARIABLE, 0, 0, "", text)])
    _armed, _left = found[1], int(found[2] or 1)
    log.warning("crash_point_armed", code=_armed, count=_left)


def reached(place: Place) -> None:
    """Die here, if this is where and when the hub is to die."""
    if _armed is not None and place == _armed:
        _count_down()


def _count_down() -> None:
    global _left  # noqa: PLW0603
    with _counting:
        _left -= 1
        if _left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
            threading.Event().wait()  # the signal may take a moment; this thread goes no further

"""Tells channels what they are to be told, in a thread of its own. A channel that fails is tried again, and seen."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path

from hub.alerts.channels import NotTold, tell
from hub.alerts.settings import AlertSettings, Channel
from hub.errors import StoreError, Unavailable
from hub.log import get_log
from hub.secrets import Secrets
from hub.store.api import Store
from hub.store.watch_api import Notice

log = get_log(__name__)

EVERY_SECONDS = 1.0
AGAIN_FIRST = timedelta(seconds=30)
AGAIN_MAX = timedelta(minutes=15)
_TOKEN = re.compile(r"[A-Za-z0-9_.-]{1,64}")


class Teller:
    """The thread between the notices that are due and their channels."""

    def __init__(
        self,
        store: Store,
        settings: Callable[[], AlertSettings],
        base: Path,
        clock: Callable[[], datetime],
        failed: Callable[[str], None] = lambda _channel: None,
    ) -> None:
        """``failed`` is called with a channel's name each time that it could not be told."""
        self._store, self._settings, self._base, self._clock, self._failed = store, settings, base, clock, failed
        self._secrets = Secrets(base)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="alerts", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Begin nothing new; what a channel is being told is not waited for: it is told again if need be."""
        self._stop.set()

    def tell_due(self) -> None:
        """Tell every channel what is due now."""
        for name, channel in self._settings().tell.items():
            notices = self._store.watch.notices(name)
            if notices and not self._stop.is_set():
                self._tell(name, channel, notices)

    def _tell(self, name: str, channel: Channel, notices: Sequence[Notice]) -> None:
        try:
            tell(channel, notices, self._base, self._secrets.read)
        except (OSError, KeyError, ValueError) as error:
            code = token_of(error)
            tries = max(one.tries for one in notices)
            pause = min(AGAIN_FIRST * 2 ** min(tries - 1, 8), AGAIN_MAX)
            self._store.watch.untold(notices, code, self._clock() + pause)
            self._failed(name)
            log.error("alert_not_told", adapter=name, code=code, count=len(notices))
        else:
            self._store.watch.told(notices)
            log.info("alert_told", adapter=name, count=len(notices))

    def _run(self) -> None:
        while not self._stop.wait(EVERY_SECONDS):
            try:
                self.tell_due()
            except (Unavailable, StoreError) as error:
                log.warning("alerts_postponed", error=type(error).__name__)


def token_of(error: Exception) -> str:
    """Return a failure as it may be shown: no text of a peer, and no secret's place."""
    text = str(error) if isinstance(error, NotTold) else type(error).__name__
    return text if _TOKEN.fullmatch(text) else "failed"

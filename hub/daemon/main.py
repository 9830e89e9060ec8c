"""``xoev-hub run``: start, wait for signals, drain.

SIGHUP reloads. SIGTERM and SIGINT drain; a second one ends at once.
"""

from __future__ import annotations

import os
import queue
import signal
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Any

from hub import crashpoint
from hub.config.process import ProcessSettings
from hub.daemon.admin import Admin
from hub.daemon.control import ControlDoor
from hub.daemon.engine import Engine
from hub.daemon.notify import Notifier
from hub.errors import ConfigError, HubError
from hub.log import get_log
from hub.memory import give_back_large_blocks

log = get_log(__name__)

FAILED = 1
WAKE_SECONDS = 0.5


def run(config: Path, settings: ProcessSettings) -> int:
    """Run the daemon until a signal ends it; return the exit code.

    Raises:
        StoreError, ConfigError, Unavailable, OSError: It cannot start.
    """
    crashpoint.arm(os.environ, settings.stage)
    give_back_large_blocks()
    signals: queue.SimpleQueue[int] = queue.SimpleQueue()  # reentrant: a signal handler may put into it
    stopping = False

    def on_signal(number: int, _frame: FrameType | None) -> None:
        nonlocal stopping
        if number != signal.SIGHUP:
            if stopping:
                os._exit(FAILED)  # the second signal: now
            stopping = True
        signals.put(number)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, on_signal)

    failed = False

    def on_failure() -> None:
        nonlocal failed
        failed = True
        signals.put(signal.SIGTERM)

    notifier = Notifier()
    engine = Engine(config, settings, on_failure)
    try:
        admin = Admin(settings.admin_listen, engine.not_ready, engine.render_metrics)
    except OSError as error:
        engine.stop()
        raise OSError(f"admin address {settings.admin_listen}: {error.strerror}") from error
    drained = False
    with admin:  # answers while the hub drains, too: who watches it must see that it lives and takes nothing more
        try:
            engine.start()
            notifier.ready()
            notifier.watch(engine.is_alive)
            with ControlDoor(settings.state_dir, lambda asked: _answer(engine, asked, notifier)):
                while _next(signals) == signal.SIGHUP:
                    _reload(engine, notifier)
        finally:
            notifier.stopping()
            drained = engine.stop()
            notifier.close()
    return 0 if drained and not failed else FAILED


def _next(signals: queue.SimpleQueue[int]) -> int:
    """Return the next signal. One that comes just before this thread sleeps wakes nobody, so it never sleeps long."""
    while True:
        try:
            return signals.get(timeout=WAKE_SECONDS)
        except queue.Empty:
            continue


def _answer(engine: Engine, asked: Mapping[str, Any], notifier: Notifier) -> dict[str, Any]:
    match asked.get("do"):
        case "reload":
            return _reload(engine, notifier)
        case "ready":
            return {"ok": True, "why": engine.not_ready(), "sources": engine.sources.failing()}
        case "destinations":
            return {"ok": True, **engine.configured()}
        case "snapshot":
            return {"ok": True, "snapshot": engine.snapshot}
        case _:
            return {"ok": False, "error": "unknown request"}


def _reload(engine: Engine, notifier: Notifier) -> dict[str, Any]:
    """Reload, and say how it went; a refused configuration changes nothing."""
    notifier.reloading()
    try:
        return {"ok": True, "snapshot": engine.reload()}
    except ConfigError as error:
        for problem in error.problems:
            place = f"{problem.file}:{problem.line}:{problem.column}"
            log.error("reload_refused", reason=f"{place}: {problem.text}")
        return {"ok": False, "error": "configuration", "problems": [asdict(one) for one in error.problems]}
    except (HubError, OSError) as error:
        log.error("reload_refused", error=type(error).__name__)
        return {"ok": False, "error": str(error)}
    finally:
        notifier.ready()

"""Process settings: where the state lies, which store, how many workers. Environment beats hub.toml beats default.

``hub.toml`` lies beside routes.yaml; its paths count from there.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hub.config.report import Place, Report
from hub.errors import ConfigError, Problem

if TYPE_CHECKING:
    from hub.deployment import Environment

FILE = "hub.toml"
PREFIX = "XOEV_HUB_"
WORKERS_MAX = 256
CONFIRM_ABOVE = 20
CONFIRM_ABOVE_MAX = 100_000
BYTES_IN_FLIGHT = 256_000_000
BYTES_IN_FLIGHT_MIN = 1_000_000
WORKER_MEMORY = 1_000_000_000
WORKER_MEMORY_MIN = 64_000_000
KEEP_FREE = 256_000_000
BALLAST = 32_000_000
ROOM_MIN = 1_000_000
_KEYS = (
    "state_dir", "store", "admin_listen", "workers", "worker_memory", "stage", "keep_free", "ballast",
    "bytes_in_flight", "confirm_above",
)  # fmt: skip
_OTHERS = ("config", "log_level")  # of the environment alone
_PROOFS = frozenset({"CRASH_AT", "STORM", "SOAK", "PROOFS", "CORPUS", "CANARY", "REWRITINGS"})  # of tests and proofs
_LISTEN = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+):([0-9]{1,5})", re.ASCII)
_STORE = re.compile(r"(sqlite|postgresql\+psycopg)://")
_PASSWORD = re.compile(r"://[^/@\s]*:[^/@\s]*@")
_SQLITE = "sqlite:///"


@dataclass(frozen=True, slots=True)
class ProcessSettings:
    """Settings of one process. ``store`` may hold a password."""

    state_dir: Path
    store: str = field(repr=False)
    admin_listen: str = "127.0.0.1:8081"
    workers: int = 1
    stage: Environment = "production"
    bytes_in_flight: int = BYTES_IN_FLIGHT  # of documents, over all sources, from reading to receipt
    worker_memory: int = WORKER_MEMORY  # bytes that a worker may take beside what all of them share
    keep_free: int = KEEP_FREE  # bytes of the store's disk, below which nothing more is taken in
    ballast: int = BALLAST  # bytes of it that are given up when it is full, so that what is here goes on
    confirm_above: int = CONFIRM_ABOVE  # a job with more items wants their number said


def load_process(base: Path, environ: Mapping[str, str] = os.environ) -> ProcessSettings:
    """Return the settings for the deployment in ``base``.

    Raises:
        ConfigError: With all problems of hub.toml and of the environment.
    """
    report = Report()
    values: dict[str, tuple[Any, Place]] = _from_file(base / FILE, report)
    for key in _KEYS:
        name = PREFIX + key.upper()
        if environ.get(name):
            values[key] = (environ[name], Place(name, 0, 0, ""))
    settings = _Reader(base, values, report).settings()
    if report.failed:
        raise ConfigError(report.problems())
    return settings


def _from_file(path: Path, report: Report) -> dict[str, tuple[Any, Place]]:
    if not path.exists():
        return {}
    import tomllib  # few have such a file

    try:
        text = path.read_bytes().decode("utf-8-sig")
        report.know(FILE, text)
        found = tomllib.loads(text)
    except OSError as error:
        report.add(Place(FILE, 0, 0, ""), f"cannot be read: {error.strerror}")
        return {}
    except UnicodeDecodeError:
        report.add(Place(FILE, 1, 1, ""), "is not UTF-8; expected UTF-8")
        return {}
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        report.add(_syntax_place(str(error)), f"not TOML: {str(error).partition(' (at')[0]}")
        return {}
    values = {key: (value, _place(key, text)) for key, value in found.items()}
    for key, (value, place) in values.items():
        if key not in _KEYS:
            from hub.config.validate import unknown  # here: it needs what only the configuration needs

            report.add(place, unknown("key", key, _KEYS))
        elif key == "store" and isinstance(value, str) and _PASSWORD.search(value):
            report.cover(place)
            report.add(place, "a password never stands in hub.toml; expected it in XOEV_HUB_STORE or in ~/.pgpass")
    return {key: value for key, value in values.items() if key in _KEYS}


def _place(key: str, text: str) -> Place:
    """Return where a key of the top level stands; TOML's reader does not say it."""
    found = re.search(rf"""^[ \t]*\[?["']?{re.escape(key)}["']?[ \t]*[=.\]]""", text, re.MULTILINE)
    if found is None:
        return Place(FILE, 0, 0, key)
    line = text.count("\n", 0, found.start()) + 1
    return Place(FILE, line, len(found[0]) - len(found[0].lstrip()) + 1, key)


def _syntax_place(text: str) -> Place:
    at = re.search(r"line (\d+), column (\d+)", text)
    return Place(FILE, int(at[1]), int(at[2]), "") if at else Place(FILE, 1, 1, "")


def _size_of(value: object) -> int:
    """Return a size in bytes.

    Raises:
        ValueError: It is none.
    """
    from pydantic import TypeAdapter  # here: most deployments name no size, and every command would wait for it

    from hub.plugin import Size

    return TypeAdapter[int](Size).validate_python(value)


def strange_variables(environ: Mapping[str, str], contents: Iterable[bytes]) -> tuple[Problem, ...]:
    """Return a warning for each variable that looks like a setting, and that nothing reads: a slip of the pen.

    ``contents`` are the files of the configuration: a secret may be called as its owner likes.
    """
    strange = [name for name in sorted(environ) if name.startswith(PREFIX) and not _is_known(name)]
    read = list(contents) if strange else []
    return tuple(
        Problem(name, 0, 0, "", _nothing_reads(name), level="warning")
        for name in strange
        if not any(f"env:{name}".encode() in content for content in read)
    )


def _is_known(name: str) -> bool:
    short = name.removeprefix(PREFIX)
    return short.lower() in (*_KEYS, *_OTHERS) or short in _PROOFS or short.startswith("TEST_")


def _nothing_reads(name: str) -> str:
    import difflib  # few mistype one

    known = {key.upper(): PREFIX + key.upper() for key in (*_KEYS, *_OTHERS)}
    close = difflib.get_close_matches(name.removeprefix(PREFIX).upper(), known, n=1)
    hint = f"did you mean {known[close[0]]}?" if close else f"known: {', '.join(sorted(known.values()))}"
    return f"nothing reads this variable of the environment; {hint}"


class _Reader:
    """Reads each value; notes what is wrong and goes on with the default."""

    def __init__(self, base: Path, values: Mapping[str, tuple[Any, Place]], report: Report) -> None:
        self._base, self._values, self._report = base, values, report

    def settings(self) -> ProcessSettings:
        state_dir = self._base / (self._text("state_dir") or "var")
        return ProcessSettings(
            state_dir=state_dir,
            store=self._store(state_dir),
            admin_listen=self._listen(),
            workers=self._number("workers", os.cpu_count() or 1, 1, WORKERS_MAX),
            stage=self._stage(),
            bytes_in_flight=self._size("bytes_in_flight", BYTES_IN_FLIGHT, BYTES_IN_FLIGHT_MIN, "256MB, at least 1MB"),
            worker_memory=self._size("worker_memory", WORKER_MEMORY, WORKER_MEMORY_MIN, "1GB, at least 64MB"),
            keep_free=self._size("keep_free", KEEP_FREE, ROOM_MIN, "256MB, at least 1MB"),
            ballast=self._size("ballast", BALLAST, ROOM_MIN, "32MB, at least 1MB"),
            confirm_above=self._number("confirm_above", CONFIRM_ABOVE, 0, CONFIRM_ABOVE_MAX),
        )

    def _text(self, key: str) -> str | None:
        value, place = self._values.get(key, (None, None))
        if place is None or (isinstance(value, str) and value):
            return value
        self._problem(key, "text")
        return None

    def _store(self, state_dir: Path) -> str:
        text = self._text("store")
        if text is None:
            return f"{_SQLITE}{state_dir / 'hub.db'}"
        if not _STORE.match(text):
            # The value is not shown: it may hold a password.
            self._problem("store", "sqlite:///PATH or postgresql+psycopg://…", show=False)
        if text.startswith(_SQLITE):
            return f"{_SQLITE}{self._base / text.removeprefix(_SQLITE)}"
        return text

    def _listen(self) -> str:
        text = self._text("admin_listen") or "127.0.0.1:8081"
        found = _LISTEN.fullmatch(text)
        if not found or int(found[2]) > 65535:
            self._problem("admin_listen", "HOST:PORT such as 127.0.0.1:8081")
        return text

    def _number(self, key: str, default: int, least: int, most: int) -> int:
        value, place = self._values.get(key, (None, None))
        if place is None:
            return default
        text = str(value)
        if re.fullmatch(r"[0-9]{1,6}", text, re.ASCII) and least <= int(text) <= most:
            return int(text)
        self._problem(key, f"a whole number from {least} to {most}")
        return least

    def _stage(self) -> Environment:
        text = self._text("stage") or "production"
        if text == "test":
            return "test"
        if text != "production":
            self._problem("stage", "production or test")
        return "production"

    def _size(self, key: str, default: int, least: int, expected: str) -> int:
        value, place = self._values.get(key, (None, None))
        if place is None:
            return default
        try:
            size: int = _size_of(value)
        except ValueError:
            size = 0
        if isinstance(value, str) and size >= least:
            return size
        self._problem(key, f"a size such as {expected}")
        return least

    def _problem(self, key: str, expected: str, *, show: bool = True) -> None:
        value, place = self._values[key]
        if not show:
            self._report.cover(place)
        found = f"found {str(value)[:60]!r}, " if show else ""
        self._report.add(place, f"{found}expected {expected}")

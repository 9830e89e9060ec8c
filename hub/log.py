"""What the hub says about itself, without a word about persons. The only place that configures structlog.

    our events ──────────────▶ allow-list ─▶ escape ─▶ one line on stderr: JSON, or coloured on a terminal
    records of libraries ──▶ format string only ──┘

Only keys of the allow-list keep a text; numbers and truth values pass; all else becomes ``<redacted str len=12>``.
Of an exception remain its type and its frames, as messages of XML libraries quote the document.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import threading
import traceback
from collections.abc import Sequence
from functools import lru_cache
from json import JSONEncoder
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO, TypeAlias, cast

import structlog
from structlog.typing import EventDict, FilteringBoundLogger, WrappedLogger

EVENT_KEYS = frozenset(
    {
        "adapter", "attempts", "broker", "check", "code", "count", "destination", "duration_ms", "job", "level", "log",
        "municipality", "phase", "pid", "port", "reason", "route", "secret_ref", "sender", "size", "source", "state",
        "timestamp", "type", "version", "worker",
    }
)  # fmt: skip
"""The keys whose texts are shown: names of the configuration, tokens of closed lists."""

ID_KEYS = frozenset({"message", "delivery", "snapshot"})  # shown if they look like an id; "message" is never a text
TYPE_KEYS = frozenset({"error", "cause"})  # names of exceptions' types

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
TEXT_MAX = 200
FRAMES_MAX = 12

_EVENT = re.compile(r"[a-z][a-z0-9_.]{0,79}")
_KEY = re.compile(r"[a-z][a-z0-9_]{0,39}")
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_TYPE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.]{0,99}")
# C0, DEL, C1, line and paragraph separators, marks without width, bidi controls, lone surrogates
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff\ufff9-\ufffb]"
)

_ExcInfo: TypeAlias = tuple[type[BaseException], BaseException, TracebackType | None]


def configure(stream: TextIO | None = None, *, level: str | None = None, json: bool | None = None) -> None:
    """Send all events to ``stream`` (none: stderr): JSON lines, unless it is a terminal.

    ``level`` is DEBUG, INFO, WARNING or ERROR; left out, the environment's ``XOEV_HUB_LOG_LEVEL`` counts, then INFO.
    Records of libraries come along from WARNING on, whatever ``level`` says: below that they tell whole documents.
    May be called again; the last call counts.
    """
    lines = _Lines(stream)
    terminal = lines.stream.isatty()
    as_json = not terminal if json is None else json
    _configure_structlog(
        lines, level or _level_of_environment(), as_json=as_json, colours=terminal and "NO_COLOR" not in os.environ
    )
    root = logging.getLogger()
    root.handlers = [handler for handler in root.handlers if not isinstance(handler, _Foreign)]
    root.handlers.append(_Foreign())
    root.setLevel(logging.WARNING)
    logging.getLogger("pika").setLevel(logging.ERROR)  # it warns of every attempt, and so do we
    logging.captureWarnings(capture=True)
    _report_crashes()


def _level_of_environment() -> str:
    """Return the level that is asked for; a word that is none must not silence a daemon."""
    level = os.environ.get("XOEV_HUB_LOG_LEVEL", "").upper()
    return level if level in LEVELS else "INFO"


def get_log(name: str) -> FilteringBoundLogger:
    """Return the log of a module; it may be asked for before ``configure``."""
    return cast("FilteringBoundLogger", structlog.get_logger(log=name))


# --- where lines go -----------------------------------------------------------------------------------------------


class _Lines:
    """Writes whole lines. A log that cannot be written never stops the hub."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self._lock = threading.Lock()

    @property
    def stream(self) -> TextIO:
        return self._stream or sys.stderr

    def write(self, line: str) -> None:
        with self._lock:
            try:
                self.stream.write(line + "\n")
                self.stream.flush()
            except (OSError, ValueError):  # the terminal or pipe has gone
                return

    debug = info = warning = error = critical = write


def _configure_structlog(lines: _Lines, level: str, *, as_json: bool, colours: bool) -> None:
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _without_message,
            _redact,
            _as_json if as_json else structlog.dev.ConsoleRenderer(colors=colours),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_: lines,
        cache_logger_on_first_use=False,  # else a second call of configure would not reach the logs in use
    )


_ENCODER = JSONEncoder(ensure_ascii=False)


def _as_json(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    return _ENCODER.encode(event)


# --- what may be said ---------------------------------------------------------------------------------------------


def _without_message(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Replace an exception by the names of its type and of its causes, and by its frames."""
    raised = _exc_info(event.pop("exc_info", None))
    event.pop("stack_info", None)
    if raised is not None:
        kind, error, frames = raised
        event["error"] = kind.__qualname__
        event["where"] = _where(frames)
        cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        if cause is not None:
            event["cause"] = type(cause).__qualname__
    return event


def _exc_info(given: Any) -> _ExcInfo | None:
    if isinstance(given, BaseException):
        return type(given), given, given.__traceback__
    if given and not isinstance(given, tuple):
        given = sys.exc_info()
    return given if given and given[0] is not None else None


def _where(frames: TracebackType | None) -> list[str]:
    """Return file:line:function of the innermost frames; of the path no more than folder and file."""
    summary = traceback.extract_tb(frames)[-FRAMES_MAX:]
    return [_place(frame.filename, frame.lineno or 0, frame.name) for frame in summary]


def _place(file: str, line: int, function: str) -> str:
    return f"{'/'.join(Path(file).parts[-2:])}:{line}:{function}"


class _Format(str):
    """A library's format string, without what belongs into it."""

    __slots__ = ()


def _redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    name = event.pop("event", "")
    shown: EventDict = {"event": _safe(name) if isinstance(name, _Format) or _is_event(name) else _masked(name)}
    for key, value in event.items():
        if _is_key(key):
            shown[key] = _shown(key, value)
        else:  # keys may come from a document too, by ``**``
            shown["redacted_key"] = _masked(key)
    return shown


@lru_cache(1000)  # they are few, unless a document brings them
def _is_key(key: str) -> bool:
    return _KEY.fullmatch(key) is not None


def _is_event(name: object) -> bool:
    return isinstance(name, str) and _EVENT.fullmatch(name) is not None


def _shown(key: str, value: object) -> Any:
    match value:
        case str() if key in EVENT_KEYS or _fits(key, value):
            return _safe(value)
        case bool() | int() | float() | None:
            return value
        case BaseException() if key in TYPE_KEYS:
            return type(value).__qualname__
        case list() | tuple() if key == "where":
            return [_safe(str(frame)) for frame in cast("Sequence[object]", value)]
        case _:
            return _masked(value)


def _fits(key: str, value: str) -> bool:
    shape = _ID if key in ID_KEYS else _TYPE_NAME if key in TYPE_KEYS else None
    return shape is not None and shape.fullmatch(value) is not None


def _safe(text: str) -> str:
    """Return at most 200 characters, with all that steers a terminal or breaks a line written out."""
    shown = str(text)[:TEXT_MAX]
    if shown.isascii() and shown.isprintable():  # as nearly all are
        return shown
    return _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", shown)


def _masked(value: object) -> str:
    size = f" len={len(value)}" if isinstance(value, str | bytes | list | tuple | dict | set | frozenset) else ""
    return f"<redacted {type(value).__qualname__}{size}>"


# --- what others say ----------------------------------------------------------------------------------------------


class _Foreign(logging.Handler):
    """Turns records of libraries into events: the format string without its arguments, and where it was said.

    A text without arguments may have been put together before, so it is masked.
    """

    def __init__(self) -> None:
        super().__init__(logging.WARNING)

    def emit(self, record: logging.LogRecord) -> None:
        method = "error" if record.levelno >= logging.ERROR else "warning"
        place = _place(record.pathname, record.lineno, record.funcName or "")
        event = _Format(record.msg) if record.args and isinstance(record.msg, str) else record.msg
        getattr(get_log(record.name), method)(event, where=[place], exc_info=record.exc_info)


def _report_crashes() -> None:
    """Log what nobody caught; the interpreter's own report shows the message of the exception."""
    log = get_log("hub")

    def uncaught(_kind: type[BaseException], error: BaseException, _frames: TracebackType | None) -> None:
        log.critical("crashed", exc_info=error)

    def uncaught_in_thread(args: threading.ExceptHookArgs) -> None:
        if args.exc_type is not SystemExit:
            log.critical("thread_crashed", exc_info=args.exc_value)

    def unraisable(args: sys.UnraisableHookArgs) -> None:
        log.error("error_while_cleaning_up", exc_info=args.exc_value)

    if sys.excepthook is sys.__excepthook__:
        sys.excepthook = uncaught
    if threading.excepthook is threading.__excepthook__:
        threading.excepthook = uncaught_in_thread
    if sys.unraisablehook is sys.__unraisablehook__:
        sys.unraisablehook = unraisable


# structlog's own default writes to stdout, which belongs to the results of commands.
_configure_structlog(_Lines(None), "INFO", as_json=True, colours=False)

"""What all commands share: how output looks, how options are read, which failure gives which exit code."""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO
from zoneinfo import ZoneInfo

import click

from hub.errors import ConfigError, Conflict, HubError, Rejected, Unavailable

OK, FAILED, USAGE, REJECTED, UNAVAILABLE, PENDING, NOT_PERMITTED, CONFIG = 0, 1, 2, 65, 69, 75, 77, 78


def now() -> datetime:
    return datetime.now(UTC)


def exit_code_of(error: BaseException) -> int:
    """Say what went wrong and return the exit code. A document is never quoted."""
    match error:
        case ConfigError():
            for problem in error.problems:
                say(str(problem))
            errors = sum(problem.level == "error" for problem in error.problems)
            say(f"{errors} problem{'' if errors == 1 else 's'}")
            return CONFIG
        case Rejected():
            say(f"rejected: {error.code}")
            return REJECTED
        case Conflict():
            say(f"conflict: {error}")
            return REJECTED
        case Unavailable():
            say(str(error) or "not available now")
            return UNAVAILABLE
        case PermissionError():
            told = f"{error.strerror}: {error.filename}; expected the user that the hub runs as"
            say(told if error.filename else str(error))
            return NOT_PERMITTED
        case OSError():
            say(failure_of(error))
            return FAILED
        case HubError():
            say(str(error))
            return FAILED
        case _:
            frames = traceback.extract_tb(error.__traceback__)
            where = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "?"
            say(f"this is a bug: {type(error).__name__} at {where}")  # its text may quote a document
            return FAILED


def failure_of(error: OSError) -> str:
    """Return what the system refused and where, without the system's number for it."""
    if error.strerror is None:
        return str(error)
    return f"{error.filename}: {error.strerror}" if error.filename else error.strerror


# --- output ------------------------------------------------------------------------------------------------------


def say(text: str) -> None:
    """Tell a person; what a program reads goes to stdout instead."""
    click.echo("\n".join(printable(line) for line in text.split("\n")), err=True)


def printable(text: object) -> str:
    """Return text with control and direction characters made visible, so that no output can be forged."""
    whole = str(text)
    if whole.isprintable():
        return whole
    return "".join(char if char.isprintable() else f"\\u{ord(char):04x}" for char in whole)


def put_json(value: Any) -> None:
    click.echo(json.dumps(value, ensure_ascii=False, indent=2))


def put_items(items: Sequence[Mapping[str, Any]], next_: str | None = None) -> None:
    """Print a listing in the shape that programs read."""
    put_json({"api": 1, "items": list(items), "next": next_})


def put_table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a listing for people."""
    shown = [[printable("" if cell is None else cell) for cell in row] for row in (head, *rows)]
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    click.echo("\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in shown))


# --- parameters --------------------------------------------------------------------------------------------------


class Time(click.ParamType[datetime]):
    """A point in time: ``2026-11-22``, ``2026-11-22T06:00``, or from now: ``90m``, ``6h``, ``2d``.

    ``ahead`` says which way the latter counts, ``berlin`` that a time without zone is one of Berlin (as the dates of
    standards are), not of this machine.
    """

    name = "time"

    def __init__(self, *, ahead: bool = False, berlin: bool = False) -> None:
        self._sign, self._berlin = 1 if ahead else -1, berlin

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        if isinstance(value, datetime):
            return value
        units = {"m": "minutes", "h": "hours", "d": "days"}
        try:
            if value[:-1].isdecimal() and value[-1] in units:
                return now() + self._sign * timedelta(**{units[value[-1]]: int(value[:-1])})
            return self._local(datetime.fromisoformat(value))
        except (ValueError, OverflowError):
            self.fail(f"{printable(value)!r} is no time; expected 2026-11-22, 2026-11-22T06:00 or 6h", param, ctx)

    def _local(self, at: datetime) -> datetime:
        return at.replace(tzinfo=ZoneInfo("Europe/Berlin")) if self._berlin and at.tzinfo is None else at.astimezone()


class Text(click.ParamType[str]):
    """Text that can be looked for: bytes that are no UTF-8 can stand in no database."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        text = str(value)
        if printable(text) != text:
            self.fail(f"{printable(text)!r} holds characters that no name has", param, ctx)
        return text


json_option = click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
reason_option = click.option(
    "--reason", required=True, metavar="TEXT", help="Why; it stands in the audit. No citizen's data, please."
)


def check_reason(text: str, said_as: str = "--reason") -> str:
    """Return the operator's reason, as it may be kept.

    Raises:
        click.BadParameter: It is empty, or longer than 500 characters.
    """
    if not text.strip() or len(text) > 500:
        raise click.BadParameter("expected a sentence of at most 500 characters", param_hint=said_as)
    return printable(text.strip())


def read_document(name: str) -> bytes:
    """Return a file's bytes; ``-`` is stdin.

    Raises:
        click.BadParameter: There is no such file.
        PermissionError: There is, but not for this user.
    """
    if name == "-":
        return stdin().read()
    if not name:
        raise click.BadParameter("it is empty; expected a file, or - for stdin", param_hint="FILE")
    try:
        return Path(name).read_bytes()
    except PermissionError:
        raise
    except OSError as error:
        raise click.BadParameter(f"{printable(name)}: {error.strerror}", param_hint="FILE") from error


def stdin() -> BinaryIO:
    """Return the bytes that are piped in.

    Raises:
        click.UsageError: The caller has closed stdin.
    """
    if sys.stdin is None:
        raise click.UsageError("there is no stdin to read from")
    return sys.stdin.buffer

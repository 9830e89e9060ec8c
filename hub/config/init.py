"""A new deployment that runs as it is: HTTP and a folder in, a folder out, a standard of its own, passing tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from hub.errors import ConfigError, Problem

TEMPLATE = Path(__file__).parent / "new"
# The folders of its destinations as well: the folder adapter makes none, for a share that is not mounted is no folder.
FOLDERS = ("eingang", "ausgang/musterstadt", "ausgang/dorf", "municipalities", "secrets", "transforms")
SECRET_FOLDERS = frozenset({"secrets"})


def init(folder: Path) -> tuple[str, ...]:
    """Write a new deployment into ``folder`` and return the paths of what was written.

    Raises:
        ConfigError: Something is there already, or cannot be written; nothing that was there is touched.
    """
    files = sorted(_template())
    taken = [name for name in files if (folder / name).exists()]
    if taken:
        raise ConfigError(
            [Problem(str(folder / name), 0, 0, "", "is there already, nothing was written") for name in taken]
        )
    try:
        return tuple(_write(folder, files))
    except OSError as error:
        text = f"cannot be written: {error.strerror}"
        raise ConfigError([Problem(str(error.filename or folder), 0, 0, "", text)]) from error


def _template() -> Iterator[str]:
    for path in TEMPLATE.rglob("*"):
        if path.is_file():
            yield path.relative_to(TEMPLATE).as_posix()


def _write(folder: Path, files: list[str]) -> Iterator[str]:
    for name in FOLDERS:
        (folder / name).mkdir(parents=True, exist_ok=True, mode=0o700 if name in SECRET_FOLDERS else 0o777)
    for name in files:
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        # "x": between the look and the writing somebody may have been faster.
        with target.open("xb") as file:
            file.write((TEMPLATE / name).read_bytes())
        yield os.fspath(target)

"""A new package with an adapter that works as it is: the one of docs/tutorial-adapter.md, under another name."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

import hub.plugin
from hub.errors import ConfigError, Problem
from hub.plugins import adapter_names

_TEMPLATES = {
    "pyproject.toml.tmpl": "pyproject.toml",
    "README.md.tmpl": "README.md",
    "adapter.py.tmpl": "hub_@module@.py",
    "test_adapter.py.tmpl": "test_hub_@module@.py",
}
_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", re.ASCII)
_NAME_CHARS_MAX = 40


def scaffold(name: str, into: Path) -> tuple[str, ...]:
    """Write the package ``hub-NAME`` below ``into`` and return the paths of what was written.

    Raises:
        ValueError: An adapter cannot have that name; the text says why.
        ConfigError: The folder is there already, or cannot be written; nothing that was there is touched.
    """
    words = _words(name)
    folder = into / f"hub-{name}"
    try:
        into.mkdir(parents=True, exist_ok=True)
        folder.mkdir()
        return tuple(_write(folder / _filled(target, words), words, source) for source, target in _TEMPLATES.items())
    except FileExistsError as error:
        raise _problem(Path(error.filename), "is there already, nothing was written") from error
    except OSError as error:
        raise _problem(Path(error.filename or folder), f"cannot be written: {error.strerror}") from error


def _words(name: str) -> Mapping[str, str]:
    """Return what stands for the placeholders of the templates."""
    if not _NAME.fullmatch(name) or len(name) > _NAME_CHARS_MAX:
        raise ValueError(
            f"expected at most {_NAME_CHARS_MAX} of a-z, 0-9 and single hyphens, beginning with a letter, got {name!r}"
        )
    if name.endswith(("-in", "-out")):
        raise ValueError("the hub itself puts -in and -out behind a name that serves both directions")
    if name in adapter_names():
        raise ValueError(f"an adapter {name!r} is installed already; xoev-hub adapters list shows it")
    words = {"name": name, "module": name.replace("-", "_"), "Class": "".join(map(str.capitalize, name.split("-")))}
    hidden = {f"{words['Class']}Adapter", f"{words['Class']}Settings"} & set(hub.plugin.__all__)
    if hidden:
        raise ValueError(f"its class would hide hub.plugin.{hidden.pop()}")
    return words


def _write(path: Path, words: Mapping[str, str], source: str) -> str:
    text = _filled((Path(__file__).parent / source).read_text("utf-8"), words)
    # "x": between the making of the folder and the writing somebody may have been faster.
    with path.open("x", encoding="utf-8") as file:
        file.write(text)
    return os.fspath(path)


def _filled(text: str, words: Mapping[str, str]) -> str:
    return re.sub("@(name|module|Class)@", lambda found: words[found[1]], text)


def _problem(path: Path, text: str) -> ConfigError:
    return ConfigError([Problem(str(path), 0, 0, "", text)])

"""Everything that others may import says what it promises."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import hub.plugin


def undocumented(door: Any) -> list[str]:
    """Return the public classes and functions without a promise; a dataclass writes a docstring of its own."""
    public = {name: getattr(door, name) for name in door.__all__}
    return [
        name
        for name, value in public.items()
        if (inspect.isclass(value) or inspect.isfunction(value))
        and (not value.__dict__.get("__doc__", value.__doc__) or str(value.__doc__).startswith(f"{name}("))
    ]


def test_everything_public_says_what_it_promises() -> None:
    assert undocumented(hub.plugin) == []


def test_a_public_name_without_a_promise_is_found() -> None:
    @dataclass
    class Bare:
        field: int

    class Heir(SimpleNamespace):
        pass

    def silent() -> None: ...

    def promising() -> None:
        """Return nothing."""

    names = {"Bare": Bare, "Heir": Heir, "silent": silent, "promising": promising}
    door = SimpleNamespace(__all__=list(names), **names)

    assert undocumented(door) == ["Bare", "Heir", "silent"]

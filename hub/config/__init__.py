"""The configuration: text becomes a checked deployment, or all problems of one run.

What stands here is imported when it is asked for: the process settings, which every command needs, need nothing of it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hub.config.build import Reading, load, read
    from hub.config.entries import load_routes
    from hub.config.schema import json_schema

__all__ = ["Reading", "json_schema", "load", "load_routes", "read"]

_HOMES = {"Reading": "build", "json_schema": "schema", "load": "build", "load_routes": "entries", "read": "build"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(name)
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)

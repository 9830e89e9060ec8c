"""How text becomes a duration, a size, a flag. Adapters know these as the types of :mod:`hub.plugin`."""

from __future__ import annotations

import re
from datetime import timedelta

_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
_SIZES = {"B": 1, "kB": 1000, "KB": 1000, "MB": 1000**2, "GB": 1000**3}


def duration(value: object) -> object:
    match = re.fullmatch(r"([0-9]{1,9})(ms|s|m|h|d)", value, re.ASCII) if isinstance(value, str) else None
    if match is None:
        if isinstance(value, timedelta):
            return value
        raise ValueError(f"expected a duration such as 30s, 5m, 1h or 4d, got {value!r}")
    return timedelta(seconds=int(match[1]) * _UNITS[match[2]])


def size(value: object) -> object:
    match = re.fullmatch(r"([0-9]{1,9})(B|kB|KB|MB|GB)", value, re.ASCII) if isinstance(value, str) else None
    if match is None:
        if isinstance(value, int):
            return value
        raise ValueError(f"expected a size such as 64kB, 50MB or 1GB, got {value!r}")
    return int(match[1]) * _SIZES[match[2]]


def flag(value: object) -> object:
    if value in ("true", "false"):
        return value == "true"
    if isinstance(value, bool):
        return value
    raise ValueError(f"expected true or false, got {value!r}")

"""Small pictures for a terminal, of nothing but characters."""

from __future__ import annotations

from collections.abc import Sequence

BLOCKS = "▁▂▃▄▅▆▇█"
EIGHTHS = " ▏▎▍▌▋▊▉█"


def sparkline(counts: Sequence[int]) -> str:
    """Return one character per count; none of something is a dot, so that it is not taken for a little."""
    top = max(counts, default=0)
    return "".join("·" if not count else BLOCKS[(count * (len(BLOCKS) - 1)) // top] for count in counts)


def bar(value: float, top: float, width: int = 20) -> str:
    """Return a bar of at most ``width`` characters, to an eighth of one; anything above nothing is seen."""
    if value <= 0 or top <= 0:
        return " " * width
    eighths = max(1, round(min(value / top, 1.0) * width * 8))
    full, rest = divmod(eighths, 8)
    return ("█" * full + (EIGHTHS[rest] if rest else "")).ljust(width)

"""What the hub says in its log, caught."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import structlog

from hub.log import configure


@contextmanager
def said(level: str | None = None) -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """Configure the log anew, and give what it says as parsed lines. What was before is put back."""
    before = structlog.get_config()
    root = logging.getLogger()
    handlers, was, pika = root.handlers[:], root.level, logging.getLogger("pika").level
    stream = io.StringIO()
    configure(stream, json=True, level=level)
    try:
        yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    finally:
        structlog.configure(**before)
        root.handlers[:], root.level = handlers, was
        logging.getLogger("pika").setLevel(pika)
        logging.captureWarnings(capture=False)

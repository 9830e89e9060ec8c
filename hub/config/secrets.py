"""Finds secrets that stand in the configuration, before any line of it is shown."""

from __future__ import annotations

import re

from hub.config.document import Node
from hub.config.report import BREAK, Place, Report

_SECRET_KEY = re.compile(
    r"(^|[_.-])(password|passwort|passwd|kennwort|pw|pin|passphrase|secret|geheimnis|token|api[_-]?key)$",
    re.IGNORECASE,
)
_REFERENCE = re.compile(r"(env|file):.")
_SECRET_IN_LINE = re.compile(
    r"""(password|passwort|passwd|kennwort|pw|pin|passphrase|secret|geheimnis|token|api[_-]?key)["']?\s*:\s*"""
    r"""(?!["']?(env|file):)|://[^/?#\s]*@""",
    re.IGNORECASE,
)
_FILLED = re.compile(r"\{[a-z][A-Za-z0-9_.-]*\}")  # only a placeholder: what fills it is looked at where it stands
_USER_INFO = re.compile(r"://[^/?#\s]*@")


def cover_secrets(root: Node, report: Report) -> None:
    """Note every literal secret and every password in an address, and cover them up."""
    for key, node in root.scalars():
        text = node.text or ""
        if "@" in text and _USER_INFO.search(text):
            report.cover(node.place)
            report.add(
                node.place, "found a user or password in an address; expected them as secrets, or env:NAME for it all"
            )
        elif text and _SECRET_KEY.search(key) and not _REFERENCE.match(text) and not _FILLED.fullmatch(text):
            report.cover(node.place)
            report.add(
                node.place,
                "found a value, expected env:NAME or file:PATH; a secret itself never stands in the configuration",
            )


def cover_text(raw: bytes, file: str, report: Report) -> None:
    """Cover up what looks like a secret in a file that is no YAML, where nobody knows what is a value."""
    for number, line in enumerate(BREAK.split(raw.decode("utf-8-sig", "replace")), start=1):
        found = _SECRET_IN_LINE.search(line)
        if found is not None:
            report.cover(Place(file, number, (found.start() if found[0].startswith(":") else found.end()) + 1, ""))

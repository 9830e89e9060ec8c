"""Who tells a sender what became of its document, and in which letters. Apart from how, which few commands need."""

from __future__ import annotations

import re
from dataclasses import dataclass

# Less than datatypeC of DIN 91379 allows, and never more: a rejection must not be refused for the text in it.
_NOT_PLAIN = re.compile(r"[^\x20-\x7eÄÖÜäöüßÀ-ÖØ-öø-ÿ]")


@dataclass(frozen=True, slots=True)
class Office:
    """Who rejects: the authority that runs the hub."""

    authority: str
    name: str
    email: str
    street: str
    number: str | None
    postal_code: str
    city: str


def plain(text: str) -> str:
    """Return a text with `?` for whatever might not be in DIN 91379."""
    return _NOT_PLAIN.sub("?", text.replace("\t", " ").replace("\n", " "))

"""What failures have in common: equal ones have one fingerprint, so that four hundred dead are one line.

    reason, phase, rule or code, path, type and version, destination ─▶ twelve hexadecimal digits

One rule: no value of a document takes part. Of a path remain the names of elements, without positions and prefixes:
the third applicant's missing name is the same failure as the first one's, whoever wrote the document.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import astuple, dataclass

LENGTH = 12  # 48 bits: of a million different failures in one hub no two are expected to share one
PATTERN = re.compile(r"[0-9a-f]{12}")

_PREDICATE = re.compile(r"\[[^\]]*\]")
_PREFIX = re.compile(r"(?<=/)(@?)[^/:@]+:")


@dataclass(frozen=True, slots=True)
class Failure:
    """Why something is dead or rejected, as far as others can fail in the same way. ``""``: not known, or not so."""

    reason: str  # of a delivery; of a rejection its code
    phase: str = ""
    rule: str = ""  # of the first finding, or the code of the attempt
    path: str = ""  # of the first finding
    type: str = ""  # standard/version/name
    destination: str = ""


def fingerprint(failure: Failure) -> str:
    """Return the token of a failure: the same today, tomorrow and on every node."""
    told = [part or "" for part in astuple(failure)]
    told[3] = plain_path(failure.path)
    return hashlib.sha256(json.dumps(told, ensure_ascii=True).encode()).hexdigest()[:LENGTH]


def plain_path(path: str) -> str:
    """Return a path as names only: ``/a:nachricht/a:person[2]/@x:id`` is ``/nachricht/person/@id``."""
    return _PREFIX.sub(r"\1", _PREDICATE.sub("", path or ""))


def first_finding(body: bytes) -> tuple[str, str]:
    """Return rule and path of the first finding among kept ones (none: both empty)."""
    try:
        found = json.loads(body)
    except ValueError:
        return "", ""
    first = found[0] if isinstance(found, list) and found else {}
    return str(first.get("rule") or ""), str(first.get("path") or "")

"""The documents that are sent: one small invented standard, any size, an id that tells when it was due.

The id is a UUID whose first 64 bits are the time in microseconds, so that whoever finds it in the target document
knows how long the message was under way.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from pathlib import Path

from lxml import etree

ROOT = Path(__file__).parents[1]
DATA = ROOT / "bench" / "data"
SCHEMA = DATA / "standard" / "xperf" / "2.4" / "xperf.xsd"
TOWNS_MAX = 1000

_ID = re.compile(rb"<nachrichtenUUID>([^<]*)")
_READER = re.compile(rb"<leser>.*?<kennung>([^<]*)", re.DOTALL)
_PERSON = re.compile(rb"\s*<beteiligter>.*?</beteiligter>", re.DOTALL)
_PERSON_ID = re.compile(rb"(?<=<personId>)[0-9a-f]{8}")
_TARGET_ID = re.compile(rb"MsgId>([0-9a-f]{8})-([0-9a-f]{4})-([0-9a-f]{4})-")


def ags(town: int) -> str:
    """Return the key of an invented town: there is no Land 99."""
    return f"99{town:06}"


def document(kilobytes: int) -> bytes:
    """Return a valid document of about this size: the one of 10 KB with as many more invented persons as it takes."""
    body = (DATA / "message.xml").read_bytes()
    persons = _PERSON.findall(body)
    end = body.rindex(b"</beteiligter>") + len(b"</beteiligter>")
    more, number = bytearray(), 0
    while len(body) + len(more) < kilobytes * 1000:
        person = persons[number % len(persons)]
        more += _PERSON_ID.sub(b"%08x" % (0xBE000000 + number), person)  # xs:unique
        number += 1
    return body[:end] + bytes(more) + body[end:]


@dataclass(frozen=True, slots=True)
class Template:
    """A document cut open at its id and its addressee."""

    before: bytes
    between: bytes
    after: bytes

    @classmethod
    def of(cls, body: bytes) -> Template:
        """Cut a document open."""
        id_, reader = _ID.search(body), _READER.search(body)
        if id_ is None or reader is None:
            raise ValueError("no document of the benchmark")
        return cls(body[: id_.start(1)], body[id_.end(1) : reader.start(1)], body[reader.end(1) :])

    def fill(self, number: int, town: int, at: float) -> bytes:
        """Return a document that was never sent before, due at this time."""
        us = int(at * 1e6)
        id_ = b"%08x-%04x-%04x-0000-%012x" % (us >> 32, us >> 16 & 0xFFFF, us & 0xFFFF, number)
        return b"".join((self.before, id_, self.between, ags(town).encode(), self.after))


def due_at(target: bytes) -> float | None:
    """Return when the message of a target document was due, in seconds since 1970."""
    found = _TARGET_ID.search(target)
    return int(found[1] + found[2] + found[3], 16) / 1e6 if found else None


def calibrate(repeats: int = 9, loops: int = 60) -> float:
    """Return N: the CPU time in microseconds that parsing and validating the document of 10 KB takes right now."""
    schema, body = etree.XMLSchema(etree.parse(SCHEMA)), document(10)
    took = []
    for _ in range(repeats):
        started = time.thread_time()
        for _ in range(loops):
            if not schema.validate(etree.fromstring(body)):
                raise ValueError("the document of the benchmark is not valid")
        took.append((time.thread_time() - started) / loops * 1e6)
    return sorted(took)[repeats // 2]

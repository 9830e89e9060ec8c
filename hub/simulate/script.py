"""What simulated specialist procedures answer, written down, and what they were given, written down too.

    ledger: ledger.jsonl                     # one line per document received; path counts from this file
    procedures:
      wolfsburg-gewerbe:
        soap: {listen: 127.0.0.1:8091, require: {username: hub, password: file:secrets/gewerbe.pw}}
        answers: [{code: "23"}, {slow: 2s}, ok]
      gifhorn-bau:
        amqp: {url: env:AMQP_URL, queue: gifhorn.bau}
        answers: [ok]

Answers are used in order, one per document; the last one repeats. A script that changes on disk counts from the next
document on. ``env:NAME`` and ``file:PATH`` stand for what is there.
"""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeAlias

import yaml

KINDS = frozenset(
    {
        "ok", "code", "slow", "fault", "down", "hang", "html", "status", "taken-then-fault", "taken-then-cut",
        "redirect", "empty", "garbage", "wrong-element", "big", "reject", "requeue",
    }
)  # fmt: skip
"""What a procedure can do with a document; ``reject`` and ``requeue`` are AMQP's."""

TAKEN = frozenset(
    {"ok", "slow", "taken-then-fault", "taken-then-cut", "empty", "garbage", "wrong-element", "big"}
)  # fmt: skip
"""After these the procedure has the document, whatever it answers."""

_INTERNAL = "Interner Fehler"

Spelling: TypeAlias = "str | Mapping[str, Any] | Answer"


class ScriptError(ValueError):
    """The script cannot be used; the text says where, what was found, what is expected."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a procedure does with one document.

    As written: ``ok``, ``{ok: {az: 12/34}}``, ``{code: "17"}``, ``{slow: 2s}``, ``{hang: 30s}``, ``{down: 5s}``,
    ``{fault: {code: Client, text: …}}``, ``{status: 503, retry_after: "5"}``, ``html``, ``taken-then-cut`` and so on.
    """

    kind: str = "ok"
    code: str = ""  # reply code (code), or fault code (fault)
    text: str = _INTERNAL  # faultstring
    az: str = ""  # file number of an ok; empty: made from the delivery's id
    wait: timedelta = timedelta(0)  # slow, hang, down (zero: until the answers change)
    status: int = 200
    retry_after: str = ""

    @property
    def taken(self) -> bool:
        """Whether the procedure has the document afterwards."""
        return self.kind in TAKEN

    @classmethod
    def read(cls, written: Spelling) -> Answer:
        """Return the answer that a script spells.

        Raises:
            ScriptError: No such answer.
        """
        if isinstance(written, Answer):
            return written
        rest: dict[str, Any] = {}
        kind, value = written, None
        if isinstance(written, Mapping) and written:
            rest = dict(written)
            kind = next(iter(rest))
            value = rest.pop(kind)
        if not isinstance(kind, str) or kind not in KINDS:
            raise ScriptError(f"answers: found {written!r}, expected one of {', '.join(sorted(KINDS))}")
        retry_after = str(rest.pop("retry_after", ""))
        if rest:
            raise ScriptError(f"answers: {kind}: unknown key {next(iter(rest))!r}")
        return replace(_answer(kind, value), retry_after=retry_after)


def _answer(kind: str, value: object) -> Answer:
    if isinstance(value, Mapping) and kind in ("ok", "fault") and set(value) <= {"az", "code", "text"}:
        said = {name: str(text) for name, text in value.items()}
        return Answer(kind, code=said.get("code", ""), text=said.get("text", _INTERNAL), az=said.get("az", ""))
    if kind == "status" and re.fullmatch("[2-5][0-9][0-9]", str(value)):
        return Answer(kind, status=int(str(value)))
    if kind == "code" and value:
        return Answer(kind, code=str(value))
    if kind in ("slow", "hang") or (kind == "down" and value is not None):
        return Answer(kind, wait=_wait(kind, value))
    if value is None and kind not in ("status", "code"):
        return Answer(kind)
    raise ScriptError(f"answers: {kind}: found {value!r}")


def _wait(kind: str, value: object) -> timedelta:
    match = re.fullmatch(r"([0-9]{1,6})(ms|s|m)", str(value))
    if match is None:
        raise ScriptError(f"answers: {kind}: expected a duration such as 2s or 500ms, found {value!r}")
    return timedelta(**{{"ms": "milliseconds", "s": "seconds", "m": "minutes"}[match[2]]: int(match[1])})


class Answers:
    """The answers of one procedure: used in order, the last one repeats. Safe to share between threads."""

    def __init__(self, answers: Sequence[Spelling] = ("ok",), refresh: Callable[[], None] | None = None) -> None:
        self._lock = threading.Lock()
        self._refresh = refresh
        self._answers: tuple[Answer, ...] = ()
        self._position = 0
        self.set(answers)

    def set(self, answers: Sequence[Spelling]) -> None:
        """Answer so from now on. The same answers again do not start over."""
        read = tuple(Answer.read(answer) for answer in answers)
        if not read:
            raise ScriptError("answers: expected at least one")
        with self._lock:
            if read != self._answers:
                self._answers, self._position = read, 0

    def current(self) -> Answer:
        """Return the answer that the next document will get, without using it up."""
        if self._refresh is not None:
            self._refresh()
        with self._lock:
            return self._answers[self._position]

    def next(self) -> Answer:
        """Return the answer for one document and use it up."""
        if self._refresh is not None:
            self._refresh()
        with self._lock:
            answer = self._answers[self._position]
            self._position = min(self._position + 1, len(self._answers) - 1)
            return answer

    def skip(self, answer: Answer) -> None:
        """Use up ``answer`` if it is the current one and not the last."""
        with self._lock:
            if self._answers[self._position] is answer and self._position < len(self._answers) - 1:
                self._position += 1


class Ledger:
    """What procedures were given: one line of JSON per document, on disk before it is answered.

    The other half of every proof that nothing was lost: what the hub calls delivered must stand here as taken.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._lock = threading.Lock()

    def write(self, procedure: str, delivery: str, *, sha256: str, size: int, answer: Answer) -> None:
        """Record one document; returns when the line is on disk. Never holds the document itself."""
        entry = {
            "time": datetime.now(UTC).isoformat(),
            "procedure": procedure,
            "delivery": delivery,
            "sha256": sha256,
            "size": size,
            "answer": answer.kind if not answer.code else f"{answer.kind}:{answer.code}",
            "taken": answer.taken,
        }
        with self._lock, self.path.open("ab") as file:
            file.write(json.dumps(entry).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def entries(self) -> list[dict[str, Any]]:
        """Return all entries, oldest first."""
        if not self.path.exists():
            return []
        whole, _, _ = self.path.read_bytes().rpartition(b"\n")  # what follows is being written
        return [json.loads(line) for line in whole.splitlines()]

    def taken(self, procedure: str | None = None) -> set[str]:
        """Return the ids of the deliveries that were taken, by one procedure or by any."""
        return {
            entry["delivery"]
            for entry in self.entries()
            if entry["taken"] and (procedure is None or entry["procedure"] == procedure)
        }


@dataclass(frozen=True, slots=True)
class Procedure:
    """One procedure of a script. ``kind`` is ``soap`` or ``amqp``; ``settings`` are that kind's, all of them text."""

    name: str
    kind: str
    settings: dict[str, Any]
    answers: Answers


class Script:
    """A script on disk. Its procedures are fixed when it is read, their answers are not."""

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        self._lock = threading.Lock()
        self._stamp = self._stat()
        written = self._read()
        self.ledger = Ledger(self.path.parent / str(written.get("ledger", "ledger.jsonl")))
        self.procedures = tuple(self._procedure(name, part) for name, part in written["procedures"].items())

    def _stat(self) -> tuple[int, int, int]:
        stat = self.path.stat()
        return stat.st_mtime_ns, stat.st_size, stat.st_ino

    def _read(self) -> dict[str, Any]:
        try:
            loader = yaml.BaseLoader(self.path.read_text("utf-8"))  # every scalar is text: 0815 stays 0815
            try:
                written = loader.get_single_data()
            finally:
                loader.dispose()
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise ScriptError(f"{self.path.name}: {error}") from error
        if not isinstance(written, dict) or not isinstance(written.get("procedures"), dict):
            raise ScriptError(f"{self.path.name}: expected a mapping with 'procedures'")
        return written

    def _procedure(self, name: str, written: object) -> Procedure:
        keys = set(written) if isinstance(written, dict) else set()
        kinds = keys & {"soap", "amqp"}
        if not isinstance(written, dict) or len(kinds) != 1 or keys - kinds - {"answers"}:
            raise ScriptError(f"{self.path.name}: procedures.{name}: expected 'answers' and one of soap, amqp")
        kind = kinds.pop()
        settings = {key: self._value(key, value) for key, value in written[kind].items()}
        return Procedure(name, kind, settings, Answers(written.get("answers", ["ok"]), self.refresh))

    def _value(self, key: str, written: Any) -> Any:
        """Return a setting with secrets filled in and the paths of ``tls`` made absolute."""
        if isinstance(written, dict):
            inner = {name: self._value(name, value) for name, value in written.items()}
            return {name: str(self.path.parent / value) for name, value in inner.items()} if key == "tls" else inner
        if not isinstance(written, str):
            return written
        if written.startswith("file:"):
            return (self.path.parent / written.removeprefix("file:")).read_text("utf-8").rstrip("\r\n")
        if written.startswith("env:"):
            name = written.removeprefix("env:")
            if name not in os.environ:
                raise ScriptError(f"{self.path.name}: {key}: the environment has no {name}")
            return os.environ[name]
        return written

    def refresh(self) -> None:
        """Take over the answers of a script that has changed on disk; a half-written one changes nothing."""
        with self._lock:
            try:
                stamp = self._stat()
                if stamp == self._stamp:
                    return
                written = self._read()["procedures"]
                for procedure in self.procedures:
                    if procedure.name in written:
                        procedure.answers.set(written[procedure.name].get("answers", ["ok"]))
                self._stamp = stamp
            except (OSError, ScriptError, AttributeError):
                return

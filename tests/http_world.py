"""A running HTTP listener with a scripted intake, and a sender that asks it."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from adapters.http import HttpIn, HttpListener
from hub.plugin import Limits, Room
from hub.testing import RecordedDesk, RecordedLog, ScriptedIntake, make_context, samples

TOKEN = "geheim-und-lang-genug"
ID = "01920000-0000-7000-8000-000000000001"
OTHER_ID = "01920000-0000-7000-8000-000000000002"
SENDERS = {"antragsportal": {"token": "env:TOKEN"}}


@dataclass
class Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.body)
        return document


def ask(
    listener: HttpListener,
    body: bytes | Iterator[bytes] = samples.BODY,
    *,
    method: str = "POST",
    path: str = "/v1/messages",
    token: str | None = TOKEN,
    **headers: Any,
) -> Reply:
    connection = http.client.HTTPConnection("127.0.0.1", listener.port, timeout=10)
    sent = {"Content-Type": "application/xml"} | ({"Authorization": f"Bearer {token}"} if token else {})
    sent |= {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        connection.request(method, path, body if method == "POST" else None, sent)
        answer = connection.getresponse()
        return Reply(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
    finally:
        connection.close()


@dataclass
class World:
    """A running listener with its intake, desk and log."""

    listener: HttpListener
    intake: ScriptedIntake
    desk: RecordedDesk
    log: RecordedLog
    secrets: dict[str, str] = field(default_factory=dict)


@contextmanager
def running(
    base: Path,
    *script: Any,
    senders: Any = None,
    limits: Limits | None = None,
    room: Room | int | None = None,
    on_accept: str = "receipt",
    **settings: Any,
) -> Iterator[World]:
    desk, log, secrets = RecordedDesk(), RecordedLog(), {"env:TOKEN": TOKEN}
    context = make_context(base, name="online", log=log, desk=desk, secrets=secrets, limits=limits, room=room)
    context = replace(context, on_accept=on_accept)
    listener = HttpListener(HttpIn(listen="127.0.0.1:0", senders=senders or SENDERS, **settings), context)
    world, stop = World(listener, ScriptedIntake(*script), desk, log, secrets), threading.Event()
    thread = threading.Thread(target=listener.listen, args=(world.intake.accept, stop), daemon=True)
    thread.start()
    try:
        assert listener.wait_bound(10)
        yield world
    finally:
        stop.set()
        thread.join(10)
    assert not thread.is_alive()

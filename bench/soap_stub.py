"""A SOAP procedure that does no more than it must: it answers every document with rc 0 and notes how long it took.

It stands for a quick procedure, so that what is measured is the hub. GET /count, /took and /clear are for the
benchmark. Its port comes as a line on stdout.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import socket
import sys
import threading
import time

from bench import messages

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_DOCUMENT = re.compile(rb"xml>([A-Za-z0-9+/]{400})")  # the id stands in the first 300 bytes
_REPLY = (
    b'<?xml version="1.0" encoding="utf-8"?><s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>'
    b'<f:UebergebenAntwort xmlns:f="urn:xoev-hub:simulate:procedure:1"><rc>0</rc></f:UebergebenAntwort>'
    b"</s:Body></s:Envelope>"
)


class Stub:
    """Answers on one port of the loopback, one thread per connection."""

    def __init__(self) -> None:
        self._took: list[float] = []
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = int(self._listening.getsockname()[1])

    def serve(self) -> None:
        """Answer until the process is ended."""
        while True:
            connection, _ = self._listening.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._converse, args=(connection,), daemon=True).start()

    def _converse(self, connection: socket.socket) -> None:
        got = b""
        with connection:
            while True:
                end = got.find(b"\r\n\r\n")
                length = _LENGTH.search(got, 0, end + 2) if end >= 0 else None
                size = end + 4 + (int(length[1]) if length else 0)
                if end < 0 or len(got) < size:
                    chunk = connection.recv(262144)
                    if not chunk:
                        return
                    got += chunk
                    continue
                request, got = got[:size], got[size:]
                connection.sendall(self._answer(request))

    def _answer(self, request: bytes) -> bytes:
        if request.startswith(b"POST"):
            self._note(request)
            return _response(_REPLY, b"text/xml; charset=utf-8")
        if request.startswith(b"GET /clear"):
            self._took.clear()
        said = self._took if request.startswith(b"GET /took") else len(self._took)
        return _response(json.dumps(said).encode(), b"application/json")

    def _note(self, request: bytes) -> None:
        found = _DOCUMENT.search(request)
        try:
            due = messages.due_at(base64.b64decode(found[1])) if found else None
        except binascii.Error:
            due = None
        self._took.append(time.time() - due if due is not None else -1.0)


def _response(body: bytes, media_type: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s" % (media_type, len(body), body)


if __name__ == "__main__":
    stub = Stub()
    sys.stdout.write(f"{stub.port}\n")
    sys.stdout.flush()
    stub.serve()

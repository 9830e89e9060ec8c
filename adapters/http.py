"""Takes messages over HTTP. Starts uvicorn with everything switched off that a message endpoint does not need."""

from __future__ import annotations

import hashlib
import hmac
import re
import socket
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from hub.plugin import Accept, Adapter, Context, Secret, SecretRef, Settings, StopSignal, TlsSettings

if TYPE_CHECKING:
    from adapters.http_protocol import Bounds

TOKEN_SECONDS = 1.0
"""For how long a withdrawn token may still be good. A renewed one is known at once."""


def _address(value: str) -> str:
    match = re.fullmatch(r"(\[[0-9a-fA-F:]+\]|[A-Za-z0-9.-]+):([0-9]{1,5})", value)
    if match is None or int(match[2]) > 65535:
        raise ValueError(f"expected HOST:PORT such as 127.0.0.1:8080, got {value!r}")
    return value


def _path(value: str) -> str:
    if not re.fullmatch(r"(/(?!\.\.?(/|\Z))[A-Za-z0-9._~-]+)+", value):
        raise ValueError(f"expected a path such as /v1/messages, got {value!r}")
    return value


def _several(value: object) -> object:
    return value if isinstance(value, list | tuple) else (value,)


_REFERENCE = {"type": "string", "pattern": "^(env|file):."}
_ONE_OR_SEVERAL = {"anyOf": [_REFERENCE, {"type": "array", "items": _REFERENCE, "minItems": 1}]}


class SenderLogin(Settings):
    """How a sender proves who it is: one token, or several while one replaces the other."""

    token: Annotated[
        tuple[Secret, ...], BeforeValidator(_several), Field(min_length=1), WithJsonSchema(_ONE_OR_SEVERAL)
    ]


class HttpIn(Settings):
    """Where to listen, and who may hand in."""

    listen: Annotated[str, AfterValidator(_address)] = "127.0.0.1:8080"
    path: Annotated[str, AfterValidator(_path)] = "/v1/messages"
    tls: TlsSettings | None = None
    senders: Mapping[str, SenderLogin] = Field(min_length=1)

    @property
    def address(self) -> tuple[str, int]:
        """Return host and port."""
        host, _, port = self.listen.rpartition(":")
        return host.strip("[]"), int(port)


def problems(settings: HttpIn, _: Context) -> Iterable[tuple[tuple[str, ...], str]]:
    """Yield what is wrong with the settings and can be seen without opening anything."""
    if settings.tls is not None and not (settings.tls.certificate and settings.tls.key):
        yield ("tls",), "expected certificate and key"
    owners: dict[SecretRef, str] = {}
    for name, login in settings.senders.items():
        for reference in login.token:
            if owners.setdefault(reference, name) != name:
                yield ("senders", name, "token"), f"is the token of {owners[reference]} as well: who is it?"


class HttpListener:
    """Serves one source. ``port`` is known once ``wait_bound`` returns true (``listen: 127.0.0.1:0`` takes any)."""

    def __init__(self, settings: HttpIn, context: Context, bounds: Bounds | None = None) -> None:
        self._settings = settings
        self._context = context
        self._bounds = bounds
        self._logins = _Logins(settings.senders, context)
        self.bound = threading.Event()
        self.port = 0
        self._listening: socket.socket | None = None
        self._inherited: socket.socket | None = None

    def wait_bound(self, seconds: float) -> bool:
        """Return whether connections are taken, after at most that many seconds."""
        return self.bound.wait(seconds)

    def take_over(self, former: object) -> None:
        """Serve the same address without a gap: share the former listener's socket, and what queues at it."""
        if isinstance(former, HttpListener) and former._settings.address == self._settings.address:
            self._inherited = former._listening.dup() if former._listening else None

    def listen(self, accept: Accept, stop: StopSignal) -> None:
        """Serve until ``stop`` is set, then let running requests finish.

        Raises:
            OSError: The address is taken, or a certificate cannot be read.
        """
        from adapters.http_app import MessageApp
        from adapters.http_protocol import Bounds
        from adapters.http_server import BACKLOG, Server, configured

        bounds = self._bounds or Bounds()
        app = MessageApp(self._settings.path, self._logins.find, self._context, accept, bounds.linger)
        try:
            with self._inherited or _listening_socket(*self._settings.address, BACKLOG) as listening:
                self._listening, self._inherited = listening, None
                config = configured(app, bounds)
                if self._settings.tls is not None:
                    if self._context.server_tls is None:
                        raise OSError("this context cannot serve TLS")
                    config.ssl = self._context.server_tls(self._settings.tls)
                server = Server(config, stop, bounds)
                self.port = int(listening.getsockname()[1])
                self.bound.set()
                server.run(sockets=[listening])
        finally:
            self._listening = None
            self.bound.clear()
            app.close()


def _listening_socket(host: str, port: int, backlog: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol written out asyncio sets TCP_NODELAY; without it each answer waits 40 ms for an ACK.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(backlog)
    except OSError:
        listening.close()
        raise
    return listening


class _Logins:
    """Finds the sender behind a token. A token that cannot be read lets nobody in, and is warned about once."""

    def __init__(self, senders: Mapping[str, SenderLogin], context: Context) -> None:
        self._senders = senders
        self._context = context
        self._unreadable: set[SecretRef] = set()
        self._tokens: list[tuple[bytes, str]] = []  # digest and sender
        self._read_at = float("-inf")

    def find(self, authorizations: Sequence[bytes]) -> str | None:
        """Return who this is; nobody, unless exactly one header holds exactly one sender's token."""
        if len(authorizations) != 1:
            return None
        scheme, _, token = authorizations[0].partition(b" ")
        if scheme.lower() != b"bearer" or not token.strip():
            return None
        offered = hashlib.sha256(token.strip()).digest()
        if time.monotonic() - self._read_at > TOKEN_SECONDS or not self._owners(offered):
            self._tokens = list(self._read_all())
            self._read_at = time.monotonic()
        found = self._owners(offered)
        return found.pop() if len(found) == 1 else None

    def _owners(self, offered: bytes) -> set[str]:
        # All are compared, whichever fits: the time says nothing about them.
        return {name for digest, name in self._tokens if hmac.compare_digest(offered, digest)}

    def _read_all(self) -> Iterator[tuple[bytes, str]]:
        for name, login in self._senders.items():
            for reference in login.token:
                if secret := self._read(reference):
                    yield hashlib.sha256(secret).digest(), name

    def _read(self, reference: SecretRef) -> bytes | None:
        try:
            secret = self._context.secret(reference).strip().encode()
        except (OSError, KeyError):
            secret = b""
        if not secret and reference not in self._unreadable:
            self._unreadable.add(reference)
            self._context.log.warning("secret_unreadable", source=self._context.name, secret_ref=str(reference))
            if self._context.desk:
                self._context.desk.count(self._context.name, "secret_unreadable")
        elif secret:
            self._unreadable.discard(reference)
        return secret or None


ADAPTER = Adapter(name="http", settings=HttpIn, listener=HttpListener, check=problems)

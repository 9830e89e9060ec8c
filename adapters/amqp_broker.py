"""How to reach a broker, and one publisher per broker for all who write to it. Both directions stand on it.

The configuration needs its settings only: pika is imported when a broker is to be reached.
"""

from __future__ import annotations

import ipaddress
import re
import threading
from collections.abc import Hashable
from typing import TYPE_CHECKING, Annotated
from urllib.parse import SplitResult, unquote, urlsplit

from pydantic import BeforeValidator, WithJsonSchema

from hub.plugin import Blocked, Context, Reason, SecretRef, Settings, TlsSettings

if TYPE_CHECKING:
    import pika
    from pika.credentials import ExternalCredentials, PlainCredentials

    from adapters.amqp_publisher import Publisher

ROUTING_KEY = re.compile(r"[A-Za-z0-9_.-]{1,200}", re.ASCII)
EXCHANGE = re.compile(r"[^\x00-\x1f\x7f]{0,127}")  # empty: the default exchange, whose keys are queues
PORTS = {"amqp": 5672, "amqps": 5671}


def _url(value: object) -> SecretRef | str:
    if isinstance(value, SecretRef):
        return value
    text = value if isinstance(value, str) else ""
    kind, _, name = text.partition(":")
    if kind in ("env", "file") and name:
        return SecretRef(kind, name)
    try:
        parts = _split(text)
    except ValueError:
        parts = None
    if parts is None or parts.username is not None:
        # The value is not shown: it may hold the password that should not stand here.
        raise ValueError("expected env:NAME, file:PATH, or amqp(s)://HOST[:PORT][/VHOST] without user and password")
    return text


class BrokerSettings(Settings):
    """The keys that name a broker."""

    url: Annotated[SecretRef | str, BeforeValidator(_url), WithJsonSchema({"type": "string"})]
    tls: TlsSettings | None = None

    @property
    def broker(self) -> str:
        """What a log may call the broker."""
        return str(self.url) if isinstance(self.url, SecretRef) else urlsplit(self.url).netloc


def parameters(settings: BrokerSettings, context: Context) -> pika.ConnectionParameters | Blocked:
    """Return how to reach the broker, with the secret as it is now."""
    import pika

    url = settings.url
    try:
        parts = _split(url if isinstance(url, str) else context.secret(url).strip())
    except (OSError, KeyError):
        return Blocked(Reason.PEER_AUTH, code="secret-missing")
    except ValueError:
        return Blocked(Reason.PEER_PROTOCOL, code="bad-url")
    if _plain_problem(parts, settings, context):
        return Blocked(Reason.PEER_TLS, code="plaintext")
    options = None
    host = parts.hostname or ""
    if parts.scheme == "amqps":
        try:
            options = pika.SSLOptions(context.tls(settings.tls or TlsSettings()), host)
        except OSError:
            return Blocked(Reason.PEER_TLS, code="certificate-missing")
    return pika.ConnectionParameters(
        host=host,
        port=parts.port or PORTS[parts.scheme],
        virtual_host=unquote(parts.path[1:]) or "/",
        credentials=_credentials(parts, settings),
        ssl_options=options,
        connection_attempts=1,
        socket_timeout=5,
        stack_timeout=10,
        blocked_connection_timeout=30,
        heartbeat=15,
        client_properties={"connection_name": "xoev-hub"},
    )


def plain_problem(settings: BrokerSettings, context: Context) -> str | None:
    """Return what is wrong with a URL that stands in the configuration itself."""
    return _plain_problem(_split(settings.url), settings, context) if isinstance(settings.url, str) else None


def _split(url: str) -> SplitResult:
    """Return the parts of a broker's URL.

    Raises:
        ValueError: It is none. The text does not quote it.
    """
    parts = urlsplit(url)
    if parts.scheme not in PORTS or not parts.hostname or parts.query or parts.fragment or (parts.port or 1) < 1:
        raise ValueError("expected amqp(s)://[USER:PASSWORD@]HOST[:PORT][/VHOST]")
    return parts


def _credentials(parts: SplitResult, settings: BrokerSettings) -> PlainCredentials | ExternalCredentials:
    from pika.credentials import ExternalCredentials, PlainCredentials

    if parts.username is not None:
        return PlainCredentials(unquote(parts.username), unquote(parts.password or ""))
    if settings.tls is not None and settings.tls.certificate is not None:
        return ExternalCredentials()  # the broker takes the user from the certificate
    return PlainCredentials("guest", "guest")  # which a broker grants to its own machine only


def _plain_problem(parts: SplitResult, settings: BrokerSettings, context: Context) -> str | None:
    if parts.scheme == "amqps":
        return None
    if settings.tls is not None:
        return "`tls` is given, but the URL says amqp://; expected amqps://"
    if context.insecure is None and not _is_loopback(parts.hostname or ""):
        return "plaintext to another machine; expected amqps://, or `insecure: REASON`"
    return None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


# --- one publisher per broker


class SharedPublishers:
    """The publishers of this process, each as long as somebody uses it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._in_use: dict[Hashable, tuple[Publisher, int]] = {}

    def borrow(self, settings: BrokerSettings, context: Context) -> Publisher:
        """Return the broker's publisher; give it back when nothing more will be published."""
        from adapters.amqp_publisher import Publisher

        key = (str(settings.url), settings.tls, context.base, context.insecure is None)
        with self._lock:
            publisher, users = self._in_use.get(key, (None, 0))
            if publisher is None:
                publisher = Publisher(settings.broker, lambda: parameters(settings, context), context.log)
            self._in_use[key] = (publisher, users + 1)
            publisher.start()
        return publisher

    def give_back(self, publisher: Publisher) -> None:
        """End the publisher's connection with the last of its users."""
        with self._lock:
            key, users = next((key, users) for key, (found, users) in self._in_use.items() if found is publisher)
            if users > 1:
                self._in_use[key] = (publisher, users - 1)
                return
            del self._in_use[key]
        publisher.close()


SHARED = SharedPublishers()

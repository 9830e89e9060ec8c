"""Delivers to a specialist procedure that offers a SOAP service.

    settings ─▶ soap_wsdl       the operation, from a WSDL of the configuration
    delivery ─▶ soap_request    the envelope
             ─▶ soap_transport  one request, and how far it got
             ─▶ soap_reply      what the answer means

zeep takes half a second to import; that happens with the first ``open`` or ``prove``, never with this module. Nor do
sockets and certificates: who only reads the configuration does without.
"""

from __future__ import annotations

import base64
import ipaddress
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from lxml import etree

from adapters.soap_files import read_all
from adapters.soap_settings import SoapSettings, is_header_value
from hub.plugin import Adapter, Blocked, Context, Look, Outcome, Outgoing, Reason, Refused, TlsSettings

if TYPE_CHECKING:
    import ssl

    from adapters.soap_reply import Expected
    from adapters.soap_wsdl import Operation


class SoapDestination:
    """One destination. One attempt per call of ``deliver``; never repeats, never follows, never guesses."""

    def __init__(self, settings: SoapSettings, context: Context) -> None:
        from adapters.soap_transport import Line

        self._settings = settings
        self._context = context
        self._operation: Operation | None = None
        self._expected: Expected | None = None
        self._line = Line(settings.address, context.limits, _Trust(settings.tls, context))

    def open(self) -> None:
        """Read the WSDL; connections come with deliveries. Raises OSError if the WSDL cannot be used."""
        from adapters.soap_wsdl import WsdlError

        try:
            self._operation = _operation(self._settings, self._context)
        except WsdlError as error:
            raise OSError(f"{self._settings.wsdl}: {error}") from None
        self._expected = _expected(self._settings, self._operation)

    def deliver(self, outgoing: Outgoing) -> Outcome:
        """Send one request, and say what became of it."""
        from adapters.soap_reply import judge, token_of
        from adapters.soap_request import Unfit
        from adapters.soap_transport import HttpAnswer

        assert self._expected is not None, "deliver before open"
        if outgoing.parts:  # sent without them, the message would be another one
            return Refused(Reason.TRANSFORM_FAILED, code="attachments")
        try:
            password = self._password()
        except (OSError, KeyError):
            return Blocked(Reason.PEER_AUTH, code="secret-missing")
        try:
            body, headers = self._request(outgoing, password)
        except Unfit as unfit:
            return Refused(Reason.TRANSFORM_FAILED, code=token_of(unfit.code))
        deadline = min(outgoing.deadline, time.monotonic() + self._context.limits.total.total_seconds())
        answer = self._line.post(body, headers, deadline)
        if not isinstance(answer, HttpAnswer):
            return answer
        return judge(answer, self._expected, self._context.parse, self._context.clock())

    def probe(self) -> Iterator[Look]:
        """Look at the service without calling the operation."""
        from adapters.soap_probe import look

        try:
            headers = self._basic(self._password())
        except (OSError, KeyError):
            yield Look("secret", ok=False, text="the password cannot be read")
            return
        wsdl = self._context.read(self._settings.wsdl)
        yield from look(self._settings.address, _Trust(self._settings.tls, self._context), wsdl, headers)

    def close(self) -> None:
        """Hang up. Attempts that are under way end by themselves."""
        self._line.close()

    def _password(self) -> str:
        """Return the password as it is now: a renewed file counts from the next attempt on."""
        reference = self._settings.security.password
        return "" if reference is None else self._context.secret(reference)

    def _basic(self, password: str) -> dict[str, str]:
        security = self._settings.security
        if security.kind != "basic":
            return {}
        pair = f"{security.username}:{password}".encode()
        return {"Authorization": f"Basic {base64.b64encode(pair).decode('ascii')}"}

    def _request(self, outgoing: Outgoing, password: str) -> tuple[bytes, dict[str, str]]:
        from zeep.wsse.username import UsernameToken

        from adapters.soap_request import Unfit, envelope, fill, http_headers

        assert self._operation is not None
        settings, security = self._settings, self._settings.security
        headers = {name: fill(filling, outgoing) for name, filling in settings.headers.items()}
        if not all(is_header_value(value) for value in headers.values()):
            raise Unfit("header-value")
        headers |= http_headers(self._operation) | {"Idempotency-Key": outgoing.delivery_id}
        token = None
        headers |= self._basic(password)
        if security.kind not in ("none", "basic"):
            digest = security.kind == "username_digest"
            token = UsernameToken(security.username, password, use_digest=digest)  # type: ignore[no-untyped-call]
        parameters = None if settings.payload == "raw" else settings.parameters
        return envelope(self._operation, parameters, outgoing, self._context.parse, token), headers


class _Trust:
    """Gives the TLS context, made anew when a certificate or key has changed on disk."""

    def __init__(self, settings: TlsSettings, context: Context) -> None:
        self._settings = settings
        self._context = context
        self._known: tuple[object, ssl.SSLContext] | None = None

    def __call__(self) -> ssl.SSLContext:
        """Return the context for one new connection. Raises OSError."""
        named = (self._settings.certificate, self._settings.key, self._settings.ca)
        files = [Path(self._context.base, name).stat() for name in named if name is not None]
        stamp = [(stat.st_mtime_ns, stat.st_size, stat.st_ino) for stat in files]
        known = self._known
        if known is None or known[0] != stamp:
            known = self._known = (stamp, self._context.tls(self._settings))
        return known[1]


def _operation(settings: SoapSettings, context: Context) -> Operation:
    from adapters.soap_wsdl import find_operation, load

    document = load(settings.wsdl, context.read, context.parse)
    return find_operation(
        document,
        settings.operation,
        service=settings.service,
        port=settings.port,
        soap=settings.soap,
        action=settings.action,
    )


def _expected(settings: SoapSettings, operation: Operation) -> Expected:
    from adapters.soap_reply import Expected

    reply = settings.reply
    if reply is None:
        return Expected(operation.soap, operation.reply, faults=settings.faults)
    ok = None if reply.ok is None or reply.ok.anything else reply.ok
    return Expected(
        operation.soap,
        operation.reply,
        ok=etree.XPath(ok.xpath, namespaces=reply.namespaces) if ok else None,
        equals=frozenset(ok.equals if ok else ()),
        codes=reply.codes,
        values={
            name: (
                etree.XPath(value.xpath, namespaces=reply.namespaces),
                re.compile(value.pattern, re.ASCII) if value.pattern is not None else None,
            )
            for name, value in reply.values.items()
        },
        faults=settings.faults,
    )


# --- check --------------------------------------------------------------------------------------------------------


def check(settings: SoapSettings, context: Context) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield what is wrong with the settings by themselves; read what the WSDL consists of."""
    if urlsplit(settings.address).scheme == "http" and not _is_loopback(settings.address) and not context.insecure:
        yield ("address",), "found http, expected https; plaintext needs insecure: REASON"
    yield from _check_reply(settings)
    read_all(settings.wsdl, context.read)


def prove(settings: SoapSettings, context: Context) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield where the settings do not fit the WSDL. A text that begins with ``warning:`` is no error."""
    from adapters.soap_request import try_out
    from adapters.soap_wsdl import WsdlError

    try:
        operation = _operation(settings, context)
    except WsdlError as error:
        yield (error.key,), str(error)
        return
    unknown = [name for name in settings.parameters if name not in operation.parameters]
    for name in unknown:
        known = ", ".join(sorted(operation.parameters)) or "none, payload: raw may be meant"
        yield ("parameters", name), f"{operation.name} has no such parameter, it takes {known}"
    if settings.payload == "raw" and operation.root is None:
        yield ("payload",), f"{operation.name} takes an empty body"
    elif settings.payload is None and not unknown:
        try:
            try_out(operation, settings.parameters, context.parse)
        except WsdlError as error:
            yield (error.key,), str(error)
    if operation.reply and (settings.reply is None or settings.reply.ok is None):
        yield ("reply",), f"warning: {operation.name} answers with a body, expected reply: any or reply: {{ok: …}}"


def _check_reply(settings: SoapSettings) -> Iterator[tuple[tuple[str, ...], str]]:
    reply = settings.reply
    if reply is None:
        return
    paths: dict[tuple[str, ...], str] = {
        ("reply", "values", name, "xpath"): value.xpath for name, value in reply.values.items()
    }
    if reply.ok is not None and not reply.ok.anything:
        paths["reply", "ok", "xpath"] = reply.ok.xpath
    for key, path in paths.items():
        try:
            etree.XPath(path, namespaces=reply.namespaces)(etree.Element("probe"))
        except (etree.XPathError, TypeError, ValueError) as error:
            yield key, f"found {path!r}, expected an XPath: {error}"
    for name, value in reply.values.items():
        try:
            re.compile(value.pattern or "", re.ASCII)
        except re.error as error:
            yield ("reply", "values", name, "pattern"), f"expected a regular expression: {error}"


def _is_loopback(address: str) -> bool:
    host = urlsplit(address).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _make(settings: Any, context: Context) -> SoapDestination:
    return SoapDestination(settings, context)


ADAPTER = Adapter(name="soap", settings=SoapSettings, outbound=_make, check=check, prove=prove)

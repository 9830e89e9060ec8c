"""From a delivery to the bytes of a SOAP request. zeep writes the envelope, as the WSDL wants it.

Imports zeep, which takes half a second: import this module only where a request is built.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from lxml import etree
from zeep import xsd
from zeep.xsd.types.builtins import Base64Binary

from adapters.soap_reply import ENVELOPES
from adapters.soap_settings import Filling
from adapters.soap_wsdl import ZEEP_ERRORS, Operation, Parse, WsdlError
from hub.plugin import Header, Message, MessageType, Outgoing, Rejected


class Unfit(Exception):
    """The delivery cannot be put into a request. ``code`` is a token; what zeep says quotes values and is cut off."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def fill(filling: Filling, outgoing: Outgoing) -> str:
    """Return the text that a parameter or header gets.

    Raises:
        Unfit: The message has no such value, or the payload is no text.
    """
    match filling.kind, filling.value:
        case "text", text:
            return text
        case "digest", _:
            return hashlib.sha256(outgoing.body).hexdigest()
        case "payload", "base64":
            return base64.b64encode(outgoing.body).decode("ascii")
        case "value", name:
            return _value(name, outgoing)
    raise Unfit("payload-form")


def _value(name: str, outgoing: Outgoing) -> str:
    message = outgoing.message
    known = {
        "delivery_id": outgoing.delivery_id,
        "message_id": message.header.message_id or message.id,
        "type": str(message.header.type),
        "received_at": message.received_at.astimezone(UTC).isoformat(),
    }
    value = known.get(name) or message.header.keys.get(name)
    if value is None:
        raise Unfit("value-missing")
    return value


def envelope(
    operation: Operation,
    parameters: Mapping[str, Filling] | None,
    outgoing: Outgoing,
    parse: Parse,
    token: Any = None,
) -> bytes:
    """Return the request's envelope. Without ``parameters`` the payload itself is the body. ``token`` is
    zeep's UsernameToken.

    Raises:
        Unfit: The payload is not what the operation takes.
    """
    if parameters is None:
        tree = _raw(operation, outgoing, parse)
    else:
        values = {name: _python(operation, name, filling, outgoing, parse) for name, filling in parameters.items()}
        try:
            tree = operation.zeep.create(**values).content
        except ZEEP_ERRORS:
            # Raised anew without its cause: zeep's texts quote the value that does not fit.
            raise Unfit("not-by-wsdl") from None
    if token is not None:
        token.apply(tree, {})
    return etree.tostring(tree, xml_declaration=True, encoding="utf-8")


def _raw(operation: Operation, outgoing: Outgoing, parse: Parse) -> etree._Element:
    namespace = ENVELOPES[operation.soap]
    tree = etree.Element(f"{{{namespace}}}Envelope", nsmap={"soap": namespace})
    payload = _parsed(outgoing, parse)
    if payload.tag != operation.root:
        raise Unfit("raw-root")
    etree.SubElement(tree, f"{{{namespace}}}Body").append(payload)
    return tree


def _python(operation: Operation, name: str, filling: Filling, outgoing: Outgoing, parse: Parse) -> Any:
    """Return the value as zeep wants it for the parameter's type."""
    target = operation.parameters[name]
    if filling.kind == "payload" and filling.value == "xml":
        element = _parsed(outgoing, parse)
        return element if isinstance(target, xsd.Any) else {"_value_1": element}
    if filling.kind == "payload" and filling.value == "text":
        return _as_text(outgoing, parse)
    if filling.kind == "payload" and isinstance(getattr(target, "type", None), Base64Binary):
        return outgoing.body  # zeep encodes it
    return fill(filling, outgoing)


def _parsed(outgoing: Outgoing, parse: Parse) -> etree._Element:
    try:
        return parse(outgoing.body)
    except Rejected as rejected:
        raise Unfit(f"payload-{rejected.code}") from None


def _as_text(outgoing: Outgoing, parse: Parse) -> str:
    """Return the payload as text, read in the encoding that it declares."""
    encoding = "utf-8"
    if "xml" in outgoing.content_type:
        encoding = _parsed(outgoing, parse).getroottree().docinfo.encoding or "utf-8"
    try:
        return outgoing.body.decode(encoding).removeprefix("\ufeff")
    except UnicodeError:
        raise Unfit("payload-encoding") from None


def http_headers(operation: Operation) -> dict[str, str]:
    """Return the headers that tell the server what this is (SOAP 1.1 §6, SOAP 1.2 part 2 §6.5.3)."""
    if operation.soap == "1.1":
        return {"Content-Type": "text/xml; charset=utf-8", "SOAPAction": f'"{operation.action}"'}
    action = f'; action="{operation.action}"' if operation.action else ""
    return {"Content-Type": f"application/soap+xml; charset=utf-8{action}"}


_PROBE = b'<p:probe xmlns:p="urn:xoev-hub:probe"/>'


def try_out(operation: Operation, parameters: Mapping[str, Filling], parse: Parse) -> None:
    """Build a request of invented values.

    Raises:
        WsdlError: The operation cannot be called with these parameters.
    """
    keys = {filling.value: "1" for filling in parameters.values() if filling.kind == "value"}
    header = Header(type=MessageType("probe", "1.0", "probe"), keys=keys)
    at = datetime(2026, 1, 1, tzinfo=UTC)
    some: Any = "probe"
    message = Message(
        id=some, header=header, source="", sender="", owner=None, recipient=None, received_at=at, sha256="", snapshot=""
    )  # fmt: skip
    outgoing = Outgoing(delivery_id=some, destination="", message=message, body=_PROBE)
    try:
        values = {name: _python(operation, name, filling, outgoing, parse) for name, filling in parameters.items()}
        tree = operation.zeep.create(**values).content
    except (Unfit, *ZEEP_ERRORS) as error:  # its text can only quote what was invented here
        raise WsdlError("parameters", f"{operation.name} cannot be called so: {error}") from None
    embedded = any((filling.kind, filling.value) == ("payload", "xml") for filling in parameters.values())
    if embedded and next(tree.iter("{urn:xoev-hub:probe}probe"), None) is None:
        raise WsdlError("parameters", f"{operation.name} has no room for XML there; payload: raw may be meant")

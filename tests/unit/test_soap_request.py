"""What goes out: the envelope as the WSDL wants it, the headers as the SOAP version wants them, who we are."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from lxml import etree

from hub.plugin import Blocked, Context, Delivered, Header, MessageType, Reason
from hub.testing import outgoing
from hub.xml import guard
from tests.soap_peer import (
    NAMESPACE,
    PARAMETERS,
    SOAP11,
    SOAP12,
    Peer,
    brief,
    destination,
    http,
    reply,
    soap_context,
)

WSSE = "{http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd}"
SECRETS = {"env:PW": "geheim-1"}
BASIC = {"kind": "basic", "username": "hub", "password": "env:PW"}


@pytest.fixture
def secrets() -> dict[str, str]:
    return dict(SECRETS)


@pytest.fixture
def context(tmp_path: Path, secrets: dict[str, str]) -> Context:
    return soap_context(tmp_path, secrets=secrets)


@pytest.fixture
def peer() -> Iterator[Peer]:
    with Peer(http(200, reply())) as peer:
        yield peer


def headers(head: bytes) -> dict[str, str]:
    lines = head.decode("latin-1").splitlines()[1:]
    return {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}


def test_the_request_is_what_the_wsdl_asks_for(context: Context, peer: Peer) -> None:
    delivery = outgoing()

    outcome = destination(context, peer.address, headers={"X-Typ": {"value": "type"}}).deliver(delivery)

    [(head, body)] = peer.taken
    [request] = guard.parse(body).findall(f"{{{SOAP11}}}Body/{{{NAMESPACE}}}Uebergeben")
    assert isinstance(outcome, Delivered)
    assert [(child.tag, child.text) for child in request] == [
        ("mandant", "103"),
        ("xml", base64.b64encode(delivery.body).decode()),
        ("pruefsumme", hashlib.sha256(delivery.body).hexdigest()),
        ("vorgang", delivery.delivery_id),
    ]
    sent = headers(head)
    assert sent["content-type"] == "text/xml; charset=utf-8"
    assert sent["soapaction"] == f'"{NAMESPACE}/Uebergeben"'
    assert sent["idempotency-key"] == delivery.delivery_id
    assert sent["x-typ"] == "antrag/1.0/antrag.0101"
    assert sent["host"] == f"127.0.0.1:{peer.port}"


def test_soap_1_2_has_its_own_namespace_and_says_the_action_in_the_media_type(context: Context, peer: Peer) -> None:
    peer.answer = http(200, reply(namespace=SOAP12), "application/soap+xml")

    outcome = destination(context, peer.address, soap="1.2", action="urn:eigene").deliver(outgoing())

    [(head, body)] = peer.taken
    assert isinstance(outcome, Delivered)
    assert guard.parse(body).tag == f"{{{SOAP12}}}Envelope"
    assert headers(head)["content-type"] == 'application/soap+xml; charset=utf-8; action="urn:eigene"'
    assert "soapaction" not in headers(head)


@pytest.mark.parametrize("encoding", ["utf-8", "iso-8859-15", "utf-16"])
def test_a_payload_as_text_is_read_in_its_own_encoding(context: Context, peer: Peer, encoding: str) -> None:
    text = f'<?xml version="1.0" encoding="{encoding}"?><a>Straße 5 €</a>'
    parameters = {**PARAMETERS, "mandant": {"payload": "text"}}

    destination(context, peer.address, parameters=parameters).deliver(outgoing(body=text.encode(encoding)))

    assert guard.parse(peer.taken[0][1]).findtext(".//mandant") == text


def test_a_raw_payload_is_the_body(context: Context, peer: Peer) -> None:
    body = f'<u:Uebergeben xmlns:u="{NAMESPACE}"><mandant>1</mandant><!-- bleibt --></u:Uebergeben>'.encode()

    outcome = destination(context, peer.address, payload="raw", parameters=None).deliver(outgoing(body=body))

    [request] = guard.parse(peer.taken[0][1]).findall(f"{{{SOAP11}}}Body/*")
    assert isinstance(outcome, Delivered)
    assert etree.tostring(request, method="c14n", exclusive=True, with_comments=True) == etree.tostring(
        etree.ElementTree(guard.parse(body)), method="c14n", exclusive=True, with_comments=True
    )


def test_a_key_of_the_message_becomes_a_parameter(context: Context, peer: Peer) -> None:
    header = Header(type=MessageType("antrag", "1.0", "antrag.0101"), keys={"bezirk": "Mitte & <Süd>"})
    delivery = outgoing()
    made = destination(context, peer.address, parameters={**PARAMETERS, "mandant": {"value": "bezirk"}})

    made.deliver(replace(delivery, message=replace(delivery.message, header=header)))

    assert guard.parse(peer.taken[0][1]).findtext(".//mandant") == "Mitte & <Süd>"


def test_the_password_is_read_at_each_attempt(context: Context, peer: Peer, secrets: dict[str, str]) -> None:
    made = destination(context, peer.address, security=BASIC)
    made.deliver(outgoing(1))
    secrets["env:PW"] = "geheim-2 mit Umlaut ä"

    made.deliver(outgoing(2))

    sent = [base64.b64decode(headers(head)["authorization"].removeprefix("Basic ")) for head, _ in peer.taken]
    assert sent == [b"hub:geheim-1", "hub:geheim-2 mit Umlaut ä".encode()]


@pytest.mark.parametrize("kind", ["basic", "username_text", "username_digest"])
def test_without_its_password_nothing_is_sent_and_the_destination_is_blocked(
    context: Context, peer: Peer, secrets: dict[str, str], kind: str
) -> None:
    secrets.clear()

    outcome = destination(context, peer.address, security={**BASIC, "kind": kind}).deliver(outgoing())

    assert brief(outcome) == (Blocked, Reason.PEER_AUTH, "secret-missing")
    assert peer.taken == []


def test_a_username_token_carries_the_password_or_its_digest(context: Context, peer: Peer) -> None:
    for kind in ("username_text", "username_digest"):
        destination(context, peer.address, security={**BASIC, "kind": kind}).deliver(outgoing())

    text, digest = (guard.parse(body).find(f".//{WSSE}UsernameToken") for _, body in peer.taken)
    assert text is not None
    assert digest is not None
    assert (text.findtext(f"{WSSE}Username"), text.findtext(f"{WSSE}Password")) == ("hub", "geheim-1")
    nonce = base64.b64decode(digest.findtext(f"{WSSE}Nonce") or "")
    created = digest[-1].text or ""
    expected = hashlib.sha1(nonce + created.encode() + b"geheim-1", usedforsecurity=False).digest()
    assert digest.findtext(f"{WSSE}Password") == base64.b64encode(expected).decode()
    assert [head for head, _ in peer.taken if b"authorization" in head.lower()] == []

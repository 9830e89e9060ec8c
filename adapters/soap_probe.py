"""Looks at a SOAP service without calling it: the line, our WSDL, and the one that it offers at ``?wsdl``.

GET is the harmless call: it proves that an HTTP server answers there and lets us in, and hands nothing in.
"""

from __future__ import annotations

import hashlib
import http.client
import ssl
from collections.abc import Callable, Iterator, Mapping
from urllib.parse import urlsplit

from hub.plugin import Look, look_at_peer

SECONDS = 10.0
WSDL_BYTES_MAX = 1_000_000


def look(address: str, tls: Callable[[], ssl.SSLContext], wsdl: bytes, headers: Mapping[str, str]) -> Iterator[Look]:
    """Look at the peer, then ask for its WSDL; ``headers`` say who we are."""
    url = urlsplit(address)
    secure = url.scheme == "https"
    host, port = str(url.hostname), url.port or (443 if secure else 80)
    for one in look_at_peer(host, port, tls if secure else None):
        yield one
        if not one.ok:
            return
    ours = hashlib.sha256(wsdl).hexdigest()
    connection = (
        http.client.HTTPSConnection(host, port, timeout=SECONDS, context=tls())
        if secure
        else http.client.HTTPConnection(host, port, timeout=SECONDS)
    )
    try:
        connection.request("GET", f"{url.path or '/'}?wsdl", headers={"Connection": "close", **headers})
        response = connection.getresponse()
        status, body = response.status, response.read(WSDL_BYTES_MAX)
    except (OSError, http.client.HTTPException):
        yield Look("call", ok=False, text="GET ?wsdl got no answer")
        return
    finally:
        connection.close()
    facts = {"status": status}
    if status in (401, 403, 407) or 300 <= status < 400:
        yield Look("call", ok=False, text=f"GET ?wsdl: {status}, it does not let us in", facts=facts)
        return
    yield Look("call", ok=True, text=f"GET ?wsdl: {status}", facts=facts)
    theirs = hashlib.sha256(body).hexdigest() if status == 200 else None
    said = "not offered" if theirs is None else "the same as ours" if theirs == ours else "differs from ours"
    yield Look("wsdl", ok=True, text=said, facts={"sha256": ours, "offered_sha256": theirs})

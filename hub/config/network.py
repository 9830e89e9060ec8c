"""Addresses: which schemes are served, and that nothing leaves the machine in plaintext without a written reason."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from hub.config.document import Node
from hub.config.report import Report

ADDRESS_KEYS = frozenset({"address", "url", "endpoint"})
PATH_KEYS = frozenset({"path", "wsdl", "certificate", "key", "ca", "client_ca"})
_PLAIN = frozenset({"http", "amqp", "ws", "ftp", "ldap", "mqtt", "smtp"})
_REFUSED = frozenset({"file", "gopher", "data", "dict", "jar", "javascript"})


def check_addresses(settings: Node, insecure: str | None, report: Report) -> None:
    """Note what an endpoint's settings say of addresses, sockets and paths and must not."""
    for key, node in settings.scalars():
        text = node.text or ""
        if key in ADDRESS_KEYS and "://" in text:
            _check_address(text, node, insecure, report)
        elif (key in PATH_KEYS and _leads_out(text)) or (text.startswith("file:") and _leads_out(text[5:])):
            report.add(node.place, f"found {text!r}, expected a path without `..`")
    listen = settings.items.get("listen")
    if listen is not None and listen.text and insecure is None and settings.items.get("tls") is None:
        host = listen.text.rpartition(":")[0]
        if not is_loopback(host):
            report.add(
                listen.place,
                f"listens in plaintext on {host or 'every address'}, which is not loopback; "
                "expected `tls:`, or `insecure: REASON`",
            )


def is_loopback(host: str) -> bool:
    """Say whether a host is this machine. Names other than ``localhost`` are not looked up."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _check_address(text: str, node: Node, insecure: str | None, report: Report) -> None:
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        report.add(node.place, "expected an address SCHEME://HOST[:PORT]/…")
        return
    scheme = parts.scheme.lower()
    if not host or scheme in _REFUSED:
        report.add(node.place, f"found {scheme}://{host}, expected an address such as https://HOST/…")
    elif _is_link_local(host):
        report.add(node.place, f"{host} is a link-local address, no procedure lives there")
    elif scheme in _PLAIN and insecure is None and not is_loopback(host):
        report.add(
            node.place,
            f"plaintext ({scheme}://) to {host}, which is not loopback; expected {scheme}s://, or `insecure: REASON`",
        )


def _is_link_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_link_local
    except ValueError:
        return False


def _leads_out(path: str) -> bool:
    return ".." in path.replace("\\", "/").split("/")

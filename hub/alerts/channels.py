"""How somebody is told: a webhook, a mail, a program. Each tries once, within its time, and raises ``OSError`` if not.

All channels are given the same JSON, of names of the configuration and tokens; a citizen's data is in none of it:

    {"api": 1, "hub": HOST, "alerts": [{"name", "object", "what", "at", "since", "level", "text", "next"}]}
"""

from __future__ import annotations

import http.client
import json
import os
import smtplib
import socket
import ssl
import subprocess
from collections.abc import Callable, Sequence
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from pathlib import Path
from typing import Any, assert_never
from urllib.parse import urlsplit

from hub.alerts.settings import Channel, Command, Mail, Webhook
from hub.plugin import SecretRef, TlsSettings
from hub.store.watch_api import Notice
from hub.tls import client_context
from hub.view import time_text

SECONDS = 10.0
COMMAND_SECONDS = 30.0


class NotTold(OSError):
    """The channel answered, and has not taken it; the text is a token."""


def tell(channel: Channel, notices: Sequence[Notice], base: Path, secret: Callable[[SecretRef], str]) -> None:
    """Tell one channel all of this at once.

    Raises:
        OSError, KeyError: Nobody was told, as far as can be known.
    """
    match channel:
        case Webhook():
            _post(channel, _json(notices), base, secret)
        case Mail():
            _mail(channel, notices, base, secret)
        case Command():
            _run(channel, _json(notices), base)
        case _:
            assert_never(channel)


def content(notices: Sequence[Notice]) -> dict[str, Any]:
    """Return what channels are given."""
    alerts = [
        {
            "name": one.alert.name,
            "object": one.alert.object,
            "what": one.what,
            "at": time_text(one.at),
            "since": time_text(one.raised_at),
            "level": one.alert.level,
            "text": one.alert.text,
            "next": one.alert.next if one.what != "cleared" else "",
        }
        for one in notices
    ]
    return {"api": 1, "hub": socket.gethostname(), "alerts": alerts}


def _json(notices: Sequence[Notice]) -> bytes:
    return json.dumps(content(notices), ensure_ascii=False).encode() + b"\n"


def _post(channel: Webhook, body: bytes, base: Path, secret: Callable[[SecretRef], str]) -> None:
    url = urlsplit(channel.url)
    host = str(url.hostname)
    headers = {"Content-Type": "application/json", "User-Agent": "xoev-hub", "Connection": "close"}
    if channel.token is not None:
        headers["Authorization"] = f"Bearer {secret(channel.token)}"
    connection = (
        http.client.HTTPSConnection(host, url.port, timeout=SECONDS, context=_trust(channel.ca, base))
        if url.scheme == "https"
        else http.client.HTTPConnection(host, url.port, timeout=SECONDS)
    )
    try:
        connection.request("POST", (url.path or "/") + (f"?{url.query}" if url.query else ""), body, headers)
        status = connection.getresponse().status
    except http.client.HTTPException as error:
        raise NotTold("http-unreadable") from error
    finally:
        connection.close()
    if not 200 <= status < 300:
        raise NotTold(f"http-{status}")


def _mail(channel: Mail, notices: Sequence[Notice], base: Path, secret: Callable[[SecretRef], str]) -> None:
    host, _, port = channel.server.rpartition(":")
    try:
        with _smtp(channel, host.strip("[]"), int(port), base) as server:
            if channel.security == "starttls":
                server.starttls(context=_trust(channel.ca, base))
            if channel.username is not None and channel.password is not None:
                server.login(channel.username, secret(channel.password))
            server.send_message(letter(channel, notices))
    except smtplib.SMTPResponseException as error:
        raise NotTold(f"smtp-{error.smtp_code}") from error
    except smtplib.SMTPException as error:
        raise NotTold(type(error).__name__) from error


def _smtp(channel: Mail, host: str, port: int, base: Path) -> smtplib.SMTP:
    if channel.security == "tls":
        return smtplib.SMTP_SSL(host, port, timeout=SECONDS, context=_trust(channel.ca, base))
    return smtplib.SMTP(host, port, timeout=SECONDS)


def letter(channel: Mail, notices: Sequence[Notice]) -> EmailMessage:
    """Return one mail for all of it."""
    first = notices[0]
    more = f" (and {len(notices) - 1} more)" if len(notices) > 1 else ""
    message = EmailMessage()
    what = f"{first.what}: {first.alert.name} {first.alert.object}{more}"
    message["Subject"] = f"[xoev-hub {socket.gethostname()}] {what}"
    message["From"], message["To"] = channel.sender, ", ".join(channel.to)
    # RFC 5322 §3.6 wants date and id, a mail without them is taken for junk. RFC 3834: no absence note answers it.
    message["Date"], message["Message-ID"] = formatdate(localtime=True), make_msgid(domain=socket.gethostname())
    message["Auto-Submitted"] = "auto-generated"
    lines = []
    for one in notices:
        lines += [f"{one.what}: {one.alert.text}", f"    since {one.raised_at:%Y-%m-%d %H:%M} UTC"]
        lines += [f"    next: {one.alert.next}"] if one.what != "cleared" else []
    message.set_content("\n".join([*lines, ""]))
    return message


def _run(channel: Command, body: bytes, base: Path) -> None:
    environment = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TZ") if name in os.environ}
    try:
        done = subprocess.run(  # noqa: S603  # the operator's own program, by its arguments and without a shell
            channel.argv,
            input=body,
            cwd=base,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=COMMAND_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise NotTold("timeout") from error
    if done.returncode:
        raise NotTold(f"exit-{done.returncode}")


def _trust(ca: str | None, base: Path) -> ssl.SSLContext:
    return client_context(TlsSettings(ca=ca), base)

"""Who is told when something is wrong, and from when on it is: the section ``alerts`` of routes.yaml."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hub.alerts.settings import AlertSettings, Channel, Command, Mail, Webhook
from hub.config.document import Node
from hub.config.network import check_addresses, is_loopback
from hub.config.run import Run
from hub.config.scalars import NAME
from hub.config.validate import validated

if TYPE_CHECKING:
    from hub.config.alerts_model import ChannelEntry


def read_alerts(run: Run) -> AlertSettings:
    """Return what the section says, or what holds without one; every problem of it is noted."""
    node = run.tree.alerts
    if node is None:
        return AlertSettings()
    from hub.config.alerts_model import AlertsEntry  # here: most deployments have no such section

    entry = validated(AlertsEntry, node, run.report)
    if entry is None:
        return AlertSettings()
    written = node.items["tell"].items if "tell" in node.items else {}
    for name, channel in written.items():
        if not NAME.fullmatch(name):
            run.report.add(channel.key_place, f"found the name {name!r}, expected letters, digits, `.`, `_`, `-`")
    given = {"oldest_waiting": entry.oldest_waiting, "disk_free": entry.disk_free, "rejected_rate": entry.rejected_rate}
    return AlertSettings(
        {name: _channel(one, written[name], run) for name, one in entry.tell.items()},
        silence=entry.silence,
        **{key: value for key, value in given.items() if value is not None},  # type: ignore[arg-type]  # by name
    )


def _channel(entry: ChannelEntry, node: Node, run: Run) -> Channel:
    if entry.webhook is not None:
        check_addresses(node.items["webhook"], entry.webhook.insecure, run.report)
        scheme = entry.webhook.url.partition("://")[0]
        if scheme not in ("http", "https"):
            place = node.items["webhook"].items["url"].place
            run.report.add(place, f"found {entry.webhook.url[:60]!r}, expected https://HOST/…")
        return Webhook(entry.webhook.url, entry.webhook.token, entry.webhook.ca)
    if entry.mail is not None:
        mail = entry.mail
        if mail.security == "none" and mail.insecure is None and not is_loopback(mail.server.rpartition(":")[0]):
            place = node.items["mail"].items["security"].place
            run.report.add(place, "plaintext to another machine; expected starttls or tls, or `insecure: REASON`")
        if (mail.username is None) != (mail.password is None):
            run.report.add(node.items["mail"].place, "expected both of `username` and `password`, or neither")
        return Mail(mail.server, mail.from_, mail.to, mail.username, mail.password, mail.security, mail.ca)
    return Command(entry.command or ())

"""A step that stamps: a comment before the document says when the hub took it, and as which message."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC

from hub.plugin import Outgoing, parse_xml
from lxml import etree


def stempel(outgoing: Outgoing) -> Outgoing:
    """Return the document with its stamp. Time and number come from the message: a repetition gives the same bytes.

    A comment before the root changes nothing that a schema or a signature looks at.

    Raises:
        Rejected: The step before gave no XML.
    """
    root = parse_xml(outgoing.body)
    received = outgoing.message.received_at.astimezone(UTC)
    root.addprevious(etree.Comment(f" Eingang {received:%Y-%m-%dT%H:%M:%SZ}, Nachricht {outgoing.message.id} "))
    body = etree.tostring(root.getroottree(), encoding="UTF-8", xml_declaration=True)
    return replace(outgoing, body=body, content_type="application/xml")

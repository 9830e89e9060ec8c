"""The route's step: from XGewerbeanzeige to the target format of the procedure."""

import re
from dataclasses import replace

from hub.plugin import Outgoing, Rejected


def to_gewerbe_1(outgoing: Outgoing) -> Outgoing:
    """Return the document in the format ``migewa/1.0``."""
    activity = re.search(rb"<x:taetigkeit>([^<]*)</x:taetigkeit>", outgoing.body)
    if activity is None:
        raise Rejected("transform_failed")
    body = b'<meldung xmlns="urn:beispiel:migewa:meldung"><taetigkeit>' + activity[1] + b"</taetigkeit></meldung>"
    return replace(outgoing, body=body)

"""What a Briefkasten is sent: one form (RFC 7578) with the delivery's id, the document and its attachments."""

from __future__ import annotations

import hashlib
import re

from hub.plugin import Outgoing

_MEDIA_TYPE = re.compile(r"[A-Za-z0-9.+-]{1,60}/[A-Za-z0-9.+-]{1,60}", re.ASCII)


def form_of(outgoing: Outgoing) -> tuple[bytes, str]:
    """Return body and content type: the same at every attempt, with every byte of the document as it is."""
    fields = [
        _field('name="kennung"', "text/plain", outgoing.delivery_id.encode()),
        _field(f'name="dokument"; filename="{outgoing.delivery_id}.xml"', outgoing.content_type, outgoing.body),
        *(
            _field(f'name="anlage"; filename="{_quoted(part.name)}"', part.media_type, part.body)
            for part in outgoing.parts
        ),
    ]
    # Made of the content, so that it cannot stand in it by accident or by somebody's will.
    boundary = hashlib.sha256(b"\n".join(fields)).hexdigest()
    delimiter = f"--{boundary}\r\n".encode()
    body = b"".join(delimiter + field + b"\r\n" for field in fields) + f"--{boundary}--\r\n".encode()
    return body, f"multipart/form-data; boundary={boundary}"


def _field(disposition: str, media_type: str, content: bytes) -> bytes:
    known = media_type if _MEDIA_TYPE.fullmatch(media_type) else "application/octet-stream"
    return f"Content-Disposition: form-data; {disposition}\r\nContent-Type: {known}\r\n\r\n".encode() + content


def _quoted(name: str) -> str:
    """Return a file name that cannot end its line or its quotes; senders choose these names."""
    return re.sub(r'[\x00-\x1f"\\/]', "_", name)[:100]

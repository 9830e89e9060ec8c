"""Steps and an adapter that do everything wrong with what people wrote: they raise it, log it, print it, pass it on."""

from __future__ import annotations

from pathlib import Path

MARKER = "Zwirbelmann"

STEPS = """\
import logging
import os
import sys
import warnings
from dataclasses import replace

from lxml import etree

from hub.plugin import Finding, Rejected

logging.getLogger().setLevel(logging.DEBUG)


def read(outgoing):
    return " ".join(etree.fromstring(outgoing.body).itertext())


def raises(outgoing):
    try:
        int(read(outgoing))
    except ValueError as error:
        raise KeyError(read(outgoing)) from error


def leaves(outgoing):
    sys.exit(read(outgoing))


def rejects(outgoing):
    raise Rejected(read(outgoing), [Finding(read(outgoing), read(outgoing), 1, read(outgoing))])


def dies(outgoing):
    os.abort()


def talks(outgoing):
    logging.getLogger("steps").error("found " + read(outgoing))
    logging.getLogger("steps").error("found %s", read(outgoing))
    logging.getLogger("steps").debug("found %s", read(outgoing))
    warnings.warn(read(outgoing))
    print(read(outgoing))
    return outgoing


def spoils(outgoing):
    return replace(outgoing, body=outgoing.body.replace(b"<l:alter>3", b"<l:alter>" + b"Zwirbelmann"))
"""
XSLT = """\
<xsl:stylesheet version="1.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform">
  <xsl:template match="/"><xsl:message terminate="yes"><xsl:value-of select="."/></xsl:message></xsl:template>
</xsl:stylesheet>
"""
PLUGIN = """\
import logging
from typing import Literal

from hub.plugin import Adapter, Deferred, Delivered, Reason, Settings

logging.getLogger().setLevel(logging.DEBUG)


class Nosy(Settings):
    how: Literal["raises", "opens", "nothing", "code", "talks"]


class Destination:
    def __init__(self, settings, context):
        self.how, self.log = settings.how, context.log

    def open(self):
        if self.how == "opens":
            raise RuntimeError("no destination for Zwirbelmann")

    def close(self):
        pass

    def deliver(self, outgoing):
        text = outgoing.body.decode()
        if self.how == "raises":
            try:
                raise ValueError(text)
            except ValueError as error:
                raise RuntimeError(text) from error
        if self.how == "code":
            return Deferred(Reason.BUSY, text, code=text)
        if self.how == "talks":
            logging.getLogger("nosy").error("sent %s", text)
            logging.getLogger("nosy").error("sent " + text)
            logging.getLogger("nosy").debug("sent " + text)
            self.log.error("sent " + text, keeper=text, reason_text=text)
            return Delivered(receipt="ok", reply=outgoing.body)
        return None


ADAPTER = Adapter(name="nosy", settings=Nosy, outbound=Destination)
"""


def installed(folder: Path) -> None:
    """Put the plugin into a folder as an installer does."""
    about = folder / "nosy-1.0.dist-info"
    about.mkdir(parents=True)
    (folder / "nosy.py").write_text(PLUGIN, "utf-8")
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: nosy\nVersion: 1.0\n", "utf-8")
    (about / "entry_points.txt").write_text("[xoev_hub.adapters]\nnosy = nosy:ADAPTER\n", "utf-8")

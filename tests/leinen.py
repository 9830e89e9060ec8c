"""A deployment made of files alone, for a standard of its own: leinen/1.0, by which dogs are put on the lead.

The hub has never seen it: profile, schema, WSDL and routes.yaml are written here. Dogs and keepers are invented.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from hub.loopback import free_port

NAMESPACE = "urn:test:leinen_1.0"
TOKENS = {"portal": "token-des-portals-4711", "amt": "token-des-amts-0815"}
WSDL = Path(__file__).parent.parent / "hub" / "simulate"

PROFILE = f"""\
standard: leinen
version: "1.0"
title: Hundeanmeldung (erfunden)
roots: {{namespace: "{NAMESPACE}", names: [anmeldung]}}
version_from: "@fassung"
xsd: leinen.xsd
header:
  form: none
  namespaces: {{l: "{NAMESPACE}"}}
  message_id: /l:anmeldung/l:kopf/l:id
  created_at: /l:anmeldung/l:kopf/l:zeit
  reader: {{xpath: /l:anmeldung/l:kopf/l:leser, prefix: ags}}
"""
XSD = f"""\
<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns:l="{NAMESPACE}" targetNamespace="{NAMESPACE}"
    elementFormDefault="qualified">
  <xs:element name="anmeldung">
    <xs:complexType>
      <xs:sequence>
        <xs:element name="kopf">
          <xs:complexType>
            <xs:sequence>
              <xs:element name="id" type="xs:string"/>
              <xs:element name="zeit" type="xs:dateTime"/>
              <xs:element name="leser" type="xs:string"/>
            </xs:sequence>
          </xs:complexType>
        </xs:element>
        <xs:element name="hund">
          <xs:complexType>
            <xs:sequence>
              <xs:element name="name" type="xs:string"/>
              <xs:element name="halter" type="xs:string"/>
              <xs:element name="alter" type="xs:unsignedByte"/>
            </xs:sequence>
            <xs:attribute name="rasse" type="xs:string"/>
            <xs:attribute name="chip" type="l:Chip"/>
          </xs:complexType>
        </xs:element>
      </xs:sequence>
      <xs:attribute name="fassung" type="xs:string" use="required"/>
    </xs:complexType>
  </xs:element>
  <xs:simpleType name="Chip">
    <xs:restriction base="xs:string"><xs:pattern value="[0-9]{{15}}"/></xs:restriction>
  </xs:simpleType>
</xs:schema>
"""


def ags(number: int) -> str:
    """Return the key of the town with this number. Nobody has them: there is no district 99 in Land 03."""
    return f"03990{number:03}"


def leinen(
    town: int = 0,
    *,
    id_: str | None = None,
    halter: str = "Jürgen Müßig",
    name: str = "Bello",
    rasse: str = "Dackel & Co",
    alter: str = "3",
    chip: str = "276000000000001",
    leser: str | None = None,
) -> bytes:
    """Return an announcement to a town, by an invented keeper."""
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<l:anmeldung xmlns:l="{NAMESPACE}" fassung="1.0">
  <l:kopf>
    <l:id>{escape(id_ or str(uuid.uuid4()))}</l:id>
    <l:zeit>2026-11-21T10:00:00+01:00</l:zeit>
    <l:leser>{escape(leser or ags(town))}</l:leser>
  </l:kopf>
  <l:hund rasse={quoteattr(rasse)} chip={quoteattr(chip)}>
    <l:name>{escape(name)}</l:name><!-- ein Kommentar gehört dazu -->
    <l:halter>{escape(halter)}</l:halter>
    <l:alter>{escape(alter)}</l:alter>
  </l:hund>
</l:anmeldung>
""".encode()


def soap(address: str, **changes: Any) -> dict[str, Any]:
    """Return the settings of a destination behind the simulated procedure's WSDL; quick to try again."""
    return {
        "adapter": "soap",
        "wsdl": "wsdl/procedure.wsdl",
        "address": address,
        "service": "Fachverfahren",
        "port": "Fachverfahren11",
        "operation": "Uebergeben",
        "parameters": {
            "mandant": "{municipality.values.mandant}",
            "xml": {"payload": "base64"},
            "pruefsumme": {"digest": "sha256", "of": "payload"},
            "vorgang": {"value": "delivery_id"},
        },
        "reply": {
            "ok": {"xpath": "//rc", "equals": ["0"]},
            "codes": {"17": "refused", "23": "deferred"},
            "values": {"aktenzeichen": {"xpath": "//az", "pattern": "[0-9/]+"}},
        },
        "retry": {"first": "200ms", "ceiling": "2s"},
        "on_unclear": "retry",
        "timeout": {"connect": "10s", "total": "60s"},
    } | changes


def folder_out(path: str) -> dict[str, Any]:
    """Return the settings of a destination that is a folder."""
    return {"adapter": "folder", "path": path, "retry": {"first": "200ms", "ceiling": "2s"}}


class Leinen:
    """A deployment: one town per destination, one route, one way in. Change ``routes`` and ``write`` it again."""

    def __init__(self, folder: Path, procedures: Mapping[str, Mapping[str, Any]]) -> None:
        self.folder = folder
        self.towns = list(procedures)
        self.port = free_port()
        self.routes: dict[str, Any] = {
            "version": 1,
            "senders": {name: {} for name in TOKENS},
            "inbound": {
                "online": {
                    "adapter": "http",
                    "listen": f"127.0.0.1:{self.port}",
                    "max_body": "1MB",
                    "senders": {name: {"token": f"file:secrets/{name}"} for name in TOKENS},
                },
            },
            "municipalities": {
                town: {"name": town, "ags": ags(number), "values": {"mandant": str(number)}}
                for number, town in enumerate(procedures)
            },
            "procedures": {},
            "routes": {"leinen": {"match": {"type": "leinen/1.0"}, "deliver_to": ["{municipality}/leinen"]}},
        }
        for town, settings in procedures.items():
            self.procedure(town, "leinen", settings)
        self.file("schemas/xoev/leinen/1.0/profile.yaml", PROFILE)
        self.file("schemas/xoev/leinen/1.0/leinen.xsd", XSD)
        for name, token in TOKENS.items():
            self.file(f"secrets/{name}", token)
        for name in ("procedure.wsdl", "procedure.xsd"):
            self.file(f"wsdl/{name}", (WSDL / name).read_text("utf-8"))

    def procedure(self, town: str, service: str, settings: Mapping[str, Any]) -> None:
        """Give a town a procedure of its own; a folder is made for it, as an operator would."""
        self.routes["procedures"][f"{town}-{service}"] = dict(settings)
        served = self.routes["municipalities"][town].setdefault("procedures", {})
        served[service] = {"like": f"{town}-{service}"}
        if settings["adapter"] == "folder":
            (self.folder / settings["path"]).mkdir(parents=True, exist_ok=True)

    def file(self, name: str, text: str) -> Path:
        """Write a file, and put it in its place in one go."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(f".{path.name}.new")
        fresh.write_text(text, encoding="utf-8")
        return fresh.replace(path)

    def write(self) -> Path:
        """Write routes.yaml. JSON is YAML, and says the same of every text."""
        return self.file("routes.yaml", json.dumps(self.routes, ensure_ascii=False, indent=1))

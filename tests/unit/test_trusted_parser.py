"""The parser for schemas and stylesheets reaches what its resolver knows, and nothing else."""

from __future__ import annotations

import threading

import pytest
from lxml import etree

from hub.xml.guard import COMPILE_LOCK, parse, trusted_parser


class Known(etree.Resolver):
    def __init__(self, **documents: bytes):
        self.documents = documents

    def resolve(self, system_url, public_id, context):
        found = self.documents.get(system_url)
        return found and self.resolve_string(found, context)


SCHEMA = b'<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema"><xs:include schemaLocation="%b"/><xs:element name="r" type="t"/></xs:schema>'
INCLUDED = b'<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema"><xs:simpleType name="t"><xs:restriction base="xs:int"/></xs:simpleType></xs:schema>'


def test_a_schema_reaches_what_its_resolver_knows():
    document = etree.fromstring(SCHEMA % b"part", trusted_parser(Known(part=INCLUDED)))

    with COMPILE_LOCK:
        schema = etree.XMLSchema(document)

    assert schema.validate(parse(b"<r>1</r>"))
    assert not schema.validate(parse(b"<r>x</r>"))


@pytest.mark.parametrize("known", [None, Known()], ids=["no resolver", "a resolver that does not know it"])
def test_a_schema_reaches_no_file_that_its_resolver_does_not_know(tmp_path, known):
    included = tmp_path / "part.xsd"
    included.write_bytes(INCLUDED)
    document = etree.fromstring(SCHEMA % str(included).encode(), trusted_parser(known))

    with pytest.raises(Exception) as caught, COMPILE_LOCK:
        etree.XMLSchema(document)

    assert isinstance(caught.value, OSError | etree.XMLSchemaParseError)


def test_a_stylesheet_reaches_no_file_that_its_resolver_does_not_know(tmp_path):
    imported = tmp_path / "part.xsl"
    imported.write_bytes(b'<xsl:stylesheet version="1.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform"/>')
    sheet = b'<xsl:stylesheet version="1.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform"><xsl:import href="%b"/></xsl:stylesheet>'
    document = etree.fromstring(sheet % str(imported).encode(), trusted_parser())

    with pytest.raises((OSError, etree.XSLTParseError)):
        etree.XSLT(document)


def test_a_trusted_document_loads_no_dtd(tmp_path):
    dtd = tmp_path / "r.dtd"
    dtd.write_text("<!ENTITY x 'loaded'>")

    root = etree.fromstring(f"<!DOCTYPE r SYSTEM '{dtd}'><r>&x;</r>".encode(), trusted_parser())

    assert "loaded" not in "".join(root.itertext(with_tail=True))


def test_schemas_compile_in_many_threads_at_once():
    barrier = threading.Barrier(4)
    verdicts = []

    def compile_and_validate():
        document = etree.fromstring(
            INCLUDED.replace(b"</xs:schema>", b'<xs:element name="r" type="t"/></xs:schema>'), trusted_parser()
        )
        barrier.wait()
        with COMPILE_LOCK:
            schema = etree.XMLSchema(document)
        verdicts.append((schema.validate(parse(b"<r>1</r>")), schema.validate(parse(b"<r>x</r>"))))

    threads = [threading.Thread(target=compile_and_validate) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert verdicts == [(True, False)] * 4

"""What routes.yaml may say about a SOAP destination, and what ``check`` finds without a network."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import ValidationError

from adapters.soap import ADAPTER
from adapters.soap_wsdl import load
from hub.plugin import Context, Judge
from hub.plugins import check_settings
from hub.xml import guard
from tests.soap_peer import PARAMETERS, REPLY, canary_server, settings, soap_context

XS = "http://www.w3.org/2001/XMLSchema"
ADDRESS = "https://gewerbe.wolfsburg.example/ws"
CASES = Path(__file__).parents[1] / "hostile" / "cases"


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return soap_context(tmp_path)


def problems(context: Context, **changes: object) -> list[tuple[str, str]]:
    return [(".".join(key), text) for key, text in check_settings(ADAPTER, settings(ADDRESS, **changes), context)]


def test_the_example_of_the_contract_is_right(context: Context) -> None:
    assert problems(context) == []


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("adresse", "x", "Extra inputs"),
        ("address", "ftp://host/ws", "expected https://"),
        ("address", "https:///ws", "expected https://"),
        ("address", "https://hub:geheim@host/ws", "expected https://"),
        ("address", "https://host/ws#x", "expected https://"),
        ("address", "https://host:99999/ws", "expected https://"),
        ("address", "https://host/a b", "expected https://"),
        ("address", "https://host/a\r\nX-Admin: 1", "expected https://"),
        ("address", f"https://{'a' * 70}.example/ws", "expected https://"),
        ("action", 'urn:"x', "printable ASCII"),
        ("soap", "1.3", "'1.1' or '1.2'"),
        ("payload", "raw", "exclude each other"),
        ("parameters", {}, "expected parameters"),
        ("parameters", {"xml": {"payload": "zip"}}, "expected text, {payload"),
        ("parameters", {"xml": {"payload": "xml", "of": "x"}}, "expected text, {payload"),
        ("parameters", {"xml": {"digest": "md5", "of": "payload"}}, "expected text, {payload"),
        ("parameters", {"xml": {"kind": "text", "value": "x"}}, "expected text, {payload"),
        ("headers", {"Authorization": "Basic x"}, "belongs to the hub"),
        ("headers", {"Idempotency-Key": "1"}, "belongs to the hub"),
        ("headers", {"X Y": "1"}, "not the name of a header"),
        ("headers", {"X-Name": "Köln"}, "printable ASCII"),
        ("headers", {"X-Name": "a\x1b[2J"}, "printable ASCII"),
        ("headers", {"X-Name": {"payload": "base64"}}, "printable ASCII"),
        ("security", {"kind": "x509_sign"}, "comes with a later release"),
        ("security", {"kind": "basic", "username": "hub"}, "needs username and password"),
        ("security", {"username": "hub", "password": "env:PW"}, "need a kind"),
        ("security", {"kind": "basic", "username": "hub", "password": "geheim-4711"}, "expected env:NAME"),
        ("reply", {"ok": {"xpath": "//rc"}}, "Field required"),
        ("reply", {"ok": {"xpath": "//rc", "equals": []}}, "at least 1"),
        ("reply", {"ok": "any", "codes": {"17": "refused"}}, "codes need ok"),
        ("reply", {"ok": {"xpath": "//rc", "equals": ["0"]}, "codes": {"17": "dead"}}, "'refused', 'deferred'"),
        ("reply", "all", "expected any, or a mapping"),
        ("faults", {"Server": "retry"}, "'refused', 'deferred'"),
        ("tls", {"zertifikat": "x"}, "Extra inputs"),
    ],
)
def test_what_is_not_in_the_contract_is_an_error_that_says_what_is(key: str, value: object, said: str) -> None:
    with pytest.raises(ValidationError) as raised:
        settings(ADDRESS, **{key: value})

    [error] = raised.value.errors()
    assert said in error["msg"]
    assert error["loc"][:1] in ((key,), ())
    assert "geheim" not in error["msg"]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"wsdl": "wsdl/gone.wsdl"}, [("wsdl", "cannot read wsdl/gone.wsdl: No such file")]),
        ({"wsdl": "../secret.wsdl"}, [("wsdl", "refers to secret.wsdl, which is not below")]),
        ({"wsdl": "/etc/hostname"}, [("wsdl", "which is not below")]),
        ({"wsdl": "wsdl/procedure.xsd"}, [("wsdl", "no such SOAP port; the WSDL has none")]),
        ({"operation": "Abgeben"}, [("operation", "found 'Abgeben', expected one of Hinweis, Uebergeben")]),
        ({"service": "Andere"}, [("service", "the WSDL has Fachverfahren/Fachverfahren11, Fachverfahren/")]),
        ({"port": "Andere"}, [("port", "no such SOAP port")]),
        ({"port": "Fachverfahren12", "soap": "1.1"}, [("soap", "found 1.1, the WSDL offers 1.2")]),
        (
            {"parameters": {**PARAMETERS, "manndant": "1"}},
            [("parameters.manndant", "no such parameter, it takes mandant, pruefsumme, vorgang, xml")],
        ),
        (
            {"parameters": {"mandant": "1", "xml": {"payload": "base64"}}},
            [("parameters", "Missing element pruefsumme")],
        ),
        ({"parameters": {**PARAMETERS, "mandant": {"payload": "xml"}}}, [("parameters", "cannot be called so")]),
        (
            {"operation": "Hinweis", "parameters": {"_value_1": {"payload": "text"}}, "reply": None},
            [("parameters", "cannot be called so")],
        ),
        ({"reply": None}, [("reply", "warning: Uebergeben answers with a body")]),
        ({"reply": {"values": {"az": {"xpath": "//az"}}}}, [("reply", "warning: ")]),
        ({"reply": {**REPLY, "ok": {"xpath": "//rc[", "equals": ["0"]}}}, [("reply.ok.xpath", "expected an XPath")]),
        ({"reply": {**REPLY, "ok": {"xpath": "//x:rc", "equals": ["0"]}}}, [("reply.ok.xpath", "expected an XPath")]),
        (
            {"reply": {**REPLY, "values": {"az": {"xpath": "//az", "pattern": "[0-9"}}}},
            [("reply.values.az.pattern", "expected a regular expression")],
        ),
    ],
)
def test_check_finds_what_does_not_fit_and_names_its_place(
    context: Context, changes: dict[str, object], expected: list[tuple[str, str]]
) -> None:
    found = problems(context, **changes)

    assert [key for key, _ in found] == [key for key, _ in expected]
    assert [said for (_, said), (_, text) in zip(found, expected, strict=True) if text not in said] == []


def test_plaintext_to_another_machine_needs_a_reason(context: Context) -> None:
    plain = settings("http://gewerbe.wolfsburg.example/ws")

    refused = list(check_settings(ADAPTER, plain, context))
    allowed = list(check_settings(ADAPTER, plain, replace(context, insecure="eigenes Netz, VPN")))
    local = [
        list(check_settings(ADAPTER, settings(f"http://{host}:8080/ws"), context))
        for host in ("127.0.0.1", "[::1]", "localhost")
    ]

    assert [key for key, _ in refused] == [("address",)]
    assert allowed == []
    assert local == [[], [], []]


@pytest.mark.parametrize(
    ("case", "said"),
    [
        ("d02_wsdl_import_http.wsdl", "refers to imp.wsdl by URL"),
        ("d04_xsd_import_http.wsdl", "refers to imp.xsd by URL"),
        ("d05_xsd_include_traversal.wsdl", "refers to canary.txt, which is not below"),
        ("d07_wsdl_dtd_bomb.wsdl", "doctype_forbidden"),
    ],
)
def test_a_hostile_wsdl_is_a_problem_that_opens_nothing(context: Context, case: str, said: str) -> None:
    outside = context.base.parent / "canary.txt"
    outside.write_text("<CANARY-SECRET-4711/>")
    with canary_server() as (url, hits):
        wsdl = (CASES / case).read_bytes().replace(b"{{HTTP}}", url.encode())
        wsdl = wsdl.replace(b"../../../../../../../{{FILE}}", b"../../canary.txt")
        (context.base / "wsdl" / case).write_bytes(wsdl)

        found = problems(context, wsdl=f"wsdl/{case}", operation="op", parameters={"p": "x"}, reply="any")

    assert [key for key, _ in found] == ["wsdl"]
    assert said in found[0][1]
    assert "CANARY" not in found[0][1]
    assert hits == []


@pytest.mark.parametrize("location", ["file:///etc/hostname", "/etc/hostname", "..%2f..%2fcanary.xsd", "x.xsd?a=b"])
def test_no_spelling_of_a_location_leads_outside(context: Context, location: str) -> None:
    read: list[str] = []
    wsdl = (context.base / "wsdl/procedure.wsdl").read_text().replace("procedure.xsd", location)
    (context.base / "wsdl/own.wsdl").write_text(wsdl)

    def recorded(name: str) -> bytes:
        read.append(name)
        return context.read(name)

    found = list(check_settings(ADAPTER, settings(ADDRESS, wsdl="wsdl/own.wsdl"), replace(context, read=recorded)))

    assert [key for key, _ in found] == [("wsdl",)]
    assert set(read) == {"wsdl/own.wsdl"}


def test_what_names_the_snapshot_is_read_without_looking_into_the_wsdl(context: Context) -> None:
    """A command that calls nobody must name the same snapshot as the hub that does."""
    folder = context.base / "wsdl"
    (folder / "part").mkdir()
    (folder / "own.wsdl").write_text(
        (folder / "procedure.wsdl").read_text().replace("procedure.xsd", "part/procedure.xsd"), encoding="utf-8"
    )
    schema = (folder / "procedure.xsd").read_text(encoding="utf-8")
    start = schema.index(">", schema.index(":schema")) + 1
    included = f'{schema[:start]}<xs:include xmlns:xs="{XS}" schemaLocation="../more%20types.xsd"/>{schema[start:]}'
    (folder / "part/procedure.xsd").write_text(included, encoding="utf-8")
    (folder / "more types.xsd").write_text(f'<xs:schema xmlns:xs="{XS}"/>', encoding="utf-8")
    given = settings(ADDRESS, wsdl="wsdl/own.wsdl")

    def read_by(judge: Judge | None) -> set[str]:
        read: set[str] = set()

        def recorded(name: str) -> bytes:
            read.add(name)
            return context.read(name)

        assert judge is not None
        assert list(judge(given, replace(context, read=recorded))) == []
        return read

    assert read_by(ADAPTER.check) == {"wsdl/own.wsdl", "wsdl/part/procedure.xsd", "wsdl/more types.xsd"}
    assert read_by(ADAPTER.prove) == read_by(ADAPTER.check)


def test_a_wsdl_is_parsed_once_for_all_destinations_until_a_file_of_it_changes(context: Context) -> None:
    first = load("wsdl/procedure.wsdl", context.read, guard.parse)
    again = load("wsdl/procedure.wsdl", context.read, guard.parse)
    schema = context.base / "wsdl/procedure.xsd"
    schema.write_bytes(schema.read_bytes() + b"<!-- changed -->")

    changed = load("wsdl/procedure.wsdl", context.read, guard.parse)

    assert first is again
    assert changed is not first

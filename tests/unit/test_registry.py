"""The registry: which document is of which standard, when, and what its schema says of it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from hub.errors import ConfigError, Rejected
from hub.files import Files
from hub.xml import guard
from hub.xml.registry import Registry
from tests.standards import MESSAGES, NOW, NS, PROFILE, XSD, load, notiz, parsed, refusal, write

# --- what is shipped ----------------------------------------------------------------------------------------------


def test_every_shipped_standard_loads_and_compiles_without_a_problem(tmp_path):
    registry, problems = load(tmp_path)

    assert problems == []
    assert {
        ("antrag", "1.0"), ("xmeld", "25.11a"), ("xgewerbeanzeige", "2.2"), ("xbau", "2.6"), ("xbeteiligung", "1.2"),
        ("xdomea", "3.0.0"), ("xrechnung", "3.0"), ("gewerberegister", "1.0"), ("bauakte", "1.0"),
    } <= set(registry.profiles)  # fmt: skip
    for profile in registry.profiles.values():
        assert profile.names
        registry.schema(profile)


VALID = sorted(path.name for path in MESSAGES.glob("*.xml") if path.name != "gewerbeanmeldung-kaputt.xml")


@pytest.mark.parametrize("name", VALID)
def test_every_sample_message_is_valid_for_its_standard(name, tmp_path):
    registry, _ = load(tmp_path)
    root = guard.parse((MESSAGES / name).read_bytes())

    profile = registry.identify(root, NOW)

    assert registry.schema(profile).validate(root) == ()


def test_the_broken_sample_gets_findings_with_rule_path_and_line(tmp_path):
    registry, _ = load(tmp_path)
    root = guard.parse((MESSAGES / "gewerbeanmeldung-kaputt.xml").read_bytes())

    findings = registry.schema(registry.identify(root, NOW)).validate(root)

    head = "/xga:alg.gewerbemeldung.0300/xga:nachrichtenkopf"
    assert [(one.rule, one.path, one.line) for one in findings] == [
        ("SCHEMAV_CVC_PATTERN_VALID", f"{head}/xga:identifikation.nachricht/xga:nachrichtenUUID", 8),
        ("SCHEMAV_ELEMENT_CONTENT", f"{head}/xga:autor", 25),
    ]


def test_a_deployments_own_standard_wins_over_the_shipped_one(tmp_path):
    own = PROFILE.replace("notiz\n", "antrag\n", 1).replace('"1"', '"1.0"').replace("xsd: notiz.xsd", "xsd: a.xsd")
    write(tmp_path, {"profile.yaml": own, "a.xsd": XSD}, "antrag/1.0")

    registry, problems = load(tmp_path)

    assert problems == []
    assert registry.profiles["antrag", "1.0"].names == {"notiz"}


def test_a_worker_reads_the_same_registry_from_the_bytes_of_a_snapshot(tmp_path):
    write(tmp_path, {"profile.yaml": PROFILE, "notiz.xsd": XSD})
    files = Files(tmp_path)
    Registry.load(files)

    registry, problems = Registry.load(Files.frozen(tmp_path / "elsewhere", files.contents))

    assert problems == []
    root = parsed(f'<notiz xmlns="{NS}"><zahl>x</zahl></notiz>')
    assert registry.schema(registry.identify(root, NOW)).validate(root)


# --- identification -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["<notiz/>", '<notiz xmlns="URN:test:notiz"/>', f'<Notiz xmlns="{NS}"/>'])
def test_a_root_that_no_standard_has_is_an_unknown_type(text, tmp_path):
    registry, _ = notiz(tmp_path)

    rejected = refusal(registry, text)

    assert rejected.code == "unknown_type"
    assert rejected.findings[0].line == 1


@pytest.mark.parametrize(
    ("window", "at", "served"),
    [
        ("valid_from: 2026-05-01", "2026-04-30T21:59:59Z", False),
        ("valid_from: 2026-05-01", "2026-04-30T22:00:00Z", True),  # midnight in Berlin, summer time
        ("valid_from: 2026-01-01", "2025-12-31T22:59:59Z", False),
        ("valid_from: 2026-01-01", "2025-12-31T23:00:00Z", True),
        ("valid_to: 2026-05-01", "2026-04-30T21:59:59Z", True),
        ("valid_to: 2026-05-01", "2026-04-30T22:00:00Z", False),
        ("valid_to: 2026-05-01\ngrace_until: 2026-06-01", "2026-05-31T21:59:59Z", True),
        ("valid_to: 2026-05-01\ngrace_until: 2026-06-01", "2026-05-31T22:00:00Z", False),
        ("valid_from: null\nvalid_to: null", "1999-01-01T00:00:00Z", True),
    ],
)
def test_a_version_is_served_from_midnight_to_midnight_in_berlin(window, at, served, tmp_path):
    registry, problems = notiz(tmp_path, f"{PROFILE}{window}\n")
    root, when = parsed(f'<notiz xmlns="{NS}"/>'), datetime.fromisoformat(at)
    assert problems == []

    if served:
        assert registry.identify(root, when).version == "1"
    else:
        with pytest.raises(Rejected, match="version_not_served"):
            registry.identify(root, when)


def test_versions_of_one_standard_stand_side_by_side(tmp_path):
    for version in ("1", "2"):
        text = PROFILE.replace('"1"', f'"{version}"') + 'version_from: "@version"\n'
        write(tmp_path, {"profile.yaml": text, "notiz.xsd": XSD}, f"notiz/{version}")
    registry, problems = load(tmp_path)
    assert problems == []

    assert registry.identify(parsed(f'<notiz xmlns="{NS}" version="1"/>'), NOW).version == "1"
    assert registry.identify(parsed(f'<notiz xmlns="{NS}" version="2"/>'), NOW).version == "2"
    for wrong, said in (
        ('version="3"', "version '3' is"),
        ('version=" 2"', "version ' 2' is"),
        ("", "states no version;"),
    ):
        rejected = refusal(registry, f'<notiz xmlns="{NS}" {wrong}/>')
        assert rejected.code == "version_not_served"
        assert said in rejected.findings[0].text
        assert "served at this time: 1, 2" in rejected.findings[0].text


def test_a_version_may_stand_at_a_path_and_have_several_texts(tmp_path):
    more = 'version_from: /*/r:zahl\nversions: ["17", "18"]\n'
    registry, problems = notiz(tmp_path, PROFILE + more)
    assert problems == []

    for text in ("1", "17", "1<!-- -->8", "\n  17 "):
        assert registry.identify(parsed(f'<notiz xmlns="{NS}"><zahl>{text}</zahl></notiz>'), NOW)
    for text in ("<zahl>2</zahl>", "<zahl>17</zahl><zahl>17</zahl>", "", '<zahl xmlns="">17</zahl>'):
        assert refusal(registry, f'<notiz xmlns="{NS}">{text}</notiz>').code == "version_not_served"


def test_two_profiles_that_claim_the_same_documents_at_the_same_time_are_a_problem(tmp_path):
    notiz(tmp_path)
    write(tmp_path, {"profile.yaml": PROFILE.replace('"1"', '"2"'), "notiz.xsd": XSD}, "notiz/2")

    _, problems = load(tmp_path)

    assert ["belongs to notiz/1 at the same time" in one.text for one in problems] == [True]


def test_two_profiles_may_follow_each_other(tmp_path):
    notiz(tmp_path, PROFILE + "valid_to: 2026-05-01\n")
    text = PROFILE.replace('"1"', '"2"') + "valid_from: 2026-05-01\n"
    write(tmp_path, {"profile.yaml": text, "notiz.xsd": XSD}, "notiz/2")
    registry, problems = load(tmp_path)
    assert problems == []

    root = parsed(f'<notiz xmlns="{NS}"/>')

    assert registry.identify(root, datetime(2026, 4, 30, tzinfo=UTC)).version == "1"
    assert registry.identify(root, datetime(2026, 5, 2, tzinfo=UTC)).version == "2"


def test_a_star_means_every_root_that_the_schema_declares_and_nobody_named_before(tmp_path):
    more = XSD.replace('<xs:element name="notiz" type="n:Notiz"/>', '<xs:include schemaLocation="wurzeln.xsd"/>')
    roots = """<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns:n="urn:test:notiz">
      <xs:element name="notiz" type="xs:string"/><xs:element name="alt" type="xs:string"/></xs:schema>"""
    profile = PROFILE.replace(
        'roots: {namespace: "urn:test:notiz", names: "*"}',
        'roots:\n- {namespace: "urn:test:notiz", names: [alt]}\n- {namespace: "urn:test:notiz", names: "*"}',
    )
    write(tmp_path, {"profile.yaml": profile, "notiz.xsd": more, "wurzeln.xsd": roots})

    registry, problems = load(tmp_path)

    assert problems == []
    assert [root.names for root in registry.profiles["notiz", "1"].roots] == [{"alt"}, {"notiz"}]


# --- findings -----------------------------------------------------------------------------------------------------


def test_findings_name_elements_by_absolute_paths_also_in_a_default_namespace(tmp_path):
    registry, _ = notiz(tmp_path)
    root = parsed(f'<notiz xmlns="{NS}">\n<!-- x --><zahl>1</zahl>\n<zahl>eins</zahl></notiz>')

    findings = registry.schema(registry.profiles["notiz", "1"]).validate(root)

    assert [(one.path, one.line, one.level) for one in findings] == [("/notiz/zahl[2]", 3, "error")]


def test_there_are_at_most_a_hundred_findings_and_none_quotes_a_whole_attachment(tmp_path):
    registry, _ = notiz(tmp_path)
    root = parsed(f'<notiz xmlns="{NS}">' + f"<zahl>{'x' * 5000}</zahl>" * 300 + "</notiz>")

    findings = registry.schema(registry.profiles["notiz", "1"]).validate(root)

    assert len(findings) == 100
    assert {len(one.text) for one in findings} == {500}
    assert "xxx" not in repr(findings)


def test_a_root_that_the_profile_does_not_have_is_never_valid(tmp_path):
    registry, _ = notiz(tmp_path)

    findings = registry.schema(registry.profiles["notiz", "1"]).validate(parsed("<fremd/>"))

    assert [one.rule for one in findings] == ["schema"]


def test_a_header_schema_lets_any_body_pass_but_not_another_header(tmp_path):
    registry, _ = load(tmp_path)
    text = (MESSAGES / "meldeauskunft-braunschweig.xml").read_text()
    body = '<beliebig xmlns:i="http://www.w3.org/2001/XMLSchema-instance" i:type="gibt:es" xmlns:gibt="urn:nicht"/>'
    start, end = text.index("  <anschrift.autor>"), text.index("</xmeld:datenabruf")

    def verdict(document: str) -> list[str]:
        root = parsed(document)
        return [one.rule for one in registry.schema(registry.identify(root, NOW)).validate(root)]

    assert verdict(text[:start] + body + text[end:]) == []
    assert verdict(text.replace("<name>Stadt Braunschweig, Bürgerservice</name>", "")) == ["SCHEMAV_ELEMENT_CONTENT"]
    assert verdict(text.replace("<nachrichtentyp>", '<nachrichtentyp neu="1">')) == ["SCHEMAV_CVC_COMPLEX_TYPE_3_2_1"]
    assert verdict(text.replace("ags:03101000", "ags:03101000/../x")) == ["SCHEMAV_CVC_PATTERN_VALID"]
    assert verdict(text.replace('standard="XMeld"', 'standard="XFremd"'))


def test_a_schema_that_a_document_names_is_never_loaded(tmp_path):
    registry, _ = load(tmp_path)
    evil = tmp_path / "evil.xsd"
    evil.write_text(XSD.replace(NS, "urn:fremd").replace('type="n:Notiz"', 'type="xs:int"'))
    text = (MESSAGES / "antrag-wolfsburg.xml").read_text()
    hint = 'xmlns:i="http://www.w3.org/2001/XMLSchema-instance" i:schemaLocation="urn:fremd {}" xmlns:a='
    foreign = '<f:notiz xmlns:f="urn:fremd">keine Zahl</f:notiz></a:inhalt>'

    for location in (evil.as_uri(), str(evil)):
        root = parsed(text.replace("xmlns:a=", hint.format(location)).replace("</a:inhalt>", foreign))
        assert registry.schema(registry.identify(root, NOW)).validate(root) == ()


# --- closed bundles -----------------------------------------------------------------------------------------------

IMPORT = '<xs:import namespace="urn:test:teil" schemaLocation="{}"/>\n  <xs:element name="notiz"'
PART = '<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" targetNamespace="urn:test:teil"/>'


def importing(location: str) -> str:
    return XSD.replace('<xs:element name="notiz"', IMPORT.format(location), 1)


@pytest.mark.parametrize(
    ("location", "text"),
    [
        ("fehlt.xsd", "the schema fehlt.xsd is not there"),
        ("http://example.org/teil.xsd", "which catalog.json here does not map to a file"),
        ("file:///etc/passwd", "which catalog.json here does not map to a file"),
        ("../../antrag/1.0/antrag.xsd", "which lies outside this folder"),
        ("/etc/passwd", "which lies outside this folder"),
    ],
)
def test_a_schema_that_asks_for_what_is_not_in_its_folder_is_a_problem_at_that_line(location, text, tmp_path):
    registry, problems = load(write(tmp_path, {"profile.yaml": PROFILE, "notiz.xsd": importing(location)}))

    assert [(one.file, one.line) for one in problems] == [("schemas/xoev/notiz/1/notiz.xsd", 3)]
    assert text in problems[0].text
    with pytest.raises(ConfigError):
        registry.schema(registry.profiles["notiz", "1"])


@pytest.mark.parametrize(
    ("location", "file"),
    [
        ("http://example.org/teil.xsd", "teile/teil.xsd"),
        ("teile/teil.xsd", "teile/teil.xsd"),
        ("mein teil _1.xsd", "mein teil _1.xsd"),
        ("mein%20teil%20_1.xsd", "mein teil _1.xsd"),
        ("teile/Prüfung.xsd", "teile/Prüfung.xsd"),
    ],
)
def test_a_schema_finds_what_lies_in_its_folder(location, file, tmp_path):
    catalog = '{"http://example.org/teil.xsd": "teile/teil.xsd"}'
    write(tmp_path, {"profile.yaml": PROFILE, "notiz.xsd": importing(location), file: PART, "catalog.json": catalog})

    registry, problems = load(tmp_path)

    assert problems == []
    root = parsed(f'<notiz xmlns="{NS}"><zahl>1</zahl></notiz>')
    assert registry.schema(registry.identify(root, NOW)).validate(root) == ()


def test_a_schema_that_cannot_be_compiled_says_where(tmp_path):
    registry, problems = load(
        write(tmp_path, {"profile.yaml": PROFILE, "notiz.xsd": XSD.replace('type="xs:int"', 'type="n:Fehlt"')})
    )
    assert problems == []

    with pytest.raises(ConfigError) as caught:
        registry.schema(registry.profiles["notiz", "1"])

    assert [(one.file, one.line) for one in caught.value.problems] == [("schemas/xoev/notiz/1/notiz.xsd", 6)]


def test_a_schema_that_is_no_xml_says_where(tmp_path):
    _, problems = load(write(tmp_path, {"profile.yaml": PROFILE, "notiz.xsd": "<xs:schema>\n<"}))

    assert [(one.file, one.line) for one in problems] == [("schemas/xoev/notiz/1/notiz.xsd", 1)]


def test_a_schema_is_compiled_once(tmp_path):
    registry, _ = notiz(tmp_path)
    profile = registry.profiles["notiz", "1"]

    assert registry.schema(profile) is registry.schema(profile)


def test_who_takes_every_document_of_a_root_comes_after_who_asks_for_its_version(tmp_path):
    every = PROFILE.replace("notiz\n", "alle\n", 1)
    some = PROFILE + 'version_from: "@version"\n'
    write(tmp_path, {"profile.yaml": every, "notiz.xsd": XSD}, "alle/1")  # sorts before the other

    registry, problems = notiz(tmp_path, some)

    found = [
        registry.identify(parsed(f'<notiz xmlns="{NS}" {version}><zahl>1</zahl></notiz>'), NOW).standard
        for version in ('version="1"', 'version="2"', "")
    ]
    assert problems == []
    assert found == ["notiz", "alle", "alle"]

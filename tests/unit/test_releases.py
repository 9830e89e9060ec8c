"""What is in an official release, whether all that it asks for is there, and what it is called."""

from __future__ import annotations

from pathlib import Path

import pytest

from hub.errors import ConfigError
from hub.importing import Prepared, Wishes, prepare
from hub.library import Library
from hub.xml.release import read_release
from hub.xml.release_closure import clashes, main_schemas, meaning
from tests.releases import (
    CODE,
    CODE_NS,
    CODE_URL,
    NS,
    OTHER_CODE,
    XSD_NS,
    folder,
    main,
    release,
    zipped,
)

XLAGER = NS.format(version="1.0")
PLAIN = f'<xs:schema {XSD_NS} targetNamespace="urn:test:plain"><xs:element name="a"/></xs:schema>'


def prepared(base: Path, files: dict[str, str], **wishes) -> Prepared:
    base.mkdir(exist_ok=True)
    return prepare([zipped(base / "release.zip", files)], Library(base / "hub"), Wishes(**wishes))


def refused(base: Path, files: dict[str, str], **wishes) -> str:
    with pytest.raises(ConfigError) as caught:
        prepared(base, files, **wishes)
    return str(caught.value)


# --- what is in it ------------------------------------------------------------------------------------------------


def test_everything_of_a_release_is_found_and_put_in_its_place(tmp_path):
    found = prepared(tmp_path, release() | {"Beispiele/nachricht.xml": "<a/>", "LIESMICH.txt": "..."})

    assert (found.standard, found.version) == ("xlager", "1.0")
    assert set(found.files) == {
        "profile.yaml", "MANIFEST.sha256", "catalog.json", "Schema/xlager nachrichten.xsd",
        "codelists/Lagerart ü_3.xml", "schematron/a/regeln.sch", "schematron/gemeinsam.sch", "wsdl/dienst.wsdl",
    }  # fmt: skip
    assert found.profile is not None
    assert found.profile.codelists == ("codelists/Lagerart ü_3.xml",)
    assert found.profile.schematron == ("schematron/a/regeln.sch",)  # the other is a part of it
    assert [(one.uri, one.version) for one in found.codelists] == [("urn:test:codeliste:lagerart", "3")]
    assert found.wsdls == ("wsdl/dienst.wsdl",)


def test_the_profile_of_a_new_standard_says_roots_header_and_version(tmp_path):
    found = prepared(tmp_path, release())

    assert found.profile is not None
    (root,) = found.profile.roots
    assert (root.namespace, root.names, root.version_from) == (XLAGER, {"*"}, "@version")
    assert root.header.head == "nachrichtenkopf.g2g"
    assert (found.profile.level, found.profile.identity, found.profile.title) == ("full", "message_id", "XLager 1.0")


def test_an_absolute_import_becomes_an_entry_of_the_catalogue_and_a_shared_module(tmp_path):
    found = prepared(tmp_path, release())

    (name,) = found.modules
    assert found.catalog == {CODE_URL: f"../../../modules/{name}"}
    assert name.startswith("xoev-code-")


def test_a_relative_import_of_a_module_is_shared_too(tmp_path):
    files = release(main=main(import_="../Module/xoev-code.xsd"))

    assert list(prepared(tmp_path, files).catalog) == ["Module/xoev-code.xsd"]


def test_a_flat_release_with_one_file_works(tmp_path):
    found = prepared(tmp_path, {"xlager.xsd": main(import_="")})

    assert found.mains == ("xsd/xlager.xsd",)


def test_several_main_schemas_of_one_namespace_are_one_umbrella(tmp_path):
    more = f"""<xs:schema {XSD_NS} targetNamespace="{XLAGER}"><xs:element name="zweite.0102"/></xs:schema>"""

    found = prepared(tmp_path, release() | {"Schema/zweite ä.xsd": more})

    assert found.mains == ("xsd/umbrella.xsd",)
    assert found.notes == ("no header, so no messages: zweite.0102 (1 in all)",)


def test_main_schemas_that_ask_for_each_other_are_found():
    one = main(import_="", more="").replace("<xs:element", '<xs:include schemaLocation="b.xsd"/><xs:element', 1)
    other = f"""<xs:schema {XSD_NS} targetNamespace="{XLAGER}"><xs:include schemaLocation="a.xsd"/></xs:schema>"""
    found, _ = read_release({"a.xsd": one.encode(), "b.xsd": other.encode()})

    assert main_schemas(found) == {XLAGER: (("a.xsd",),)}


def test_two_variants_of_the_same_schemas_are_alternatives_and_the_complete_one_is_taken(tmp_path):
    files = {
        "als-veroeffentlicht/xlager.xsd": main(import_="http://fehlt.example/modul.xsd").replace(CODE_NS, "urn:fehlt"),
        "mit-modulen/xlager.xsd": main(import_="xoev-code.xsd"), "mit-modulen/xoev-code.xsd": CODE,
    }  # fmt: skip

    assert prepared(tmp_path, files).mains == ("mit-modulen/xlager.xsd",)


def test_a_release_of_modules_only_is_no_standard(tmp_path):
    found = prepared(tmp_path, {"xoev-code.xsd": CODE})

    assert (found.standard, found.profile, len(found.modules)) == ("", None, 1)


@pytest.mark.parametrize(
    ("files", "text"),
    [
        ({"a.xsd": "<xs:schema", "b.xml": "<b/>"}, "a.xsd:1: is not well-formed XML"),
        ({"a.xml": "<a/>"}, "holds no schema, no code list, no Schematron and no WSDL"),
        ({"a.txt": "text"}, "holds no schema, no code list, no Schematron and no WSDL"),
        (release(main=main().replace("xs:int", "l:gibtEsNicht")), "does not resolve"),
    ],
)
def test_what_is_no_release_is_refused(files, text, tmp_path):
    assert text in refused(tmp_path, files)


# --- closure ------------------------------------------------------------------------------------------------------


def test_what_libxml2_would_skip_silently_is_refused_with_address_and_asker(tmp_path):
    """Nothing refers to the missing module: libxml2 compiles without a word."""
    said = refused(tmp_path, release(code=None))

    assert said.startswith("Schema/xlager nachrichten.xsd:4: asks for http://xoev.de/schemata/code/1_0/xoev-code.xsd")
    assert f"(namespace {CODE_NS})" in said
    assert not (tmp_path / "hub").exists()


def test_a_missing_module_is_named_once_with_all_that_ask_for_it(tmp_path):
    more = f"""<xs:schema {XSD_NS} targetNamespace="{XLAGER}">
      <xs:import namespace="{CODE_NS}" schemaLocation="{CODE_URL}"/><xs:element name="b"/></xs:schema>"""

    said = refused(tmp_path, release(code=None) | {"Schema/b.xsd": more})

    assert said.count(CODE_URL) == 1
    assert "Schema/b.xsd:2" in said
    assert "Schema/xlager nachrichten.xsd:4" in said


def test_what_may_be_missing_is_allowed_by_its_address_only(tmp_path):
    found = prepared(tmp_path, release(code=None), without=(CODE_URL,))

    assert found.profile is not None
    assert found.profile.without == {CODE_URL}
    assert "asks for" in refused(tmp_path, release(code=None), without=("http://xoev.de/",))


def test_a_location_that_leads_out_of_the_release_is_refused(tmp_path):
    said = refused(tmp_path, release(main=main(import_="../../../../etc/xoev-code.xsd")))

    assert "lies outside this folder" in said


def test_a_module_may_be_called_otherwise_when_it_is_the_only_one_of_its_namespace(tmp_path):
    found = prepared(tmp_path, release(code=None) | {"remote/85c1760756": CODE})

    assert CODE_URL in found.catalog


def test_an_oasis_catalogue_in_the_release_is_followed(tmp_path):
    catalog = f"""<catalog xmlns="urn:oasis:names:tc:entity:xmlns:xml:catalog">
      <uri name="{CODE_URL}" uri="richtig/code.xsd"/></catalog>"""
    files = release(code=None) | {"catalog.xml": catalog, "richtig/code.xsd": CODE, "falsch/xoev-code.xsd": OTHER_CODE}

    found = prepared(tmp_path, files)

    used = found.catalog[CODE_URL].rpartition("/")[2]
    assert found.modules[used] == CODE.encode()


def test_two_contents_for_one_address_are_no_choice_of_ours(tmp_path):
    said = refused(tmp_path, release(code=None) | {"a/xoev-code.xsd": CODE, "b/xoev-code.xsd": OTHER_CODE})

    assert "of which there are two different contents: a/xoev-code.xsd and b/xoev-code.xsd" in said


def test_two_contents_of_one_namespace_in_one_closure_are_refused(tmp_path):
    """libxml2: "Skipping import ... since this namespace was already imported"; it takes the first silently."""
    more = f"""<xs:schema {XSD_NS} targetNamespace="{XLAGER}">
      <xs:import namespace="{CODE_NS}" schemaLocation="anders/code.xsd"/><xs:element name="b"/></xs:schema>"""
    files = release() | {"Schema/b.xsd": more, "Schema/anders/code.xsd": OTHER_CODE}

    said = refused(tmp_path, files)

    assert f"defines Code of {CODE_NS} otherwise than Module/xoev-code.xsd" in said


def test_copies_that_say_the_same_in_other_words_are_no_clash(tmp_path):
    same = CODE.replace("xs:", "xsd:").replace("xmlns:xs=", "xmlns:xsd=").replace("><", ">\n<!-- Kommentar --><")
    more = f"""<xs:schema {XSD_NS} targetNamespace="{XLAGER}">
      <xs:import namespace="{CODE_NS}" schemaLocation="anders/code.xsd"/><xs:element name="b"/></xs:schema>"""

    found = prepared(tmp_path, release() | {"Schema/b.xsd": more, "Schema/anders/code.xsd": same})

    assert meaning(same.encode()) == meaning(CODE.encode()) != meaning(OTHER_CODE.encode())
    assert len(found.catalog) == 2


def test_a_module_without_a_namespace_may_be_included_twice():
    part = f'<xs:schema {XSD_NS}><xs:element name="a"/></xs:schema>'.encode()

    assert list(clashes({"one": ("a.xsd", part), "two": ("b.xsd", part.replace(b'"a"', b'"a" type="xs:int"'))})) == []


def test_schema_location_hints_of_instances_and_wsdls_are_never_followed(tmp_path):
    hint = 'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:schemaLocation="urn:a http://127.0.0.1:9/a.xsd"'
    files = release(main=main().replace("<xs:schema ", f"<xs:schema {hint} "), wsdl=f"<d {hint}/>")

    assert prepared(tmp_path, files).standard == "xlager"


def test_locations_with_blanks_and_umlauts_are_found_written_plainly_or_escaped(tmp_path):
    part = f"""<xs:schema {XSD_NS} targetNamespace="{XLAGER}"><xs:element name="teil" type="xs:int"/></xs:schema>"""
    for number, location in enumerate(("teil ä ß.xsd", "teil%20%C3%A4%20%C3%9F.xsd", " teil ä ß.xsd\n")):
        including = main().replace("<xs:import", f'<xs:include schemaLocation="{location}"/><xs:import', 1)

        found = prepared(tmp_path / str(number), release(main=including) | {"Schema/teil ä ß.xsd": part})

        assert "Schema/teil ä ß.xsd" in found.files


def test_a_long_chain_of_includes_is_followed_to_its_end(tmp_path):
    chain = {
        f"Schema/{i}.xsd": f"""<xs:schema {XSD_NS} targetNamespace="{XLAGER}">
          <xs:include schemaLocation="{i + 1}.xsd"/></xs:schema>"""
        for i in range(1500)
    }
    including = main().replace("<xs:import", '<xs:include schemaLocation="0.xsd"/><xs:import', 1)

    assert "asks for 1500.xsd" in refused(tmp_path, release(main=including) | chain)


@pytest.mark.parametrize(
    "doctype",
    [
        "<!DOCTYPE a [<!ENTITY a '" + "x" * 1000 + "'>" + "".join(
            f"<!ENTITY {chr(98 + i)} '{f'&{chr(97 + i)};' * 10}'>" for i in range(9)
        ) + "]>",
        "<!DOCTYPE a [<!ENTITY j SYSTEM 'file:///etc/passwd'>]>",
        "<!DOCTYPE a SYSTEM 'http://127.0.0.1:9/a.dtd'>",
    ],
)  # fmt: skip
def test_entities_in_a_schema_reach_and_expand_nothing(doctype, tmp_path):
    evil = doctype + main().replace('name="menge"', 'name="&j;"' if "ENTITY" in doctype else 'name="menge"')

    try:
        found = prepared(tmp_path, release(main=evil))
    except ConfigError as error:
        assert "root:" not in str(error)
        assert len(str(error)) < 5000
    else:
        assert "ENTITY" not in doctype
        assert found.standard == "xlager"


def test_a_folder_of_several_releases_is_refused_by_name(tmp_path):
    files = {}
    for name in ("XEins", "XZwei", "XDrei"):
        own = main(about=f"<standard><nameKurz>{name}</nameKurz></standard><versionStandard><version>1</version>"
                   "</versionStandard>", import_="")  # fmt: skip
        files[f"{name}/a.xsd"] = own.replace("urn:test:xlager", f"urn:test:{name}")

    assert "holds several releases: XDrei 1, XEins 1, XZwei 1" in refused(tmp_path, files)


@pytest.mark.parametrize("wishes", [{}, {"standard": "xlager", "version": "1.0"}], ids=["unnamed", "named"])
def test_two_standards_or_versions_that_share_nothing_but_modules_are_not_made_one(wishes, tmp_path):
    files = {f"{version}/{name}": body for version in ("1.0", "2.0") for name, body in release(version).items()}

    text = refused(tmp_path, files, **wishes)

    assert "holds several releases, of urn:test:xlager:1.0, urn:test:xlager:2.0; import one at a time" in text


def test_a_part_of_a_standard_with_a_namespace_of_its_own_and_an_example_are_no_other_release(tmp_path):
    other = main("2.0", import_="")
    asks = f'<xs:import namespace="{NS.format(version="2.0")}" schemaLocation="teil.xsd"/><xs:element name="best'
    files = {"a.xsd": main().replace('<xs:element name="best', asks), "teil.xsd": other, "c.xsd": CODE}

    assert prepared(tmp_path, {**files, "beispiel.xsd": PLAIN}, standard="xlager", version="1.0").standard == "xlager"


def test_a_catalogue_above_an_unpacked_release_is_followed(tmp_path):
    catalog = '<catalog xmlns="urn:oasis:names:tc:entity:xmlns:xml:catalog">{}</catalog>'
    place = folder(tmp_path / "corpus", {
        "catalog.xml": catalog.format(f'<uri name="{CODE_URL}" uri="module/xsd/code.xsd"/>'),
        "module/xsd/code.xsd": CODE.replace("<xs:complex", '<xs:include schemaLocation="teil.xsd"/><xs:complex', 1),
        "module/xsd/teil.xsd": f'<xs:schema {XSD_NS} targetNamespace="{CODE_NS}"/>',
    })  # fmt: skip
    source = folder(place / "xlager-1.0/xsd", release(code=None))

    found = prepare([source], Library(tmp_path / "hub"), Wishes())

    assert set(found.catalog) == {CODE_URL, "http://xoev.de/schemata/code/1_0/teil.xsd"}
    assert found.notes == ("2 shared modules come from the catalogue beside the release",)


# --- names --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "files", "expected"),
    [
        ("irgendwas.zip", release("2.1"), ("xlager", "2.1")),
        ("irgendwas.zip", release("2.1", main=main("2.1", about="<x/>")), ("xlager", "2.1")),  # the fixed attributes
        ("XDings_3.0.zip", {"a.xsd": PLAIN}, ("xdings", "3.0")),
        ("xdings-v2.4.1 XSD.zip", {"a.xsd": PLAIN},
         ("xdings", "2.4.1")),
    ],
)  # fmt: skip
def test_standard_and_version_are_found(name, files, expected, tmp_path):
    found = prepare([zipped(tmp_path / name, files)], Library(tmp_path / "hub"), Wishes())

    assert (found.standard, found.version) == expected


def test_what_was_asked_for_goes_before_what_was_found(tmp_path):
    found = prepared(tmp_path, release(), standard="lager", version="1")

    assert (found.standard, found.version) == ("lager", "1")
    assert found.profile is not None
    assert found.profile.roots[0].versions == {"1", "1.0"}
    assert "the messages themselves state version 1.0, not 1" in found.notes[0]


def test_a_release_that_says_nothing_of_itself_asks_for_a_name(tmp_path):
    files = {"a.xsd": PLAIN}

    assert "expected --standard" in refused(tmp_path, files | {"b.txt": ""}, version="1")
    assert "expected --version" in refused(tmp_path, files, standard="x")
    assert "expected letters" in refused(tmp_path, files, standard="../x", version="1")


def test_the_parts_of_a_release_come_from_several_sources(tmp_path):
    modules = folder(tmp_path / "module", {"xoev-code.xsd": CODE})
    own = zipped(tmp_path / "xlager.zip", release(code=None))

    assert prepare([own, modules], Library(tmp_path / "hub"), Wishes()).standard == "xlager"

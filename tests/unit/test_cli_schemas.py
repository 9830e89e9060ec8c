"""``schemas import``, ``remove``, and what ``list``, ``show`` and ``check`` say of what was imported."""

from __future__ import annotations

import pytest

from hub.daemon.control import ControlDoor
from hub.xml.index import INDEX
from tests.releases import CODE, CODE_URL, NS, main, message, release, zip_bytes

ROUTE = """
  lager:
    match: {type: xlager/*}
    checks: [xsd]
    deliver_to: ["{municipality}/antrag"]
"""


@pytest.fixture
def packed(office):
    def pack(files, name="xlager.zip"):
        path = office.folder / name
        path.write_bytes(zip_bytes(files))
        return str(path)

    return pack


def test_after_one_command_messages_of_the_standard_are_explained_and_checked(office, packed):
    before = office("explain", "-", stdin=message().encode())
    assert before.code == 65

    done = office("schemas", "import", packed(release()))
    good, bad = (office("explain", "-", "--json", stdin=message(menge=text).encode()) for text in ("3", "drei"))

    assert done.code == 0, done.err
    assert done.out.startswith(
        "imported xlager/1.0: full, 1 roots, 1 shared modules, 1 code lists, 1 Schematron, 1 WSDL"
    )
    assert "xoev-hub reload" in done.err
    assert good.json["type"] == "xlager/1.0/bestand.0101"
    assert good.json["header"]["reader"] == "ags:09999001"
    assert bad.json["rejected"] == "schema_violation"
    assert office("check").code == 0


@pytest.mark.parametrize("command", [("schemas", "check"), ("schemas", "check", "xlager/1.0")], ids=" ".join)
def test_what_schemas_declare_is_kept_by_an_import_and_by_a_check(office, packed, command):
    office("schemas", "import", packed(release()))
    imported = (office.folder / INDEX).read_bytes()
    (office.folder / INDEX).unlink()

    office("schemas", "list")
    assert not (office.folder / INDEX).exists()
    office(*command)

    assert (office.folder / INDEX).read_bytes() == imported


def test_an_import_says_for_programs_what_it_found(office, packed):
    done = office("schemas", "import", packed(release()), "--json")

    said = done.json
    assert (said["standard"], said["version"], said["level"], said["forms"]) == ("xlager", "1.0", "full", ["A"])
    assert said["roots"] == [f"{{{NS.format(version='1.0')}}}bestand.0101"]
    assert said["xsd"] == ["Schema/xlager nachrichten.xsd"]
    assert list(said["catalog"]) == [CODE_URL]
    assert said["codelists"] == [{"uri": "urn:test:codeliste:lagerart", "version": "3"}]
    assert (said["schematron"], said["wsdl"]) == (["schematron/a/regeln.sch"], ["wsdl/dienst.wsdl"])
    assert said["ms"] > 0
    assert said["dry_run"] is False
    listed = {one["standard"]: one for one in office("schemas", "list", "--json").json["items"]}
    assert listed["xlager"]["digest"] == said["digest"]


def test_a_dry_run_writes_nothing(office, packed):
    path = packed(release())
    before = sorted(office.folder.rglob("*"))

    done = office("schemas", "import", path, "--dry-run", "--json")

    assert done.code == 0
    assert (done.json["dry_run"], done.json["standard"]) == (True, "xlager")
    assert sorted(office.folder.rglob("*")) == before


def test_a_document_that_names_nobody_is_told_that(office, packed):
    office("schemas", "import", packed(release()))

    done = office("explain", "-", "--json", stdin=message().replace("ags:09999001", "").encode())

    assert done.json["rejected"] == "unknown_recipient"
    assert [one["text"] for one in done.json["findings"]] == ["the document names nobody as its reader"]


def test_a_missing_module_is_a_refusal_that_names_it_and_who_asks(office, packed):
    done = office("schemas", "import", packed(release(code=None)))

    assert done.code == 78
    assert f"Schema/xlager nachrichten.xsd:4: asks for {CODE_URL}" in done.err
    assert done.err.splitlines()[-1].startswith("next: name the release that brings it as well")
    assert not (office.folder / "schemas/xoev/xlager").exists()
    (said,) = office("schemas", "import", packed(release(code=None)), "--json").json["problems"]
    assert (said["file"], said["line"]) == ("Schema/xlager nachrichten.xsd", 4)
    assert office("schemas", "import", packed(release(code=None)), "--without", CODE_URL).code == 0


def test_a_catalogue_that_is_named_says_where_a_module_lies(office, packed):
    (office.folder / "module").mkdir()
    (office.folder / "module/code.xsd").write_text(CODE)
    (office.folder / "catalog.xml").write_text(
        '<catalog xmlns="urn:oasis:names:tc:entity:xmlns:xml:catalog">'
        f'<system systemId="{CODE_URL}" uri="module/code.xsd"/></catalog>'
    )

    done = office("schemas", "import", packed(release(code=None)), "--catalog", str(office.folder / "catalog.xml"))

    assert done.code == 0, done.err
    assert "1 shared modules come from the catalogue" in done.err


def test_a_second_import_needs_to_be_asked_for(office, packed):
    assert office("schemas", "import", packed(release())).code == 0

    again = office("schemas", "import", packed(release()))
    replaced = office("schemas", "import", packed(release()), "--replace")

    assert again.code == 78
    assert "--replace" in again.err
    assert replaced.code == 0


def test_two_versions_side_by_side_are_each_checked_by_their_own_schema(office, packed):
    office("schemas", "import", packed(release()))
    office("schemas", "import", packed(release("2.0", main=main("2.0").replace("xs:int", "xs:string"))))

    codes = [office("explain", "-", "--json", stdin=message(one, "drei").encode()).json for one in ("1.0", "2.0")]

    assert [one["rejected"] == "schema_violation" for one in codes] == [True, False]


def test_a_version_is_listed_with_window_code_lists_and_the_routes_that_use_it(office, packed):
    office("schemas", "import", packed(release()))
    profile = office.folder / "schemas/xoev/xlager/1.0/profile.yaml"
    profile.write_text(profile.read_text() + "valid_from: 2026-05-01\nvalid_to: 2027-05-01\ngrace_until: 2027-06-01\n")
    office.change("\nroutes:\n", f"\nroutes:\n{ROUTE}")

    listed = {one["standard"]: one for one in office("schemas", "list", "--json").json["items"]}
    shown = office("schemas", "show", "xlager/1.0", "--json").json
    told = office("schemas", "show", "xlager/1.0").out

    one = listed["xlager"]
    assert (one["level"], one["roots"], one["imported"], one["routes"]) == ("full", 1, True, ["lager"])
    assert [one[key][:10] for key in ("valid_from", "valid_to", "grace_until")] == [
        "2026-05-01", "2027-05-01", "2027-06-01",
    ]  # fmt: skip
    assert [(codes["uri"], codes["version"]) for codes in one["codelists"]] == [("urn:test:codeliste:lagerart", "3")]
    assert (shown["names"], shown["wsdl"]) == (["bestand.0101"], ["wsdl/dienst.wsdl"])
    assert "urn:test:codeliste:lagerart 3" in told
    assert listed["antrag"]["routes"] == ["antraege"]


def test_check_says_what_a_schema_takes_and_names_what_changed_since_the_import(office, packed):
    office("schemas", "import", packed(release()))
    good = office("schemas", "check", "xlager/1.0", "--json")
    path = office.folder / "schemas/xoev/xlager/1.0/Schema/xlager nachrichten.xsd"
    path.write_text(path.read_text().replace('fixed="XLager"', ""))

    changed = office("schemas", "check", "xlager/1.0", "--json")

    (one,) = good.json["items"]
    assert (good.code, one["error"]) == (0, None)
    assert one["ms"] > 0
    assert one["mb"] >= 0
    assert changed.code == 78
    assert "Schema/xlager nachrichten.xsd: has changed since the import" in changed.err


def test_check_names_a_code_list_that_is_not_there(office, packed):
    office("schemas", "import", packed(release()))
    profile = office.folder / "schemas/xoev/xlager/1.0/profile.yaml"
    profile.write_text(profile.read_text().replace("Lagerart ü_3.xml", "Fehlt.xml"))

    done = office("schemas", "check", "xlager/1.0")

    assert done.code == 78
    assert "codelists/Fehlt.xml is not there" in done.err


NO_RULES = '<sch:schema xmlns:sch="http://purl.oclc.org/dsdl/schematron"'


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        (
            {"list": release()["Codelisten/Lagerart ü_3.xml"].replace("ColumnRef", "Column")},
            "codelists/Lagerart ü_3.xml: names no key column",
        ),
        ({"common": f"{NO_RULES} queryBinding='xquery'/>", "sch": None}, "schematron/gemeinsam.sch:1: found schema"),
        ({"sch": f"{NO_RULES}><sch:let name='a' value='(('/></sch:schema>"}, "schematron/a/regeln.sch: "),
    ],
    ids=["list", "binding", "rule"],
)
def test_check_names_lists_and_rules_that_cannot_be_used_before_any_route_has_them(office, packed, broken, told):
    pytest.importorskip("saxonche")
    assert office("schemas", "import", packed(release(**broken))).code == 0

    done = office("schemas", "check", "xlager/1.0")

    assert done.code == 78
    assert told in done.err
    assert office("check").code == 0


def test_a_version_that_a_route_uses_is_not_removed(office, packed):
    office("schemas", "import", packed(release()))
    before = office.config.read_text()
    office.change("\nroutes:\n", f"\nroutes:\n{ROUTE}")

    kept = office("schemas", "remove", "xlager/1.0")
    office.config.write_text(before)
    gone = office("schemas", "remove", "xlager/1.0", "--json")

    assert kept.code == 1
    assert "is used by lager" in kept.err
    assert (gone.code, gone.json["removed"]) == (0, True)
    assert office("schemas", "show", "xlager/1.0").code == 1


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("xmeld/25.11a", "ships with the program"),
        ("antrag/1.0", "is your own"),
        ("xlager/9", "there is no xlager/9"),
    ],
)
def test_only_what_was_imported_can_be_removed(office, name, text):
    done = office("schemas", "remove", name)

    assert done.code == 1
    assert text in done.err


def test_nothing_is_removed_while_the_routes_cannot_be_read(office, packed):
    office("schemas", "import", packed(release()))
    office.change("version: 1", "version: 2")

    done = office("schemas", "remove", "xlager/1.0")

    assert done.code == 1
    assert "xoev-hub check" in done.err
    assert office("schemas", "show", "xlager/1.0").code == 0


def test_a_release_is_named_by_its_author_and_never_by_what_prints_it(office, packed):
    evil = main().replace("XLager", "X\u202eLager\x1b[2J").replace("\x1b", "&#8206;")

    done = office("schemas", "import", packed(release(main=evil)))

    assert done.out.isprintable() or done.out.rstrip("\n").isprintable()
    assert "\u202e" not in done.out + done.err


def test_doctor_names_the_files_that_changed_since_the_running_hub_read_them(office, packed):
    office.accepted()
    in_service = office.listed()[0]["snapshot"]
    path = office.folder / "schemas/xoev/antrag/1.0/antrag.xsd"
    with ControlDoor(office.folder / "var", lambda _asked: {"ok": True, "snapshot": in_service}):
        same = office("doctor", "--json")
        path.write_text(path.read_text() + "<!-- geändert -->")
        office("schemas", "import", packed(release()))
        changed = office("doctor", "--json")
    stopped = office("doctor", "--json")

    assert (same.code, same.json["items"]) == (0, [])
    (complaint,) = changed.json["items"]
    assert changed.code == 1
    assert complaint["what"] == "changed files"
    assert "schemas/xoev/antrag/1.0/antrag.xsd" in complaint["text"]
    assert "schemas/xoev/xlager/1.0/profile.yaml" in complaint["text"]
    assert complaint["next"].startswith("xoev-hub reload")
    assert stopped.code == 0

"""The standards on disk: a version comes and goes wholly, modules are there once, and changes are seen."""

from __future__ import annotations

import fcntl
import hashlib
import subprocess
from pathlib import Path

import pytest

from hub import library as library_module
from hub.errors import ConfigError, HubError
from hub.files import Files
from hub.importing import Wishes, prepare
from hub.library import Library
from hub.xml import guard
from hub.xml.registry import Registry
from tests.releases import CODE, CODE_URL, LIST, NS, OTHER_CODE, XSD_NS, main, message, release, zipped
from tests.standards import NOW


def imported(base: Path, files: dict[str, str], name: str = "release.zip", **wishes) -> Path:
    base.mkdir(exist_ok=True)
    library = Library(base / "hub")
    found = prepare([zipped(base / name, files)], library, Wishes(**wishes))
    return library.install(found.standard, found.version, found.files, found.modules)


def everything(base: Path) -> dict[str, bytes]:
    files = (path for path in (base / "hub").rglob("*") if path.is_file() and path.name != ".lock")
    return {path.relative_to(base).as_posix(): path.read_bytes() for path in files}


def valid(base: Path, document: str) -> bool:
    registry, problems = Registry.load(Files(base / "hub"))
    assert problems == []
    root = guard.parse(document.encode())
    return not registry.schema(registry.identify(root, NOW)).validate(root)


def test_messages_of_an_imported_standard_are_checked_by_its_schema(tmp_path):
    imported(tmp_path, release())

    assert valid(tmp_path, message())
    assert not valid(tmp_path, message(menge="drei"))


def test_a_module_is_stored_once_and_found_by_another_standard(tmp_path):
    imported(tmp_path, release())
    other = main("9", about="<standard><nameKurz>XAnderes</nameKurz></standard>").replace("urn:test:xlager", "urn:and")

    imported(tmp_path, {"schema/anderes.xsd": other}, "XAnderes-9.zip")

    assert len(list((tmp_path / "hub/schemas/modules").glob("*.xsd"))) == 1
    assert len([one for one in everything(tmp_path).values() if one == CODE.encode()]) == 1


def test_modules_that_came_alone_are_found_by_what_comes_later(tmp_path):
    with pytest.raises(ConfigError, match="asks for"):
        imported(tmp_path, release(code=None))

    imported(tmp_path, {"xoev-code.xsd": CODE}, "xoev-code.zip")
    imported(tmp_path, release(code=None))

    assert valid(tmp_path, message())


def test_a_standard_may_import_what_another_standard_publishes(tmp_path):
    imported(tmp_path, release())
    kern = f"""<xs:schema {XSD_NS} targetNamespace="urn:test:fach" version="1">
      <xs:import namespace="{NS.format(version="1.0")}" schemaLocation="http://test.example/xlager nachrichten.xsd"/>
      <xs:element name="fach"/></xs:schema>"""

    imported(tmp_path, {"fach.xsd": kern}, "fach-1.zip")

    assert valid(tmp_path, '<fach xmlns="urn:test:fach"/>')


def test_two_contents_among_the_modules_are_no_choice_of_ours(tmp_path):
    imported(tmp_path, release())
    imported(tmp_path, release("2.0", main=main("2.0", import_="../Module/xoev-code.xsd"), code=OTHER_CODE))

    with pytest.raises(ConfigError, match="two different contents"):
        imported(tmp_path, release("3.0", code=None))

    imported(tmp_path, release("3.0"))
    assert valid(tmp_path, message("3.0"))


def test_a_version_that_is_here_is_replaced_only_when_asked_for(tmp_path):
    imported(tmp_path, release())
    before = everything(tmp_path)
    wider = release(main=main().replace('"menge" type="xs:int"', '"menge" type="xs:string"'))

    with pytest.raises(ConfigError, match="--replace"):
        imported(tmp_path, wider)
    assert everything(tmp_path) == before

    imported(tmp_path, wider, replace=True)
    assert valid(tmp_path, message(menge="drei"))


def test_what_an_operator_wrote_into_a_profile_survives_the_next_import(tmp_path):
    profile = imported(tmp_path, release()) / "profile.yaml"
    profile.write_text(profile.read_text() + "valid_from: 2026-05-01\nkeys: {menge: {xpath: /*/r:menge}}\n")

    imported(tmp_path, release(), replace=True)

    registry, _ = Registry.load(Files(tmp_path / "hub"))
    kept = registry.profiles["xlager", "1.0"]
    assert kept.valid_from is not None
    assert set(kept.keys) == {"menge"}


def test_a_new_version_follows_the_profile_of_the_one_before(tmp_path):
    profile = imported(tmp_path, release()) / "profile.yaml"
    profile.write_text(profile.read_text() + "valid_to: 2026-05-01\nkeys: {menge: {xpath: /*/r:menge}}\n")

    imported(tmp_path, release("2.0"))

    registry, _ = Registry.load(Files(tmp_path / "hub"))
    assert set(registry.profiles["xlager", "2.0"].keys) == {"menge"}
    assert registry.profiles["xlager", "2.0"].valid_to is None
    assert valid(tmp_path, message("2.0"))


def test_an_import_that_fails_leaves_nothing_behind(tmp_path, monkeypatch):
    imported(tmp_path, release())
    before = everything(tmp_path)
    written = library_module._write

    def full(path: Path, body: bytes) -> None:
        if path.name == "MANIFEST.sha256":
            raise OSError(28, "no space left on device", str(path))
        written(path, body)

    monkeypatch.setattr(library_module, "_write", full)
    with pytest.raises(OSError, match="no space"):
        imported(tmp_path, release("2.0"))
    with pytest.raises(OSError, match="no space"):
        imported(tmp_path, release(), replace=True)

    assert everything(tmp_path) == before


def test_what_a_killed_import_left_is_put_back_by_the_next_one(tmp_path):
    folder = imported(tmp_path, release())
    schemas = tmp_path / "hub/schemas"
    folder.rename(schemas / ".replaced-xlager@1.0")  # killed between the two renames
    (schemas / ".import-abc/version").mkdir(parents=True)

    imported(tmp_path, release("2.0"))

    assert valid(tmp_path, message("1.0"))
    assert not list(schemas.glob(".[ir]*"))


def test_what_a_killed_import_had_replaced_already_is_cleared_away(tmp_path):
    imported(tmp_path, release())
    left = tmp_path / "hub/schemas/.replaced-xlager@1.0"
    left.mkdir()
    (left / "profile.yaml").write_text("alt")

    imported(tmp_path, release("2.0"))

    assert not left.exists()
    assert valid(tmp_path, message("1.0"))


def test_two_imports_at_once_are_refused(tmp_path):
    imported(tmp_path, release())

    with (tmp_path / "hub/schemas/.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(HubError, match="another import"):
            imported(tmp_path, release("2.0"))


def test_the_manifest_is_one_that_sha256sum_reads(tmp_path):
    folder = imported(tmp_path, release())

    done = subprocess.run(["sha256sum", "--check", "--strict", "MANIFEST.sha256"], cwd=folder, capture_output=True)

    assert done.returncode == 0, done.stderr
    assert "Lagerart ü_3.xml: OK" in done.stdout.decode()
    assert hashlib.sha256(CODE.encode()).hexdigest() in (folder / "MANIFEST.sha256").read_text()


def test_a_file_that_changed_is_missing_or_came_in_is_named(tmp_path):
    folder = imported(tmp_path, release())
    library = Library(tmp_path / "hub")
    assert library.verify("xlager", "1.0") == []

    (folder / "Schema/xlager nachrichten.xsd").write_text("<anders/>")
    (folder / "wsdl/dienst.wsdl").unlink()
    (folder / "neu.xsd").write_text("<neu/>")
    (module,) = (tmp_path / "hub/schemas/modules").glob("*.xsd")
    module.write_text(OTHER_CODE)
    (folder / "profile.yaml").write_text((folder / "profile.yaml").read_text() + "valid_from: 2026-01-01\n")

    assert sorted((problem.file, problem.text) for problem in library.verify("xlager", "1.0")) == [
        (f"schemas/modules/{module.name}", "has changed since the import"),
        ("schemas/xoev/xlager/1.0/Schema/xlager nachrichten.xsd", "has changed since the import"),
        ("schemas/xoev/xlager/1.0/neu.xsd", "was not part of the import"),
        ("schemas/xoev/xlager/1.0/wsdl/dienst.wsdl", "is missing since the import"),
    ]


def header_level(base: Path) -> Path:
    folder = base / "hub/schemas/xoev/xlager/1.0"
    folder.mkdir(parents=True)
    (folder / "kopf.xsd").write_text(
        f'<xs:schema {XSD_NS} targetNamespace="{NS.format(version="1.0")}"><xs:element name="bestand.0101"/></xs:schema>'
    )
    (folder / "profile.yaml").write_text(
        f'standard: xlager\nversion: "1.0"\nlevel: header\nxsd: kopf.xsd\nroots: {{namespace: "{NS.format(version="1.0")}",'
        ' names: "*"}\nversion_from: "@version"\nheader: {form: A}\nbusiness_keys: [menge]\nkeys: {menge: {xpath: /*/r:menge}}\n'
    )
    return folder


def test_a_release_takes_over_a_header_level_profile_and_gives_it_back(tmp_path):
    folder = header_level(tmp_path)
    before = everything(tmp_path)
    assert valid(tmp_path, message(menge="drei"))

    imported(tmp_path, release())

    registry, _ = Registry.load(Files(tmp_path / "hub"))
    profile = registry.profiles["xlager", "1.0"]
    assert (profile.level, set(profile.business_keys)) == ("full", {"menge"})
    assert not valid(tmp_path, message(menge="drei"))
    assert Library(tmp_path / "hub").verify("xlager", "1.0") == []

    Library(tmp_path / "hub").remove("xlager", "1.0")

    after = everything(tmp_path)
    assert {name: body for name, body in after.items() if "/modules/" not in name} == before
    assert folder.is_dir()


RULES = '<schema xmlns="http://purl.oclc.org/dsdl/schematron" queryBinding="xslt2"/>'


@pytest.mark.parametrize("brings", [False, True], ids=["brings none", "brings its own"])
def test_rules_and_lists_of_a_header_level_profile_move_with_its_files(tmp_path, brings):
    folder = header_level(tmp_path)
    (folder / "regeln").mkdir()
    (folder / "regeln/kopf.sch").write_text(RULES)
    (folder / "arten.xml").write_text(LIST)
    profile = folder / "profile.yaml"
    profile.write_text(profile.read_text() + "schematron: [regeln/kopf.sch]\ncodelists: [arten.xml]\n")
    before = everything(tmp_path)

    imported(tmp_path, release() if brings else release(sch=None, common=None, list=None))

    registry, problems = Registry.load(Files(tmp_path / "hub"))
    found = registry.profiles["xlager", "1.0"]
    assert problems == []
    assert found.schematron == (
        ("header/regeln/kopf.sch", "schematron/a/regeln.sch") if brings else ("header/regeln/kopf.sch",)
    )
    assert found.codelists == (("codelists/Lagerart ü_3.xml", "header/arten.xml") if brings else ("header/arten.xml",))
    assert all((folder / name).is_file() for name in (*found.schematron, *found.codelists))
    imported(tmp_path, release(), replace=True)
    assert "header/regeln/kopf.sch" in Registry.load(Files(tmp_path / "hub"))[0].profiles["xlager", "1.0"].schematron
    Library(tmp_path / "hub").remove("xlager", "1.0")
    assert {name: body for name, body in everything(tmp_path).items() if "/modules/" not in name} == before


def test_what_a_replacing_release_does_not_bring_is_named_no_longer_and_that_is_told(tmp_path):
    imported(tmp_path, release())
    without = zipped(tmp_path / "neu.zip", release(sch=None, common=None, list=None))

    found = prepare([without], Library(tmp_path / "hub"), Wishes(replace=True))

    (note,) = (one for one in found.notes if "no longer" in one)
    assert "schematron/a/regeln.sch" in note
    assert "codelists/Lagerart ü_3.xml" in note
    assert (found.profile.schematron, found.profile.codelists) == ((), ())


def test_a_version_that_is_removed_is_gone_and_its_modules_stay_for_others(tmp_path):
    folder = imported(tmp_path, release())

    Library(tmp_path / "hub").remove("xlager", "1.0")

    assert not folder.parent.exists()
    assert len(list((tmp_path / "hub/schemas/modules").iterdir())) == 1


def test_a_standard_comes_in_parts_and_is_full_when_all_are_there(tmp_path):
    folder = header_level(tmp_path)
    two = (folder / "profile.yaml").read_text().replace(
        "roots: {", 'roots: [{namespace: "urn:test:zwei", names: [zwei], xsd: zwei.xsd}, {'
    ).replace('names: "*"}', 'names: "*"}]')  # fmt: skip
    (folder / "profile.yaml").write_text(two)
    (folder / "zwei.xsd").write_text(
        f'<xs:schema {XSD_NS} targetNamespace="urn:test:zwei"><xs:element name="zwei"/></xs:schema>'
    )
    second = f'<xs:schema {XSD_NS} targetNamespace="urn:test:zwei"><xs:element name="zwei" type="xs:int"/></xs:schema>'

    imported(tmp_path, release(list=None, sch=None, common=None))
    between, _ = Registry.load(Files(tmp_path / "hub"))
    imported(tmp_path, {"zwei/zwei.xsd": second}, standard="xlager", version="1.0")
    imported(tmp_path, {"regeln/a.sch": '<schema xmlns="http://purl.oclc.org/dsdl/schematron"/>'},
             standard="xlager", version="1.0")  # fmt: skip

    after, problems = Registry.load(Files(tmp_path / "hub"))
    assert problems == []
    assert between.profiles["xlager", "1.0"].level == "header"
    assert after.profiles["xlager", "1.0"].level == "full"
    assert after.profiles["xlager", "1.0"].schematron == ("schematron/a.sch",)
    assert not valid(tmp_path, message(menge="drei"))
    assert CODE_URL in (folder / "catalog.json").read_text()
    assert Library(tmp_path / "hub").verify("xlager", "1.0") == []


PARTS = {"list": "Lagerart ü_3.xml", "sch": "regeln.sch", "wsdl": "dienst.wsdl"}


@pytest.mark.parametrize("kind", PARTS)
def test_a_part_that_comes_again_is_there_once(kind, tmp_path):
    whole = release(sch='<sch:schema xmlns:sch="http://purl.oclc.org/dsdl/schematron"/>', common=None)
    here = imported(tmp_path, whole)
    before = {path: path.read_bytes() for path in here.rglob("*") if path.is_file()}
    text = next(body for name, body in whole.items() if name.endswith(PARTS[kind]))
    again = {f"anderswo/{PARTS[kind]}": text}
    changed = {name: f"{body}<!-- neu -->" for name, body in again.items()}
    named = {"standard": "xlager", "version": "1.0"}

    imported(tmp_path, again, "same.zip", **named)
    assert {path: path.read_bytes() for path in here.rglob("*") if path.is_file()} == before

    with pytest.raises(ConfigError, match=f"{PARTS[kind]}: is here already and says something else; --replace puts"):
        imported(tmp_path, changed, "other.zip", **named)
    imported(tmp_path, changed, "other.zip", **named, replace=True)
    (found,) = here.rglob(PARTS[kind])
    assert found.read_text("utf-8") == changed[f"anderswo/{PARTS[kind]}"]


def test_a_release_of_another_namespace_does_not_take_a_profile_over(tmp_path):
    header_level(tmp_path)

    with pytest.raises(ConfigError, match="its profile speaks of"):
        imported(tmp_path, release("2.0"), standard="xlager", version="1.0")

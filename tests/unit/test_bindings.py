"""Bindings are written once, byte for byte alike, from the snapshot's files only. PyXB runs in processes of its own."""

from __future__ import annotations

import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hub.errors import ConfigError
from hub.files import Files
from hub.xml import bindings
from hub.xml.registry import Registry

SHARED = """<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" targetNamespace="urn:shared:1">
  <xs:complexType name="Code"><xs:sequence><xs:element name="code"><xs:simpleType><xs:restriction base="xs:token">
    <xs:pattern value="[0-9]{2}"/></xs:restriction></xs:simpleType></xs:element></xs:sequence></xs:complexType>
</xs:schema>"""
MAIN = """<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns:s="urn:shared:1" targetNamespace="urn:{name}:1"
    elementFormDefault="qualified">
  <xs:import namespace="urn:shared:1" schemaLocation="{location}"/>
  <xs:element name="akte"><xs:complexType><xs:sequence>
    <xs:element name="art" type="s:Code"/><xs:element name="name" type="xs:string"/>
  </xs:sequence></xs:complexType></xs:element>
</xs:schema>"""
PROFILE = """standard: {name}
version: "1"
title: Beispiel
roots: {{namespace: "urn:{name}:1", names: [akte]}}
xsd: main.xsd
level: full
header: {{form: none}}
identity: digest
bindings: {module}
"""
CATALOGUED = "http://schemas.invalid/shared.xsd"


def standard(base: Path, name: str, module: str = "", location: str = "lib/shared.xsd") -> None:
    folder = base / "schemas/xoev" / name / "1"
    (folder / "lib").mkdir(parents=True)
    (folder / "profile.yaml").write_text(PROFILE.format(name=name, module=module or f"{name}_1"))
    (folder / "main.xsd").write_text(MAIN.format(name=name, location=location))
    (folder / "lib/shared.xsd").write_text(SHARED)
    (folder / "catalog.json").write_text(f'{{"{CATALOGUED}": "lib/shared.xsd"}}')


def prepared(base: Path, state: Path) -> Path:
    files = Files(base)
    registry, problems = Registry.load(files)
    assert problems == []
    wanted = [one for one in registry.profiles.values() if one.folder.startswith("schemas/")]
    folder = bindings.prepare(files, wanted, state)
    assert folder
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def run(folder: Path, code: str) -> str:
    start = f"from pathlib import Path; from hub.xml import bindings; bindings.activate(Path({str(folder)!r}))\n"
    done = subprocess.run([sys.executable, "-c", start + code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_two_standards_with_copies_of_one_module_are_bound_together(tmp_path: Path) -> None:
    standard(tmp_path, "erste")
    standard(tmp_path, "zweite", location=CATALOGUED)

    folder = prepared(tmp_path, tmp_path / "var")

    code = """
import xoev_bindings.erste_1 as one, xoev_bindings.zweite_1 as two, pyxb
for module in (one, two):
    print(module.akte(art=pyxb.BIND(code="07"), name="Erika").toxml("utf-8").decode())
"""
    written = run(folder, code)
    assert "urn:erste:1" in written
    assert "urn:zweite:1" in written
    assert sorted(name for name in contents(folder) if name.endswith(".py")) == [
        "xoev_bindings/__init__.py",
        "xoev_bindings/erste_1.py",
        "xoev_bindings/shared_shared_1_08f6ac.py",
        "xoev_bindings/zweite_1.py",
    ]


def test_the_same_schemas_give_the_same_bytes_wherever_they_lie(tmp_path: Path) -> None:
    for place in ("here", "there"):
        standard(tmp_path / place, "erste")
        standard(tmp_path / place, "zweite")

    here = prepared(tmp_path / "here", tmp_path / "var1")
    there = prepared(tmp_path / "there", tmp_path / "var2")

    assert here.name == there.name
    assert contents(here) == contents(there)
    assert not any(str(tmp_path).encode() in body for body in contents(here).values())


def test_what_is_there_is_not_written_again(tmp_path: Path) -> None:
    standard(tmp_path, "erste")
    first = prepared(tmp_path, tmp_path / "var")
    before = {path: path.stat().st_mtime_ns for path in first.rglob("*")}

    assert prepared(tmp_path, tmp_path / "var") == first
    assert {path: path.stat().st_mtime_ns for path in first.rglob("*")} == before


def test_a_changed_module_gives_other_bindings(tmp_path: Path) -> None:
    standard(tmp_path, "erste")
    first = prepared(tmp_path, tmp_path / "var")
    path = tmp_path / "schemas/xoev/erste/1/lib/shared.xsd"
    path.write_text(SHARED.replace("{2}", "{3}"))

    assert prepared(tmp_path, tmp_path / "var") != first


def test_several_processes_may_do_it_at_once(tmp_path: Path) -> None:
    standard(tmp_path, "erste")

    with ThreadPoolExecutor(3) as threads:
        folders = set(threads.map(lambda _: prepared(tmp_path, tmp_path / "var"), range(3)))

    assert len(folders) == 1
    assert [path.name for path in (tmp_path / "var/bindings").iterdir()] == [folders.pop().name]


def test_a_frozen_snapshot_is_bound_without_its_disk(tmp_path: Path) -> None:
    standard(tmp_path, "erste")
    files = Files(tmp_path)
    registry, _ = Registry.load(files)
    frozen = Files.frozen(tmp_path / "gone", files.contents)

    profile = registry.profiles["erste", "1"]
    folder = bindings.prepare(frozen, [profile], tmp_path / "var")

    assert folder == bindings.prepare(files, [profile], tmp_path / "var")


def test_nothing_is_bound_if_no_profile_wants_it(tmp_path: Path) -> None:
    assert bindings.prepare(Files(tmp_path), [], tmp_path / "var") is None
    assert not (tmp_path / "var").exists()


def test_bytecode_is_written_even_where_python_may_write_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    standard(tmp_path, "erste")

    folder = prepared(tmp_path, tmp_path / "var")

    code = "import xoev_bindings.erste_1 as m; print(m.__cached__, Path(m.__cached__).is_file())"
    assert run(folder, code).endswith(".pyc True\n")


def test_two_profiles_cannot_share_a_name(tmp_path: Path) -> None:
    standard(tmp_path, "erste", "akte")
    standard(tmp_path, "zweite", "akte")

    with pytest.raises(ConfigError, match=r"zweite/1/profile.yaml: bindings: the name akte belongs to .*erste/1"):
        prepared(tmp_path, tmp_path / "var")


def test_a_schema_that_pyxb_cannot_bind_is_a_problem_of_the_configuration(tmp_path: Path) -> None:
    standard(tmp_path, "erste")
    main = tmp_path / "schemas/xoev/erste/1/main.xsd"
    main.write_text(main.read_text().replace('type="s:Code"', 'type="s:Missing"'))

    with pytest.raises(ConfigError, match=r"PyXB cannot bind the schemas: .*Missing"):
        prepared(tmp_path, tmp_path / "var")

    assert list((tmp_path / "var/bindings").iterdir()) == []


def test_an_element_may_have_another_form_than_its_schema(tmp_path: Path) -> None:
    standard(tmp_path, "akte")
    main = tmp_path / "schemas/xoev/akte/1/main.xsd"
    main.write_text(main.read_text().replace('name="name" type', 'name="name" form="unqualified" type'))

    folder = prepared(tmp_path, tmp_path / "var")

    code = "import xoev_bindings.akte_1 as akte, pyxb; print(akte.akte(art=pyxb.BIND('01'), name='Ä').toxml())"
    assert "<name>Ä</name>" in run(folder, code)


def test_the_words_of_an_error_are_the_schemas_and_never_the_documents(tmp_path: Path) -> None:
    standard(tmp_path, "erste")
    folder = prepared(tmp_path, tmp_path / "var")

    code = """
import logging; logging.basicConfig(level=0)
import pyxb, xoev_bindings.erste_1 as m
for make in (lambda: m.akte(art=pyxb.BIND(code="Erika")), lambda: m.akte(name="Erika").toxml(),
             lambda: m.akte(Erika=1), lambda: m.akte(art=pyxb.BIND(code="07"), name="Erika", x="Erika")):
    try:
        make()
    except pyxb.PyXBException as error:
        print(type(error).__name__, bindings.vocabulary(error))
"""
    said = run(folder, code)
    assert len(said.splitlines()) == 4
    assert "Erika" not in said
    assert "main.xsd:4" in said


def test_a_process_has_the_bindings_of_one_snapshot_only(tmp_path: Path) -> None:
    standard(tmp_path / "one", "erste")
    standard(tmp_path / "two", "zweite")
    one, two = prepared(tmp_path / "one", tmp_path / "var"), prepared(tmp_path / "two", tmp_path / "var")

    code = f"""
from hub.errors import ConfigError
bindings.activate(Path({str(two)!r}))
import xoev_bindings.zweite_1
bindings.activate(Path({str(two)!r}))
try:
    bindings.activate(Path({str(one)!r}))
except ConfigError as error:
    print(error)
"""
    assert "another snapshot" in run(one, code)


HOLD = """
import sys
from pathlib import Path
from tests.unit.test_bindings import prepared
print(prepared(Path(sys.argv[1]), Path(sys.argv[2])).name, flush=True)
sys.stdin.read()
"""


def test_bindings_that_no_process_uses_any_more_are_removed(tmp_path: Path) -> None:
    standard(tmp_path, "akte")
    state = tmp_path / "var"
    command = [sys.executable, "-c", HOLD, str(tmp_path), str(state)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        used = other.stdout.readline().strip()
        (tmp_path / "schemas/xoev/akte/1/lib/shared.xsd").write_text(SHARED.replace("{2}", "{3}"))
        own = prepared(tmp_path, state)
        for left_over in (".old-1", "0123456789abcdef0123456789abcdef"):
            (state / "bindings" / left_over / "xoev_bindings").mkdir(parents=True)
        (state / "bindings" / f"{bindings.NEW}1").mkdir()  # somebody is at it
        bindings.prune(state)
        during = {path.name for path in (state / "bindings").iterdir()}
        other.communicate("")

    bindings.prune(state)

    assert during == {used, own.name, f"{bindings.NEW}1"}
    assert {path.name for path in (state / "bindings").iterdir()} == {own.name, f"{bindings.NEW}1"}


def test_bindings_that_were_removed_are_made_anew(tmp_path: Path) -> None:
    standard(tmp_path, "akte")
    folder = prepared(tmp_path, tmp_path / "var")
    before = contents(folder)
    shutil.rmtree(folder)

    again = prepared(tmp_path, tmp_path / "var")

    assert again == folder
    assert contents(again) == before

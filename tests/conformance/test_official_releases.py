"""Official releases: each is imported by one command, compiles offline, and its messages get their expected verdict.

The corpus lies beside the checkout and is no part of it: its licences differ, see there.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from random import Random

import pytest
from lxml import etree

from hub.files import Files
from hub.xml import guard
from hub.xml.header import read
from hub.xml.registry import Registry
from tests.command import Done, command
from tests.rewriting import rewrite

CORPUS = Path(os.environ.get("XOEV_HUB_CORPUS") or Path(__file__).resolve().parents[3] / "shared" / "xoev")
NOW = datetime(2026, 6, 1, tzinfo=UTC)

pytestmark = pytest.mark.skipif(not CORPUS.is_dir(), reason=f"no corpus: {CORPUS} is not there (XOEV_HUB_CORPUS)")

RELEASES = {  # folder of the corpus -> version and level; in an order in which what is imported comes first
    "xbau-2.6": ("xbau/2.6", "full"),
    "xbau-kernmodul-1.3.0": ("xbau-kernmodul/1.3.0", "full"),
    "xbeteiligung-1.2": ("xbeteiligung/1.2", "full"),
    "xdomea-2.3.0": ("xdomea/2.3.0", "full"),
    "xdomea-2.4.0": ("xdomea/2.4.0", "full"),
    "xdomea-3.0.0": ("xdomea/3.0.0", "full"),
    "xdomea-3.1.0": ("xdomea/3.1.0", "full"),
    "xinneres-25.11": ("xinneres-rueckweisung/6", "full"),
    "xjustiz-3.6.2": ("xjustiz/3.6.2", "full"),
    "xmeld-25.11a": ("xmeld/25.11a", "full"),
    "xplanung-5.3": ("xplanung/5.3", "full"),
    "xplanung-5.4": ("xplanung/5.4", "full"),
    "xta-2.1.1": ("xta/2.1.1", "full"),
    "xwasser-1.0.0": ("xwasser/1.0.0", "full"),
    "ubl-2.1": ("xrechnung/3.0", "header"),  # one of the two syntaxes
    "cii-d16b": ("xrechnung/3.0", "full"),  # and the other
    "xrechnung-3.0": ("xrechnung/3.0", "full"),  # and the Schematron for both
}
FORMS = {  # XOEV.md §3, found in the schemas alone
    "xbau-2.6": {"A"}, "xbau-kernmodul-1.3.0": {"A"}, "xbeteiligung-1.2": {"B"}, "xdomea-2.3.0": {"D"},
    "xdomea-2.4.0": {"D"}, "xdomea-3.0.0": {"D"}, "xdomea-3.1.0": {"D"}, "xinneres-25.11": {"A"},
    "xjustiz-3.6.2": {"E"}, "xmeld-25.11a": {"A"}, "xplanung-5.3": {"H"}, "xplanung-5.4": {"H"}, "xwasser-1.0.0": {"A"},
}  # fmt: skip
XINNERES = "http://www.osci.de/xinneres"
WRITTEN = int(os.environ.get("XOEV_HUB_REWRITINGS", "5"))  # in how many ways each message is written
INCOMPLETE = {  # every module that lies nowhere in the corpus -> one who asks for it
    "xbau-2.3": {
        "xinneres-postanschrift.xsd": "xsd/xinneres-behoerde.xsd:36",
        "xlinks.xsd": "xsd/gmlProfilexplan.xsd:9",
    },
    "xmeld-2.4.3": {
        f"{XINNERES}/basisnachricht/4/xinneres-basisnachricht.xsd": "xsd/xmeld-nachrichten-basistypen.xsd:50",
        f"{XINNERES}/behoerde/4/xinneres-behoerde.xsd": "xsd/xmeld-nachrichten-basistypen.xsd:52",
        f"{XINNERES}/codes/gemeindeverzeichnis/2/xinneres-codes-gemeindeverzeichnis.xsd": "xsd/xmeld-baukasten.xsd:56",
        f"{XINNERES}/kommunikation/3/xinneres-kommunikation.xsd": "xsd/xmeld-baukasten.xsd:60",
        f"{XINNERES}/meldeanschrift/3/xinneres-meldeanschrift.xsd": "xsd/xmeld-baukasten.xsd:64",
        f"{XINNERES}/postanschrift/3/xinneres-postanschrift.xsd": "xsd/xmeld-nachrichten-kirche.xsd:54",
    },
    "stubs": {
        f"{XINNERES}/kommunikation/3/xinneres-kommunikation.xsd": "rueckweisung/3/xinneres-rueckweisung.xsd:6",
        f"{XINNERES}/postanschrift/3/xinneres-postanschrift.xsd": "rueckweisung/3/xinneres-rueckweisung.xsd:5",
    },
}
SERVED = {
    # The verdict of the corpus is that of another schema: one main schema without the message, or a changed copy.
    "xjustiz-3.6.2/instances/sample_klaver_3500001.xml": True,
}
NO_ROOT = ("/test-payload-1332.xml", "/MessageMetaData.")  # an invented root; metadata beside a payload (form K)


@cache
def hub(base: Path) -> dict[str, Done]:
    """Import all releases into one deployment, each by one command, and return how the commands ended."""
    return {name: command("schemas", "import", str(CORPUS / name), "--json", cwd=base) for name in RELEASES}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hub")


@pytest.fixture(scope="module")
def registry(base: Path) -> Registry:
    hub(base)
    found, problems = Registry.load(Files(base))
    assert problems == []
    return found


@pytest.mark.parametrize("name", RELEASES)
def test_an_official_release_is_imported_by_one_command(name: str, base: Path) -> None:
    done = hub(base)[name]

    assert done.code == 0, done.err
    assert (f"{done.json['standard']}/{done.json['version']}", done.json["level"]) == RELEASES[name]
    assert done.json["roots"]
    if name in FORMS:
        assert FORMS[name] <= set(done.json["forms"])


def test_all_of_them_compile_offline_and_are_as_they_were_imported(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub(base)

    def nowhere(*_: object) -> None:
        raise AssertionError("somebody looks for a host")

    monkeypatch.setattr(socket, "getaddrinfo", nowhere)
    done = command("schemas", "check", "--json", cwd=base)

    assert done.code == 0, done.err
    found = {f"{one['standard']}/{one['version']}": one["error"] for one in done.json["items"]}
    assert found.keys() >= {version for version, _ in RELEASES.values()}
    assert set(found.values()) == {None}


@pytest.mark.parametrize("name", INCOMPLETE)
def test_a_release_of_which_modules_are_missing_is_refused_naming_each_and_who_asks(name: str, tmp_path: Path) -> None:
    done = command("schemas", "import", str(CORPUS / name), cwd=tmp_path)

    assert done.code == 78
    told = {found[1]: line for line in done.err.splitlines() if (found := re.search("asks for ([^ ]+)", line))}
    assert told.keys() == INCOMPLETE[name].keys()
    assert [module for module, asking in INCOMPLETE[name].items() if asking not in told[module]] == []
    assert not (tmp_path / "schemas").exists()


def test_what_xmeld_2_4_3_lacks_lies_nowhere_in_the_corpus() -> None:
    schemas = [path.read_bytes() for path in CORPUS.rglob("*.xsd")]

    for module in INCOMPLETE["xmeld-2.4.3"]:
        namespace = module.rpartition("/")[0]
        assert not any(f'targetNamespace="{namespace}"'.encode() in body for body in schemas), module


@pytest.mark.parametrize("name", ["xmeld-25.11a", "xbau-2.6", "xjustiz-3.6.2", "xwasser-1.0.0", "xdomea-3.0.0"])
def test_a_release_as_a_zip_gives_the_same_as_the_folder(name: str, tmp_path: Path) -> None:
    packed = shutil.make_archive(str(tmp_path / name), "zip", CORPUS, name)
    catalog = ("--catalog", str(CORPUS / "catalog.xml"))

    folder = command("schemas", "import", str(CORPUS / name), *catalog, "--dry-run", "--json", cwd=tmp_path)
    archive = command("schemas", "import", packed, *catalog, "--json", cwd=tmp_path)

    assert archive.code == 0, archive.err
    assert archive.json["digest"] == folder.json["digest"]


def test_a_module_that_several_standards_share_is_stored_once(base: Path) -> None:
    hub(base)
    schemas = base / "schemas"
    codes = list((schemas / "modules").glob("xoev-code-*.xsd"))
    users = [path for path in schemas.glob("xoev/*/*/catalog.json") if f"/{codes[0].name}" in path.read_text("utf-8")]

    assert not list(schemas.glob("xoev/*/*/**/xoev-code*.xsd"))
    assert len({path.read_bytes() for path in codes}) == len(codes)
    assert len(users) >= 4


def test_names_with_blanks_and_umlauts_are_kept(base: Path) -> None:
    hub(base)

    assert (base / "schemas/xoev/xjustiz/3.6.2/xsd/xjustiz_3500_klaver _1_0.xsd").is_file()
    assert (base / "schemas/xoev/xwasser/1.0.0/codelists/Länderkennzeichen_1.xml").is_file()


@cache
def verdicts() -> dict[str, bool]:
    """Return what each message is by the schema of its own release; by others it may be something else."""
    if not CORPUS.is_dir():
        return {}
    found = json.loads((CORPUS / "expected_validity.json").read_text("utf-8"))
    known = {name: said for name, said in found.items() if not any(part in name for part in NO_ROOT)}
    return {name: SERVED.get(name, all(said.values())) for name, said in known.items()}


@pytest.mark.parametrize("name", verdicts())
def test_a_message_gets_the_verdict_of_the_official_schema(name: str, registry: Registry) -> None:
    root = guard.parse((CORPUS / name).read_bytes())
    profile = registry.identify(root, NOW)

    assert profile.level == "full"
    assert (registry.schema(profile).validate(root) == ()) == verdicts()[name]


@cache
def headers() -> dict[str, dict[str, str]]:
    """Return the facts of each message whose standard is imported."""
    if not CORPUS.is_dir():
        return {}
    found = json.loads((CORPUS / "headers.json").read_text("utf-8"))
    known = {name: facts for name, facts in found.items() if name.partition("/")[0] in RELEASES}
    return {name: facts for name, facts in known.items() if not any(part in name for part in (*NO_ROOT, "/intrp/"))}


@pytest.mark.parametrize("name", headers())
def test_the_header_of_a_message_is_read_by_the_profile_that_came_with_its_release(
    name: str, registry: Registry
) -> None:
    root = guard.parse((CORPUS / name).read_bytes())

    header = read(root, registry.identify(root, NOW)).header

    facts = headers()[name]
    prefix = {"ubl": "leitweg:", "cii": "leitweg:", "xplan": "ags:"}.get(facts["kind"], "")
    assert header.type.name == facts["root"]
    assert header.test == ("test" in facts)
    for key, value in [
        ("uuid", header.message_id),
        ("typ", header.type_code),
        ("zeit", header.created_at),
        ("leser", header.reader.removeprefix(prefix) if header.reader else None),
        ("autor", header.author),
        ("referenz", header.references.get("referenzUUID")),
        ("dienst", header.references.get("dvdvDienstkennung")),
    ]:
        assert key not in facts or value == facts[key], key


@cache
def short() -> list[str]:
    """Return the shortest messages of each release, valid ones and others."""
    found: dict[tuple[str, bool], list[str]] = {}
    for name in sorted(verdicts(), key=lambda one: (CORPUS / one).stat().st_size):
        found.setdefault((name.partition("/")[0], verdicts()[name]), []).append(name)
    return [name for names in found.values() for name in names[:3]]


@pytest.mark.parametrize("name", short())
def test_a_message_gets_its_verdict_and_header_however_it_is_written(name: str, registry: Registry) -> None:
    document = etree.tostring(etree.parse(CORPUS / name), encoding="unicode")
    root = guard.parse((CORPUS / name).read_bytes())
    expected = read(root, registry.identify(root, NOW)).header

    for seed in range(WRITTEN):
        body = rewrite(document, Random(f"{name} {seed}"), ordered=True)
        again = guard.parse(body)
        profile = registry.identify(again, NOW)
        assert read(again, profile).header == expected, body
        assert (registry.schema(profile).validate(again) == ()) == verdicts()[name], body

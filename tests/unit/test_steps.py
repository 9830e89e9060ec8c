"""What routes.yaml may say of a step, and what a step may do."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import pytest

from hub.deployment import Mark, StepSpec
from hub.errors import ConfigError, Rejected
from hub.files import Files
from hub.message import DeliveryId, Header, Message, MessageId, MessageType, Outgoing
from hub.plugin import Step
from hub.steps import compile_step
from hub.xml.registry import Registry

DOCUMENT = '<a xmlns="urn:a"><name>Jürgen Müßig</name></a>'.encode()
ROUTES = "routes:\n  r:\n    steps: [{python: x}]\n"
SHIPPED = "antrag/1.0"


def outgoing(body: bytes = DOCUMENT) -> Outgoing:
    message = Message(
        id=MessageId("0192d3a4-0000-7000-8000-000000000001"),
        header=Header(MessageType("antrag", "1.0", "antrag.0101"), keys={"az": "A/1", "sender": "forged"}),
        source="online",
        sender="portal",
        owner="wolfsburg",
        recipient="wolfsburg",
        received_at=datetime(2026, 11, 21, 12, 0, 30, 500, tzinfo=UTC),
        sha256="0" * 64,
        snapshot="s",
        body=DOCUMENT,
    )
    return Outgoing(DeliveryId("0192d3a4-0000-7000-8000-000000000002"), "wolfsburg/gewerbe", message, body)


@pytest.fixture(autouse=True)
def _forget_modules() -> Iterator[None]:
    finders, path = list(sys.meta_path), list(sys.path)
    yield
    sys.meta_path[:], sys.path[:] = finders, path
    for name in [name for name in sys.modules if name.partition(".")[0] in ("mappings", "single", "installed")]:
        del sys.modules[name]


class World:
    """A folder with a routes.yaml, whose line 3 names the step."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.write("routes.yaml", ROUTES)
        self.files = Files(base)

    def write(self, name: str, text: str) -> None:
        path = self.base / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def step(self, kind: Literal["xslt", "python", "validate"], value: str, files: Files | None = None) -> Step:
        files = files or self.files
        registry, _ = Registry.load(Files(self.base))
        return compile_step(StepSpec(kind, value, Mark("routes.yaml", 3, 13)), files, registry)

    def refused(self, kind: Literal["xslt", "python", "validate"], value: str) -> str:
        with pytest.raises(ConfigError) as caught:
            self.step(kind, value)
        return str(caught.value)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def rejected(step: Step, document: Outgoing) -> Rejected:
    with pytest.raises(Rejected) as caught:
        step(document)
    return caught.value


MODULE = """
from dataclasses import replace
from hub.plugin import Rejected, Finding, parse_xml
VALUE = 1
def to_b(outgoing):
    root = parse_xml(outgoing.body)
    return replace(outgoing, body=b"<b>%d</b>" % len(root), attempt=99, delivery_id="other", message=None)
def refuse(outgoing):
    raise Rejected("target_invalid", [Finding("rule", text="why")])
def crash(outgoing):
    try:
        int(outgoing.body)
    except ValueError as error:
        raise KeyError(outgoing.body.decode()) from error
def nothing(outgoing):
    return None
def empty(outgoing):
    return replace(outgoing, body=b"")
"""


# --- xslt --------------------------------------------------------------------------------------------------------

PARAMETERS = """<xsl:stylesheet version="1.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform">
<xsl:param name="message_id"/><xsl:param name="delivery_id"/><xsl:param name="type"/><xsl:param name="received_at"/>
<xsl:param name="municipality"/><xsl:param name="sender"/><xsl:param name="az"/><xsl:param name="destination"/>
<xsl:template match="/"><o><xsl:value-of select="concat($message_id, ' ', $delivery_id, ' ', $type, ' ', $received_at)"/>
<xsl:value-of select="concat(' ', $municipality, ' ', $sender, ' ', $az, ' ', $destination)"/></o></xsl:template>
</xsl:stylesheet>"""


def test_a_stylesheet_knows_the_message_by_parameters_and_keys_cannot_forge_them(world: World) -> None:
    world.write("t.xsl", PARAMETERS)

    result = world.step("xslt", "t.xsl")(replace(outgoing(), content_type="text/xml"))

    assert result.body.decode().splitlines()[1] == (
        "<o>0192d3a4-0000-7000-8000-000000000001 0192d3a4-0000-7000-8000-000000000002 antrag/1.0/antrag.0101 "
        "2026-11-21T12:00:30Z wolfsburg portal A/1 wolfsburg/gewerbe</o>"
    )
    assert result == replace(outgoing(), body=result.body, content_type="application/xml")


def copying_sheet(world: World, name: str, head: str = "") -> Step:
    start = '<xsl:stylesheet version="1.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform">'
    template = '<xsl:template match="/"><xsl:copy-of select="."/></xsl:template>'
    world.write(f"{name}.xsl", f"{start}{head}{template}</xsl:stylesheet>")
    return world.step("xslt", f"{name}.xsl", Files(world.base))


def test_a_stylesheet_that_strips_blanks_changes_nothing_for_the_next_one(world: World) -> None:
    """Steps share the tree of what they read; libxslt strips the blanks of its input in place."""
    stripping = copying_sheet(world, "stripping", '<xsl:strip-space elements="*"/>')
    copying = copying_sheet(world, "copying")
    document = outgoing(b"<a> <b> </b> </a>")
    alone = copying(document).body

    assert stripping(document).body != alone
    assert copying(document).body == alone


def test_what_a_document_is_does_not_depend_on_the_one_before(world: World) -> None:
    copy = copying_sheet(world, "copying")
    bodies = [f"<a>{number}</a>".encode() for number in range(50)]

    for body in bodies:
        assert body in copy(outgoing(body)).body


def test_a_problem_of_a_stylesheet_stands_where_routes_yaml_names_it(world: World) -> None:
    world.write("transforms/t.xsl", PARAMETERS.replace('match="/"', 'match="///"'))

    assert world.refused("xslt", "transforms/t.xsl") == (
        "routes.yaml:3:13: xslt: transforms/t.xsl:4: xsltCompilePattern : failed to compile '///'\n"
        "        steps: [{python: x}]\n"
        "                ^"
    )


def test_a_missing_stylesheet_is_a_problem_of_the_configuration(world: World) -> None:
    assert "xslt: transforms/none.xsl: cannot be read: no such file" in world.refused("xslt", "transforms/none.xsl")


def test_what_the_step_before_spoilt_fails_here_without_a_quote(world: World) -> None:
    world.write("t.xsl", PARAMETERS)

    refusal = rejected(world.step("xslt", "t.xsl"), outgoing(b"<name>J\xc3\xbcrgen"))

    assert refusal.code == "transform_failed"
    assert refusal.findings[0].text == "the step before gave no XML (not_well_formed)"


# --- python ------------------------------------------------------------------------------------------------------


def test_a_function_of_the_deployment_shapes_the_body_and_nothing_else(world: World) -> None:
    world.write("mappings/m.py", MODULE)

    result = world.step("python", "mappings.m:to_b")(outgoing())

    assert result == replace(outgoing(), body=b"<b>1</b>")


def test_the_code_that_runs_is_the_code_that_was_hashed(world: World) -> None:
    world.write("mappings/common.py", "TEXT = b'<first/>'\n")
    world.write(
        "mappings/m.py",
        "from dataclasses import replace\nfrom mappings.common import TEXT\n"
        "from .common import TEXT as SAME\nassert TEXT is SAME\ndef f(o): return replace(o, body=TEXT)\n",
    )
    sys.path.insert(0, str(world.base))  # as a checkout or an editable installation does
    old = world.step("python", "mappings.m:f")
    frozen = Files.frozen(world.base, world.files.contents)

    world.write("mappings/common.py", "TEXT = b'<second/>'\n")

    assert world.step("python", "mappings.m:f", frozen)(outgoing()).body == b"<first/>"
    assert world.step("python", "mappings.m:f", Files(world.base))(outgoing()).body == b"<second/>"
    assert old(outgoing()).body == b"<first/>"
    assert {"mappings/m.py", "mappings/common.py"} <= set(world.files.contents)


def test_a_module_without_a_package_will_do(world: World) -> None:
    world.write("single.py", MODULE)

    assert world.step("python", "single:to_b")(outgoing()).body == b"<b>1</b>"


def test_a_package_may_have_an_init_file(world: World) -> None:
    world.write("mappings/__init__.py", "from mappings.m import to_b\n")
    world.write("mappings/m.py", MODULE)

    assert world.step("python", "mappings:to_b")(outgoing()).body == b"<b>1</b>"


def test_a_module_of_an_installed_package_is_imported_as_usual(world: World, tmp_path: Path) -> None:
    place = tmp_path / "site"
    (place / "installed").mkdir(parents=True)
    (place / "installed/m.py").write_text(MODULE)
    sys.path.insert(0, str(place))

    assert world.step("python", "installed.m:to_b")(outgoing()).body == b"<b>1</b>"
    assert not any("installed" in name for name in world.files.contents)


def test_a_folder_named_like_the_hub_or_the_standard_library_takes_nothing_over(world: World) -> None:
    world.write("hub/steps.py", "def compile_step(o): return o\n")
    world.write("json/decoder.py", "def JSONDecoder(o): return o\n")

    world.step("python", "hub.steps:compile_step")
    world.step("python", "json.decoder:JSONDecoder")

    assert sys.modules["hub.steps"].compile_step is compile_step
    assert not {"hub/steps.py", "json/decoder.py"} & set(world.files.contents)


def test_an_installed_step_is_found_by_its_name(world: World, tmp_path: Path) -> None:
    site = tmp_path / "site"
    (site / "installed-1.0.dist-info").mkdir(parents=True)
    (site / "installed-1.0.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: installed\nVersion: 1.0\n")
    entry = "[xoev_hub.steps]\nto-b = installed:to_b\nbroken = installed:gone\n"
    (site / "installed-1.0.dist-info/entry_points.txt").write_text(entry)
    (site / "installed.py").write_text(MODULE)
    sys.path.insert(0, str(site))
    importlib.invalidate_caches()

    assert world.step("python", "to-b")(outgoing()).body == b"<b>1</b>"
    assert "did you mean 'to-b'" in world.refused("python", "to-bb")
    assert "installed has no 'gone'" in world.refused("python", "broken")


def test_a_step_that_two_packages_offer_is_refused(world: World, tmp_path: Path) -> None:
    for name in ("one", "two"):
        info = tmp_path / "site" / f"{name}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text("[xoev_hub.steps]\nto-b = installed:to_b\n")
    (tmp_path / "site" / "installed.py").write_text(MODULE)
    sys.path.insert(0, str(tmp_path / "site"))
    importlib.invalidate_caches()

    assert "step 'to-b' is offered more than once: one 1.0, two 1.0" in world.refused("python", "to-b")


def test_a_package_that_ends_the_process_at_import_is_a_problem_of_its_step(world: World, tmp_path: Path) -> None:
    world.write("mappings/leaves.py", "raise SystemExit(3)\n")

    assert "mappings.leaves cannot be imported: SystemExit: 3" in world.refused("python", "mappings.leaves:f")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("mappings.m:to_a", "mappings.m has no 'to_a'; did you mean 'to_b'?"),
        ("mappings.n:to_b", "no module 'mappings.n'; did you mean 'mappings.m'?"),
        ("mapping.m:to_b", "no module 'mapping.m'; did you mean 'mappings.m'?"),
        ("mappings.m:VALUE", "expected a function, got VALUE = int"),
        ("mappings/m.py:to_b", "expected package.module:function"),
        ("../mappings.m:to_b", "expected package.module:function"),
        ("mappings.m:", "expected package.module:function"),
        ("nothing", "no installed package offers a step 'nothing'"),
        ("mappings.syntax:f", "mappings.syntax cannot be imported: "),
        ("mappings.missing:f", "ModuleNotFoundError: No module named 'no_such_library'"),
        ("mappings.ends:f", "RuntimeError: at import"),
    ],
)
def test_a_function_that_is_not_there_is_a_problem_of_the_configuration(
    world: World, value: str, expected: str
) -> None:
    world.write("mappings/m.py", MODULE)
    world.write("mappings/syntax.py", "def f(:\n")
    world.write("mappings/missing.py", "import no_such_library\n")
    world.write("mappings/ends.py", "raise RuntimeError('at import')\n")

    assert expected in world.refused("python", value)


def test_a_rejection_of_a_step_passes(world: World) -> None:
    world.write("mappings/m.py", MODULE)

    refusal = rejected(world.step("python", "mappings.m:refuse"), outgoing())

    assert (refusal.code, refusal.findings[0].text) == ("target_invalid", "why")


def test_a_crash_of_a_step_is_a_rejection_that_names_kind_and_line_and_quotes_nothing(world: World) -> None:
    world.write("mappings/m.py", MODULE)

    refusal = rejected(world.step("python", "mappings.m:crash"), outgoing())

    finding = refusal.findings[0]
    assert (refusal.code, finding.rule, finding.line) == ("transform_failed", "KeyError", 14)
    assert finding.text == "mappings.m:crash failed: m.py:14: KeyError"
    assert refusal.__context__ is None


@pytest.mark.parametrize("name", ["nothing", "empty"])
def test_a_step_that_gives_nothing_fails(world: World, name: str) -> None:
    world.write("mappings/m.py", MODULE)

    refusal = rejected(world.step("python", f"mappings.m:{name}"), outgoing())

    assert (refusal.code, refusal.findings[0].rule) == ("transform_failed", "step-result")


# --- validate ----------------------------------------------------------------------------------------------------

ANTRAG = b"""<a:antrag.0101 xmlns:a="urn:xoev-de:beispiel:standard:antrag_1.0"><a:nachrichtenkopf>
<a:nachrichtenUUID>7f3c1e52-0a4b-4f0e-9c55-3b1f6f0e0001</a:nachrichtenUUID><a:nachrichtentyp>0101</a:nachrichtentyp>
<a:erstellungszeitpunkt>2026-11-21T10:00:00Z</a:erstellungszeitpunkt><a:leser><a:ags>03103000</a:ags></a:leser>
</a:nachrichtenkopf><a:inhalt><a:name>Erika Beispiel</a:name></a:inhalt></a:antrag.0101>"""


def test_a_valid_target_passes_unchanged(world: World) -> None:
    assert world.step("validate", SHIPPED)(outgoing(ANTRAG)) == outgoing(ANTRAG)


@pytest.mark.parametrize(
    ("body", "rule"),
    [
        (ANTRAG.replace(b"03103000", b"none"), "SCHEMAV_CVC_PATTERN_VALID"),
        (ANTRAG.replace(b"antrag_1.0", b"antrag_2.0"), "target"),
        (DOCUMENT, "target"),
        (b"{}", "step-input"),
    ],
)
def test_an_invalid_target_is_rejected(world: World, body: bytes, rule: str) -> None:
    refusal = rejected(world.step("validate", SHIPPED), outgoing(body))

    assert (refusal.code, refusal.findings[0].rule) == ("target_invalid", rule)


def test_an_unknown_target_is_a_problem_of_the_configuration(world: World) -> None:
    assert "no standard 'antrag/1.1' in schemas/xoev; did you mean 'antrag/1.0'?" in world.refused(
        "validate", "antrag/1.1"
    )


def test_a_target_with_a_header_schema_only_cannot_be_validated(world: World) -> None:
    for name in ("profile.yaml", "antrag.xsd"):
        text = (Path(__file__).parents[2] / "schemas/xoev/antrag/1.0" / name).read_text()
        world.write(f"schemas/xoev/antrag/1.0/{name}", text.replace("level: full", "level: header"))

    assert "antrag/1.0 has only a header schema" in world.refused("validate", SHIPPED)

"""What stands in README and docs is true: generated pages are fresh, commands parse, links lead somewhere, words exist."""

from __future__ import annotations

import json
import re
import shlex
import sys
import textwrap
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import pytest

import hub.delivery
from adapters.http_problems import problem
from hub import view
from hub.cli import program
from hub.config import json_schema, process
from hub.delivery import Delivery, State
from hub.errors import Problem
from hub.job import Job
from hub.message import DeliveryId, Finding, MessageId
from hub.outcome import Phase, Reason
from hub.store.api import MessageRecord
from hub.xml import profile_file

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
sys.path.insert(0, str(DOCS))

import generate  # noqa: E402  # the script that writes the references

PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *DOCS.rglob("*.md")])
ADRS = sorted((DOCS / "adr").glob("[0-9]*.md"))
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def headings(page: Path) -> list[str]:
    plain = FENCE.sub("", page.read_text("utf-8"))
    return [re.sub(r"[`*]", "", line.lstrip("#").strip()) for line in plain.splitlines() if line.startswith("#")]


# --- generated pages ----------------------------------------------------------------------------------------------


def test_generated_pages_are_fresh() -> None:
    assert generate.stale() == [], "run docs/generate.py"


def test_every_command_has_its_heading() -> None:
    assert [path for path, _ in generate.commands() if path not in headings(DOCS / "cli-reference.md")] == []


def test_a_key_without_a_sentence_is_an_error() -> None:
    with pytest.raises(LookupError, match=r"texts\.toml"):
        list(generate.routes_reference(generate.Texts({}).of))


def test_every_key_has_its_heading() -> None:
    known = {re.split(r"[.\[\]]+", heading)[-1] for heading in headings(DOCS / "routes-reference.md")}

    assert set(keys_of_schema(json_schema())) - known == set()
    assert {*process._KEYS, *profile_file._TOP, *profile_file._ROOT, "like"} - known == set()


def keys_of_schema(schema: Any) -> Iterator[str]:
    """Yield every key that the JSON Schema for editors knows, which is made in another way than the page."""
    if isinstance(schema, dict):
        properties = schema.get("properties")
        yield from properties if isinstance(properties, dict) and schema.get("type") == "object" else ()
        for inner in schema.values():
            yield from keys_of_schema(inner)
    elif isinstance(schema, list):
        for inner in schema:
            yield from keys_of_schema(inner)


# --- the pages written by hand ------------------------------------------------------------------------------------


def test_decisions_fit_a_page_and_are_listed() -> None:
    index = (DOCS / "adr" / "README.md").read_text("utf-8")

    assert len(ADRS) >= 14
    assert [page.name for page in ADRS if len(page.read_text("utf-8").splitlines()) > 40] == []
    assert [page.name for page in ADRS if f"({page.name})" not in index] == []
    assert [int(page.name[:4]) for page in ADRS] == list(range(1, len(ADRS) + 1))


def test_the_drawing_of_a_deliverys_life_is_the_codes() -> None:
    drawn = next(body for _, body in FENCE.findall((DOCS / "lifecycle.md").read_text("utf-8")) if "planned ─▶" in body)
    lines = [line for line in (hub.delivery.__doc__ or "").splitlines() if re.search("[─▶│┌└]", line)]

    assert drawn.strip("\n") == textwrap.dedent("\n".join(lines))


def first_column(page: Path, heading: str) -> list[str]:
    section = page.read_text("utf-8").split(f"## {heading}\n")[1].split("\n## ")[0]
    return re.findall(r"^\| `([^`]+)`", section, re.MULTILINE)


def test_every_state_reason_and_phase_is_explained() -> None:
    page = DOCS / "lifecycle.md"

    assert first_column(page, "States") == list(State)
    assert first_column(page, "Reasons, and what to do") == list(Reason)
    assert first_column(page, "Phases") == list(Phase)


def test_events_of_the_log_exist() -> None:
    source = "\n".join(path.read_text("utf-8") for top in ("hub", "adapters") for path in (ROOT / top).rglob("*.py"))
    section = (DOCS / "operating.md").read_text("utf-8").split("Events in the log")[1].split("\n## ")[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    told = [event for row in rows for event in re.findall(r"`([a-z_]+)`", row)]

    assert len(told) > 10
    assert [event for event in told if f'"{event}"' not in source] == []


def test_environment_variables_exist() -> None:
    sources = [*(ROOT / "hub").rglob("*.py"), *(ROOT / "tests" / "proving").glob("*.py")]
    known = {name for path in sources for name in variables(path.read_text("utf-8"))}
    known |= {process.PREFIX + key.upper() for key in process._KEYS}

    assert {name for page in PAGES for name in variables(page.read_text("utf-8"))} - known == set()


def variables(text: str) -> Iterable[str]:
    return re.findall(r"\bXOEV_HUB_[A-Z_]*[A-Z]\b", text)


def test_nothing_of_this_machine_stands_in_the_pages() -> None:
    told = [
        f"{name_of(page)}: {found}"
        for page in PAGES
        for found in re.findall(r"/work/\S*|/root/\S*|/home/\S*|/tmp/\S*", page.read_text("utf-8"))
    ]

    assert told == []


def test_readme_names_the_two_commands() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    named = {
        target for page in PAGES for target in re.findall(r"`make ([a-z]+)`|^make ([a-z]+)", page.read_text("utf-8"))
    }

    assert "make demo" in text
    assert "make test" in text
    assert {one for pair in named for one in pair if one} <= set(targets)


# --- links --------------------------------------------------------------------------------------------------------


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page, as the usual renderers make them of its headings."""
    return {re.sub(r"\s", "-", re.sub(r"[^\w\s-]", "", heading.lower())) for heading in headings(page)}


def broken_links(page: Path) -> Iterator[str]:
    plain = FENCE.sub("", page.read_text("utf-8"))
    for target in re.findall(r"\]\(([^)\s]+)\)", plain):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        if not found.exists():
            yield f"{name_of(page)}: {target} is not there"
        elif anchor and anchor not in anchors(found):
            yield f"{name_of(page)}: {target} has no such heading"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    assert list(broken_links(page)) == []


def test_a_broken_link_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    page = tmp_path / "page.md"
    page.write_text("# Über uns\n[a](gone.md) [b](#ueber) [c](#über-uns)\n", "utf-8")

    assert list(broken_links(page)) == ["page.md: gone.md is not there", "page.md: #ueber has no such heading"]


# --- commands -----------------------------------------------------------------------------------------------------


def commands_in(page: Path) -> Iterator[tuple[str, bool]]:
    """Yield each call of the program, and whether it is whole: one in a block of shell, not a mention in a sentence."""
    text = page.read_text("utf-8")
    for kind, body in FENCE.findall(text):
        if kind in ("sh", "ini"):
            joined = re.sub(r"<<'EOF'\n.*?\nEOF", "", body, flags=re.DOTALL).replace("\\\n", " ")
            for line in joined.splitlines():
                yield from ((found, True) for found in calls_in(line))
    for mention in re.findall(r"`([^`\n]*xoev-hub[^`\n]*)`", FENCE.sub("", text)):
        yield from ((found, False) for found in calls_in(mention))


def calls_in(line: str) -> Iterator[str]:
    inner = re.findall(r"\$\(([^()]*)\)", line)
    for part in (re.sub(r"\$\([^()]*\)", "ID", line), *inner):
        for command in re.split(r"\s*(?:\|\||&&|[|;]| [<>] )\s*", part):
            called = re.match(r"(?:[A-Za-z=]*/?[\w./-]*\b|(?:\w+=\S+ )*)?(?:\S*/)?xoev-hub(?= |$)(.*)", command.strip())
            if called and "pip" not in command:
                yield called[1].strip()


def problem_of(call: str, *, whole: bool) -> str | None:
    """Return what click would say to a call of the program."""
    words = shlex.split(call, comments=True)
    command: click.Command = program
    path = "xoev-hub"
    while True:
        context = click.Context(command, info_name=path)
        if not whole and not words:
            return None
        try:
            given, rest, _ = command.make_parser(context).parse_args(list(words))
        except click.UsageError as error:
            # A sentence may stop after an option's name.
            return f"{path}: {error.format_message()}" if whole or isinstance(error, click.NoSuchOption) else None
        if not isinstance(command, click.Group):
            missing = [one.name for one in command.params if one.required and not is_said(given.get(one.name or ""))]
            if whole and (missing or rest):
                return f"{path}: missing {missing}, too much {rest}"
            return f"{path}: too much {rest}" if rest else None
        words = rest or list(given.get("args", ()))
        if not words:
            return f"{path}: which command?" if whole and not given.get("version") else None
        child = command.get_command(context, words[0])
        if child is None:
            return f"{path}: there is no command {words[0]}"
        path, command, words = f"{path} {words[0]}", child, words[1:]


def is_said(value: Any) -> bool:
    """Tell a value from click's mark for "nothing"."""
    return isinstance(value, str | int | tuple | list) and bool(value)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_parse(page: Path) -> None:
    told = [f"{call}: {wrong}" for call, whole in commands_in(page) if (wrong := problem_of(call, whole=whole))]

    assert told == []


def test_enough_commands_are_found() -> None:
    assert len(list(commands_in(DOCS / "operating.md"))) > 20
    assert len(list(commands_in(ROOT / "README.md"))) > 10


@pytest.mark.parametrize(
    "call", ["run --fast", "mesages list", "replay --state dead", "messages show", "pause a/b c --reason x", "messages"]
)
def test_a_wrong_command_is_found(call: str) -> None:
    assert problem_of(call, whole=True)


# --- JSON ---------------------------------------------------------------------------------------------------------


def keys(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key
            if key != "values":  # names of the configuration
                yield from keys(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from keys(inner)


def known_keys() -> set[str]:
    """Return every key that listings, answers and problems have, made by the code that makes them."""
    now = datetime(2026, 11, 22, tzinfo=UTC)
    delivery = Delivery(DeliveryId("d"), MessageId("m"), None, None, "a/b", now)
    record = MessageRecord(
        seq=1, id=MessageId("m"), verdict="accepted", code=None, source="s", sender="p", type="a/1/x", owner=None,
        recipient=None, test=False, received_at=now, sha256="", snapshot="", parent_id=None, deliveries=(delivery,),
        status="open",
    )  # fmt: skip
    made = (
        {"api": 1, "items": [], "next": None},
        view.message_json(record),
        view.event_json(hub.delivery.Event(hub.delivery.EventKind.CLAIMED, now)),
        view.job_json(Job("j", "replay", "a", "r", now), {}),
        view.finding_json(Finding("xsd"), with_text=True),
        json.loads(problem("conflict", "/v1", [Finding("x")], id_="1").body),
        dict.fromkeys(Problem.__dataclass_fields__),
        {"id": "", "status": "accepted", "duplicate": False, "state": "open"},
    )
    return {key for one in made for key in keys(one)}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_keys_of_json_exist(page: Path) -> None:
    shown = [json.loads(body) for kind, body in FENCE.findall(page.read_text("utf-8")) if kind == "json"]

    assert set(keys(shown)) - known_keys() == set()

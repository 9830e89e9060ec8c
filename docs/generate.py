"""Writes the generated references: routes-reference.md, cli-reference.md and closed-lists.md.

    models, click's commands, enums ──────┐
    docs/texts.toml (one sentence each) ──┴─▶ docs/*.md        --check: name those that are stale, and exit 1

Types and defaults are read from the code, so they cannot lie. Sentences stand in texts.toml; a key without a sentence
is an error, and so is a sentence without a key. Run it as ``.venv/bin/python docs/generate.py``.
"""

# ruff: noqa: INP001  # a script beside the pages that it writes

from __future__ import annotations

import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import click
from generate_keys import Say, routes_reference
from prometheus_client.metrics import MetricWrapperBase

from adapters.http_problems import STATUS_OF
from hub.cli import program
from hub.cli.examples import EXAMPLES
from hub.config import crosscheck
from hub.delivery import ClosedAs, EventKind, State
from hub.metrics import Metrics
from hub.outcome import Phase, Reason
from hub.store.api import PayloadRole

HERE = Path(__file__).parent
NOTE = "<!-- Written by docs/generate.py. Do not edit: change the code or docs/texts.toml, and run it again. -->"
EXIT_CODES = ("0", "1", "2", "65", "69", "75", "77", "78")
STATUSES = ("rejected", "attention", "open", "delivered", "closed")


@dataclass
class Texts:
    """The sentences; remembers which were used."""

    sections: Mapping[str, Mapping[str, str]]
    used: set[tuple[str, str]] = field(default_factory=set)

    def of(self, section: str, key: str) -> str:
        """Return the sentence for a key.

        Raises:
            LookupError: Nobody has written one.
        """
        text = self.sections.get(section, {}).get(key)
        if text is None:
            raise LookupError(f"docs/texts.toml: [{section}] {key} is missing")
        self.used.add((section, key))
        return text

    def unused(self) -> list[str]:
        """Return the sentences that nothing asked for."""
        return [f"[{s}] {key}" for s, keys in self.sections.items() for key in keys if (s, key) not in self.used]


# --- cli-reference.md ---------------------------------------------------------------------------------------------


def cli_reference(say: Say) -> Iterator[str]:
    """Yield the reference of the command line."""
    yield "# Reference of the command line\n"
    yield (
        "`xoev-hub` is also `python -m hub`. `--json` prints one object on stdout; what people read besides goes to "
        "stderr. `-` is stdin. Consumers tolerate new fields and values. Who acts is the Unix user, or `SUDO_USER`. "
        "A TIME is `2026-11-22`, `2026-11-22T06:00` (local, or with a zone), or how long ago: `90m`, `6h`, `2d`.\n"
    )
    yield "## Exit codes\n"
    yield from _table(("code", "meaning"), ((code, say("exit", code)) for code in EXIT_CODES))
    for path, command in commands():
        yield f"## {path}\n"
        yield f"{(command.help or '').replace('``', '`')}\n"
        options = [one for one in command.params if isinstance(one, click.Option)]
        words = [one.make_metavar(click.Context(command)) for one in command.params if isinstance(one, click.Argument)]
        usage = " ".join([path, *(["[OPTIONS]"] if options else []), *words])
        yield f"```\n{usage}{' COMMAND' if isinstance(command, click.Group) else ''}\n```\n"
        if options:
            yield from _table(("option", "meaning"), ((_option(one), _about(one)) for one in options))
        if examples := EXAMPLES.get(path.removeprefix("xoev-hub ")):
            yield "```sh\n" + "\n".join(examples) + "\n```\n"


def commands() -> Iterator[tuple[str, click.Command]]:
    """Yield every command with its path, groups before what is in them."""

    def below(path: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
        yield path, command
        if isinstance(command, click.Group):
            context = click.Context(command)
            for name in command.list_commands(context):
                child = command.get_command(context, name)
                assert child is not None
                yield from below(f"{path} {name}", child)

    yield from below("xoev-hub", program)


def _option(option: click.Option) -> str:
    spelled = ", ".join(option.opts)
    return f"`{spelled}`" if option.is_flag else f"`{spelled} {option.make_metavar(click.Context(program))}`"


def _about(option: click.Option) -> str:
    facts = ["Required." if option.required else "", option.help or ""]
    # click 8.3 marks "nothing" with a value of its own; only what a person could have written is shown.
    if isinstance(option.default, str | int) and not option.is_flag:
        facts.append(f"Default: `{option.default}`.")
    if option.envvar:
        facts.append(f"Environment: `{option.envvar}`.")
    return " ".join(fact for fact in facts if fact)


# --- closed-lists.md ----------------------------------------------------------------------------------------------


def closed_lists(say: Say) -> Iterator[str]:
    """Yield the words that operators filter and alert on."""
    yield "# Closed lists\n"
    yield (
        "Words that people and programs filter and alert on. They grow with release notes; tolerate new ones. What to "
        "do about a reason stands in [lifecycle.md](lifecycle.md).\n"
    )
    yield "## Status of a message\n"
    yield "The first that fits.\n"
    yield from _table(("status", "meaning"), ((f"`{one}`", say("Status", one)) for one in STATUSES))
    lists: tuple[tuple[str, type[StrEnum]], ...] = (
        ("States of a delivery", State), ("Events of a delivery", EventKind), ("Reasons", Reason),
        ("Phases of an attempt", Phase), ("How a delivery was closed", ClosedAs),
        ("Roles of a payload", PayloadRole),
    )  # fmt: skip
    for title, values in lists:
        yield f"## {title}\n"
        yield from _table(("word", "meaning"), ((f"`{one}`", say(values.__name__, one)) for one in values))
    yield "## Codes of rejections\n"
    yield "The document was judged; there is a record with an id.\n"
    codes = [code for code in STATUS_OF if code in crosscheck.REJECTION_CODES]
    assert set(codes) == crosscheck.REJECTION_CODES
    yield from _table(("code", "meaning"), ((f"`{one}`", say("Rejection", one)) for one in codes))
    yield "## Codes of refusals\n"
    yield "The document was not looked at. They are only counted.\n"
    others = [code for code in STATUS_OF if code not in crosscheck.REJECTION_CODES]
    yield from _table(("code", "meaning"), ((f"`{one}`", say("Refusal", one)) for one in others))
    yield "## Metrics\n"
    yield "At `/metrics` of the admin address. Labels are names of the configuration and words of these lists.\n"
    yield from _table(("metric", "labels", "meaning"), _metrics())


def _metrics() -> Iterator[tuple[str, str, str]]:
    known = vars(Metrics()).values()
    for one in (*known, *(gauge for group in known if isinstance(group, dict) for gauge in group.values())):
        if isinstance(one, MetricWrapperBase):
            name = one._name + ("_total" if one._type == "counter" else "")
            yield f"`{name}`", ", ".join(one._labelnames), one._documentation


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    lines = [head, tuple("---" for _ in head), *rows]
    yield "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines) + "\n"


# --- all of them --------------------------------------------------------------------------------------------------

PAGES: Mapping[str, Callable[[Say], Iterator[str]]] = {
    "routes-reference.md": routes_reference,
    "cli-reference.md": cli_reference,
    "closed-lists.md": closed_lists,
}


def generate() -> dict[str, str]:
    """Return every generated page by its name.

    Raises:
        LookupError: A key has no sentence, or a sentence has no key.
    """
    texts = Texts(tomllib.loads((HERE / "texts.toml").read_text("utf-8")))
    pages = {name: "\n".join([NOTE, "", *write(texts.of)]) for name, write in PAGES.items()}
    if unused := texts.unused():
        raise LookupError(f"docs/texts.toml: nothing has these keys: {', '.join(unused)}")
    return pages


def stale() -> list[str]:
    """Return the pages whose file differs from what would be written."""
    return [
        name
        for name, page in generate().items()
        if not (HERE / name).is_file() or (HERE / name).read_text("utf-8") != page
    ]


def main(arguments: list[str]) -> int:
    if arguments == ["--check"]:
        for name in stale():
            sys.stdout.write(f"docs/{name} is stale: run docs/generate.py\n")
        return 1 if stale() else 0
    for name, page in generate().items():
        (HERE / name).write_text(page, encoding="utf-8")
        sys.stdout.write(f"docs/{name}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

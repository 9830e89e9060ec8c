"""The rules that keep the program simple, held against its source. Each proves on a small example that it can fail."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests.source import Module, Program, at, below, calls

ROOT = Path(__file__).parents[2]

READER_OF_YAML = ("hub.config.document", "hub.config.report")  # profile.yaml is read by the same eyes as routes.yaml
GROUND_FLOOR = {
    f"hub.{name}" for name in ("message", "outcome", "delivery", "job", "retry", "errors", "files", "installed")
}
EDGES = ("hub.cli", "hub.daemon", "hub.__main__")

FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 60

BROAD_EXCEPTS: Mapping[str, tuple[int, str]] = {
    "hub/dispatch.py": (1, "an adapter's deliver: a bug of a plugin is Deferred(crashed)"),
    "hub/deliverer.py": (1, "an adapter's making and open: Deferred(crashed)"),
    "hub/deliverers.py": (1, "the sweep: nothing would be tried again"),
    "hub/checking.py": (1, "a check: one that crashed has not passed, and its worker lives on"),
    "hub/items.py": (1, "one item of a job: it must neither stop the others nor come back at each start"),
    "hub/lanes.py": (2, "what a source does with a receipt, and a share of messages: the lane goes on"),
    "hub/daemon/engine.py": (1, "the jobs: those that are not to blame go on"),
    "hub/workerset.py": (1, "a worker: it ends alone, and says where"),
    "hub/daemon/sources.py": (2, "a plugin's listen and poll: the way in is opened again"),
    "hub/plugins.py": (1, "a plugin's import: the others go on without it"),
    "hub/steps.py": (2, "a step's import and a step: a problem of this step only"),
    "hub/cli/__init__.py": (1, "the outermost edge: every failure becomes an exit code"),
    "adapters/http_app.py": (1, "the outermost edge: a sender gets 503 and keeps its message"),
}


PROGRAM = Program.read(ROOT, "hub", "adapters")


# --- rules: who may import whom


def adapters_know_the_public_door_only(program: Program) -> Iterator[str]:
    for module in program.modules:
        if below(module.name, "adapters"):
            for name in program.imports(module):
                if below(name, "hub") and name != "hub.plugin":
                    yield f"{module.path}: imports {name}; an adapter imports hub.plugin and its library"


def the_ground_floor_stands_on_nothing(program: Program) -> Iterator[str]:
    allowed = GROUND_FLOOR | {"uuid_utils"}
    for module in program.modules:
        if module.name in GROUND_FLOOR:
            for name in program.imports(module):
                if name not in allowed and not is_standard_library(name):
                    yield f"{module.path}: imports {name}"


def xml_knows_values_only(program: Program) -> Iterator[str]:
    for module in program.modules:
        if below(module.name, "hub.xml"):
            for name in program.imports(module):
                known = name in GROUND_FLOOR or below(name, "hub.xml", *READER_OF_YAML)
                if below(name, "hub", "adapters") and not known:
                    yield f"{module.path}: imports {name}"


def nothing_stands_on_the_edges(program: Program) -> Iterator[str]:
    for module in program.modules:
        for name in program.imports(module):
            if below(name, *EDGES) and not below(module.name, *EDGES):
                yield f"{module.path}: imports {name}"
            if (below(name, "hub.testing") or name == "pytest") and not below(module.name, "hub.testing"):
                yield f"{module.path}: imports {name}, the kit for tests"


def no_module_imports_itself_by_a_detour(program: Program) -> Iterator[str]:
    graph = {
        module.name: {name for name in program.imports(module) if name in program.names} for module in program.modules
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        yield " -> ".join(error.args[1])


def one_file_knows_the_scheduler(program: Program) -> Iterator[str]:
    using = [m.path for m in program.modules if any(below(name, "apscheduler") for name in program.imports(m))]
    if len(using) != 1:
        yield f"apscheduler is imported by {using}; expected exactly one file"


def the_store_alone_knows_databases(program: Program) -> Iterator[str]:
    for module in program.modules:
        for name in program.imports(module):
            if below(name, "sqlalchemy", "alembic", "sqlite3", "psycopg") and not below(module.name, "hub.store"):
                yield f"{module.path}: imports {name}"


def is_standard_library(name: str) -> bool:
    return name.split(".", maxsplit=1)[0] in sys.stdlib_module_names


# --- rules: what is done in one place only, or nowhere


PARSERS = {"XMLParser", "HTMLParser", "XMLPullParser", "HTMLPullParser", "ETCompatXMLParser", "iterparse", "iterwalk"}
PARSING = {"fromstring", "XML", "HTML", "parse", "fromstringlist", "XMLID", "XMLDTDID"}


def foreign_xml_has_one_entrance(program: Program) -> Iterator[str]:
    for module in program.modules:
        if module.path == "hub/xml/guard.py":
            continue
        for name in program.imports(module):
            if below(name, "xml", "lxml.objectify", "lxml.html") and not below(name, "xml.sax.saxutils"):
                yield f"{module.path}: imports {name}; only the guard parses"
        for node, called in calls(module):
            owner, _, function = called.rpartition(".")
            if owner.split(".")[-1] != "etree":
                continue
            if function in PARSERS or (function in PARSING and not has_parser_of_the_guard(node)):
                yield at(module, node, f"{called}; only the guard makes parsers and reads what is foreign")


def has_parser_of_the_guard(call: ast.Call) -> bool:
    given = [*call.args[1:2], *(keyword.value for keyword in call.keywords if keyword.arg == "parser")]
    return any(isinstance(one, ast.Call) and ast.unparse(one.func) == "guard.trusted_parser" for one in given)


def one_file_configures_the_log(program: Program) -> Iterator[str]:
    for module in program.modules:
        for node, called in calls(module):
            if called.startswith(("structlog.configure", "logging.basicConfig")) and module.path != "hub/log.py":
                yield at(module, node, called)
        if module.path != "hub/log.py" and "structlog" in program.imports(module) and imports_configure(module):
            yield f"{module.path}: imports structlog's configure"


def imports_configure(module: Module) -> bool:
    names = [alias.name for node in ast.walk(module.tree) if isinstance(node, ast.ImportFrom) for alias in node.names]
    return "configure" in names


FORBIDDEN_IMPORTS = ("pickle", "cPickle", "dill", "marshal", "shelve")
FORBIDDEN_CALLS = {"eval", "exec", "os.system", "os.popen"}
FORBIDDEN_METHODS = {"extractall"}
YAML_LOADS = {"load", "load_all", "unsafe_load", "unsafe_load_all", "full_load", "full_load_all"}
FORBIDDEN_VALUES = {"shell": True, "verify": False, "check_hostname": False}


def nothing_dangerous_is_called(program: Program) -> Iterator[str]:
    for module in program.modules:
        for name in program.imports(module):
            if below(name, *FORBIDDEN_IMPORTS):
                yield f"{module.path}: imports {name}"
        for node, called in calls(module):
            owner, _, method = called.rpartition(".")
            if called in FORBIDDEN_CALLS or method in FORBIDDEN_METHODS or (owner == "yaml" and method in YAML_LOADS):
                yield at(module, node, called)
            for keyword in node.keywords:
                if keyword.arg and is_forbidden_value(keyword.arg, keyword.value):
                    yield at(module, node, f"{keyword.arg}={ast.unparse(keyword.value)}")
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Assign):
                for target in node.targets:
                    if isinstance(target, ast.Attribute) and is_forbidden_value(target.attr, node.value):
                        yield at(module, node, ast.unparse(node))


def is_forbidden_value(name: str, value: ast.expr) -> bool:
    return isinstance(value, ast.Constant) and name in FORBIDDEN_VALUES and value.value is FORBIDDEN_VALUES[name]


def sql_is_never_built_from_text(program: Program) -> Iterator[str]:
    for module in program.modules:
        for node, called in calls(module):
            if called.split(".")[-1] not in ("text", "execute", "executemany", "exec_driver_sql", "executescript"):
                continue
            if node.args and is_built(node.args[0]) and not is_pragma(module, node.args[0]):
                yield at(module, node, ast.unparse(node)[:100])


def is_pragma(module: Module, statement: ast.expr) -> bool:
    """SQLite's settings take no parameters; the store writes them out of constants."""
    return below(module.name, "hub.store") and ast.unparse(statement).startswith("f'PRAGMA ")


def is_built(value: ast.expr) -> bool:
    match value:
        case ast.JoinedStr(values=parts):
            return any(isinstance(part, ast.FormattedValue) for part in parts)
        case ast.BinOp(left=left, op=ast.Add() | ast.Mod(), right=right):
            return any(isinstance(side, ast.Constant | ast.JoinedStr | ast.BinOp) for side in (left, right))
        case ast.Call(func=ast.Attribute(attr="format" | "join")):
            return True
        case _:
            return False


def everything_is_caught_at_plugin_calls_only(program: Program) -> Iterator[str]:
    """A handler that ends with a bare ``raise`` only tidies up, and may catch everything."""
    for module in program.modules:
        found = [node for node in ast.walk(module.tree) if is_broad(node)]
        allowed, _ = BROAD_EXCEPTS.get(module.path, (0, ""))
        if len(found) > allowed:
            lines = ", ".join(str(getattr(node, "lineno", "?")) for node in found)
            yield f"{module.path}: catches everything in line {lines}; allowed: {allowed}"


def is_broad(node: ast.AST) -> bool:
    if isinstance(node, ast.Call) and ast.unparse(node.func) in ("suppress", "contextlib.suppress"):
        return any(ast.unparse(argument) in ("Exception", "BaseException") for argument in node.args)
    if not isinstance(node, ast.ExceptHandler):
        return False
    caught = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
    broad = any(one is None or ast.unparse(one) in ("Exception", "BaseException") for one in caught)
    last = node.body[-1]
    return broad and not (isinstance(last, ast.Raise) and last.exc is None)


def patterns_mean_the_same_on_every_python(program: Program) -> Iterator[str]:
    """Python before 3.11.5 gets possessive quantifiers and atomic groups wrong, and Debian 12 has 3.11.2."""
    for module in program.modules:
        named = {
            target.id: node.value
            for node in ast.walk(module.tree)
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        for call, called in calls(module):
            if not called.startswith("re."):
                continue
            used = [named.get(one.id) for one in ast.walk(call) if isinstance(one, ast.Name)]
            for node in (one for whole in (call, *used) if whole is not None for one in ast.walk(whole)):
                if isinstance(node, ast.Constant) and isinstance(node.value, str | bytes) and is_atomic(node.value):
                    yield at(module, node, ast.unparse(node)[:100])


def is_atomic(pattern: str | bytes) -> bool:
    text = pattern.decode("latin-1") if isinstance(pattern, bytes) else pattern
    bare = re.sub(r"\[\^?\]?(?:\\.|[^\]\\])*\]|\\.", "_", text, flags=re.DOTALL)  # without classes and escapes
    return "(?>" in bare or re.search(r"(?:[*+?]|\{\d*,?\d*\})\+", bare) is not None


def nothing_is_too_long_to_be_read(program: Program) -> Iterator[str]:
    for module in program.modules:
        lines = len(module.source.splitlines())
        if lines > FILE_LINES_MAX:
            yield f"{module.path}: {lines} lines"
        for node in ast.walk(module.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                if length > FUNCTION_LINES_MAX:
                    yield at(module, node, f"{node.name} has {length} lines")


# --- each rule with programs that break it


Rule = Callable[[Program], Iterable[str]]

SCHEDULER = {"hub/schedule.py": "from apscheduler.events import X"}
LONG_FUNCTION = "def f():\n" + "    x = 1\n" * FUNCTION_LINES_MAX

RULES: Mapping[Rule, list[Mapping[str, str]]] = {
    adapters_know_the_public_door_only: [
        {"adapters/a.py": "from hub.message import Message"},
        {"adapters/a.py": "import hub.store.api"},
        {"adapters/a.py": "def f():\n    from hub import outcome", "hub/outcome.py": ""},
    ],
    the_ground_floor_stands_on_nothing: [
        {"hub/retry.py": "from hub.plugin import Limits"},
        {"hub/message.py": "import lxml"},
    ],
    xml_knows_values_only: [
        {"hub/xml/a.py": "from hub.store import api", "hub/store/api.py": ""},
        {"hub/xml/a.py": "from hub.config.model import Model"},
    ],
    nothing_stands_on_the_edges: [
        {"hub/service.py": "from hub.cli.common import say"},
        {"hub/jobs.py": "def f():\n    import hub.daemon.engine"},
        {"hub/pool.py": "from hub.testing import make_context"},
    ],
    no_module_imports_itself_by_a_detour: [
        {"hub/a.py": "import hub.b", "hub/b.py": "from hub import c", "hub/c.py": "def f():\n    from hub.a import x"},
    ],
    one_file_knows_the_scheduler: [
        {"hub/a.py": ""},
        {**SCHEDULER, "hub/daemon/a.py": "import apscheduler.schedulers.background"},
    ],
    the_store_alone_knows_databases: [
        {"hub/view.py": "import sqlalchemy as sa"},
        {"adapters/a.py": "import sqlite3"},
    ],
    foreign_xml_has_one_entrance: [
        {"hub/xml/a.py": "from lxml import etree\netree.fromstring(body)"},
        {"hub/xml/a.py": "from lxml import etree\netree.fromstring(body, etree.XMLParser())"},
        {"adapters/a.py": "import lxml.etree\nlxml.etree.parse(path)"},
        {"adapters/a.py": "from lxml import etree\nfor _ in etree.iterparse(file): pass"},
        {"hub/a.py": "from xml.dom import minidom"},
        {"hub/a.py": "from lxml import objectify, html\nimport lxml.html"},
    ],
    one_file_configures_the_log: [
        {"hub/daemon/main.py": "import structlog\nstructlog.configure()"},
        {"hub/daemon/main.py": "from structlog import configure\nconfigure()"},
        {"adapters/a.py": "import logging\nlogging.basicConfig()"},
    ],
    nothing_dangerous_is_called: [
        {"hub/a.py": "import pickle"},
        {"hub/a.py": "from pickle import loads"},
        {"hub/a.py": "eval('1')"},
        {"hub/a.py": "def f(x):\n    exec(x)"},
        {"hub/a.py": "import subprocess\nsubprocess.run('ls', shell=True)"},
        {"hub/a.py": "import yaml\nyaml.load(text, yaml.SafeLoader)"},
        {"hub/a.py": "import requests\nrequests.get(url, verify=False)"},
        {"hub/a.py": "session.verify = False"},
        {"hub/a.py": "context.check_hostname = False"},
        {"hub/a.py": "archive.extractall(path)"},
    ],
    sql_is_never_built_from_text: [
        {"hub/store/a.py": "sa.text(f'select {name}')"},
        {"hub/store/a.py": "connection.execute('select ' + name)"},
        {"hub/view.py": "connection.exec_driver_sql('select %s' % name)"},
        {"hub/view.py": "connection.execute('select {}'.format(name))"},
        {"hub/view.py": "connection.execute(f'PRAGMA {name}')"},
    ],
    everything_is_caught_at_plugin_calls_only: [
        {"hub/a.py": "try:\n    f()\nexcept Exception:\n    pass"},
        {"hub/a.py": "try:\n    f()\nexcept (OSError, BaseException) as error:\n    raise X from error"},
        {"hub/a.py": "try:\n    f()\nexcept:\n    pass"},
        {"hub/a.py": "with contextlib.suppress(Exception):\n    f()"},
        {"hub/dispatch.py": "try:\n    f()\nexcept Exception:\n    pass\n" * 2},
    ],
    patterns_mean_the_same_on_every_python: [
        {"hub/a.py": "import re\nX = re.compile(r'[^<>]++>')"},
        {"hub/a.py": "import re\nX = re.compile(rb'(?:a|b)*+>')"},
        {"hub/a.py": "import re\nPART = r'a?+b'\nre.sub(PART, '', text)"},
        {"hub/a.py": "import re\nre.match(rf'a{{1,3}}+{x}', text)"},
        {"adapters/a.py": "import re\nX = re.compile('[]*+]x(?>a|b)' + rest, re.DOTALL)"},
    ],
    nothing_is_too_long_to_be_read: [
        {"hub/a.py": "x = 1\n" * (FILE_LINES_MAX + 1)},
        {"hub/a.py": LONG_FUNCTION},
        {"hub/a.py": "async " + LONG_FUNCTION},
    ],
}

GOOD = {
    **SCHEDULER,
    "hub/message.py": "import hashlib\nimport uuid_utils",
    "hub/retry.py": "from hub.message import new_id",
    "hub/xml/guard.py": "from lxml import etree\nfrom xml.parsers import expat\netree.fromstring(body, etree.XMLParser())",
    "hub/xml/a.py": "from lxml import etree\nfrom hub.xml import guard\netree.fromstring(body, guard.trusted_parser())",
    "hub/xml/b.py": "from hub.config.document import Node",
    "hub/store/sql.py": "import sqlalchemy as sa\nsa.text('select 1')",
    "hub/dispatch.py": "try:\n    f()\nexcept Exception:\n    pass",
    "hub/pool.py": "try:\n    f()\nexcept BaseException:\n    g()\n    raise",
    "hub/log.py": "import structlog\nstructlog.configure()",
    "hub/daemon/main.py": "from hub.message import x",
    "hub/cli/main.py": "def run():\n    from hub.daemon.main import main",
    "adapters/a.py": "import yaml\nfrom hub.plugin import Adapter\nfrom adapters.b import X\nyaml.safe_load(text)",
    "adapters/b.py": "context.check_hostname = True",
    "adapters/c.py": r"import re" + "\n" + r"re.compile(r'[*++?+]+ \*+ \++ a{2}b+ (?:x|y)+')",
}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_rule(rule: Rule) -> None:
    assert list(rule(PROGRAM)) == []


@pytest.mark.parametrize(
    ("rule", "bad"), [(rule, bad) for rule, programs in RULES.items() for bad in programs], ids=lambda _: ""
)
def test_rule_finds_what_breaks_it(rule: Rule, bad: Mapping[str, str]) -> None:
    assert list(rule(Program(bad))) != []


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_rule_leaves_good_programs_alone(rule: Rule) -> None:
    assert list(rule(Program(GOOD))) == []


def test_the_whole_program_is_looked_at() -> None:
    assert {"hub.plugin", "hub.store.api", "hub.xml.guard", "adapters.amqp"} <= PROGRAM.names


def test_no_exception_for_catching_everything_outlives_its_reason() -> None:
    unused = {
        path: f"allowed {allowed}, found {found}"
        for path, (allowed, _) in BROAD_EXCEPTS.items()
        for found in [sum(is_broad(node) for m in PROGRAM.modules if m.path == path for node in ast.walk(m.tree))]
        if found != allowed
    }

    assert unused == {}

"""Adapters among the installed packages: a broken one is a value with its error, and stops no other."""

import sys

import pytest

import hub.config
from hub import plugins
from hub.files import Files

MODULE = """
from hub.plugin import Adapter, Settings

class S(Settings):
    path: str
    {field}: str = ""

def make(settings, context): ...

def check(settings, context):
    raise RuntimeError("CANARY")

GOOD = Adapter(name="{name}", settings=S, outbound=make)
OLD = Adapter(name="{name}", settings=S, outbound=make, api_version=0)
NOTHING = Adapter(name="{name}", settings=S)
BOTH = Adapter(name="{name}", settings=S, outbound=make, poller=make)
MISNAMED = Adapter(name="anders", settings=S, outbound=make)
IN = Adapter(name="{name}", settings=S, poller=make)
FAILING = Adapter(name="{name}", settings=S, outbound=make, check=check)
TEXT = "no adapter"
"""


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Install a package with entry points, as pip would leave it."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))
    before = set(sys.modules)

    def install(distribution, entries, *, name="probe", field="extra", source=None):
        module = distribution.replace("-", "_")
        (site / f"{module}.py").write_text(source or MODULE.format(name=name, field=field))
        info = site / f"{module}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
        lines = "".join(f"{entry} = {module}:{value}\n" for entry, value in entries.items())
        (info / "entry_points.txt").write_text(f"[{plugins.ADAPTERS}]\n{lines}")
        plugins._offered.cache_clear()

    yield install
    plugins._offered.cache_clear()
    for added in set(sys.modules) - before:
        if added.startswith("probe_"):
            del sys.modules[added]


def offered(name="probe"):
    return [one for one in plugins.list_adapters() if one.name == name]


def test_an_adapter_is_found_by_name_and_direction(install):
    install("probe-package", {"probe": "GOOD", "probe-in": "IN"})

    assert plugins.find_adapter("probe", "out").direction == "out"
    assert plugins.find_adapter("probe", "in").direction == "in"
    assert [(one.distribution, one.version, one.api_version, one.error) for one in offered()] == [
        ("probe-package", "1.0", 1, None),
        ("probe-package", "1.0", 1, None),
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("OLD", "made for version 0 of the plugin interface"),
        ("NOTHING", "exactly one of outbound, listener and poller"),
        ("BOTH", "exactly one of outbound, listener and poller"),
        ("MISNAMED", "it calls itself 'anders'"),
        ("TEXT", "is no hub.plugin.Adapter"),
        ("ABSENT", "cannot be loaded: AttributeError"),
    ],
)
def test_a_plugin_that_cannot_be_used_says_why(install, value, text):
    install("probe-package", {"probe": value})

    assert text in offered()[0].error
    with pytest.raises(LookupError, match=r"probe-package 1\.0 cannot be used"):
        plugins.find_adapter("probe", "out")


@pytest.mark.parametrize("source", ["raise RuntimeError('x')", "import sys; sys.exit(3)", "def ("])
def test_a_plugin_that_fails_at_import_stops_no_other(install, source):
    install("probe-broken", {"probe": "GOOD"}, source=source)

    assert "cannot be loaded" in offered()[0].error
    assert plugins.find_adapter("folder", "out").name == "folder"


@pytest.mark.parametrize("key", ["retry", "timeout", "on_unclear", "like"])
def test_keys_of_the_hub_are_refused_in_the_settings_of_a_plugin(install, key):
    install("probe-package", {"probe": "GOOD"}, field=key)

    assert offered()[0].error == f"its settings use keys that belong to the hub: {key}"


def test_two_packages_with_one_name_are_both_refused(install):
    install("probe-package", {"probe": "GOOD"})
    install("probe-twin", {"probe": "GOOD"})

    assert [one.error for one in offered()] == [
        "offered more than once for direction 'out': probe-package 1.0, probe-twin 1.0"
    ] * 2
    with pytest.raises(LookupError, match="more than once"):
        plugins.find_adapter("probe", "out")


def test_a_package_that_takes_a_name_of_the_hub_is_refused_and_the_hubs_own_goes_on(install):
    install("probe-package", {"folder": "GOOD"}, name="folder")

    errors = {(one.distribution, one.direction): one.error for one in offered("folder")}
    assert errors.pop(("probe-package", "out")).endswith("; the hub's own is used")
    assert set(errors.values()) == {None}
    assert plugins.find_adapter("folder", "out").settings.__module__ == "adapters.folder_out"


def test_two_packages_that_take_a_name_of_the_hub_are_both_refused(install):
    install("probe-package", {"folder": "GOOD"}, name="folder")
    install("probe-twin", {"folder": "GOOD"}, name="folder")

    assert sorted(one.distribution for one in offered("folder") if one.error) == ["probe-package", "probe-twin"]
    assert plugins.find_adapter("folder", "out").settings.__module__ == "adapters.folder_out"


def test_an_adapter_of_the_other_direction_is_told_from_an_unknown_one():
    with pytest.raises(LookupError, match="adapter 'soap' takes nothing in"):
        plugins.find_adapter("soap", "in")
    with pytest.raises(LookupError, match="did you mean 'folder'"):
        plugins.find_adapter("foldr", "out")


def test_nothing_is_imported_before_it_is_asked_for(install):
    install("probe-package", {"probe": "GOOD"})

    plugins.find_adapter("folder", "out")

    assert "probe_package" not in sys.modules


def test_the_check_of_a_plugin_that_fails_is_a_problem_and_hides_no_other(install, tmp_path):
    install("probe-package", {"probe": "FAILING"})
    (tmp_path / "routes.yaml").write_text(
        "version: 1\ndestinations:\n  a/b: {adapter: probe, path: x}\n"
        "routes:\n  r: {match: {type: antrag}, deliver_to: a/c}\n"
    )

    problems = hub.config.read(Files(tmp_path)).problems

    assert [(one.line, one.text) for one in problems if one.level == "error"] == [
        (3, "the check of adapter 'probe' failed: RuntimeError"),
        (5, "unknown destination 'a/c'; did you mean 'a/b'?"),
    ]

"""What the command line shows and writes: origins, matrix, JSON Schema, a new deployment; and hub.toml."""

import json
import os
import stat
from pathlib import Path

import pytest

import hub.config
from hub.config.include import SECTIONS
from hub.config.init import init
from hub.config.matrix import matrix
from hub.config.origin import origin
from hub.config.process import load_process
from hub.errors import ConfigError
from hub.files import Files

EXAMPLE = Path(__file__).parent / "interface_example"
ROUTES = """routes:
  unten: {match: {type: x}, deliver_to: [a/b]}
  oben: {match: {type: x}, deliver_to: [a/b], priority: 1}
"""


# --- origins and matrix


def test_every_value_of_a_destination_says_where_it_comes_from():
    shown = {one.key: (one.value, one.origin) for one in origin(Files(EXAMPLE), "wolfsburg/gewerbe")}

    assert shown["address"] == ("https://gewerbe.wolfsburg.example/ws", "routes.yaml:26")
    assert shown["wsdl"] == ("wsdl/migewa.wsdl", "routes.yaml:35")
    assert shown["parameters.mandant"] == ("103", "routes.yaml:37")
    assert shown["security.password"] == ("file:secrets/wolfsburg/gewerbe.pw", "routes.yaml:38")
    assert shown["steps[1].validate"] == ("migewa/1.0", "routes.yaml:43")
    assert shown["action"] == ("null", "default")


def test_every_kind_of_entry_has_origins():
    names = [
        "gewerbe-online",
        "online-services",
        "wolfsburg",
        "bauportal",
        "migewa",
        "gewerbeanmeldung",
        "gifhorn/archiv",
    ]

    assert all(origin(Files(EXAMPLE), name) for name in names)
    assert origin(Files(EXAMPLE), "nirgends") == ()


def test_the_matrix_shows_own_and_shared_destinations_and_gaps():
    head, rows = matrix(hub.config.load(EXAMPLE / "routes.yaml"))

    assert head == ("municipality", "name", "archiv", "bau", "gewerbe")
    assert rows[1] == ("wittingen", "Stadt Wittingen", "via gifhorn", "via gifhorn", "own")
    assert rows[2] == ("wolfsburg", "Stadt Wolfsburg", "-", "-", "own")


# --- the routes alone


def test_routes_that_are_read_alone_are_those_of_the_whole_configuration():
    alone = hub.config.load_routes(EXAMPLE / "routes.yaml")

    assert alone == hub.config.load(EXAMPLE / "routes.yaml").routes


def test_routes_are_listed_where_another_section_is_wrong(tmp_path):
    path = tmp_path / "routes.yaml"
    path.write_text(f"version: 1\ndestinations: {{a/b: {{adapter: brieftaube}}}}\n{ROUTES}", "utf-8")

    assert [one.name for one in hub.config.load_routes(path)] == ["oben", "unten"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("version: 1\n", "no route at all"),
        ("version: 1\nroutes: [\n", "routes.yaml:"),
        ("version: 1\nroutes: {a: {match: {type: x}, deliver_to: [b/c], farbe: rot}}\n", "unknown key 'farbe'"),
        (
            "version: 1\nroutes: {a: {match: {type: x}, deliver_to: [b/c], steps: [{validate: x/9}]}}\n",
            "standard 'x/9'",
        ),
    ],
    ids=["none", "no YAML", "unknown key", "unknown standard"],
)
def test_routes_that_are_wrong_are_not_listed(tmp_path, text, says):
    (tmp_path / "routes.yaml").write_text(text, "utf-8")

    with pytest.raises(ConfigError, match=says):
        hub.config.load_routes(tmp_path / "routes.yaml")


# --- the schema for editors


def test_the_schema_is_json_and_every_reference_in_it_exists():
    schema = hub.config.json_schema()
    text = json.dumps(schema)

    used = {part.partition('"')[0] for part in text.split("#/$defs/")[1:]}
    assert used <= set(schema["$defs"])
    assert set(schema["properties"]) == set(SECTIONS)


def test_the_schema_knows_the_settings_of_the_installed_adapters():
    definitions = hub.config.json_schema()["$defs"]

    assert {"path", "every", "sender", "max_body"} <= set(definitions["folder-in"]["properties"])
    assert {"wsdl", "address", "retry", "on_unclear"} <= set(definitions["soap-out"]["properties"])


def test_scalars_may_be_written_without_quotes():
    ags = hub.config.json_schema()["$defs"]["MunicipalityEntry"]["properties"]["ags"]

    assert {"string", "number"} <= set(ags["type"])


# --- a new deployment


def test_a_new_deployment_loads_without_a_word(tmp_path):
    written = init(tmp_path / "neu")

    reading = hub.config.read(Files(tmp_path / "neu"))
    assert reading.problems == ()
    assert len(reading.deployment.tests) == 2
    assert reading.deployment.routes[0].checks[0].check.level == "full"
    assert str(tmp_path / "neu" / "routes.yaml") in written
    assert load_process(tmp_path / "neu", {}).stage == "production"
    assert stat.S_IMODE(os.stat(tmp_path / "neu" / "secrets").st_mode) == 0o700


def test_its_files_say_what_they_are_for(tmp_path):
    for path in init(tmp_path):
        assert "# " in Path(path).read_text() or "<!--" in Path(path).read_text()


def test_nothing_that_is_there_is_touched(tmp_path):
    (tmp_path / "routes.yaml").write_text("mine")

    with pytest.raises(ConfigError, match="is there already"):
        init(tmp_path)

    assert [path.name for path in tmp_path.iterdir()] == ["routes.yaml"]
    assert (tmp_path / "routes.yaml").read_text() == "mine"


# --- hub.toml


def test_defaults_lie_beside_routes_yaml(tmp_path):
    settings = load_process(tmp_path, {})

    assert settings.state_dir == tmp_path / "var"
    assert settings.store == f"sqlite:///{tmp_path}/var/hub.db"
    assert (settings.admin_listen, settings.stage) == ("127.0.0.1:8081", "production")
    assert settings.workers >= 1
    assert settings.bytes_in_flight == 256_000_000
    assert settings.worker_memory == 1_000_000_000
    assert (settings.keep_free, settings.ballast) == (256_000_000, 32_000_000)


def test_a_worker_needs_some_memory(tmp_path):
    assert load_process(tmp_path, {"XOEV_HUB_WORKER_MEMORY": "200MB"}).worker_memory == 200_000_000

    with pytest.raises(ConfigError) as caught:
        load_process(tmp_path, {"XOEV_HUB_WORKER_MEMORY": "63MB"})

    assert "expected a size such as 1GB, at least 64MB" in caught.value.problems[0].text


@pytest.mark.parametrize("text", ["256", "0MB", "999kB", "-1MB", "viel"])
def test_bytes_in_flight_are_a_size_of_at_least_a_megabyte(tmp_path, text):
    (tmp_path / "hub.toml").write_text('bytes_in_flight = "64MB"\n')
    assert load_process(tmp_path, {}).bytes_in_flight == 64_000_000

    with pytest.raises(ConfigError) as caught:
        load_process(tmp_path, {"XOEV_HUB_BYTES_IN_FLIGHT": text})

    assert "expected a size such as 256MB, at least 1MB" in caught.value.problems[0].text


def test_environment_beats_file_beats_default(tmp_path):
    (tmp_path / "hub.toml").write_text('state_dir = "state"\nworkers = 3\nstage = "test"\nstore = "sqlite:///a/b.db"\n')

    settings = load_process(tmp_path, {"XOEV_HUB_WORKERS": "5", "XOEV_HUB_STATE_DIR": "/srv/hub"})

    assert (settings.workers, settings.stage) == (5, "test")
    assert settings.state_dir == Path("/srv/hub")
    assert settings.store == f"sqlite:///{tmp_path}/a/b.db"


def test_all_problems_of_hub_toml_come_with_their_lines(tmp_path):
    (tmp_path / "hub.toml").write_text('# x\nstate_dirr = "x"\nworkers = 0\n  admin_listen = "8081"\nstage = true\n')

    with pytest.raises(ConfigError) as caught:
        load_process(tmp_path, {"XOEV_HUB_STORE": "mysql://hub:CANARY@db/hub"})

    assert [(one.file, one.line, one.column) for one in caught.value.problems] == [
        ("XOEV_HUB_STORE", 0, 0),
        ("hub.toml", 2, 1),
        ("hub.toml", 3, 1),
        ("hub.toml", 4, 3),
        ("hub.toml", 5, 1),
    ]
    assert "did you mean 'state_dir'" in caught.value.problems[1].text
    assert "CANARY" not in str(caught.value)


@pytest.mark.parametrize(
    ("raw", "line", "column"),
    [(b"workers = \n", 1, 11), (b'a = "\xe4"', 1, 1), (b'store = "postgresql+psycopg://hub:CANARY@db/hub"', 1, 1)],
)
def test_what_is_no_toml_or_holds_a_password_is_a_problem(tmp_path, raw, line, column):
    (tmp_path / "hub.toml").write_bytes(raw)

    with pytest.raises(ConfigError) as caught:
        load_process(tmp_path, {})

    assert (caught.value.problems[0].line, caught.value.problems[0].column) == (line, column)
    assert "CANARY" not in str(caught.value)


def test_a_password_in_the_store_is_not_in_the_repr(tmp_path):
    assert "CANARY" not in repr(load_process(tmp_path, {"XOEV_HUB_STORE": "postgresql+psycopg://h:CANARY@db/hub"}))

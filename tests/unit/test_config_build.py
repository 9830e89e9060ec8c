"""What routes.yaml says becomes a deployment: the example of the contract, and each rule by itself."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import hub.config
from hub.files import Files
from hub.plugin import SecretRef
from hub.rate import Rate
from hub.routing import Directory

EXAMPLE = Path(__file__).parent / "interface_example"
BASE = """version: 1
senders:
  portal: {}
inbound:
  eingang: {adapter: folder, path: eingang, sender: portal}
municipalities:
  wolfsburg: {name: Stadt Wolfsburg, ags: 03103000, procedures: {antrag: {like: ablage}}}
procedures:
  ablage: {adapter: folder, path: "out/{municipality}"}
routes:
  antraege: {match: {type: antrag}, deliver_to: "{municipality}/antrag"}
"""


def reading(folder, text=BASE, **files):
    for name, content in {"routes": text, **files}.items():
        path = folder / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return hub.config.read(Files(folder))


def errors(found):
    return [f"{one.file}:{one.line}:{one.column}: {one.text}" for one in found.problems if one.level == "error"]


def warnings(found):
    return [f"{one.file}:{one.line}: {one.text}" for one in found.problems if one.level == "warning"]


def deployment(folder, text=BASE, **files):
    found = reading(folder, text, **files)
    assert errors(found) == []
    return found.deployment


# --- the example of the contract


def test_the_example_of_the_contract_loads():
    example = hub.config.load(EXAMPLE / "routes.yaml")

    assert sorted(example.destinations) == [
        "gifhorn/archiv", "gifhorn/bau", "statistik/las", "wittingen/gewerbe", "wolfsburg/gewerbe",
    ]  # fmt: skip
    assert example.municipalities["wolfsburg"].authorities == ("psw:03103000", "ags:03103000")
    assert example.municipalities["wittingen"].part_of == ("gifhorn",)
    assert example.partners["bauportal"].authorities == ("bap:*",)
    assert [route.name for route in example.routes] == ["gewerbeanmeldung"]
    assert [test.rejected for test in example.tests] == [None, "schema_violation"]


def test_a_destination_is_its_procedure_filled_and_overridden():
    destination = hub.config.load(EXAMPLE / "routes.yaml").destinations["wolfsburg/gewerbe"]

    assert (destination.adapter, destination.municipality, destination.service) == ("soap", "wolfsburg", "gewerbe")
    assert destination.settings.address == "https://gewerbe.wolfsburg.example/ws"
    assert destination.settings.parameters["mandant"].value == "103"
    assert destination.settings.security.password == SecretRef("file", "secrets/wolfsburg/gewerbe.pw")
    assert [(step.kind, step.value) for step in destination.steps] == [
        ("xslt", "transforms/migewa.xsl"),
        ("validate", "migewa/1.0"),
    ]
    assert destination.retry.give_up_after == timedelta(days=4)
    assert destination.retry.on_unclear == "hold"
    assert destination.limits.total == timedelta(seconds=60)


def test_a_source_knows_its_senders_limits_and_retention():
    source = hub.config.load(EXAMPLE / "routes.yaml").sources["online-services"]

    assert source.senders == ("gewerbe-online", "bauportal")
    assert (source.limits.max_body, source.limits.max_text) == (50_000_000, 10_000_000)
    assert (source.keep_rejected.for_, source.keep_rejected.up_to) == (timedelta(days=7), 10**9)


def test_the_first_columns_of_the_example_find_their_addressees():
    directory = Directory(hub.config.load(EXAMPLE / "routes.yaml"))

    assert [directory.find(key).key for key in ("psw:03103000", "ags:03151040", "03151009", "ags:03151777", "bap:1")] == [
        "wolfsburg", "wittingen", "gifhorn", "gifhorn", "bauportal",
    ]  # fmt: skip


def test_a_snapshot_is_read_again_without_the_disk(tmp_path):
    files = Files(EXAMPLE)
    first = hub.config.read(files)

    again = hub.config.read(Files.frozen(tmp_path, files.contents))

    assert again.deployment.destinations == first.deployment.destinations
    assert again.deployment.routes == first.deployment.routes
    assert again.problems == first.problems


def test_the_environment_is_never_asked_for_a_secret(monkeypatch):
    monkeypatch.delenv("GEWERBE_TOKEN", raising=False)

    assert hub.config.read(Files(EXAMPLE)).deployment is not None


# --- procedures


def test_mappings_are_merged_key_by_key_lists_replaced_and_null_takes_away(tmp_path):
    text = BASE.replace("{like: ablage}", "{like: ablage, retry: {first: 1s}, marker: null, path: here}")
    text = text.replace(
        "ablage: {adapter: folder", 'ablage: {retry: {first: 9s, ceiling: 9m}, marker: "{name}.ok", adapter: folder'
    )

    destination = deployment(tmp_path, text).destinations["wolfsburg/antrag"]

    assert (destination.retry.first, destination.retry.ceiling) == (timedelta(seconds=1), timedelta(minutes=9))
    assert destination.settings.marker is None
    assert destination.settings.path == "here"


def test_what_fills_a_placeholder_is_not_looked_at_again(tmp_path):
    text = BASE.replace("ags: 03103000", 'ags: 03103000, values: {x: "{municipality}-{service}"}')
    text = text.replace("out/{municipality}", "{municipality.values.x}/{service}")

    assert (
        deployment(tmp_path, text).destinations["wolfsburg/antrag"].settings.path == "{municipality}-{service}/antrag"
    )


def test_values_come_from_those_whose_member_it_is_unless_they_disagree(tmp_path):
    text = BASE.replace("out/{municipality}", "out/{municipality.values.x}").replace(
        "procedures:\n  ablage",
        "  gifhorn: {name: Kreis, ags: 03151, values: {x: kreis}, members: [wolfsburg]}\nprocedures:\n  ablage",
    )
    assert deployment(tmp_path, text).destinations["wolfsburg/antrag"].settings.path == "out/kreis"

    text = text.replace(
        "  gifhorn", "  verband: {name: V, ags: 03999, values: {x: verband}, members: [wolfsburg]}\n  gifhorn"
    )
    assert "wolfsburg has no value 'x'" in errors(reading(tmp_path, text))[0]


def test_names_that_the_adapter_fills_stay(tmp_path):
    text = BASE.replace('path: "out/{municipality}"', 'path: out, name: "{municipality}-{delivery_id}.xml"')

    assert deployment(tmp_path, text).destinations["wolfsburg/antrag"].settings.name == "wolfsburg-{delivery_id}.xml"


def test_a_procedure_that_is_wrong_for_all_is_one_problem(tmp_path):
    many = "".join(
        f"  ort{n}: {{name: O, ags: {n:08d}, procedures: {{antrag: {{like: ablage}}}}}}\n" for n in range(50)
    )
    text = BASE.replace("procedures:\n  ablage", many + "procedures:\n  ablage").replace('path: "', 'pathh: "')

    assert errors(reading(tmp_path, text)) == ["routes.yaml:59:29: unknown key 'pathh'; did you mean 'path'?"]


# --- includes


def test_files_may_be_found_by_a_glob_and_speak_of_their_own_municipality_only(tmp_path):
    text = BASE.replace("senders:", 'include: [{path: orte/*.yaml, only: "{name}"}]\nsenders:')
    own = "municipalities:\n  gifhorn: {name: Kreis Gifhorn, ags: 03151, procedures: {antrag: {like: ablage}}}\n"

    found = deployment(tmp_path, text, **{"orte/gifhorn": own})

    assert sorted(found.destinations) == ["gifhorn/antrag", "wolfsburg/antrag"]


@pytest.mark.parametrize(
    ("content", "where"),
    [
        ("municipalities:\n  peine: {name: Peine, ags: 03157}\n", "2:3: 'peine' may not stand here"),
        ("destinations:\n  wolfsburg/x: {adapter: folder, path: x}\n", "2:3: 'wolfsburg/x' may not stand here"),
        ("senders: {portal2: {}}\n", "1:1: senders may not stand here"),
        ("routes: {}\n", "1:1: routes may not stand here"),
        ("procedures: {}\n", "1:1: procedures may not stand here"),
        ("include: [{path: b.yaml, only: wolfsburg}]\n", "1:32: 'wolfsburg' may not stand here"),
        (
            "municipalities:\n  gifhorn: {name: G, ags: 03151, members: [wolfsburg]}\n",
            "2:44: wolfsburg lies outside 03151",
        ),
    ],
)
def test_a_partner_stays_inside_its_own_file(tmp_path, content, where):
    text = BASE.replace("senders:", "include: [{path: a.yaml, only: gifhorn}]\nsenders:")
    if "gifhorn:" not in content:
        text = text.replace("procedures:\n  ablage", "  gifhorn: {name: G, ags: 03151}\nprocedures:\n  ablage")

    found = errors(reading(tmp_path, text, a=content, b="municipalities: {}"))

    assert [one.startswith(f"a.yaml:{where}") for one in found] == [True]


def test_what_such_a_file_includes_is_under_the_same_rule(tmp_path):
    text = BASE.replace("senders:", "include: [{path: a.yaml, only: gifhorn}]\nsenders:")
    own = "include: [b.yaml]\nmunicipalities: {gifhorn: {name: G, ags: 03151}}\n"

    found = errors(reading(tmp_path, text, a=own, b="senders: {einschleicher: {}}\n"))

    assert [one.partition(":")[0] for one in found] == ["b.yaml"]


# --- all problems in one run


def test_problems_of_all_files_and_of_all_kinds_come_in_one_run(tmp_path):
    text = BASE.replace("senders:", "include: [a.yaml, fehlt.yaml]\nsenders:")
    text = text.replace("03103000", "0310300").replace("sender: portal", "sender: portal, max_body: viel")
    text = text.replace("type: antrag", "type: antarg")

    found = errors(reading(tmp_path, text, a="partners:\n  p: {authorities: [bap]}\nspass: {}\n"))

    assert [one.split(": ")[0] for one in found] == [
        "routes.yaml:2:19",
        "routes.yaml:6:71",
        "routes.yaml:8:43",
        "routes.yaml:12:28",
        "a.yaml:2:21",
        "a.yaml:3:1",
    ]


def test_the_same_fault_hides_no_other_of_the_entry(tmp_path):
    text = BASE.replace("ags: 03103000", "ags: 3, x: y, procedures: 7").replace(
        ", procedures: {antrag: {like: ablage}}", ""
    )

    assert len(errors(reading(tmp_path, text))) == 3


def test_names_in_a_file_that_cannot_be_read_are_not_called_unknown(tmp_path):
    text = BASE.replace("senders:", "include: [a.yaml]\nsenders:").replace("like: ablage", "like: in-a")

    assert errors(reading(tmp_path, text, a="procedures:\n\tin-a: {}")) == [
        "a.yaml:2:1: found a tab, expected blanks: YAML is indented with blanks"
    ]


def test_a_secret_is_never_shown_even_if_the_line_is_no_yaml(tmp_path):
    text = BASE.replace("  portal: {}", "  portal: {}\n  x: {password: CANARY: y}")

    found = reading(tmp_path, text)

    assert errors(found)
    assert "CANARY" not in "".join(map(str, found.problems))


def test_a_secret_of_a_plugin_with_an_unusual_name_is_not_shown_either(tmp_path):
    text = BASE.replace(
        "inbound:",
        "inbound:\n  http: {adapter: http, listen: 127.0.0.1:1, senders: {portal: {token: [env:A, CANARY]}}}",
    )

    found = reading(tmp_path, text)

    assert [one.split(": ")[0] for one in errors(found)] == ["routes.yaml:5:80"]
    assert "CANARY" not in "".join(map(str, found.problems))


# --- routes


def routes(*more):
    return BASE + "".join(f"  r{number}: {route}\n" for number, route in enumerate(more))


@pytest.mark.parametrize(
    "route",
    [
        "{match: {type: antrag/1.0}, priority: 1, deliver_to: wolfsburg/antrag}",
        "{match: {type: antrag, partner: portal}, deliver_to: wolfsburg/antrag}",
        "{match: {type: antrag, municipality: gifhorn}, deliver_to: wolfsburg/antrag}",
    ],
)
def test_routes_that_exclude_each_other_or_have_an_order_do_not_overlap(tmp_path, route):
    text = (
        routes(route)
        .replace("{type: antrag}", "{type: antrag, sender: portal}")
        .replace(
            "procedures:\n  ablage",
            "  gifhorn: {name: G, ags: 03151}\npartners: {portal: {authorities: ['bap:*']}}\nprocedures:\n  ablage",
        )
    )

    assert errors(reading(tmp_path, text)) == []


@pytest.mark.parametrize(
    "match",
    [
        "{type: '*/1.0/antrag.*'}",
        "{type: antrag, sender: portal}",
        "{type: antrag, municipality: wolfsburg}",
        "{type: antrag, author: 'psw:*'}",
    ],
)
def test_routes_that_could_take_the_same_message_overlap(tmp_path, match):
    found = errors(reading(tmp_path, routes(f"{{match: {match}, deliver_to: wolfsburg/antrag}}")))

    assert len(found) == 1
    assert "takes the same messages as route 'antraege' (routes.yaml:11)" in found[0]


def test_conditions_with_different_values_exclude_each_other(tmp_path):
    text = BASE.replace("{match: {type: antrag}", "{match: {type: antrag, author: ['psw:1*', 'ags:*']}")
    text += "  andere: {match: {type: antrag, author: 'psw:2*'}, deliver_to: wolfsburg/antrag}\n"

    assert errors(reading(tmp_path, text)) == []


def test_the_route_with_the_highest_priority_comes_first(tmp_path):
    text = routes("{match: {type: antrag/1.0, author: 'x:*'}, priority: 5, deliver_to: wolfsburg/antrag}")

    assert [route.name for route in deployment(tmp_path, text).routes] == ["r0", "antraege"]


def test_a_check_that_is_not_written_is_the_full_schema(tmp_path):
    assert [(one.check.name, one.check.level) for one in deployment(tmp_path).routes[0].checks] == [("xsd", "full")]


def test_gaps_and_what_leads_nowhere_are_warnings(tmp_path):
    text = BASE.replace(
        "procedures:\n  ablage",
        "  gifhorn: {name: G, ags: 03151, procedures: {bau: {like: ablage}}}\nprocedures:\n  unnuetz: {}\n  ablage",
    ).replace("  portal: {}", "  portal: {}\n  stumm: {}")

    assert warnings(reading(tmp_path, text)) == [
        "routes.yaml:4: no source lets it hand in",
        "routes.yaml:9: a gap: no route delivers anything for it",
        "routes.yaml:9: no route delivers to {municipality}/bau",
        "routes.yaml:11: no destination is like it",
    ]


# --- the rest


def test_the_stage_is_that_of_the_process(tmp_path):
    (tmp_path / "routes.yaml").write_text(BASE)

    assert hub.config.load(tmp_path / "routes.yaml", stage="test").stage == "test"
    assert [one.text for one in hub.config.read(Files(tmp_path), stage="x").problems] == [
        "found 'x', expected production or test"
    ]


def test_a_poller_says_how_often(tmp_path):
    text = BASE.replace("path: eingang", "path: eingang, every: 3s")

    assert deployment(tmp_path, text).sources["eingang"].every == timedelta(seconds=3)


def test_plaintext_with_a_written_reason_is_taken(tmp_path):
    text = BASE.replace(
        '{adapter: folder, path: "out/{municipality}"}',
        '{adapter: amqp, url: "amqp://mq.example/", exchange: x, routing_key: y, insecure: IPsec zwischen den Rechnern}',
    )

    assert deployment(tmp_path, text).destinations["wolfsburg/antrag"].insecure == "IPsec zwischen den Rechnern"


def test_an_ars_is_read_as_the_ags_that_it_holds(tmp_path):
    found = deployment(tmp_path, BASE.replace("03103000", "031030000000")).municipalities["wolfsburg"]

    assert found.ags == "03103000"
    assert set(found.authorities) == {"ags:03103000", "ags:031030000000"}


def test_a_missing_file_is_a_problem_and_not_a_traceback(tmp_path):
    assert errors(hub.config.read(Files(tmp_path))) == ["routes.yaml:0:0: cannot read routes.yaml: no such file"]


def test_the_header_schema_alone_is_enough_where_it_is_written(tmp_path):
    broken = Path(__file__).parent / "broken"
    contents = {
        path.relative_to(broken).as_posix(): path.read_bytes()
        for path in (broken / "schemas").rglob("*.*")
        if path.is_file()
    }
    text = BASE.replace("{type: antrag}", "{type: kopf}, checks: [xsd: header]")

    found = hub.config.read(Files.frozen(tmp_path, {**contents, "routes.yaml": text.encode()}))

    assert [(spec.check.name, spec.check.level) for spec in found.deployment.routes[0].checks] == [("xsd", "header")]


# --- versions in time


def test_what_a_destination_accepts_is_read_with_its_times_in_berlin(tmp_path):
    accepts = "accepts: [{type: antrag/1.0, until: 2026-05-02T18:00}, {type: antrag, from: 2026-01-01}, xmeld/25.11a]"

    found = deployment(
        tmp_path, BASE.replace('{adapter: folder, path: "out', f'{{{accepts}, adapter: folder, path: "out')
    )

    old, new, any_time = found.destinations["wolfsburg/antrag"].accepts
    assert (old.type, new.type, any_time.type) == ("antrag/1.0/*", "antrag/*/*", "xmeld/25.11a/*")
    assert old.until == datetime(2026, 5, 2, 16, tzinfo=UTC)  # summer time
    assert new.from_ == datetime(2025, 12, 31, 23, tzinfo=UTC)
    assert (old.holds(old.until), old.holds(old.until - timedelta(seconds=1))) == (False, True)
    assert (new.holds(new.from_), new.holds(new.from_ - timedelta(seconds=1))) == (True, False)
    assert any_time.holds(datetime(1999, 1, 1, tzinfo=UTC))


def test_a_version_that_is_not_here_yet_may_be_accepted_and_is_a_warning(tmp_path):
    text = BASE.replace('path: "out', 'accepts: [antrag/1.0, {type: antrag/2.0, from: 2027-05-01}], path: "out')

    found = reading(tmp_path, text)

    assert errors(found) == []
    assert warnings(found) == ["routes.yaml:9: unknown version of antrag: '2.0'; did you mean '1.0'?"]


def test_a_sender_says_how_fast_it_may_hand_in(tmp_path):
    text = BASE.replace("senders:", "senders:\n  eilig: {rate: 600/m}", 1)

    senders = deployment(tmp_path, text).senders

    assert senders["eilig"].rate == Rate(600, timedelta(minutes=1))
    assert all(sender.rate is None for name, sender in senders.items() if name != "eilig")

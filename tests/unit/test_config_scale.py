"""Deployments as large as a state stay small in YAML and quick to check."""

import time

import hub.config
from hub.config.matrix import matrix
from hub.files import Files
from tests.unit import deployments


def lines(folder):
    return sum(len(path.read_text().splitlines()) for path in folder.rglob("*.yaml"))


def test_fifty_municipalities_with_forty_services_stay_below_4000_lines(tmp_path):
    deployments.write(tmp_path, municipalities=50, services=40)

    reading = hub.config.read(Files(tmp_path))

    assert reading.problems == ()
    assert len(reading.deployment.destinations) == 2000
    assert lines(tmp_path) < 4000


def test_one_more_municipality_is_one_file_of_at_most_50_lines_and_no_edit_elsewhere(tmp_path):
    deployments.write(tmp_path, municipalities=50, services=40)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.yaml")}

    added = deployments.add(tmp_path, 50, services=40)

    reading = hub.config.read(Files(tmp_path))
    assert reading.problems == ()
    assert len(reading.deployment.destinations) == 2040
    assert len(added.read_text().splitlines()) <= 50
    assert {path: path.read_bytes() for path in before} == before
    served = {row[0]: row[2:] for row in matrix(reading.deployment)[1]}
    assert set(served["ort00050"]) == {"own"}


def test_two_thousand_municipalities_with_five_services_load_and_check(tmp_path):
    deployments.write(tmp_path, municipalities=2000, services=5)
    begun = time.process_time()

    reading = hub.config.read(Files(tmp_path))

    assert reading.problems == ()
    assert len(reading.deployment.destinations) == 10_000
    assert time.process_time() - begun < 60  # 3 s on two cores; the bound is against quadratic work


def test_a_route_per_municipality_is_not_compared_with_all_others(tmp_path):
    path = deployments.write(tmp_path, municipalities=0, services=1)
    places = "".join(
        f"  m{n}: {{name: M, ags: {n:08d}, procedures: {{antrag: {{like: produkt0}}}}}}\n" for n in range(2000)
    )
    routes = "".join(
        f"  r{n}: {{match: {{type: antrag, municipality: m{n}}}, deliver_to: '{{municipality}}/antrag'}}\n"
        for n in range(2000)
    )
    text = path.read_text().partition("routes:")[0]
    path.write_text(f"{text}municipalities:\n{places}routes:\n{routes}")
    begun = time.process_time()

    reading = hub.config.read(Files(tmp_path))

    assert [problem.level for problem in reading.problems] == ["warning"]  # no file below municipalities/
    assert len(reading.deployment.routes) == 2000
    assert time.process_time() - begun < 60

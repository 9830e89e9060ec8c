"""A deployment goes to the workers as it was read; only the settings of its adapters stay behind."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

import hub.config
from hub import wire
from hub.files import Files
from hub.plugin import Settings
from tests.unit import deployments
from tests.world import ROOT

EXAMPLE = Path(__file__).parent / "interface_example"


def bare(endpoints):
    return {name: replace(one, settings=Settings()) for name, one in endpoints.items()}


@pytest.mark.parametrize("folder", [ROOT, EXAMPLE, None], ids=["example", "interface", "large"])
def test_nothing_but_the_settings_of_adapters_is_lost_on_the_way(folder, tmp_path):
    if folder is None:
        deployments.write(tmp_path, municipalities=50, services=5)
    deployment = hub.config.read(Files(folder or tmp_path)).deployment
    assert deployment is not None

    packed = json.dumps(wire.pack_deployment(deployment))

    expected = replace(deployment, destinations=bare(deployment.destinations), sources=bare(deployment.sources))
    assert wire.unpack_deployment(json.loads(packed)) == expected
    assert list(wire.unpack_deployment(json.loads(packed)).destinations) == list(deployment.destinations)
    assert "env:" not in packed  # no reference to a secret either

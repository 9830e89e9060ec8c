"""What lies in deploy/ fits the program: the unit is clean, every metric exists, the container is not root, the SBOM is whole."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from prometheus_client.metrics import MetricWrapperBase

from hub.metrics import Metrics

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
METRIC = re.compile(r"\bxoev_hub_[a-z_]+")
SUFFIXES = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}

sys.path.insert(0, str(DEPLOY))

import sbom  # noqa: E402  # the script that writes it


def metrics() -> dict[str, set[str]]:
    """Return the names that `/metrics` has, each with its labels."""
    groups = list(vars(Metrics()).values())
    every = [*groups, *(one for group in groups if isinstance(group, dict) for one in group.values())]
    return {
        one._name + suffix: {*one._labelnames, *({"le"} if suffix == "_bucket" else ())}
        for one in every
        if isinstance(one, MetricWrapperBase)
        for suffix in SUFFIXES[one._type]
    }


@pytest.mark.parametrize("name", ["rules.yml", "dashboard.json"])
def test_every_metric_that_is_asked_for_exists(name: str) -> None:
    asked = set(METRIC.findall((DEPLOY / "monitoring" / name).read_text("utf-8")))

    assert len(asked) > 8
    assert asked - metrics().keys() == set()


def expressions() -> list[str]:
    rules = yaml.safe_load((DEPLOY / "monitoring" / "rules.yml").read_text("utf-8"))
    panels = json.loads((DEPLOY / "monitoring" / "dashboard.json").read_text("utf-8"))["panels"]
    found = [rule["expr"] for group in rules["groups"] for rule in group["rules"]]
    return found + [target["expr"] for panel in panels for target in panel["targets"]]


def test_labels_that_are_asked_for_exist() -> None:
    known, wrong = metrics(), []
    for expression in expressions():
        assert expression.count("(") == expression.count(")"), expression
        for name, selected in re.findall(r"(xoev_hub_[a-z_]+)\{([^}]*)\}", expression):
            wrong += [
                f"{name}{{{label}}}" for label in re.findall(r"(\w+)\s*=~?", selected) if label not in known[name]
            ]

    assert wrong == []


def test_promtool_finds_nothing_wrong() -> None:
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed")
    rules = DEPLOY / "monitoring" / "rules.yml"
    done = subprocess.run(["promtool", "check", "rules", str(rules)], capture_output=True, text=True, timeout=60)

    assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_of_the_hub_has_a_rule_and_a_runbook() -> None:
    from hub.alerts import rules

    names = re.findall(r"^\| ([a-z_]+) \|", rules.__doc__ or "", re.MULTILINE)[1:]
    page = (ROOT / "docs" / "operating.md").read_text("utf-8")
    german = (ROOT / "docs" / "de" / "betriebshandbuch.md").read_text("utf-8")

    assert len(names) == 8
    assert [name for name in names if f"`{name}`" not in page] == []
    assert [name for name in names if f"`{name}`" not in german] == []


def test_the_unit_is_clean(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    text = (DEPLOY / "systemd" / "xoev-hub.service").read_text("utf-8")
    unit = tmp_path / "xoev-hub.service"
    unit.write_text(text.replace("/opt/xoev-hub/bin/xoev-hub", sys.executable), "utf-8")  # it must be there
    verified = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True, timeout=120
    )
    rated = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=20", "--no-pager", str(unit)],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip

    assert (verified.returncode, verified.stdout + verified.stderr) == (0, "")
    assert rated.returncode == 0, rated.stdout[-500:]


def test_the_container_is_not_root_and_writes_nowhere() -> None:
    dockerfile = (DEPLOY / "container" / "Dockerfile").read_text("utf-8")
    last = dockerfile.split("\nFROM ")[-1]
    compose = yaml.safe_load((DEPLOY / "container" / "compose.yaml").read_text("utf-8"))
    hubs = [compose["services"][name] for name in ("hub-1", "hub-2")]

    assert re.search(r"^USER 10001$", last, re.MULTILINE)
    assert "--require-hashes" in dockerfile
    assert all(hub["read_only"] is True and hub["cap_drop"] == ["ALL"] for hub in hubs)
    assert {"postgres", "rabbitmq", "migrate"} < compose["services"].keys()
    texts = re.findall(
        r"\S*PASS\S*:\s.*|postgresql\+psycopg://.*", (DEPLOY / "container" / "compose.yaml").read_text("utf-8")
    )
    assert len(texts) > 4
    assert [text for text in texts if "${" not in text] == []
    for path in re.findall(r"\.\./\.\./(\S+?):", (DEPLOY / "container" / "compose.yaml").read_text("utf-8")):
        assert path == "meinhub}" or (ROOT / path).exists(), path


def test_the_sbom_names_what_is_locked_with_its_hashes() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    lock = ROOT / "requirements" / "run.txt"
    made = sbom.sbom(lock, project)

    pinned = len(re.findall(r"^[A-Za-z0-9._-]+==", lock.read_text("utf-8"), re.MULTILINE))
    assert len(made["components"]) == pinned > 30
    assert (made["bomFormat"], made["specVersion"]) == ("CycloneDX", "1.6")
    assert re.fullmatch(r"urn:uuid:[0-9a-f-]{36}", made["serialNumber"])
    refs = [one["bom-ref"] for one in made["components"]]
    assert len(set(refs)) == len(refs)
    assert all(one["hashes"] and len(one["hashes"][0]["content"]) == 64 for one in made["components"])
    assert all(re.fullmatch(r"pkg:pypi/[a-z0-9.-]+@\S+", ref) for ref in refs)
    assert made["dependencies"][0]["dependsOn"] == refs
    assert "lxml" in {one["name"] for one in made["components"]}
    assert sbom.sbom(lock, project) == made


def test_the_licence_is_the_official_text() -> None:
    text = (ROOT / "LICENSE").read_text("utf-8")

    assert text.startswith("EUROPEAN UNION PUBLIC LICENCE v. 1.2\nEUPL © the European Union 2007, 2016\n")
    assert [int(one) for one in re.findall(r"^(\d+)\. ?[A-Z]", text, re.MULTILINE)] == list(range(1, 16))
    assert hashlib.sha256("".join(text.split()).encode()).hexdigest() == LICENCE_SHA256


LICENCE_SHA256 = "fd5f5f818c2513007514ce061e79dcdaca59920da090d81368bddc0fa386d6b0"  # of all that is no blank, as the SPDX list has it


def test_publiccode_says_what_it_must() -> None:
    said = yaml.safe_load((ROOT / "publiccode.yml").read_text("utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]

    assert {"publiccodeYmlVersion", "name", "url", "developmentStatus", "softwareType", "platforms", "categories",
            "description", "legal", "maintenance", "localisation"} <= said.keys()  # fmt: skip
    assert (said["name"], said["softwareVersion"]) == (project["name"], project["version"])
    assert said["legal"]["license"] == project["license"]
    for text in said["description"].values():
        assert len(text["shortDescription"]) <= 150
        assert 150 <= len(text["longDescription"]) <= 10_000
        assert text["features"]


def test_the_shell_completes_commands() -> None:
    environment = {"_XOEV_HUB_COMPLETE": "bash_complete", "COMP_WORDS": "xoev-hub destinations ", "COMP_CWORD": "2"}
    done = subprocess.run(
        [sys.executable, "-c", "from hub.cli import main; main()"],
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), **environment}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip

    assert {"plain,list", "plain,probe", "plain,show"} <= set(done.stdout.split())

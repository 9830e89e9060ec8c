"""A provider imports a release while the hub runs, and the hub takes in messages of that standard the same minute."""

from __future__ import annotations

import json
from pathlib import Path

from tests.daemon import Daemon, until
from tests.leinen import Leinen, ags, folder_out, leinen
from tests.releases import message, release, zipped


def test_a_release_is_imported_reloaded_and_served_without_a_restart(tmp_path: Path) -> None:
    document = message().replace("09999001", ags(0)).encode()
    with Daemon(Leinen(tmp_path / "hub", {"nordheim": folder_out("out/nord")})) as hub:
        before = hub.hand_in(document)
        imported = hub.cli("schemas", "import", str(zipped(tmp_path / "xlager.zip", release())))
        hub.deployment.routes["routes"]["lager"] = {
            "match": {"type": "xlager/1.0"}, "checks": ["xsd"], "deliver_to": ["{municipality}/leinen"],
        }  # fmt: skip
        hub.deployment.write()
        between = json.loads(hub.cli("doctor", "--json").stdout)["items"]
        reloaded = hub.cli("reload")
        after = json.loads(hub.cli("doctor", "--json").stdout)["items"]
        good = hub.hand_in(document)
        bad = hub.hand_in(message(menge="drei").replace("09999001", ags(0)).encode())

        assert (before.status_code, before.json()["code"]) == (422, "unknown_type")
        assert imported.returncode == 0, imported.stderr
        assert reloaded.returncode == 0, reloaded.stderr
        (changed,) = [one["text"] for one in between if one["what"] == "changed files"]
        assert "schemas/xoev/xlager/1.0/profile.yaml" in changed
        assert "routes.yaml" in changed
        assert [one for one in after if one["what"] == "changed files"] == []
        assert good.status_code == 202, good.text
        assert (bad.status_code, bad.json()["code"]) == (422, "schema_violation")
        assert hub.hand_in(leinen()).status_code == 202
        until(lambda: len(list((tmp_path / "hub/out/nord").glob("*.xml"))) == 2, "both are delivered")

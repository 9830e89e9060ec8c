"""What `check` says of `on_reject` and `on_accept`: which schemas they need, who signs, what senders get until then."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import hub.config
from hub.files import Files
from hub.xml.office import Office
from hub.xml.registry import Registry
from tests import rejections
from tests.leinen import PROFILE, Leinen, folder_out

BY = {"rejected_by": rejections.OFFICE}
ANSWERED = f"reject_with: {rejections.TYPE}\nreceipt_with: {rejections.RECEIPT}\n"


def found(folder: Path, level: str = "full", may_send: str = "leinen/*", **keys: object) -> tuple[list[str], list[str]]:
    """Return errors and warnings about a source with these keys."""
    deployment = written(folder, level, may_send, **keys)
    problems = hub.config.read(Files(deployment.folder)).problems
    return tuple(
        [one.text for one in problems if one.level == level and one.path.startswith("inbound.online")]
        for level in ("error", "warning")
    )  # type: ignore[return-value]


def written(folder: Path, level: str = "full", may_send: str = "leinen/*", **keys: object) -> Leinen:
    deployment = Leinen(folder, {"nordheim": folder_out("out/nord")})
    deployment.file("schemas/xoev/leinen/1.0/profile.yaml", f"{PROFILE}{ANSWERED}")
    rejections.install(folder, level=level)
    deployment.routes["inbound"]["online"] |= keys
    deployment.routes["senders"] = {name: {"may_send": [may_send]} for name in deployment.routes["senders"]}
    deployment.write()
    return deployment


def test_rejections_of_the_standard_are_configured_by_two_keys(tmp_path: Path) -> None:
    deployment = written(tmp_path, on_reject="both", **BY)

    reading = hub.config.read(Files(deployment.folder))

    assert reading.deployment, reading.problems
    source = reading.deployment.sources["online"]
    assert (source.on_reject, source.rejected_by) == ("both", Office(**rejections.OFFICE))


def test_without_a_word_senders_get_the_problem_document_and_nothing_is_needed(tmp_path: Path) -> None:
    assert found(tmp_path, "header") == ([], [])


def test_the_standards_form_needs_the_full_schema_and_check_says_so(tmp_path: Path) -> None:
    errors, warnings = found(tmp_path, "header", on_reject="standard", **BY)

    assert errors == []
    (text,) = warnings
    assert "`standard` needs the full schema of ablehnung/1" in text
    assert "xoev-hub schemas import" in text
    assert "problem document" in text


def test_somebody_signs_the_rejections(tmp_path: Path) -> None:
    errors, _ = found(tmp_path, on_reject="standard")

    assert errors == ["`standard` needs `rejected_by`: the authority that signs the rejections"]


def test_where_no_standard_has_a_rejection_that_is_said(tmp_path: Path) -> None:
    errors, warnings = found(tmp_path, may_send="antrag/*", on_reject="standard", **BY)

    assert errors == []
    assert warnings == ["no standard that may come here has a rejection of its own: senders get the problem document"]


def test_a_message_of_which_no_profile_says_how_it_is_filled_is_an_error(tmp_path: Path) -> None:
    deployment = written(tmp_path, on_reject="standard", **BY)
    head, _, _ = rejections.PROFILE.partition("answers:")
    deployment.file("schemas/xoev/ablehnung/1/profile.yaml", f"{head}level: full\n")

    problems = hub.config.read(Files(tmp_path)).problems

    texts = [one.text for one in problems if one.level == "error"]
    assert texts == [
        "schemas/xoev/ablehnung/1/profile.yaml does not say under `answers` how rueckweisung.0010 is filled"
    ]


def test_receipts_of_the_standard_are_configured_by_two_keys(tmp_path: Path) -> None:
    deployment = written(tmp_path, on_accept="standard", **BY)

    reading = hub.config.read(Files(deployment.folder))

    assert reading.deployment, reading.problems
    source = reading.deployment.sources["online"]
    assert (source.on_accept, source.on_reject, source.speaks_standard) == ("standard", "problem", True)


def test_a_receipt_needs_the_full_schema_and_somebody_who_signs(tmp_path: Path) -> None:
    errors, warnings = found(tmp_path, "header", on_accept="standard")

    assert errors == ["`standard` needs `rejected_by`: the authority that signs the receipts"]
    (text,) = warnings
    assert "needs the full schema of ablehnung/1 for quittung.1180" in text
    assert "the hub's own receipt" in text


def test_where_no_standard_has_a_receipt_that_is_said(tmp_path: Path) -> None:
    errors, warnings = found(tmp_path, may_send="antrag/*", on_accept="standard", **BY)

    assert errors == []
    assert warnings == ["no standard that may come here has a receipt of its own: senders get the hub's own receipt"]


@pytest.mark.parametrize(
    ("key", "type_", "kinds"),
    [
        ("receipt_with", rejections.TYPE, ("rejection", "receipt")),
        ("reject_with", rejections.RECEIPT, ("receipt", "rejection")),
    ],
    ids=["receipt", "rejection"],
)
def test_a_rejection_is_no_receipt(key: str, type_: str, kinds: tuple[str, str], tmp_path: Path) -> None:
    on = {"receipt_with": "on_accept", "reject_with": "on_reject"}[key]
    deployment = written(tmp_path, **{on: "standard"}, **BY)
    deployment.file("schemas/xoev/leinen/1.0/profile.yaml", f"{PROFILE}{key}: {type_}\n")

    problems = hub.config.read(Files(tmp_path)).problems

    name = type_.rpartition("/")[2]
    texts = [one.text for one in problems if one.level == "error"]
    assert texts == [f"schemas/xoev/ablehnung/1/profile.yaml fills {name} as a {kinds[0]}, not as a {kinds[1]}"]


@pytest.mark.parametrize(
    ("message", "receipt"),
    [
        ("xbau/2.6/baugenehmigung.antrag.0200", True),
        ("xbau-kernmodul/1.3.0/prozessnachrichten.einstellenDokumente.1150", True),
        ("xbau-kernmodul/1.3.0/prozessnachrichten.rueckweisung.G2G.1100", False),
        ("xbau-kernmodul/1.3.0/prozessnachrichten.ruecknahme.1130", False),
        ("xbau-kernmodul/1.3.0/prozessnachrichten.generischeQuittierungEingang.1180", False),
        ("xmeld/25.11a/datenabruf.freieSuche.suchanfrage.1332", False),
    ],
)
def test_the_shipped_profiles_say_which_messages_are_receipted(message: str, receipt: bool, tmp_path: Path) -> None:
    registry, _ = Registry.load(Files(tmp_path))
    standard, version, name = message.split("/")

    found = registry.profiles[standard, version].receipt_of(name)

    assert (found is not None) == receipt
    if found:
        assert registry.profiles[found.standard, found.version].answers[found.name].tells == "receipt"


@pytest.mark.parametrize(
    ("key", "value"),
    [("authority", "niemand"), ("name", "Amt „Mitte“"), ("postal_code", "381"), ("number", "1a"), ("city", "")],
)
def test_what_no_rejection_may_contain_is_refused_where_it_is_written(key: str, value: str, tmp_path: Path) -> None:
    errors, _ = found(tmp_path, on_reject="standard", rejected_by={**rejections.OFFICE, key: value})

    assert len(errors) == 1
    assert json.dumps(value, ensure_ascii=False).strip('"') in errors[0]


@pytest.mark.parametrize(
    ("message", "rejection"),
    [
        ("xmeld/25.11a/datenabruf.freieSuche.suchanfrage.1332", "xmeld/25.11a/administration.returntosender.0910"),
        ("xmeld/25.11a/anmeldung.datenanforderung.0300", "xmeld/25.11a/administration.returntosender.0910"),
        ("xmeld/25.11a/datenuebermittlung.aenderung.1001", "xinneres-rueckweisung/6/rueckweisung.asynchron.0010"),
        ("xbau/2.6/baugenehmigung.antrag.0200", "xbau-kernmodul/1.3.0/prozessnachrichten.rueckweisung.G2G.1100"),
        ("xdomea/3.0.0/Aussonderung.Aussonderung.0503", None),
    ],
)
def test_the_shipped_profiles_say_what_their_messages_are_rejected_with(
    message: str, rejection: str | None, tmp_path: Path
) -> None:
    registry, _ = Registry.load(Files(tmp_path))
    standard, version, name = message.split("/")

    found = registry.profiles[standard, version].rejection_of(name)

    assert (str(found) if found else None) == rejection
    if found:
        assert found.name in registry.profiles[found.standard, found.version].answers

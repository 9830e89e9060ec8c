"""The folder adapters keep the contracts, and what is special about files."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from adapters.folder_in import FolderIn, FolderPoller
from adapters.folder_out import FolderAdapter, FolderOut
from hub.plugin import Context, Deferred, Delivered, Finding, Limits, Poller, Reason, Rejected
from hub.room import Budget
from hub.spool import Spool
from hub.testing import (
    Arrived,
    OutboundContract,
    PollerContract,
    RecordedDesk,
    ScriptedIntake,
    SettableClock,
    make_context,
    outgoing,
    samples,
)


class TestFolderOut(OutboundContract):
    @pytest.fixture
    def adapter(self, context: Context) -> FolderAdapter:
        (context.base / "out").mkdir()
        return FolderAdapter(FolderOut(path="out"), context)

    @pytest.fixture
    def arrived(self, context: Context) -> Arrived:
        return lambda: [(path.stem, path.read_bytes()) for path in (context.base / "out").iterdir()]

    @pytest.fixture
    def unreachable(self, context: Context) -> FolderAdapter:
        return FolderAdapter(FolderOut(path="not-mounted"), context)

    def test_a_folder_that_vanishes_after_open_defers(self, context: Context, adapter: FolderAdapter) -> None:
        adapter.open()
        (context.base / "out").rmdir()

        outcome = adapter.deliver(self.outgoing())

        assert outcome == Deferred(Reason.UNREACHABLE, code="os-enoent")

    def test_the_marker_comes_after_the_file_and_names_it(self, context: Context, adapter: FolderAdapter) -> None:
        marking = FolderAdapter(FolderOut(path="out", name="{message_id}.xml", marker="{name}.ok"), context)

        outcome = marking.deliver(outgoing())

        name = f"{outgoing().message.id}.xml"
        assert outcome == Delivered(receipt=name)
        assert sorted(os.listdir(context.base / "out")) == [name, f"{name}.ok"]

    def test_half_written_leftovers_are_swept_and_nothing_else(self, context: Context, adapter: FolderAdapter) -> None:
        folder = context.base / "out"
        kept = [".hidden.part", "x.part", ".gitignore"]
        for name in [f".{outgoing().delivery_id}.{'0' * 16}.part", *kept]:
            (folder / name).write_bytes(b"<half")

        adapter.open()

        assert sorted(os.listdir(folder)) == sorted(kept)

    def test_a_full_disk_leaves_nothing_behind(self, context: Context, adapter: FolderAdapter) -> None:
        # A folder of the final name makes the rename fail, as a disk does that is full in the end.
        (context.base / "out" / f"{outgoing().delivery_id}.xml").mkdir()

        outcome = adapter.deliver(outgoing())

        assert outcome == Deferred(Reason.UNREACHABLE, code="os-eisdir")
        assert os.listdir(context.base / "out") == [f"{outgoing().delivery_id}.xml"]

    def test_an_id_that_would_leave_the_folder_is_not_written(self, context: Context, adapter: FolderAdapter) -> None:
        outcome = adapter.deliver(outgoing(delivery_id="../../x"))

        assert isinstance(outcome, Deferred)
        assert sorted(os.listdir(context.base)) == ["out"]
        assert os.listdir(context.base / "out") == []

    @pytest.mark.parametrize(
        "settings",
        [
            {"name": "../{delivery_id}.xml"},
            {"name": "a/{delivery_id}.xml"},
            {"name": ".{delivery_id}.xml"},
            {"name": "immer-gleich.xml"},
            {"name": "{sender}.xml"},
            {"marker": "{name}"},
            {"marker": "fertig"},
            {"marker": "/{name}.ok"},
            {"unknown": "x"},
        ],
        ids=str,
    )
    def test_names_that_leave_the_folder_or_collide_are_refused(self, settings: dict[str, str]) -> None:
        with pytest.raises(ValidationError):
            FolderOut.model_validate({"path": "out", **settings})


class TestFolderIn(PollerContract):
    def make(self, context: Context) -> Poller:
        _inbox(context)
        return FolderPoller(FolderIn(path="in"), context)

    def offer(self, context: Context, number: int, body: bytes) -> None:
        (_inbox(context) / f"antrag-{number}.xml").write_bytes(body)
        os.utime(_inbox(context) / f"antrag-{number}.xml", (number, number))

    def left(self, context: Context) -> dict[str, int]:
        inbox = _inbox(context)
        return {
            "waiting": len(list(inbox.glob("*.xml"))),
            "taken": len(list(inbox.glob("done/*.xml"))),
            "rejected": len(list(inbox.glob("rejected/*.xml"))),
        }

    def test_findings_stand_beside_the_file_without_what_people_wrote(self, context: Context) -> None:
        self.offer(context, 1, samples.BODY)
        findings = [Finding("xsd-type", "/a:antrag/a:name", 3, f"{samples.MARKER} is no name")]

        self.poll(self.make(context), ScriptedIntake(Rejected("schema_violation", findings, id="R-1")))

        written = _inbox(context) / "rejected" / "antrag-1.R-1.xml.findings.json"
        assert json.loads(written.read_text()) == {
            "code": "schema_violation",
            "id": "R-1",
            "file": "antrag-1.xml",
            "findings": [{"rule": "xsd-type", "path": "/a:antrag/a:name", "line": 3, "column": 0}],
        }
        assert (written.parent / "antrag-1.R-1.xml").read_bytes() == samples.BODY

    def test_older_files_come_first(self, context: Context) -> None:
        for number in (3, 1, 2):
            self.offer(context, number, samples.BODY)
        intake = ScriptedIntake()

        self.poll(self.make(context), intake)

        references = [incoming.sender_reference for incoming in intake.offered]
        assert references == ["antrag-1.xml", "antrag-2.xml", "antrag-3.xml"]

    def test_a_file_that_was_there_before_is_never_overwritten(self, context: Context) -> None:
        intake, poller = ScriptedIntake(), self.make(context)
        self.offer(context, 1, samples.BODY)
        self.poll(poller, intake)
        (first,) = (_inbox(context) / "done").iterdir()
        second = first.with_name(first.name.replace("000001.xml", "000002.xml"))
        second.write_bytes(b"<other/>")
        self.offer(context, 1, samples.BODY)

        self.poll(poller, intake)

        assert second.read_bytes() == b"<other/>"
        assert sorted(path.name for path in first.parent.iterdir()) == sorted(
            [first.name, second.name, second.name.replace(".xml", "-2.xml")]
        )

    def test_done_files_go_after_their_time_and_rejected_ones_stay(self, tmp_path: Path) -> None:
        clock = SettableClock(datetime.now(UTC))
        context = make_context(tmp_path, clock=clock, sender="antragsportal")
        for number in (1, 2):
            self.offer(context, number, samples.BODY)
        poller = self.make(context)
        self.poll(poller, ScriptedIntake(Rejected("not_well_formed")))
        clock.advance(timedelta(days=6))
        poller.poll(ScriptedIntake().accept)
        before = self.left(context)
        clock.advance(timedelta(days=2))

        poller.poll(ScriptedIntake().accept)

        assert before == {"waiting": 0, "taken": 1, "rejected": 1}
        assert self.left(context) == {"waiting": 0, "taken": 0, "rejected": 1}

    def test_a_file_over_the_limit_is_put_aside_unread(self, tmp_path: Path) -> None:
        desk = RecordedDesk()
        context = make_context(tmp_path, sender="antragsportal", limits=Limits(max_body=100), desk=desk)
        self.offer(context, 1, samples.BODY)
        intake = ScriptedIntake()

        self.poll(self.make(context), intake)

        assert intake.offered == []
        assert desk.counted == [("test", "body_too_large")]
        findings = json.loads((_inbox(context) / "rejected" / "antrag-1.xml.findings.json").read_text())
        assert findings["code"] == "body_too_large"

    def test_a_file_waits_where_it_is_until_there_is_room_for_it(self, tmp_path: Path) -> None:
        budget = Budget(1000, Spool(tmp_path))
        context = make_context(tmp_path, sender="antragsportal", room=budget.of("test"))
        elsewhere, poller = budget.of("elsewhere"), self.make(context)
        assert elsewhere.take(1000)
        self.offer(context, 1, samples.BODY)
        without, with_room = ScriptedIntake(), ScriptedIntake()

        self.poll(poller, without)
        waiting = self.left(context)
        elsewhere.give(1000)
        self.poll(poller, with_room)

        assert (without.offered, waiting) == ([], {"waiting": 1, "taken": 0, "rejected": 0})
        assert len(with_room.offered) == 1
        assert self.left(context) == {"waiting": 0, "taken": 1, "rejected": 0}
        assert budget.in_flight == 0


def _inbox(context: Context) -> Path:
    inbox = context.base / "in"
    inbox.mkdir(exist_ok=True)
    return inbox

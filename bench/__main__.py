"""The command: `python -m bench [--only NAME,…] [--json FILE] [--yardstick DIR] [--seconds S]`."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from bench import explaining, inspecting, listings, messages, peers, subjects
from bench.measuring import Effort, measure, summary
from bench.peers import PEERS, Peer
from bench.report import Report, known
from bench.scenarios import SCENARIOS, Scenario
from bench.sinks import Missing


def main(arguments: list[str] | None = None) -> int:
    """Measure, print the table, write the JSON; 1 if a scenario failed."""
    options = _options(arguments)
    names = [name for name in options.only.replace(",", " ").split() if name]
    try:
        wanted = known({one.name: one for one in SCENARIOS}, names)
    except ValueError as error:
        sys.stderr.write(f"bench: {error}\n")
        return 2
    report, failed = Report(scenarios=wanted), False
    yardstick = _yardstick(options.yardstick, wanted, report)
    others = _peers(yardstick, wanted, report)
    effort = Effort(seconds=options.seconds, rate_seconds=options.seconds * 1.6)
    report.n_before = messages.calibrate()
    for scenario in wanted:
        try:
            if scenario.in_process:
                report.inspected += inspecting.measured()
                continue
            if scenario.explains:
                report.explained += explaining.measured()
                continue
            if scenario.lists:
                report.listed += listings.measured()
                continue
            for found in measure(scenario, effort, yardstick, others):
                report.measured.append(found)
                _say(summary(found))
        except Missing as missing:
            report.skipped[scenario.name] = str(missing)
        except (TimeoutError, RuntimeError) as error:
            failed = True
            report.skipped[scenario.name] = f"FAILED: {error}"
    report.n_after = messages.calibrate()
    sys.stdout.write("\n".join(report.lines()) + "\n")
    if options.json:
        text = json.dumps(report.document(), indent=1, ensure_ascii=False) + "\n"
        Path(options.json).write_text(text, encoding="utf-8")
    return 1 if failed else 0


def _yardstick(asked: str | None, wanted: list[Scenario], report: Report) -> Path | None:
    if not any(one.yardstick for one in wanted):
        return None
    try:
        return subjects.find_yardstick(asked)
    except Missing as missing:
        report.skipped["yardstick"] = str(missing)
        return None


def _peers(yardstick: Path | None, wanted: list[Scenario], report: Report) -> dict[Peer, Path]:
    found: dict[Peer, Path] = {}
    for peer in PEERS if any(one.peers for one in wanted) else ():
        try:
            found[peer] = peers.find(peer, yardstick)
        except Missing as missing:
            report.skipped[peer.name] = str(missing)
    return found


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--only", default="", help="these scenarios, separated by commas")
    parser.add_argument("--json", help="write all figures to this file")
    parser.add_argument("--yardstick", help="the yardstick's folder (XOEV_BENCH_YARDSTICK)")
    parser.add_argument("--seconds", type=float, default=3.0, help="length of each burst")
    return parser.parse_args(arguments)


def _say(line: str) -> None:
    sys.stderr.write(f"  {line}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())

"""What was found, as ratios of one run. Absolute figures are in the JSON: they are this machine's, at this hour."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from bench.explaining import Explained
from bench.inspecting import Inspected
from bench.listings import Listed
from bench.measuring import Measured, as_document
from bench.peers import PEERS
from bench.scenarios import BASE, Scenario

PSS_MB_MAX = 250


@dataclass(frozen=True, slots=True)
class Aim:
    """What is aimed at, against the yardstick in the first scenario."""

    figure: str
    says: str
    limit: float
    at_least: bool = False

    def met(self, value: float) -> bool:
        return value >= self.limit if self.at_least else value <= self.limit


AIMS = (
    Aim("per_second", "throughput", 0.6, at_least=True),
    Aim("cpu_us", "CPU per message", 1.8),
    Aim("receipt_p99", "receipt, p99", 3.0),
)
FIGURES = ("per_second", "cpu_us", "receipt_p50", "receipt_p99", "arrival_p50", "arrival_p99", "pss_mb")
HEAD = (
    "scenario",
    "against",
    "throughput",
    "CPU/msg",
    "receipt p50",
    "p99",
    "arrival p50",
    "p99",
    "PSS",
    "CPU in N",
    "PSS MB",
)


@dataclass(slots=True)
class Report:
    """One run."""

    n_before: float = 0.0
    n_after: float = 0.0
    scenarios: list[Scenario] = field(default_factory=list)
    measured: list[Measured] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    inspected: list[Inspected] = field(default_factory=list)
    explained: list[Explained] = field(default_factory=list)
    listed: list[Listed] = field(default_factory=list)

    def of(self, scenario: str, subject: str) -> list[Measured]:
        return [one for one in self.measured if (one.scenario, one.subject) == (scenario, subject)]

    def ratios(self, scenario: str) -> dict[str, dict[str, float]]:
        """Return against whom, and the hub's figures divided by his; pairs that ran one after the other, if any."""
        hub, base = self.of(scenario, "hub"), self.of(BASE, "hub")
        found = {}
        for name in ("yardstick", *(peer.name for peer in PEERS)):
            other = self.of(scenario, name)
            if len(hub) == len(other) and any(one.per_second for one in other):
                found[name] = _ratios(hub, other)
        if hub and base and scenario != BASE and not found:
            found[BASE] = _ratios(hub[:1], base[:1])
        return found

    def document(self) -> dict[str, Any]:
        """Return everything, for the JSON."""
        return {
            "calibration_us": {"before": round(self.n_before, 1), "after": round(self.n_after, 1)},
            "ratios": {
                one.name: {
                    other: {name: round(value, 3) for name, value in found.items()}
                    for other, found in self.ratios(one.name).items()
                }
                for one in self.scenarios
                if self.ratios(one.name)
            },
            "aims": [{"aim": says, "found": found, "met": met} for says, found, met in self.aims()],
            "measured": [as_document(one) for one in self.measured],
            "inspected": [asdict(one) | {"ratio": round(one.ratio, 3)} for one in self.inspected],
            "explained": [asdict(one) | {"ratio": round(one.ratio, 3)} for one in self.explained],
            "listed": [asdict(one) | {"beyond_ms": round(one.beyond_ms, 1)} for one in self.listed],
            "skipped": self.skipped,
        }

    def aims(self) -> Iterable[tuple[str, str, bool]]:
        """Yield each aim that could be looked at: what it says, what was found, whether it is met."""
        found = self.ratios(BASE).get("yardstick", {})
        for aim in AIMS if found else ():
            value = found[aim.figure]
            sign = "≥" if aim.at_least else "≤"
            yield f"{aim.says} {sign} {aim.limit} of the yardstick's", f"{value:.2f}", aim.met(value)
        pss = [one.pss_mb for one in self.of(BASE, "hub")]
        if pss:
            yield f"memory ≤ {PSS_MB_MAX} MB (PSS)", f"{max(pss):.0f} MB", max(pss) <= PSS_MB_MAX
        for one in self.inspected:
            says = f"inspection of {one.document} ({one.size} bytes) ≤ {one.limit:g} of bare parse and validate"
            yield says, f"{one.ratio:.2f}", one.ratio <= one.limit
        for explained in self.explained:
            says = f"explain of {explained.document} ≤ {explained.limit:g} × --version, beside the compilation"
            found_ms = (
                f"{explained.explain_ms:.0f} ms of CPU, {explained.version_ms:.0f} ms, {explained.compile_ms:.0f} ms"
            )
            yield says, f"{explained.ratio:.2f} ({found_ms})", explained.ratio <= explained.limit

        for listed in self.listed:
            says = f"{listed.listing}: ≤ {listed.limit:g} ms beyond --version"
            yield says, f"{listed.beyond_ms:.0f} ms ({listed.version_ms:.0f} ms)", listed.beyond_ms <= listed.limit

    def lines(self) -> Iterable[str]:
        """Yield the table, and what there is to say about it."""
        yield f"N before {self.n_before:.0f} µs, after {self.n_after:.0f} µs (parse and validate the document of 10 KB)"
        yield from _table([HEAD, *(row for one in self.scenarios for row in self._rows(one))])
        for one in self.scenarios:
            starts = [found.start_seconds for found in self.of(one.name, "hub")] if one.starts_only else []
            if starts:
                pss = statistics.median(found.pss_mb for found in self.of(one.name, "hub"))
                yield f"{one.name}: {statistics.median(starts) * 1000:.0f} ms, {pss:.0f} MB ({one.says})"
        for name, reason in self.skipped.items():
            yield f"{name}: skipped, {reason}"
        latest = {(one.scenario, one.subject): one for one in self.measured if one.notes}  # of several rounds
        yield from (f"{one.scenario}, {one.subject}: {note}" for one in latest.values() for note in one.notes)
        for says, found_, met in self.aims():
            yield f"{'met   ' if met else 'MISSED'} {says}: {found_}"

    def _rows(self, scenario: Scenario) -> Iterable[Sequence[str]]:
        """Yield one row for each with whom the hub is compared; the last two columns are the hub's own."""
        hub = self.of(scenario.name, "hub")
        if not hub or scenario.starts_only:
            return
        in_n = statistics.median(one.cpu_us / one.n_us for one in hub)
        own = [f"{in_n:.1f}", f"{max(one.pss_mb for one in hub):.0f}"]
        found = self.ratios(scenario.name)
        for against, ratios in (found or {"-": {}}).items():
            cells = [f"{ratios[name]:.2f}" if name in ratios else "-" for name in FIGURES]
            yield [scenario.name, against, *cells, *own]
        for peer in PEERS if scenario.peers else ():
            if peer.name not in found:  # the reason stands below the table
                yield [scenario.name, peer.name, "skipped", *("" for _ in HEAD[3:])]


def _ratios(ours: Sequence[Measured], others: Sequence[Measured]) -> dict[str, float]:
    return {name: _ratio(name, ours, others) for name in FIGURES}


def _ratio(name: str, ours: Sequence[Measured], others: Sequence[Measured]) -> float:
    """Return the geometric mean of the pairs' ratios; the neighbour in time is the one to be compared with."""
    pairs = [(getattr(a, name), getattr(b, name)) for a, b in zip(ours, others, strict=True)]
    usable = [a / b for a, b in pairs if a > 0 and b > 0]
    return statistics.geometric_mean(usable) if usable else 0.0


def _table(rows: Sequence[Sequence[str]]) -> Iterable[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD))]
    for row in rows:
        first = [cell.ljust(width) for cell, width in zip(row[:2], widths[:2], strict=True)]
        rest = [cell.rjust(width) for cell, width in zip(row[2:], widths[2:], strict=True)]
        yield "  ".join([*first, *rest]).rstrip()


def known(names: Mapping[str, Scenario], asked: Sequence[str]) -> list[Scenario]:
    """Return the scenarios asked for, all if none is.

    Raises:
        ValueError: There is none of that name.
    """
    wrong = [name for name in asked if name not in names]
    if wrong:
        raise ValueError(f"no scenario {', '.join(wrong)}; there are {', '.join(names)}")
    return [names[name] for name in asked] or list(names.values())

"""What `explain` costs from the command line, in units of `--version`: what any call of the program costs.

Both and the compilation in turn, by CPU time of processes of their own. Run as a program, this file is the compilation:
it prints the seconds that the standards and steps take which the document needs, and nothing else that is done for it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import official
from bench.inspecting import REAL, ROUTES
from bench.messages import ROOT
from bench.processes import as_installed

ROUNDS = 9
EXPLAIN_MAX = 2.0  # times --version, beside the compilation
EXAMPLE = ROOT / "tests/messages/gewerbeanmeldung-wolfsburg.xml"
RELEASES = ("xbau-2.6", "xjustiz-3.6.2", "xmeld-25.11a", "xplanung-5.4", "xwasser-1.0.0")  # of which one is needed


@dataclass(frozen=True, slots=True)
class Explained:
    """One document: CPU milliseconds of both calls, and of compiling what it needs."""

    document: str
    version_ms: float
    explain_ms: float
    compile_ms: float
    limit: float = EXPLAIN_MAX  # what is aimed at

    @property
    def ratio(self) -> float:
        """How many calls of --version it is, beside the compilation."""
        return (self.explain_ms - self.compile_ms) / self.version_ms


def measured() -> Iterator[Explained]:
    """Measure the example, and a real message among official releases where they lie beside the checkout.

    Raises:
        RuntimeError: A call failed.
    """
    yield _explained("the example", ROOT / "routes.yaml", EXAMPLE)
    if not official.CORPUS.is_dir():
        return
    with tempfile.TemporaryDirectory(prefix="bench-explaining-") as name:
        config = Path(name) / "routes.yaml"
        config.write_text(ROUTES.format(type="xmeld", checks="xsd"), encoding="utf-8")
        for release in RELEASES:
            _run(config, "schemas", "import", str(official.CORPUS / release))
        yield _explained(f"a real message, {len(RELEASES)} official releases", config, official.CORPUS / REAL)


def _explained(says: str, config: Path, document: Path) -> Explained:
    rounds = []
    for _ in range(ROUNDS):
        version, _ = _run(config, "--version")
        explain, _ = _run(config, "explain", str(document))
        _, said = _cpu([sys.executable, "-m", "bench.explaining", str(config), str(document)])
        rounds.append(Explained(says, version * 1000, explain * 1000, json.loads(said) * 1000))
    # The round in the middle: the three are neighbours in time, whatever the machine did meanwhile.
    return sorted(rounds, key=lambda one: one.ratio)[ROUNDS // 2]


def _run(config: Path, *arguments: str) -> tuple[float, bytes]:
    return _cpu([sys.executable, "-m", "hub", "-c", str(config), *arguments])


def _cpu(command: Sequence[str]) -> tuple[float, bytes]:
    """Run a command, and return the CPU seconds that it took and what it said."""
    environment = as_installed()
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(command, stdout=output, stderr=errors, env=environment)  # noqa: S603  our own
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            errors.seek(0)
            raise RuntimeError(f"{' '.join(command[2:])}: {errors.read().decode()[-500:]}")
        output.seek(0)
        return used.ru_utime + used.ru_stime, output.read()


def _compile_seconds(config: Path, document: Path) -> float:
    from hub.config import read
    from hub.files import Files
    from hub.snapshot import compile_snapshot
    from hub.xml.registry import Registry

    files, state = Files(config.parent), tempfile.mkdtemp(prefix="bench-explaining-")
    try:
        deployment = read(files, config.name, stage="production").deployment
        started = time.process_time()
        Registry.load(files)
        loaded = time.process_time()
        compile_snapshot(
            files, config.name, stage="production", state_dir=Path(state), deployment=deployment,
            document=document.read_bytes(),
        )  # fmt: skip
        # It reads the standards once more: to read them is no compilation.
        return (time.process_time() - loaded) - (loaded - started)
    finally:
        shutil.rmtree(state)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(sys.argv[1]).parent))
    sys.stdout.write(json.dumps(max(_compile_seconds(Path(sys.argv[1]), Path(sys.argv[2])), 0.0)))

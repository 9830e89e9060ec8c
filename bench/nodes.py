"""What a second and a third node bring on one PostgreSQL: `python -m bench.nodes [--rounds N] [--json FILE]`.

One, two and three hubs take documents in and deliver them to one folder, in turn; all live the whole time, and the load
moves. Throughput says little where generator, hubs and server share few cores: so CPU per message is told apart for
hubs and server, with the cores there were.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench import processes
from bench.load import Load, Order
from bench.messages import ROOT
from bench.sinks import Folder
from bench.subjects import Subject, start_hub
from tests.postgres import Server

NODES = 3
SECONDS = 4.0


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.nodes", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    figures: dict[int, list[dict[str, float]]] = {count: [] for count in range(1, NODES + 1)}
    with ExitStack() as undo, tempfile.TemporaryDirectory(prefix="xoev-hub-bench-") as name:
        server = undo.enter_context(Server())  # of its own: its processes are counted
        url = server.url()
        sink = Folder(Path(name) / "out")
        hubs: list[Subject] = []
        for number in range(NODES):
            folder = Path(name) / f"node-{number}"
            folder.mkdir()
            hubs.append(start_hub(folder, sink, workers=1, store=url, environment={}))
            undo.callback(hubs[-1].end)
        _round(hubs, server, sink)
        for _ in range(options.rounds):
            for count, found in figures.items():
                found.append(_round(hubs[:count], server, sink))
    best = {count: max(found, key=lambda one: one["messages a second"]) for count, found in figures.items()}
    result: dict[str, Any] = {"cores": os.cpu_count(), "nodes": best}
    for count, one in best.items():
        sys.stdout.write(
            f"{count} node(s): " + ", ".join(f"{what} {figure:.0f}" for what, figure in one.items()) + "\n"
        )
    sys.stdout.write(
        f"with {os.cpu_count()} cores for generator, hubs and server; load average {os.getloadavg()[0]:.1f}\n"
    )
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return 0


def _round(hubs: list[Subject], postgres: Server, sink: Folder) -> dict[str, float]:
    sink.clear()
    used = [processes.cpu_seconds(hub.process.pid) for hub in hubs]
    server, began = _server_seconds(postgres), time.monotonic()
    with ThreadPoolExecutor(len(hubs)) as threads:
        loads = list(threads.map(_load, hubs))
    accepted = sum(load.accepted for load in loads)
    processes.until(lambda: sink.count() >= accepted, "all have arrived", 120)
    took = time.monotonic() - began
    cpu = sum(processes.cpu_seconds(hub.process.pid) - before for hub, before in zip(hubs, used, strict=True))
    receipts = sorted(receipt for load in loads for receipt in load.receipts)
    return {
        "messages a second": accepted / took,
        "hub CPU us": cpu / accepted * 1e6,
        "server CPU us": (_server_seconds(postgres) - server) / accepted * 1e6,
        "receipt p99 ms": receipts[int(len(receipts) * 0.99)] * 1000,
    }


def _load(hub: Subject) -> Load:
    order = Order(hub.port, hub.path, hub.token, connections=8, seconds=SECONDS, count=3000)
    done = subprocess.run(
        [sys.executable, "-m", "bench.load"], cwd=ROOT, input=json.dumps(asdict(order)).encode(), capture_output=True,
        check=True, timeout=SECONDS + 120,
    )  # fmt: skip
    return Load(**json.loads(done.stdout))


def _server_seconds(server: Server) -> float:
    """Return the CPU time of the whole server, with that of the processes that have ended."""
    return processes.cpu_seconds(server.pid)


if __name__ == "__main__":
    sys.exit(main())

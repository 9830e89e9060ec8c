"""A wall clock of one program that a test can set, back and forth, while the program runs.

clock = ShiftedClock(folder)
Daemon(deployment, **clock.environment)
clock.shift(-86_400)        # from now on it is yesterday; monotonic clocks go on
"""

from __future__ import annotations

import shutil
import struct
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.servers import missing


class ShiftedClock:
    """Needs a C compiler: without one the test is skipped, and fails in CI."""

    def __init__(self, folder: Path) -> None:
        compiler = shutil.which("cc")
        if compiler is None or not sys.platform.startswith("linux"):
            missing("a clock can be shifted with a C compiler, on Linux")
        folder.mkdir(parents=True, exist_ok=True)
        self._library, self._offset = folder / "clock.so", folder / "offset"
        source = Path(__file__).with_name("clock.c")
        command = [compiler, "-shared", "-fPIC", "-O2", "-o", str(self._library), str(source), "-ldl"]
        subprocess.run(command, check=True, capture_output=True)
        self._offset.write_bytes(struct.pack("=q", 0))

    @property
    def environment(self) -> Mapping[str, str]:
        """What a program is started with."""
        return {"LD_PRELOAD": str(self._library), "SHIFTED_CLOCK": str(self._offset)}

    def shift(self, seconds: int) -> None:
        """Let it be so many seconds later than it is, at once, in all processes."""
        with self._offset.open("r+b") as file:
            file.write(struct.pack("=q", seconds))

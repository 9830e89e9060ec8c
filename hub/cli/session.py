"""One call of the program: where its deployment lies, and what was opened for it."""

from __future__ import annotations

import gc
import getpass
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from hub.cli.common import now, printable
from hub.errors import ConfigError, Problem, StoreBusy, StoreError, Unavailable
from hub.files import Files

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hub.config.process import ProcessSettings
    from hub.deployment import Deployment, Route
    from hub.inspection import Snapshot
    from hub.service import Hub
    from hub.snapshot import Compiled
    from hub.store.api import Store
    from hub.store.reading import Reader

NO_CONFIG = "there is no such file; name it with -c, or make one: xoev-hub init DIR"


class Session:
    """One call of the program: the deployment it speaks of, and what is opened for it."""

    def __init__(self, config: Path) -> None:
        self.config = Path(os.path.abspath(config))  # noqa: PTH100  # resolve() would follow links out of the folder
        self._files = Files(self.base)
        self._store: Store | None = None
        self._reader: Reader | None = None

    @property
    def base(self) -> Path:
        return self.config.parent

    @cached_property
    def settings(self) -> ProcessSettings:
        from hub.config.process import load_process

        return load_process(self.base)

    def compile(self, document: bytes | None = None) -> Compiled:
        """Compile the snapshot in this process; for one ``document`` only the standards that it may be of."""
        if not self.config.is_file():
            raise ConfigError([Problem(str(self.config), 0, 0, "", NO_CONFIG)])
        if str(self.base) not in sys.path:
            sys.path.insert(0, str(self.base))  # steps may live beside routes.yaml
        with nullcontext() if document is None else _without_collecting():
            from hub.snapshot import compile_snapshot

            stage, state_dir = self.settings.stage, self.settings.state_dir
            return compile_snapshot(self._files, self.config.name, stage=stage, state_dir=state_dir, document=document)

    def strange_variables(self) -> tuple[Problem, ...]:
        """Return a warning for each variable of the environment that looks like a setting and that nothing reads."""
        from hub.config.process import strange_variables

        return strange_variables(os.environ, self._files.contents.values())

    def deployment(self) -> Deployment:
        """Return what routes.yaml says, without compiling schemas and steps; adapters prove nothing.

        Raises:
            ConfigError: It cannot be used.
        """
        with _without_collecting():
            from hub.config import load

            return load(self.config, stage=self.settings.stage, thorough=False)

    def routes(self) -> tuple[Route, ...]:
        """Return the routes alone, in the order in which they are tried.

        Raises:
            ConfigError: They cannot be used.
        """
        with _without_collecting():
            from hub.config import load_routes

            return load_routes(self.config)

    def snapshot(self, document: bytes | None = None) -> Snapshot:
        """Return the compiled snapshot; for one ``document``, as far as that needs it.

        Raises:
            ConfigError: It cannot be compiled.
        """
        compiled = self.compile(document)
        if compiled.snapshot is None:
            raise ConfigError(compiled.errors)
        return compiled.snapshot

    def open_store(self, mode: Literal["daemon", "cli"] = "cli") -> Store:
        """Return the store; it is closed when the command ends.

        Raises:
            Unavailable: It is not there, or cannot be used.
            StoreBusy: A daemon has it; only where ``mode`` asks to be one.
            PermissionError: It belongs to somebody else.
        """
        from hub import log
        from hub.store import open_store

        log.configure(level="WARNING")  # what was done, the command says itself
        settings = self.settings
        _refuse_foreign(settings.store)
        try:
            self._store = open_store(settings.store, state_dir=settings.state_dir, mode=mode)
        except StoreBusy:
            raise
        except StoreError as error:
            raise Unavailable(str(error)) from error
        return self._store

    def keep_snapshot(self, store: Store, snapshot: Snapshot) -> None:
        """Keep the files that a snapshot was compiled from: messages planned with it refer to them."""
        from hub.versions import versions

        store.keep_snapshot(snapshot.digest, self._files.contents, versions(), now())

    def changed_since(self, kept: Mapping[str, bytes]) -> list[str]:
        """Return the files that are not as they were in a snapshot, or are new to what was compiled here."""
        read = self._files.contents
        changed = [name for name, body in kept.items() if _on_disk(self._files, name) != body]
        return sorted({*changed, *(name for name in read if name not in kept)})

    def reader(self) -> Reader:
        """Return what reads the existing store for listings.

        Raises:
            Unavailable: It is not there, or cannot be used.
            PermissionError: It belongs to somebody else.
        """
        if self._reader is None:
            with _without_collecting():
                self._reader = self._open_reader()
        return self._reader

    def _open_reader(self) -> Reader:
        from hub.store.reading import open_reader

        settings = self.settings
        _refuse_foreign(settings.store)
        try:
            return open_reader(settings.store, state_dir=settings.state_dir, clock=now)
        except StoreError as error:
            raise Unavailable(str(error)) from error

    def hub(self) -> Hub:
        """Return the service over the existing store."""
        from hub.service import Hub

        return Hub(self.open_store(), now, actor=actor(), via="cli")

    def close(self) -> None:
        """Give back what was opened."""
        for one in (self._store, self._reader):
            if one is not None:
                one.close()


@contextmanager
def _without_collecting() -> Iterator[None]:
    """Let the collector rest: what is loaded now lives on, and looking through it costs a seventh of the time."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def _on_disk(files: Files, name: str) -> bytes | None:
    try:
        return files.read(name)
    except OSError:
        return None


def _refuse_foreign(url: str) -> None:
    """Tell a store that may not be read from one that is not there.

    Raises:
        PermissionError: Naming the file, or the folder above it.
    """
    _, is_file, name = url.partition("sqlite:///")
    for place, needed in ((Path(name).parent, os.R_OK | os.X_OK), (Path(name), os.R_OK | os.W_OK)):
        if is_file and place.exists() and not os.access(place, needed):
            raise PermissionError(13, "not permitted", str(place))


def actor() -> str:
    """Return who is at the keyboard: the Unix user, or the one behind sudo."""
    try:
        return printable(os.environ.get("SUDO_USER") or getpass.getuser())[:100]
    except (KeyError, OSError):
        return f"uid {os.getuid()}"

"""A decision of the past, repeated: by the files that the store kept, in a worker process of its own.

Nothing of today's disk takes part: the workers get the kept bytes, and their folder is empty. What cannot be repeated
is said, with the reason, and never guessed.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import hub.config
from hub.deployment import Deployment
from hub.errors import ConfigError, StoreError, Unavailable
from hub.files import Files
from hub.inspection import Plan, Rejection
from hub.message import Incoming
from hub.pool import Order, Pool
from hub.store.api import Store
from hub.versions import versions

NO_SNAPSHOT = "no snapshot took part: the document was refused before one was asked"


@dataclass(frozen=True, slots=True)
class Repetition:
    """What a kept snapshot makes of a document today.

    ``result`` and ``deployment`` are ``None`` where it could not be repeated, and ``obstacle`` says why. ``others``
    names the programs that are not those of then, with their versions then and now (``None``: not there): files alone
    do not decide, so a repetition with others may differ.
    """

    result: Plan | Rejection | None = None
    deployment: Deployment | None = field(default=None, repr=False)
    obstacle: str = ""
    others: Mapping[str, tuple[str | None, str | None]] = field(default_factory=dict)


def repeat(incoming: Incoming, digest: str, store: Store, *, main: str, stage: str, state_dir: Path) -> Repetition:
    """Inspect a document once more by the snapshot ``digest``.

    ``main`` is the name of routes.yaml; ``stage`` is the process's of today, for no snapshot holds it. Bindings of
    target schemas are taken from ``state_dir``, or written there.
    """
    if not digest:
        return Repetition(obstacle=NO_SNAPSHOT)
    try:
        files = store.snapshot(digest)
    except StoreError as error:
        return Repetition(obstacle=str(error))
    if files is None:
        return Repetition(obstacle=f"the files of snapshot {digest[:12]} were not kept")
    if main not in files:
        return Repetition(obstacle=f"snapshot {digest[:12]} has no {main}: name the file of then with -c")
    others = _others(store.snapshot_versions(digest) or {})
    with tempfile.TemporaryDirectory(prefix="xoev-hub-") as empty:
        try:
            deployment = hub.config.load(
                Path(empty, main), files=Files.frozen(Path(empty), files), stage=stage, thorough=False
            )
            order = Order(Path(empty), main, stage, state_dir, files=files, deployment=deployment)
            result = _inspect(incoming, order)
        except ConfigError as error:
            first = error.problems[0]
            text = f"today's program refuses the configuration of then: {first.file}:{first.line}: {first.text}"
            return Repetition(obstacle=text, others=others)
        except Unavailable as error:
            return Repetition(obstacle=str(error), others=others)
    return Repetition(result, deployment, others=others)


def kept_deployment(digest: str, store: Store, *, main: str, stage: str) -> Deployment:
    """Return the configuration of a kept snapshot, without compiling anything.

    Raises:
        StoreError: It was not kept, or is damaged.
        ConfigError: Today's program refuses it.
    """
    files = store.snapshot(digest) if digest else None
    if files is None or main not in files:
        raise StoreError(NO_SNAPSHOT if not digest else f"the files of snapshot {digest[:12]} were not kept")
    with tempfile.TemporaryDirectory(prefix="xoev-hub-") as empty:
        return hub.config.load(Path(empty, main), files=Files.frozen(Path(empty), files), stage=stage, thorough=False)


def _inspect(incoming: Incoming, order: Order) -> Plan | Rejection:
    pool = Pool(order)
    try:
        return pool.inspect(incoming)
    finally:
        pool.close()


def _others(then: Mapping[str, str]) -> Mapping[str, tuple[str | None, str | None]]:
    now = versions()
    names = sorted({*then, *now})
    return {name: (then.get(name), now.get(name)) for name in names if then.get(name) != now.get(name)}

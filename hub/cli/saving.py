"""``backup`` and ``restore``: the store of one machine, with all that is needed to go on elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from hub.cli.common import FAILED, OK, json_option, now, printable, put_json, say
from hub.cli.session import Session, actor

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hub.store.api import Store

SCHEMAS = "schemas"
SETTINGS = "hub.toml"


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@json_option
@click.pass_obj
def backup(session: Session, folder: Path, as_json: bool) -> None:
    """Copy the store into a new FOLDER, also while the hub runs: tables, payload files, key, configuration, schemas.

    Secrets are not in it; keep them elsewhere. Exit code 1 if payload files are gone or damaged: the rest is there.
    """
    from hub.store.api import Audit
    from hub.store.backup import back_up

    settings = session.settings
    store = session.open_store()  # it says what is wrong where there is none, or it is of another version
    saved = back_up(settings.store, settings.state_dir, folder.absolute(), dict(_deployment(session, store)))
    result = f"{saved.messages} messages, {saved.files} files, {len(saved.damaged)} damaged"
    store.audit(Audit(now(), actor(), "cli", "backup", printable(folder.absolute()), "", result))
    if as_json:
        put_json({"api": 1, "folder": str(folder.absolute()), "messages": saved.messages, "files": saved.files,
                  "size": saved.size_bytes, "damaged": list(saved.damaged)})  # fmt: skip
    say(f"{folder}: {saved.messages} messages, {saved.files} files, {saved.size_bytes / 1e6:.1f} MB")
    for id_ in saved.damaged:
        say(f"payload {id_}: its file is gone or damaged, in the store as in the backup")
    raise click.exceptions.Exit(FAILED if saved.damaged else OK)


def _deployment(session: Session, store: Store) -> Iterator[tuple[str, bytes]]:
    """Yield what the hub was last given to serve, by name: as it was read, whatever is on disk now."""
    from hub.files import SHIPPED

    for name, content in _served(session, store).items():
        if not name.startswith((SHIPPED, "/", "..")):
            yield name, content
    beside = [one for one in sorted((session.base / SCHEMAS).rglob("*")) if one.is_file() and one.name != ".lock"]
    for file in [*beside, session.base / SETTINGS]:
        if file.is_file():
            yield str(file.relative_to(session.base)), file.read_bytes()


def _served(session: Session, store: Store) -> Mapping[str, bytes]:
    from hub.daemon.control import ask

    try:
        digest = str(ask(session.settings.state_dir, {"do": "snapshot"}).get("snapshot"))
    except OSError:
        digest = store.newest_snapshot() or ""  # nothing runs here
    return store.snapshot(digest) or {}


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.pass_obj
def restore(session: Session, folder: Path) -> None:
    """Bring a backup back from FOLDER into an empty state folder. Nothing is ever overwritten.

    Files of the deployment are brought back where they are missing. What was being sent at the time of the backup is
    settled as unclear at the next start; what was delivered since goes out again, under the same delivery id.
    """
    from hub.store.api import Audit
    from hub.store.backup import bring_back, check_backup, deployment_of

    check_backup(folder)
    deployment = deployment_of(folder)
    if SETTINGS in deployment:  # it says where the store is to be
        _put(session.base / SETTINGS, deployment[SETTINGS])
    settings = session.settings
    bring_back(folder, settings.store, settings.state_dir)
    put = [name for name, content in deployment.items() if _put(session.base / name, content)]
    store = session.open_store("daemon")  # migrates what an older program has made
    store.check()
    store.audit(Audit(now(), actor(), "cli", "restore", printable(folder.absolute()), "", "done"))
    if put:
        say(f"{len(put)} files of the deployment were missing and are back")
    say("restored; look at it with `xoev-hub doctor`, bring back the secrets, then start: xoev-hub run")


def _put(file: Path, content: bytes) -> bool:
    """Write a file if it is missing; return whether it was."""
    if file.exists():
        return False
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return True

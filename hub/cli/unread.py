"""Which files are not as the running hub has read them: it goes on with what it has read until a reload."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hub.cli.session import Session
from hub.errors import ConfigError

if TYPE_CHECKING:
    from hub.store.api import Store

NAMED_MAX = 10


def unread(session: Session, store: Store) -> str:
    """Return the names of such files for a sentence; nothing where there are none, or no hub runs here.

    The session has compiled what lies on the disk.
    """
    from hub.daemon.control import ask

    try:
        answer = ask(session.settings.state_dir, {"do": "snapshot"})
    except (OSError, ConfigError):
        return ""  # the next start reads what is there
    kept = store.snapshot(str(answer.get("snapshot")))
    changed = session.changed_since(kept) if kept is not None else []
    more = f" and {len(changed) - NAMED_MAX} more" if len(changed) > NAMED_MAX else ""
    return f"{', '.join(changed[:NAMED_MAX])}{more}"

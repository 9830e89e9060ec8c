"""Messages as files: one adapter takes them from a folder, the other puts them into one."""

from __future__ import annotations

from adapters.folder_in import FolderIn, FolderPoller
from adapters.folder_out import FolderAdapter, FolderOut
from hub.plugin import Adapter

ADAPTER = Adapter(
    name="folder",
    settings=FolderOut,
    outbound=FolderAdapter,
    placeholders=frozenset({"delivery_id", "message_id", "name"}),
)
ADAPTER_IN = Adapter(name="folder", settings=FolderIn, poller=FolderPoller)

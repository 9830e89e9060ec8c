"""What is to be sent is read several at a time: all of it, in its order, and damage in its own place."""

from __future__ import annotations

from hub.errors import StoreError
from hub.store.sql import SqlStore
from tests.storing import GEWERBE, LEASE, NOW, acceptance


def test_several_are_read_at_once_in_their_order(store: SqlStore) -> None:
    for number in range(5):
        store.accept(acceptance(f"m-{number}", body=b"<antrag%d/>" % number))
    claimed = store.claim(GEWERBE, now=NOW, limit=5, owner="node-1", lease=LEASE)

    found = store.load_all(claimed)

    assert len(found) == 5
    for one, loaded in zip(claimed, found, strict=True):
        assert not isinstance(loaded, StoreError)
        message, payload = loaded
        assert (message.id, payload.id) == (one.message_id, one.payload_id)
    assert [payload.body for _, payload in found] == [b"<antrag%d/>" % number for number in range(5)]  # type: ignore[misc]

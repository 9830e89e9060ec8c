"""Of a destination that is blocked or failing one delivery at a time is given out, as a probe, whoever asks."""

from __future__ import annotations

from datetime import timedelta

import pytest

from hub.delivery import PROBE, EventKind
from hub.store.api import PROBE_EVERY, Control
from hub.store.sql import SqlStore
from hub.store.taking import Accepted, Taking
from tests.storing import GEWERBE, LEASE, NOW, SECOND, acceptance, settle

MINUTE = timedelta(minutes=1)


def blocked(store: SqlStore, kind: str = "blocked", until: timedelta = MINUTE) -> None:
    store.hold(Control(GEWERBE, kind, "peer_tls", NOW, "hub", until=NOW + until))


def claimed(store: SqlStore, at: timedelta, limit: int = 10) -> list[str]:
    """Claim as a destination's threads do, and return the codes of the claims."""
    found = store.claim(GEWERBE, now=NOW + at, limit=limit, owner="node", lease=LEASE)
    return [one.code for one in found]


@pytest.mark.parametrize("kind", ["blocked", "failing"])
def test_one_probe_at_a_time_and_none_before_its_time(store: SqlStore, kind: str) -> None:
    for _ in range(5):
        store.accept(acceptance())
    blocked(store, kind)

    assert claimed(store, 59 * SECOND) == []
    assert list(store.due(NOW + 59 * SECOND)) == []
    assert store.next_due(NOW + 59 * SECOND) == NOW + MINUTE
    assert list(store.due(NOW + MINUTE)) == [GEWERBE]
    assert claimed(store, MINUTE) == [PROBE]
    assert claimed(store, MINUTE) == []
    assert list(store.due(NOW + MINUTE)) == []


def test_several_nodes_that_ask_at_once_get_one_probe(nodes: list[SqlStore]) -> None:
    for _ in range(5):
        nodes[0].accept(acceptance())
    blocked(nodes[0])

    found = [code for node in nodes for code in claimed(node, MINUTE)]

    assert found == [PROBE]


def test_a_probe_of_which_nobody_hears_is_made_again(store: SqlStore) -> None:
    for _ in range(2):
        store.accept(acceptance())
    blocked(store)

    assert claimed(store, MINUTE) == [PROBE]
    assert claimed(store, MINUTE + PROBE_EVERY - SECOND) == []
    assert claimed(store, MINUTE + PROBE_EVERY) == [PROBE]


def test_the_timeline_says_which_attempt_was_a_probe(store: SqlStore) -> None:
    store.accept(acceptance())
    blocked(store)

    (probe,) = store.claim(GEWERBE, now=NOW + MINUTE, limit=5, owner="node", lease=LEASE)

    assert [(one.kind, one.code) for one in store.events(probe.id)] == [(EventKind.CLAIMED, PROBE)]


def test_it_is_held_back_until_it_is_released_though_its_probe_is_due(store: SqlStore) -> None:
    store.accept(acceptance())
    blocked(store)

    assert [one.kind for one in store.controls(NOW + 2 * MINUTE)] == ["blocked"]
    assert [one.reason for one in store.controls(NOW + 2 * MINUTE)] == ["peer_tls"]

    assert store.release(GEWERBE, by="hub", now=NOW + 2 * MINUTE, kind="blocked")
    assert not store.controls(NOW + 2 * MINUTE)
    assert claimed(store, 2 * MINUTE) == [""]


def test_a_new_message_is_never_the_probe_of_its_own_acceptance(store: SqlStore) -> None:
    blocked(store)
    at = NOW + 2 * MINUTE

    (accepted,) = store.accept_all(
        [(acceptance(received_at=at, due_at=at), Taking(frozenset({GEWERBE}), "n", LEASE, at))]
    )

    assert isinstance(accepted, Accepted)
    assert accepted.claimed == ()


def test_a_paused_destination_is_not_probed(store: SqlStore) -> None:
    store.accept(acceptance())
    blocked(store)
    store.hold(Control(GEWERBE, "paused", "Wartung", NOW, "op"))

    assert claimed(store, 2 * MINUTE) == []


def test_resume_ends_what_a_person_may_end_and_not_the_hours(store: SqlStore) -> None:
    blocked(store)
    blocked(store, "failing")
    store.hold(Control(GEWERBE, "paused", "Wartung", NOW, "op"))
    store.hold(Control(GEWERBE, "closed", "hours", NOW, "hub", until=NOW + 2 * MINUTE))

    assert store.release(GEWERBE, by="op", now=NOW + SECOND)

    assert [one.kind for one in store.controls(NOW + SECOND)] == ["closed"]
    assert not store.controls(NOW + 2 * MINUTE)


def test_the_time_of_a_failing_destination_counts_and_that_of_the_others_does_not(store: SqlStore) -> None:
    blocked(store, "failing", 10 * MINUTE)
    assert store.held(GEWERBE, NOW, NOW + 3 * MINUTE) == timedelta(0)

    store.hold(Control(GEWERBE, "closed", "hours", NOW + MINUTE, "hub", until=NOW + 2 * MINUTE))
    assert store.held(GEWERBE, NOW, NOW + 3 * MINUTE) == MINUTE

    blocked(store)
    store.release(GEWERBE, by="hub", now=NOW + 4 * MINUTE)
    assert store.held(GEWERBE, NOW, NOW + 9 * MINUTE) == 4 * MINUTE


def test_what_waits_is_shown_with_what_holds_it_back_first(store: SqlStore) -> None:
    receipt = store.accept(acceptance())

    def shown() -> str:
        record = store.message(receipt.message_id)
        assert record is not None
        return record.deliveries[0].reason

    store.hold(Control(GEWERBE, "failing", "unreachable", NOW, "hub", until=NOW + MINUTE))
    assert shown() == "unreachable"
    store.hold(Control(GEWERBE, "closed", "hours", NOW, "hub", until=NOW + MINUTE))
    assert shown() == "closed_hours"
    store.hold(Control(GEWERBE, "paused", "Wartung", NOW, "op"))
    assert shown() == "paused"
    blocked(store)
    assert shown() == "peer_tls"


def test_a_probe_that_comes_back_leaves_the_others_alone(store: SqlStore) -> None:
    for _ in range(3):
        store.accept(acceptance())
    blocked(store)
    (probe,) = store.claim(GEWERBE, now=NOW + MINUTE, limit=5, owner="node", lease=LEASE)
    settle(store, probe, EventKind.DEFERRED, at=NOW + MINUTE, reason="peer_tls")
    blocked(store, until=2 * MINUTE)

    assert claimed(store, 2 * MINUTE - SECOND) == []
    assert claimed(store, 2 * MINUTE) == [PROBE]

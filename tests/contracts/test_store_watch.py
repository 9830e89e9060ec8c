"""Alerts are told once to each channel, whatever restarts and whoever else looks; facts are what the rows say."""

from __future__ import annotations

from datetime import timedelta

from hub.delivery import EventKind
from hub.store.sql import SqlStore
from hub.store.watch_api import Alert, Handed, Seen
from tests.storing import GEWERBE, NOW, Place, acceptance, claim_one, rejection, settle

MINUTE = timedelta(minutes=1)
BLOCKED = Alert("blocked", GEWERBE, "wolfsburg/gewerbe is blocked: peer_tls", "mend it")
CHANNELS = ("mail", "webhook")


def whats(store: SqlStore, channel: str = "mail") -> list[tuple[str, str]]:
    return [(one.what, one.alert.object) for one in store.watch.notices(channel)]


def test_an_alert_is_told_once_to_each_channel(store: SqlStore) -> None:
    assert store.watch.change([BLOCKED], [], CHANNELS) == 1
    assert store.watch.change([BLOCKED], [], CHANNELS) == 0

    for channel in CHANNELS:
        notices = store.watch.notices(channel)
        assert [(one.what, one.alert) for one in notices] == [("raised", BLOCKED)]
        store.watch.told(notices)
        assert whats(store, channel) == []
    assert [one.alert for one in store.watch.standing()] == [BLOCKED]


def test_it_is_told_when_it_is_over_and_may_be_raised_anew(store: SqlStore) -> None:
    store.watch.change([BLOCKED], [], ["mail"])
    assert store.watch.change([], [BLOCKED], ["mail"]) == 1
    assert store.watch.change([], [BLOCKED], ["mail"]) == 0
    assert not store.watch.standing()
    store.watch.change([BLOCKED], [], ["mail"])

    assert [what for what, _ in whats(store)] == ["raised", "cleared", "raised"]


def test_worse_is_told_once_more_and_better_is_not(store: SqlStore) -> None:
    for level in (30, 60, 60, 14):
        store.watch.change([Alert("certificate", "a/b", "läuft ab", "", level)], [], ["mail"])

    assert [(one.what, one.alert.level) for one in store.watch.notices("mail")] == [("raised", 60), ("worse", 60)]


def test_a_restart_repeats_nothing_and_forgets_nothing(place: Place) -> None:
    store = place.open()
    store.watch.change([BLOCKED], [], CHANNELS)
    store.watch.told(store.watch.notices("mail"))
    store.close()

    store = place.open()
    assert store.watch.change([BLOCKED], [], CHANNELS) == 0
    assert whats(store, "mail") == []
    assert whats(store, "webhook") == [("raised", GEWERBE)]
    store.close()


def test_of_several_nodes_one_tells_and_another_after_it_has_died(nodes: list[SqlStore], place: Place) -> None:
    nodes[0].watch.change([BLOCKED], [], ["mail"])

    assert [len(node.watch.notices("mail")) for node in nodes] == [1, 0, 0]
    place.clock.now += MINUTE
    assert [len(node.watch.notices("mail")) for node in reversed(nodes)] == [1, 0, 0]


def test_what_could_not_be_told_is_tried_again_and_seen(store: SqlStore, place: Place) -> None:
    store.watch.change([BLOCKED], [], ["mail"])
    store.watch.untold(store.watch.notices("mail"), "ConnectionRefusedError", NOW + 5 * MINUTE)

    assert whats(store) == []
    assert [(one.channel, one.failure, one.tries) for one in store.watch.mute()] == [
        ("mail", "ConnectionRefusedError", 1)
    ]
    place.clock.now += 5 * MINUTE
    notices = store.watch.notices("mail")
    assert [one.tries for one in notices] == [2]
    store.watch.told(notices)
    assert not store.watch.mute()


def test_a_channel_that_is_gone_is_waited_for_no_longer(store: SqlStore, place: Place) -> None:
    store.watch.change([BLOCKED], [], CHANNELS)
    store.watch.untold(store.watch.notices("mail"), "Timeout", NOW)

    store.watch.forget(["webhook"], NOW - MINUTE)

    assert not store.watch.mute()
    assert whats(store, "mail") == []
    assert whats(store, "webhook") == [("raised", GEWERBE)]


def test_the_dead_are_counted_by_cause(store: SqlStore) -> None:
    for destination in ("a/x", "b/x", "b/x"):
        store.accept(acceptance(destinations=(destination,), dead="transform_failed"))
    store.accept(acceptance(dead="no_route"))
    store.accept(acceptance())

    assert store.watch.dead() == {
        ("a/x", "transform_failed", ""): 1, ("b/x", "transform_failed", ""): 2, (GEWERBE, "no_route", ""): 1,
    }  # fmt: skip


def test_the_oldest_that_waits_for_each_destination(store: SqlStore) -> None:
    for minute in range(3):
        store.accept(acceptance(received_at=NOW + minute * MINUTE, destinations=("a/x", "b/x")))
    first = claim_one(store, "a/x")
    settle(store, first, EventKind.DELIVERED)

    assert store.watch.oldest_waiting() == {"a/x": NOW + MINUTE, "b/x": NOW}


def test_what_senders_have_handed_in(store: SqlStore) -> None:
    for minute, sender in enumerate(("portal", "portal", "amt")):
        store.accept(acceptance(sender=sender, received_at=NOW + minute * MINUTE))
    store.reject(rejection(received_at=NOW + MINUTE))

    assert store.watch.handed_in(NOW, NOW + 2 * MINUTE) == {"portal": Handed(2, 0), "bauportal": Handed(0, 1)}
    assert store.watch.last_handed_in("portal") == NOW + MINUTE
    assert store.watch.last_handed_in("niemand") is None


def test_the_certificate_that_was_seen_last_counts(store: SqlStore) -> None:
    seen = [Seen("a/x", NOW + days * 1440 * MINUTE, str(days), NOW) for days in (1, 400)]
    for one in (*seen, Seen("b/x", NOW, "b", NOW)):
        store.watch.see(one)

    assert list(store.watch.seen()) == [seen[1], Seen("b/x", NOW, "b", NOW)]
    store.watch.forget_certificates(["a/x"])
    assert list(store.watch.seen()) == [seen[1]]

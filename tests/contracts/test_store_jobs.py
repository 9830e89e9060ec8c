"""Jobs in the store, on both databases: frozen lists, pages, twins, leases, and what a preview says."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest

from hub.delivery import ClosedAs, Event, EventKind, State
from hub.errors import Conflict, StoreError
from hub.job import ItemResult, Job, Steering
from hub.message import new_id
from hub.store.api import Change, Control, Filter, ItemFacts, Settlement
from hub.store.sql import SqlStore
from hub.store.taking import Taking
from tests.storing import GEWERBE, LEASE, NOW, SECOND, Place, acceptance, claim_one, rejection, settle


def wish(**more: object) -> Job:
    return replace(Job(new_id(), "resend", "lea", "behoben", NOW), **more)  # type: ignore[arg-type]


def test_items_are_read_in_their_order_page_by_page(store: SqlStore) -> None:
    items = [f"d-{number}" for number in reversed(range(1200))]
    job = store.jobs.add(wish(), [*items, *items[:3]])

    pages, after = [], -1
    while page := store.jobs.items(job.id, after=after, limit=500):
        pages.append(len(page))
        after = page[-1].position
    first = store.jobs.items(job.id, limit=2)

    assert pages == [500, 500, 200]
    assert [one.item for one in first] == items[:2]


def test_items_are_found_by_their_results(store: SqlStore) -> None:
    job = store.jobs.add(wish(), ["a", "b", "c", "d"])
    for item, result in (("b", "done"), ("c", "failed"), ("a", "skipped")):
        store.apply(Change(item=ItemResult(job.id, item, result, f"why {item}")))

    def found(*results: str, after: int = -1) -> list[str]:
        return [one.item for one in store.jobs.items(job.id, results=results, after=after)]

    assert (found("left"), found("done", "failed"), found("left", "done")) == (["d"], ["b", "c"], ["b", "d"])
    assert found("done", "failed", after=1) == ["c"]
    assert store.jobs.progress([job.id, "none"]) == {job.id: {"done": 1, "failed": 1, "skipped": 1, "left": 1}}


def test_jobs_are_listed_newest_first_page_by_page(store: SqlStore) -> None:
    made = [store.jobs.add(wish(), [f"d-{number}"]) for number in range(5)]
    store.jobs.steer(Steering(made[1].id, "cancelled", "lea", "doch nicht", NOW))

    first, next_ = store.jobs.listed(limit=2)
    rest, end = store.jobs.listed(limit=3, after=next_)
    cancelled, _ = store.jobs.listed(states=["cancelled", "paused"])

    assert [one.id for one in (*first, *rest)] == [one.id for one in reversed(made)]
    assert end is None
    assert [(one.id, one.note, one.changed_by, one.changed_at) for one in cancelled] == [
        (made[1].id, "doch nicht", "lea", NOW)
    ]
    with pytest.raises(StoreError):
        store.jobs.listed(after="1; DROP TABLE job")


def test_of_two_equal_wishes_at_once_one_is_written(nodes: list[SqlStore]) -> None:
    def add(number: int) -> str:
        return nodes[number % 3].jobs.add(wish(), ["a", "b"]).id

    with ThreadPoolExecutor(6) as threads:
        ids = set(threads.map(add, range(6)))

    assert len(ids) == 1
    assert len(nodes[0].jobs.unfinished()) == 1


def test_a_job_is_run_by_one_node_until_its_lease_is_over(daemons: list[SqlStore]) -> None:
    job = daemons[0].jobs.add(wish(), ["a"])
    short = timedelta(microseconds=1)

    assert [store.jobs.take(job.id, name, LEASE) for store, name in zip(daemons, "ab", strict=True)] == [True, False]
    assert daemons[0].jobs.take(job.id, "a", short)
    assert daemons[1].jobs.take(job.id, "b", LEASE)
    assert not daemons[0].jobs.take(job.id, "a", LEASE)
    daemons[0].jobs.steer(Steering(job.id, "paused", "lea", "halt", NOW))
    assert not daemons[1].jobs.take(job.id, "b", LEASE)


def test_nobody_does_an_item_of_a_cancelled_job(store: SqlStore) -> None:
    store.accept(acceptance(dead="refused"))
    (dead,) = store.find_deliveries(Filter(state="dead"))
    job = store.jobs.add(wish(), [dead.id])
    store.jobs.steer(Steering(job.id, "cancelled", "lea", "doch nicht", NOW))

    with pytest.raises(StoreError):
        resent = Settlement(dead, Event(EventKind.RESENT, NOW, actor="lea", job_id=job.id))
        store.apply(Change((resent,), item=ItemResult(job.id, dead.id, "done")))

    assert store.delivery(dead.id) == dead
    assert [one.result for one in store.jobs.items(job.id)] == ["cancelled"]


def test_a_job_that_paused_itself_counts_its_canaries_anew(store: SqlStore) -> None:
    job = store.jobs.add(wish(arguments={"canary": "1"}), ["a", "b", "c"])
    store.apply(Change(item=ItemResult(job.id, "a", "done")))
    for by in ("lea", "hub"):
        store.jobs.steer(Steering(job.id, "paused", by, "halt", NOW))
        store.jobs.steer(Steering(job.id, "open", "lea", "weiter", NOW))
        found = store.jobs.find(job.id)
        assert found is not None
        assert found.canary_from == (0 if by == "lea" else 1)


# --- what a preview says ------------------------------------------------------------------------------------------


def facts(store: SqlStore) -> list[ItemFacts]:
    return list(store.facts([one.id for one in store.find_deliveries(Filter())]))


def test_a_preview_says_whose_it_is_where_it_goes_and_since_when(store: SqlStore) -> None:
    store.accept(acceptance(received_at=NOW - SECOND, dead="refused"))

    (one,) = facts(store)

    assert (one.received_at, one.owner, one.destination) == (NOW - SECOND, "wolfsburg", GEWERBE)
    assert (one.state, one.reason, one.delivered, one.unclear) == ("dead", "refused", False, False)


@pytest.mark.parametrize(
    ("reason", "phase", "unclear"),
    [
        ("unclear", "request_sent", True), ("worker_lost", "none", True), ("timeout", "request_sent", True),
        ("timeout", "connected", False), ("unreachable", "none", False), ("refused", "response_parsed", False),
    ],
)  # fmt: skip
def test_a_preview_knows_what_may_have_arrived(store: SqlStore, reason: str, phase: str, *, unclear: bool) -> None:
    store.accept(acceptance())
    store.apply(
        Change((Settlement(claim_one(store), Event(EventKind.DEFERRED, NOW, NOW, reason=reason, phase=phase)),))
    )
    settle(store, claim_one(store), EventKind.DIED, reason="gave_up")

    assert [one.unclear for one in facts(store)] == [unclear]


def test_a_preview_knows_what_was_delivered_already(store: SqlStore) -> None:
    """By this delivery before it was resent, by another one of the message, or otherwise; not to somebody else."""
    store.accept(acceptance(destinations=("a/x",)))
    delivered = settle(store, claim_one(store, "a/x"), EventKind.DELIVERED)
    settle(store, delivered, EventKind.RESENT)
    settle(store, claim_one(store, "a/x"), EventKind.DIED, reason="refused")
    replayed = store.accept(acceptance(destinations=("b/x", "c/x"), dead="refused")).message_id
    for one in store.message(replayed).deliveries:  # type: ignore[union-attr]
        if one.destination == "b/x":
            fresh = replace(one, id=new_id(), replay_of=one.id)
            store.apply(Change(deliveries=(fresh,), message_id=replayed))
            settle(store, fresh, EventKind.CLOSED, reason=ClosedAs.DELIVERED_OTHERWISE)

    assert {(one.destination, one.state): one.delivered for one in facts(store)} == {
        ("a/x", "dead"): True, ("b/x", "dead"): True, ("b/x", "closed"): True, ("c/x", "dead"): False,
    }  # fmt: skip


def test_what_came_of_a_rejected_message_is_found_from_it(store: SqlStore) -> None:
    rejected = rejection()
    store.reject(rejected)
    for number in range(2):
        store.accept(replace(acceptance(f"m-{number}"), parent_id=rejected.id))

    found = [store.message(id_) for id_ in store.replays_of(rejected.id)]

    assert [one.parent_id for one in found if one] == [rejected.id] * 2


def test_ten_thousand_items_are_written_at_once(place: Place) -> None:
    store = place.open()
    items = [new_id() for _ in range(10_000)]

    job = store.jobs.add(wish(), items)

    assert store.jobs.progress([job.id]) == {job.id: {"left": 10_000}}
    store.close()


def test_an_item_is_read_with_its_message_and_the_original_bytes(store: SqlStore) -> None:
    kept = acceptance(body=b"<a/>", destinations=(GEWERBE, "bauamt"), arrival={"charset": "utf-8"})
    store.accept(kept)
    store.reject(refused := rejection(body=b"<b/>"))

    one = store.jobs.subject(kept.deliveries[1].id)
    other = store.jobs.subject(refused.id)

    assert one is not None and other is not None
    assert one.delivery == store.delivery(kept.deliveries[1].id)
    assert [each.id for each in one.deliveries] == [each.id for each in kept.deliveries]
    assert (one.verdict, one.body, one.original_id) == ("accepted", b"<a/>", kept.payloads[0].id)
    assert (one.arrival["charset"], one.arrival["sender"]) == ("utf-8", "bauportal")
    assert (other.verdict, other.delivery, other.deliveries, other.message_id) == ("rejected", None, (), refused.id)
    assert store.jobs.subject("none") is None


def resent(store: SqlStore, **more: str) -> Change:
    """Return what sends a dead delivery again as the item of a job."""
    kept = acceptance(dead="refused", **more)  # type: ignore[arg-type]
    store.accept(kept)
    job = store.jobs.add(wish(), [kept.deliveries[0].id])
    dead = store.delivery(kept.deliveries[0].id)
    assert dead is not None
    event = Event(EventKind.RESENT, NOW, due_at=NOW, actor="lea", job_id=job.id)
    return Change(settlements=(Settlement(dead, event),), item=ItemResult(job.id, dead.id, "done"))


def test_what_becomes_due_by_an_item_may_be_claimed_with_it(store: SqlStore) -> None:
    change = resent(store)

    (after,) = store.apply(change, Taking(frozenset({GEWERBE}), "node-a", LEASE, NOW))

    assert (after.state, after.attempts) == (State.SENDING, 1)
    assert store.delivery(after.id) == after
    assert [event.kind for event in store.events(after.id)][-2:] == [EventKind.RESENT, EventKind.CLAIMED]
    assert store.lost(NOW) == []
    assert store.claim(GEWERBE, now=NOW, limit=1, owner="node-b", lease=LEASE) == []
    with pytest.raises(Conflict):  # once
        store.apply(change, Taking(frozenset({GEWERBE}), "node-a", LEASE, NOW))


@pytest.mark.parametrize("why", ["held", "ordered", "no room"])
def test_what_may_not_be_sent_at_once_waits(store: SqlStore, why: str) -> None:
    change = resent(store, **({"order_key": "A-1"} if why == "ordered" else {}))
    if why == "held":
        store.hold(Control(GEWERBE, "paused", "Wartung", NOW, "lea"))
    rooms = frozenset() if why == "no room" else frozenset({GEWERBE})

    (after,) = store.apply(change, Taking(rooms, "node-a", LEASE, NOW))

    assert after.state is State.WAITING
    assert store.jobs.progress([change.item.job_id if change.item else ""]).popitem()[1] == {"done": 1}

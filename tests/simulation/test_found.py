"""What the simulation has found once, as it was printed: it stays found. How they come here stands in test_simulation.py."""

from __future__ import annotations

from tests.simulation.machine import HELD, PLAIN, HubMachine


def test_two_that_wait_for_one_destination_are_sent_at_once() -> None:
    """The sizes of several payloads could not be read: whatever waited with another one was sent by nobody."""
    state = HubMachine()
    state.start(several=False)
    state.hand_in(answers=[], beside=1, fault=None, id_=0, key=None, node=0, room=0, to=4, variant=0)
    state.the_promises_hold()
    state.deliver(answers=[], fault=None, limit=2, meanwhile=None, node=0, to=PLAIN)
    state.the_promises_hold()
    assert len(state.procedures.ledger) == 2
    state.teardown()


def test_the_machine_runs_by_hand() -> None:
    """A program that is printed for a failure runs as it stands: dying, lost answers, jobs, a new snapshot."""
    state = HubMachine()
    state.start(several=True)
    state.hand_in(answers=["dies after"], beside=None, fault=None, id_=0, key="A", node=0, room=7, to=7, variant=0)
    state.the_promises_hold()
    state.die(node=0)
    state.look_for_lost_ones(fault=None, node=1)
    state.release_a_new_snapshot()
    state.want(fault=None, kind="replay", who=[0, 1, 2])
    state.run_jobs(fault=None, node=0, patience=4)
    state.deliver(answers=["cut after"], fault=None, limit=3, meanwhile="stalled", node=0, to=HELD)
    state.the_promises_hold()
    state.teardown()

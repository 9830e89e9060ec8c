"""The page that a worker shares with the daemon: what stands in it outlives the worker."""

from __future__ import annotations

import os

import pytest

from hub.page import At, Page


@pytest.fixture
def pages() -> tuple[Page, Page]:
    descriptor = Page.make()
    try:
        return Page(descriptor), Page(descriptor)
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("at", list(At), ids=lambda at: at.name.lower())
def test_what_one_side_says_the_other_reads(pages: tuple[Page, Page], at: At) -> None:
    worker, daemon = pages
    worker.move(at, "salzgitter/größe")

    assert daemon.at is at
    assert daemon.destination == ("salzgitter/größe" if at is At.STEPS else None)
    assert daemon.moves == 1


def test_a_fresh_page_says_that_nothing_was_taken(pages: tuple[Page, Page]) -> None:
    assert (pages[0].at, pages[0].destination, pages[0].moves) == (At.NOTHING, None, 0)


def test_a_cleared_page_still_counts_on(pages: tuple[Page, Page]) -> None:
    worker, daemon = pages
    for _ in range(300):
        worker.move(At.DOCUMENT)
    daemon.clear()

    assert daemon.at is At.NOTHING
    assert daemon.moves == 300 % 256


def test_it_outlives_the_process_that_wrote_it() -> None:
    descriptor = Page.make()
    pid = os.fork()
    if pid == 0:
        Page(descriptor).move(At.STEPS, "gifhorn/bauakte")
        os._exit(9)
    os.waitpid(pid, 0)

    assert Page(descriptor).destination == "gifhorn/bauakte"
    os.close(descriptor)


def test_a_name_that_is_too_long_is_cut(pages: tuple[Page, Page]) -> None:
    pages[0].move(At.STEPS, "x" * 1000)

    assert pages[1].destination == "x" * 255

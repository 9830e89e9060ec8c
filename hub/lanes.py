"""Threads that take messages in: what has come at the same time is judged in turn, and kept with one sync.

    soon() ─▶ queue ─▶ a lane's share ─▶ judge, judge, … ─▶ keep together ─▶ each is told
                            └─ one takes long: a thread of its own goes on with the others

Few threads, each with several messages, instead of one for each: they only take the interpreter from each other, and
a change of threads costs as much as half the work on a message. There are no timers: a lone message goes at once.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from hub.errors import HubError, Unavailable
from hub.intake import Intake, Judged
from hub.log import get_log
from hub.message import Incoming, Receipt

log = get_log(__name__)

SHARE_MAX = 8  # messages of one lane at a time: all wait for the last of them

Told = Receipt | HubError
Done = Callable[[Told], None]


@dataclass(eq=False, slots=True)
class _Entry:
    """A message on its way in, and who waits for its receipt."""

    incoming: Incoming
    done: Done

    def tell(self, told: Told) -> None:
        try:
            self.done(told)
        except Exception as error:  # a source's bug: the others of the lane must hear theirs
            log.error("receipt_not_told", source=self.incoming.source, exc_info=error)


@dataclass(eq=False, slots=True)
class _Share:
    """What one lane has in work: what is still to be judged, the one that is, and what may be kept."""

    waiting: deque[_Entry]
    judging: _Entry | None = None
    judged: list[tuple[_Entry, Judged]] = field(default_factory=list)

    def take_others(self) -> _Share:
        """Return all but the one that is being judged; that one alone stays."""
        others = _Share(self.waiting, None, self.judged)
        self.waiting, self.judged = deque(), []
        return others

    def tell_all(self, told: Told) -> None:
        """Tell everybody who has not been told yet."""
        left = [*(one for one, _ in self.judged), *([self.judging] if self.judging else []), *self.waiting]
        self.waiting, self.judging, self.judged = deque(), None, []
        for entry in left:
            entry.tell(told)


class Lanes:
    """A few threads that take in what is handed to :meth:`soon`."""

    def __init__(self, intake: Intake, count: int) -> None:
        self._intake = intake
        self._idle: list[None] = []  # one for each thread that waits; a list is counted without a lock
        self._queue: queue.SimpleQueue[_Entry | None] = queue.SimpleQueue()
        self._threads = [threading.Thread(target=self._run, name="accept", daemon=True) for _ in range(count)]
        self._in_hand = 0  # messages whose senders wait
        self._quiet = threading.Condition()

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def soon(self, incoming: Incoming, done: Done) -> None:
        """Take a message in, and tell how that ended: its receipt, or what :meth:`Intake.accept` would raise.

        ``done`` is called once, in a thread of the lanes, and must not block.
        """

        def told(answer: Told) -> None:
            try:
                done(answer)
            finally:
                self._change(-1)

        self._change(+1)
        self._queue.put(_Entry(incoming, told))

    def make_way(self, seconds: float) -> None:
        """Wait until no sender waits for a receipt, so long at most: what has time lets them go first."""
        with self._quiet:
            self._quiet.wait_for(lambda: not self._in_hand, seconds)

    def close(self, seconds: float) -> None:
        """Take in what has come, then end; wait so many seconds at most."""
        deadline = time.monotonic() + seconds
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            if thread.is_alive():
                thread.join(max(deadline - time.monotonic(), 0.1))

    def _change(self, by: int) -> None:
        with self._quiet:
            self._in_hand += by
            if not self._in_hand:
                self._quiet.notify_all()

    def _run(self) -> None:
        while share := self._next():
            self._work(share)

    def _next(self) -> _Share | None:
        """Wait for messages; return a share of them, or ``None`` at the end.

        They are shared with the threads that have nothing to do. Who is busy comes too late for them.
        """
        self._idle.append(None)
        first = self._queue.get()
        self._idle.pop()
        if first is None:
            return None
        share = deque([first])
        size = min(SHARE_MAX, 1 + self._queue.qsize() // (1 + len(self._idle)))
        try:
            while len(share) < size:
                entry = self._queue.get_nowait()
                if entry is None:
                    self._queue.put(None)  # the end comes after this share, not instead of it
                    break
                share.append(entry)
        except queue.Empty:
            pass
        return _Share(share)

    def _work(self, share: _Share) -> None:
        try:
            self._judge(share)
            self._keep(share)
        except Exception as error:  # our own bug: nobody of this share has a receipt, and the lane goes on
            log.error("messages_not_taken_in", exc_info=error)
            share.tell_all(Unavailable("an error of the hub"))

    def _judge(self, share: _Share) -> None:
        while share.waiting:
            entry = share.judging = share.waiting.popleft()
            try:
                judged = self._intake.judge(entry.incoming, on_stall=lambda: self._pass_on(share))
            except HubError as error:
                share.judging = None
                entry.tell(error)
                continue
            share.judging = None
            if isinstance(judged, Receipt):
                entry.tell(judged)
            else:
                share.judged.append((entry, judged))

    def _keep(self, share: _Share) -> None:
        if not share.judged:
            return
        answers = self._intake.keep([judged for _, judged in share.judged])
        entries, share.judged = [entry for entry, _ in share.judged], []
        for entry, answer in zip(entries, answers, strict=True):
            entry.tell(answer)

    def _pass_on(self, share: _Share) -> None:
        """Let another thread go on with what would have to wait for a message that takes long."""
        if not share.waiting and not share.judged:
            return
        others = share.take_others()
        try:
            threading.Thread(target=self._work, args=(others,), name="accept", daemon=True).start()
        except RuntimeError:  # the machine gives no more threads: they wait after all
            share.waiting, share.judged = others.waiting, others.judged

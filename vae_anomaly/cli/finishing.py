"""Work that ends well on the first Ctrl-C, and at once on the second."""

from __future__ import annotations

import os
import select
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

__all__ = ["finishing"]


@contextmanager
def finishing(notice: str = "") -> Iterator[Callable[[], bool]]:
    """Let the first SIGINT only be noted; the second does what it did before.

    Parameters
    ----------
    notice : str, optional
        Written to standard error when the first arrives.

    Yields
    ------
    callable
        Tells whether one has arrived.
    """
    if threading.current_thread() is not threading.main_thread():  # which alone gets signals
        yield lambda: False
        return
    arrivals = _Arrivals(notice)

    def note(number: int, frame: Any) -> None:
        arrivals.take()
        if arrivals.count > 1 and callable(before):
            before(number, frame)

    with arrivals.watched():
        before = signal.signal(signal.SIGINT, note)
        try:
            yield lambda: arrivals.count > 0
        finally:
            signal.signal(signal.SIGINT, before)


class _Arrivals:
    """Counts SIGINTs as they arrive.

    Python runs handlers between its own steps. While TensorFlow works none
    runs, and of two signals in that time the handler hears as one: too late to
    tell somebody that Ctrl-C was heard, and not enough to stop for the second.
    What the interpreter writes to its wakeup descriptor is there at once.
    """

    def __init__(self, notice: str) -> None:
        self.count = 0
        self._notice = notice
        # The handler may interrupt itself.
        self._lock = threading.RLock()
        self._watching = True
        self._read, self._write = socket.socketpair()
        for end in (self._read, self._write):
            end.setblocking(False)

    def take(self) -> None:
        """Count what has arrived."""
        with self._lock, suppress(BlockingIOError):
            came = self._read.recv(64).count(signal.SIGINT)
            first = came > 0 and self.count == 0
            self.count += came
            if first and self._notice:
                # Not through sys.stderr, in the middle of whose work this may come.
                os.write(2, f"{self._notice}\n".encode())

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Count, and tell, without waiting for a handler."""
        watcher = threading.Thread(target=self._watch, name="interrupts", daemon=True)
        before = signal.set_wakeup_fd(self._write.fileno(), warn_on_full_buffer=False)
        watcher.start()
        try:
            yield
        finally:
            signal.set_wakeup_fd(before)
            self._watching = False
            self._write.send(b"\0")  # lets the watcher look up
            watcher.join()
            self._read.close()
            self._write.close()

    def _watch(self) -> None:
        while self._watching:
            select.select([self._read], [], [])
            self.take()

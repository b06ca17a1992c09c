"""Signals as exceptions, and training that ends early on the first Ctrl-C."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

__all__ = ["Terminated", "check_signals", "raising_signals", "stop_on_interrupt"]


class Terminated(BaseException):
    """SIGTERM as an exception, so that half-written files are removed."""


ERRORS: dict[signal.Signals, type[BaseException]] = {
    signal.SIGINT: KeyboardInterrupt,
    signal.SIGTERM: Terminated,
}

_raised: list[type[BaseException]] = []


@contextmanager
def raising_signals() -> Iterator[None]:
    """Raise `Terminated` on SIGTERM and KeyboardInterrupt on SIGINT, inside a ``with`` block."""

    def stop(number: int, frame: FrameType | None) -> None:
        error = ERRORS[signal.Signals(number)]
        _raised.append(error)
        raise error

    try:
        before = {number: signal.signal(number, stop) for number in ERRORS}
    except ValueError:  # only the main thread gets signals
        yield
        return
    try:
        yield
    except Exception:
        check_signals()  # an import that a signal ended may raise an error of its own instead
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _raised.clear()  # or all later work of this process would stop as well


def check_signals(done: int = 0, detail: str = "") -> None:
    """Raise again the exception of a signal, in case Python had to ignore it.

    Finalizers and callbacks from C++ swallow exceptions. Work that must stop at a signal calls
    this between its steps, of which some are `done`.
    """
    if _raised:
        raise _raised[-1]


@contextmanager
def stop_on_interrupt(notice: str = "") -> Iterator[Callable[[], bool]]:
    """Only note the first SIGINT, inside a ``with`` block; the second one acts as before.

    Parameters
    ----------
    notice : str, optional
        Written to standard error when the first one arrives.

    Yields
    ------
    callable
        Returns whether one has arrived.
    """
    if threading.current_thread() is not threading.main_thread():  # only that one gets signals
        yield lambda: False
        return
    interrupts = _Interrupts(notice)

    def note(number: int, frame: FrameType | None) -> None:
        interrupts.take()
        if interrupts.count > 1 and callable(before):
            before(number, frame)

    with interrupts.watched():
        before = signal.signal(signal.SIGINT, note)
        try:
            yield lambda: interrupts.count > 0
        finally:
            signal.signal(signal.SIGINT, before)


class _Interrupts:
    """Counter of SIGINTs that works while Python runs no signal handlers.

    Python runs handlers between its own steps. While TensorFlow works, none runs, and two
    signals in that time reach the handler as one: too late for a notice that Ctrl-C was heard,
    and not enough to stop at the second. The interpreter writes to its wakeup descriptor at once.
    """

    def __init__(self, notice: str) -> None:
        import socket

        self.count = 0
        self._notice = notice
        # The handler may interrupt itself.
        self._lock = threading.RLock()
        self._watching = True
        self._read, self._write = socket.socketpair()
        for end in (self._read, self._write):
            end.setblocking(False)

    def take(self) -> None:
        """Count the signals that have arrived."""
        with self._lock, suppress(BlockingIOError):
            count = self._read.recv(64).count(signal.SIGINT)
            first = count > 0 and self.count == 0
            self.count += count
            if first and self._notice:
                # Not through sys.stderr: this may run in the middle of its own work.
                os.write(2, f"{self._notice}\n".encode())

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Count signals, and write the notice, without waiting for a handler."""
        watcher = threading.Thread(target=self._watch, name="interrupts", daemon=True)
        before = signal.set_wakeup_fd(self._write.fileno(), warn_on_full_buffer=False)
        watcher.start()
        try:
            yield
        finally:
            signal.set_wakeup_fd(before)
            self._watching = False
            self._write.send(b"\0")  # wakes the watcher
            watcher.join()
            self._read.close()
            self._write.close()

    def _watch(self) -> None:
        import select

        while self._watching:
            select.select([self._read], [], [])
            self.take()

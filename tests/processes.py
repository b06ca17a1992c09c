"""Commands and programs in fresh processes, forked from one that imported TensorFlow.

Importing it takes seconds, which a new interpreter would spend each time.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import traceback
from collections.abc import Callable
from io import TextIOWrapper
from multiprocessing.connection import Connection
from pathlib import Path

from vae_anomaly.cli import main

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["vae_anomaly.cli", "vae_anomaly.training.loop", "pandas"])


class Forked:
    """A process with one of its standard streams, in the manner of `subprocess.Popen`.

    Parameters
    ----------
    work : callable
        A function of a module.
    *given : object
        What it is called with.
    descriptor : int
        Number of the standard stream that is read; the other output is lost.
    """

    def __init__(self, work: Callable[..., object], *given: object, descriptor: int = 2) -> None:
        receiving, sending = FORKS.Pipe(duplex=False)
        self._process = FORKS.Process(target=_work, args=(sending, descriptor, work, given))
        self._process.start()
        sending.close()
        self.stream = TextIOWrapper(os.fdopen(os.dup(receiving.fileno()), "rb"), encoding="utf-8")
        receiving.close()

    def __enter__(self) -> Forked:
        return self

    def __exit__(self, *error: object) -> None:
        self.end()

    def end(self) -> None:
        self._process.kill()
        self._process.join()
        self.stream.close()

    @property
    def returncode(self) -> int | None:
        """Exit code, -n after the signal n, None while the process runs."""
        self._process.join(0)
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        os.kill(self._process.pid, number)

    def rest(self) -> str:
        """Return what the stream still holds, at the end of the process."""
        text = self.stream.read()
        self._process.join()
        return text


def start_command(place: Path, *words: object) -> Forked:
    """Start a command in a directory; its standard error is read."""
    return Forked(_run_command, place, [str(word) for word in words])


def output_of(program: str) -> list[str]:
    """Return the lines that a program prints."""
    with Forked(_run_program, program, descriptor=1) as process:
        lines = process.rest().splitlines()
        code = process.returncode
    assert code == 0, "\n".join(lines)
    return lines


def _work(
    output: Connection, descriptor: int, work: Callable[..., object], given: tuple[object, ...]
) -> None:
    null = os.open(os.devnull, os.O_RDWR)
    for other in {0, 1, 2} - {descriptor}:
        os.dup2(null, other)
    os.dup2(output.fileno(), descriptor)
    output.close()
    work(*given)


def _run_command(place: Path, words: list[str]) -> None:
    os.chdir(place)
    sys.argv[1:] = words
    main()


def _run_program(program: str) -> None:
    try:
        exec(program, {"__name__": "__main__"})
    except Exception:
        traceback.print_exc(file=sys.stdout)
        sys.exit(1)

"""Processor time and peak memory of commands in separate processes.

On Linux the peak that is reported for a process is at least the memory of the process that
started it, since a program that replaces another takes over its peak: so a small process starts
the command. See findings/peak_memory_of_children.sh.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["Usage", "run"]

SMALL_PROCESS = """
import os, sys
pipe, *command = sys.argv[1:]
process = os.posix_spawn(command[0], command, os.environ)
_, status, used = os.wait4(process, 0)
os.write(int(pipe), f"{used.ru_utime + used.ru_stime} {used.ru_maxrss}".encode())
sys.exit(status != 0)
"""


class Usage(NamedTuple):
    """What a command used: seconds of processor time, and bytes at the peak."""

    seconds: float
    peak: int


def run(command: Sequence[str], *, quiet: bool = False) -> Usage:
    """Run a command, the first word of which is the path of a program.

    Raises
    ------
    SystemExit
        If the command fails.
    """
    output = subprocess.DEVNULL if quiet else None
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as result:
        process = subprocess.Popen(
            [sys.executable, "-IS", "-c", SMALL_PROCESS, str(writing), *command],
            stdout=output,
            stderr=output,
            pass_fds=[writing],
        )
        os.close(writing)
        words = result.read().split()
        if process.wait():
            raise SystemExit(f"{' '.join(command)} failed")
    return Usage(float(words[0]), int(words[1]) * 1024)

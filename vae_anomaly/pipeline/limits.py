"""Limits of the process: its address space, and the threads that it may start.

Libraries abort, hang, or raise SIGINT where they get no memory or no thread. A command checks
both before it imports them.
"""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from pathlib import Path

from vae_anomaly.exceptions import ResourceError

try:
    import resource
except ImportError:  # Windows has no such limits
    resource = None  # type: ignore[assignment]

__all__ = ["check_address_space", "check_limits"]

TENSORFLOW_BYTES = 2.6e9
"""Address space that TensorFlow reserves to start and to compile; most of it is never used."""

COMMAND_BYTES = {"inspect": 0.25e9, "evaluate": 1.4e9}
"""Address space with which the libraries of commands work: NumPy, and for pages Matplotlib."""

USUAL_BYTES = 1.0e9
"""Address space for the libraries of other commands, which read files and score."""

USUAL_STACK = 8 * 2**20
"""Bytes of the stack of a thread that these figures include."""

AMPLE_BYTES = 4e9
"""Address space from which on libraries may reserve what they like, each thread its own."""

SPARING = {
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "LOKY_MAX_CPU_COUNT": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}
"""Settings with which Arrow reserves no gigabyte ahead, and work is done in one thread.

Without address space for the products of a further thread OpenBLAS ends the process, and
threads of Arrow wait for ever.
"""

MIN_THREADS, MAX_COUNTED = 6, 16
"""Threads of libraries beside one for each processor, and processors that count for that."""


def check_limits(command: str) -> None:
    """Raise if a command would fail for lack of address space or threads.

    Where address space is scarce, libraries are set to be `SPARING`, unless the user chose
    otherwise. They read this when they are imported.

    Raises
    ------
    ResourceError
    """
    free = _free_address_space()
    if free is not None:
        if free < AMPLE_BYTES:
            for name, value in SPARING.items():
                os.environ.setdefault(name, value)
        stacks = MIN_THREADS * max(0, _stack_bytes() - USUAL_STACK)
        _require(COMMAND_BYTES.get(command, USUAL_BYTES) + stacks, f"The command {command}")
    elif command != "inspect":  # each thread that ran keeps address space
        _check_threads(MIN_THREADS + min(os.cpu_count() or 1, MAX_COUNTED))


def check_address_space() -> None:
    """Refuse to start TensorFlow below a limit of the address space at which it aborts or hangs.

    A failed allocation in its own threads raises no exception.

    Raises
    ------
    ResourceError
    """
    _require(TENSORFLOW_BYTES, "TensorFlow")


def _free_address_space() -> int | None:
    """Return the bytes of address space that a limit leaves; None if there is no limit."""
    if resource is None:
        return None
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY:
        return None
    used = 0
    with suppress(OSError):  # where there is no such file, as on macOS
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    return max(0, limit - used)


def _stack_bytes() -> int:
    """Return the address space that the stack of a new thread takes (ulimit -s)."""
    stack, _ = resource.getrlimit(resource.RLIMIT_STACK)
    return 0 if stack == resource.RLIM_INFINITY else int(stack)


def _require(needed: float, who: str) -> None:
    free = _free_address_space()
    if free is not None and free < needed:
        raise ResourceError(
            f"{who} needs {_gigabytes(needed)} GB of address space, the limit of this process "
            f"(ulimit -v) leaves {_gigabytes(free)} GB. Raise the limit."
        )


def _gigabytes(size: float) -> str:
    return f"{size / 1e9:.1f}" if size >= 1e9 or size == 0 else f"{size / 1e9:.2f}"


def _check_threads(count: int) -> None:
    """Raise if not so many threads can run at a time."""
    done, threads = threading.Event(), []
    try:
        for _ in range(count):
            thread = threading.Thread(target=done.wait, daemon=True)
            thread.start()
            threads.append(thread)
    except RuntimeError as cause:
        raise ResourceError(
            f"The system starts {len(threads)} threads for this process, of the {count} that it "
            f"needs. Raise the limits of processes (ulimit -u) and of memory (ulimit -v), or close "
            f"other programs."
        ) from cause
    finally:
        done.set()
        for thread in threads:
            thread.join()

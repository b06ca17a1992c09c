"""Start of a command, and of TensorFlow before work that needs it: settings, and limits.

Libraries abort, hang, or raise SIGINT where they get no memory or no thread. A command checks
the address space and the threads of the process before it imports them.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from contextlib import nullcontext, suppress
from pathlib import Path

from vae_anomaly._stderr import muted_stderr
from vae_anomaly.exceptions import ResourceError
from vae_anomaly.names import IGNORED_SETTINGS

try:
    import resource
except ImportError:  # Windows has no such limits
    resource = None  # type: ignore[assignment]

__all__ = ["check_address_space", "has_started", "prepare", "start_tensorflow"]

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


def has_started() -> bool:
    """Return whether TensorFlow was started."""
    return "vae_anomaly.training.loop" in sys.modules


def prepare(command: str, *, muted: bool = False) -> None:
    """Set what libraries read when they are imported, and check the limits of the process.

    Where address space is scarce, libraries are set to be `SPARING`, unless the user chose
    otherwise.

    Parameters
    ----------
    command : str
    muted : bool, default=False
        Also silence warnings of Matplotlib: a missing folder for its cache concerns no user.

    Raises
    ------
    ResourceError
        If the command would fail for lack of address space or threads.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")  # others use the GPU as well
    os.environ["KERAS_BACKEND"] = "tensorflow"
    for setting in IGNORED_SETTINGS:
        os.environ.pop(setting, None)
    if muted:
        logging.getLogger("matplotlib").setLevel(logging.ERROR)
    _check_limits(command)


def start_tensorflow(*, muted: bool = False) -> None:
    """Import TensorFlow and what depends on it, and initialise its devices.

    Parameters
    ----------
    muted : bool, default=False
        Withhold the messages that its C++ part logs this early; see `muted_stderr`.

    Raises
    ------
    ResourceError
        If TensorFlow would not get enough address space.
    """
    check_address_space()
    with muted_stderr() if muted else nullcontext():
        import vae_anomaly.training.loop  # noqa: F401 - imports Keras and its dependencies
        from vae_anomaly.networks.backend import tf

        tf.constant(0.0)


def _check_limits(command: str) -> None:
    """Raise if a command would fail for lack of address space or threads."""
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

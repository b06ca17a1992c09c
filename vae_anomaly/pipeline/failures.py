"""Sentences for errors of the system, and of libraries that lack memory."""

from __future__ import annotations

import errno
import os

from vae_anomaly._text import display_name

__all__ = ["OUT_OF_MEMORY", "lacks_memory", "system_sentence"]

OUT_OF_MEMORY = "Out of memory. Fit on fewer rows or columns, or close other programs."

CANNOT_READ = {
    errno.ENOENT: "there is no such file. Check the path.",
    errno.ENOTDIR: "there is no such file. Check the path.",
    errno.EACCES: "no permission to read it.",
    errno.EISDIR: "it is a directory. Name a file.",
    errno.ELOOP: "its symbolic links go round in circles.",
    errno.ENAMETOOLONG: "its name is too long.",
}

LACKS_MEMORY = (
    *("failed to map segment", "cannot allocate memory", "bad_alloc"),
    *("can't start new thread", "resource temporarily unavailable"),
)
"""Words of the loader, of Python and of C++ libraries where they get no memory, or no thread."""


def lacks_memory(error: BaseException) -> bool:
    """Return whether a library had too little memory, by the name or the words of its error."""
    if type(error).__name__ == "ResourceExhaustedError":  # TensorFlow's MemoryError
        return True
    by_others = isinstance(error, ImportError | RuntimeError | SystemError)
    return by_others and any(words in str(error).lower() for words in LACKS_MEMORY)


def system_sentence(error: OSError) -> str:
    """Return what the system refused, in a sentence.

    Examples
    --------
    >>> system_sentence(FileNotFoundError(errno.ENOENT, "No such file or directory", "pump.csv"))
    'Cannot read pump.csv: there is no such file. Check the path.'
    """
    words = error.strerror or str(error)
    if not isinstance(error.filename, str | bytes):  # none, or a descriptor
        return f"The system refused to go on: {words}."
    reason = CANNOT_READ.get(error.errno or 0, f"{words}.")
    return f"Cannot read {display_name(os.fsdecode(error.filename))}: {reason}"

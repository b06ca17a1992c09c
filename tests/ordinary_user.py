"""Run a command as an ordinary user, whom permissions of files stop; root reads everything.

python tests/ordinary_user.py pytest tests
"""

from __future__ import annotations

import ctypes
import os
import sys
import tempfile
from pathlib import Path

import pytest

__all__ = ["needs_permissions"]

PR_CAPBSET_DROP = 24
OVERRIDING = (1, 2)
"""CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH: what makes root an exception, see capabilities(7)."""


def _ignores_permissions() -> bool:
    """Return whether this process reads a file that nobody may read."""
    with tempfile.NamedTemporaryFile() as file:
        Path(file.name).chmod(0)
        return os.access(file.name, os.R_OK)


needs_permissions = pytest.mark.skipif(
    _ignores_permissions(), reason="root may read and write everything"
)


def give_up_capabilities() -> None:
    """Give up what sets root apart from other users, for the programs that this process starts.

    Another user id might be unable to run this interpreter, which may lie in root's home. Files
    of root then belong to an ordinary user.

    Raises
    ------
    OSError
        If that is not possible here.
    """
    if sys.platform != "linux":
        raise OSError("capabilities are a feature of Linux")
    libc = ctypes.CDLL(None, use_errno=True)
    for capability in OVERRIDING:
        if libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0):
            raise OSError(ctypes.get_errno(), "cannot give up a capability")


def main() -> None:
    """Run the command line."""
    if _ignores_permissions():
        try:
            give_up_capabilities()
        except OSError as error:
            print(f"tests of permissions are skipped: {error}", file=sys.stderr)  # noqa: T201
    os.execvp(sys.argv[1], sys.argv[1:])


if __name__ == "__main__":
    main()

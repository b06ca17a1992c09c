"""Processes killed while they write, and concurrent ones. `make torture` kills more."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_files_are_complete_after_kills_and_for_concurrent_readers(place):
    Path("a.csv").write_text("flow,pressure\n" + "10,20\n" * 300)
    Path("b.csv").write_text("flow,pressure\n" + "11,25\n" * 200)
    script = Path(__file__).with_name("kills.py")
    done = subprocess.run(
        [sys.executable, script, ".", "--kills", "20"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["kills"] == 80

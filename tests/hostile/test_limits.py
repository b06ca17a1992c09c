"""Limits of address space and of threads: exit 5 within seconds, and no blame on the file."""

from __future__ import annotations

import os
import re
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from hostile.test_outputs import ended
from vae_anomaly import DataError
from vae_anomaly.cli.errors import Exit, code_after
from vae_anomaly.data.table.reader import check_resources
from vae_anomaly.exceptions import ResourceError
from vae_anomaly.pipeline.startup import COMMAND_BYTES, USUAL_BYTES

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits as Linux keeps them")

MAX_SECONDS = 30

COMMANDS = {
    "score": "score flow.vae good.csv -o new.csv",
    "score Parquet": "score flow.vae good.parquet -o new.parquet --explain 1",
    "recalibrate": "recalibrate flow.vae good.csv -o new.vae",
    "evaluate": "evaluate flow.vae good.csv -o report",
    "export": "export flow.vae -o new.onnx",
    "fit": "fit good.csv -o new.vae",
    "demo": "demo -o sample",
}


def refusal(line: str, before: str) -> str:
    """Return the error of a command that is refused for its limits, at once."""
    began = time.monotonic()
    code, out, err = ended(line, before)
    assert (code, out) == (5, b""), err
    assert time.monotonic() - began < MAX_SECONDS
    assert not Path("new.csv").exists()
    (error,) = [one for one in err.splitlines() if not one.startswith("<jemalloc>")]
    return error


@pytest.mark.parametrize("kilobytes", [60_000, 150_000, 300_000, 450_000, 550_000, 700_000])
@pytest.mark.parametrize("case", COMMANDS)
def test_too_little_address_space(place, case, kilobytes) -> None:
    pd.read_csv("good.csv").to_parquet("good.parquet")
    command = case.split()[0]
    needed = COMMAND_BYTES.get(command, USUAL_BYTES) / 1e9
    error = refusal(COMMANDS[case], f"ulimit -v {kilobytes};")
    assert re.fullmatch(
        rf"error: The command {command} needs {needed:.1f} GB of address space, the limit of this "
        rf"process \(ulimit -v\) leaves 0\.\d\d GB. Raise the limit.",
        error,
    )


@pytest.mark.parametrize("case", ["score", "score Parquet", "recalibrate", "evaluate", "export"])
def test_enough_address_space_is_enough(place, case) -> None:
    table = pd.concat([pd.read_csv("good.csv")] * 40)
    table.to_csv("good.csv", index=False)
    table.to_parquet("good.parquet")
    command = case.split()[0]
    enough = int((COMMAND_BYTES.get(command, USUAL_BYTES) + 5e7) / 1024)
    code, _, err = ended(COMMANDS[case], f"ulimit -v {enough};")
    assert code == 0, err


@pytest.mark.parametrize("kilobytes", [1_050_000, 1_600_000, 3_000_000])
def test_large_tables_need_no_more(place, kilobytes) -> None:
    """Reserved ahead, or by several threads, address space ended the process, or it hung."""
    columns = pd.read_csv("good.csv").columns
    rows = pd.DataFrame(np.random.RandomState(0).normal(size=(150_000, len(columns))))
    rows.set_axis(columns, axis=1).to_parquet("large.parquet", row_group_size=50_000)
    code, _, err = ended("score flow.vae large.parquet -o new.parquet", f"ulimit -v {kilobytes};")
    assert code == 0, err


def test_a_model_is_described_with_little(place) -> None:
    code, out, err = ended("inspect flow.vae", "ulimit -v 400000;")
    assert (code, err) == (0, "")
    assert b"\nsha256 " in out
    error = refusal("inspect flow.vae", "ulimit -v 100000;")
    assert error.startswith("error: The command inspect needs 0.25 GB of address space")


NO_THREAD = "ulimit -s 200000000000;"
"""A stack that no thread can have: it then does not start, as below a limit of processes."""


@pytest.mark.parametrize("case", COMMANDS)
def test_threads_that_do_not_start(place, case) -> None:
    pd.read_csv("good.csv").to_parquet("good.parquet")
    error = refusal(COMMANDS[case], NO_THREAD)
    assert re.fullmatch(
        r"error: The system starts 0 threads for this process, of the \d+ that it needs. Raise the "
        r"limits of processes \(ulimit -u\) and of memory \(ulimit -v\), or close other programs.",
        error,
    )


@pytest.mark.parametrize("name", ["good.csv", "good.parquet"])
@pytest.mark.parametrize(
    "command", ["score flow.vae {} -o new.csv", "recalibrate flow.vae {} -o n"]
)
def test_threads_that_do_not_fit_into_memory(place, command, name) -> None:
    pd.read_csv("good.csv").to_parquet("good.parquet")
    error = refusal(command.format(name), "ulimit -s 3000000; ulimit -v 2500000;")
    needed = 1.0 + 6 * (3_000_000 * 1024 - 8 * 2**20) / 1e9  # six threads, each with its stack
    assert error.startswith(f"error: The command {command.split()[0]} needs {needed:.1f} GB of ")
    assert error.endswith(" leaves 2.5 GB. Raise the limit.")


LACKING = {
    "threads of Python": RuntimeError("can't start new thread"),
    "memory of Arrow": pa.ArrowMemoryError("malloc of size 64 failed"),
    "memory of C++": RuntimeError("std::bad_alloc"),
    "a library": ImportError("x.so: failed to map segment from shared object"),
    "known before": ResourceError("too little"),
    "memory": MemoryError(),
}


@pytest.mark.parametrize("case", LACKING)
def test_lacking_memory_is_no_bug(case) -> None:
    assert code_after(LACKING[case]) is Exit.RESOURCES


@pytest.mark.parametrize("error", [RuntimeError("x"), SystemError("y"), DataError("bad_alloc")])
def test_other_errors_are_none_of_memory(error) -> None:
    assert code_after(error) is not Exit.RESOURCES


def test_a_table_is_blamed_for_impossible_sizes_alone() -> None:
    check_resources("t.parquet", pa.ArrowInvalid("Expected 2 columns"))
    check_resources("t.parquet", pa.ArrowMemoryError("malloc of size 9223372036854775807 failed"))
    with pytest.raises(ResourceError, match=r"^Out of memory or threads while t\.parquet was read"):
        check_resources("t.parquet", pa.ArrowMemoryError("malloc of size 65536 failed"))


def test_an_ordinary_user_without_further_processes(place) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may start any number of processes")
    for limit in (1, 2):
        error = refusal(COMMANDS["score"], f"ulimit -u {limit};")
        assert error.startswith("error: The system starts ")

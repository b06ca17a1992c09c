"""Hostile outputs and process environments: cases 80 to 97."""

# ruff: noqa: E501 - a case should fit on a line
from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vae_anomaly.cli.errors import Exit, code_after

ROOT = Path(__file__).parent.parent.parent
SCORE = "score flow.vae good.csv -o out.csv"
IS_INPUT = "The output {} is also an input. Choose another output."
REPLACES = "The report would replace {}, which is an input. Choose another output."
LONG = "x" * 300

REFUSED = {
    "81 the input": ("score flow.vae good.csv -o good.csv", 2, IS_INPUT.format("good.csv")),
    "81 the input, hard link": ("score flow.vae good.csv -o hard.csv", 2, IS_INPUT.format("hard.csv")),
    "81 the input, soft link": ("score flow.vae good.csv -o soft.csv", 2, IS_INPUT.format("soft.csv")),
    "81 the model": ("score flow.vae good.csv -o model.csv", 2, IS_INPUT.format("model.csv")),
    "81 fit onto its input": ("fit good.csv -o hard.csv", 2, IS_INPUT.format("hard.csv")),
    "81 the report, a model": (
        "evaluate report/report.html good.csv -o report",
        *(2, REPLACES.format("report/report.html")),
    ),
    "81 the report, a table": (
        "evaluate flow.vae report/scores.png -o report",
        *(2, REPLACES.format("report/scores.png")),
    ),
    "82 no folder": ("score flow.vae bad.csv -o no/out.csv", 5, "Cannot write no/out.csv: there is"),
    "82 no folder, fit": ("fit bad.csv -o no/m.vae", 5, "Cannot write no/m.vae: there is no direct"),
    "82 a folder": ("score flow.vae bad.csv -o report", 5, "Cannot write report: it is a directory."),
    "82 under a file": ("score flow.vae bad.csv -o good.csv/x", 5, "Cannot write good.csv/x: 'good"),
    "82 report under a file": ("evaluate flow.vae bad.csv -o good.csv/x", 5, "Cannot write good.csv"),
    "82 long name": (f"score flow.vae bad.csv -o {LONG}", 5, f"Cannot write {LONG}: its name is too"),
    "82 links in a circle": ("score flow.vae bad.csv -o loop", 5, "Cannot write loop: its symbolic "),
    "82 another format": ("score flow.vae bad.csv -o out.xlsx", 2, "Cannot write scores as '.xlsx'."),
    "84 a full device": ("score flow.vae good.csv -o /dev/full", 5, "Cannot write /dev/full: the dis"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused_before_any_work(place, vae, case):
    os.link("good.csv", "hard.csv")
    Path("soft.csv").symlink_to("good.csv")
    Path("model.csv").symlink_to("flow.vae")
    Path("loop").symlink_to("loop")
    Path("bad.csv").write_text("invalid, but the output is refused first")
    Path("report").mkdir()
    shutil.copy("flow.vae", "report/report.html")
    shutil.copy("good.csv", "report/scores.png")
    line, code, message = REFUSED[case]
    outcome = vae(line)
    assert outcome.code == code
    assert outcome.error.startswith(message)


def test_the_files_that_a_report_may_replace_are_those_it_writes():
    from vae_anomaly.names import REPORT_FILES
    from vae_anomaly.report.render import figure_names

    assert set(REPORT_FILES) == {"report.html", *(f"{name}.png" for name in figure_names())}


def test_an_existing_output_is_replaced_case_80(place, vae):
    assert vae(SCORE).code == 0
    assert Path("out.csv").read_text().startswith("row,anomaly_score,is_anomaly,status\n1,")


def test_a_report_does_not_remove_other_images(place, vae):
    Path("report").mkdir()
    Path("report/samples.png").write_bytes(b"mine")
    assert vae("evaluate flow.vae good.csv -o report").code == 0
    assert Path("report/samples.png").read_bytes() == b"mine"


# --------------------------------------------------------------------------- real processes

MAX_SECONDS = 300
"""Time limit of a command, long enough for a busy machine."""


def started(line: str, before: str = "", **environment: str | None):
    """Start a command in a shell, after shell commands that limit or redirect it."""
    variables = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    given = {name: value for name, value in variables.items() if value is not None}
    command = f"{before} exec '{sys.executable}' -m vae_anomaly {line}"
    return subprocess.Popen(
        ["bash", "-c", command],
        env=given,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def ended(line: str, before: str = "", **environment: str | None) -> tuple[int, bytes, str]:
    with started(line, before, **environment) as process:
        try:
            out, err = process.communicate(timeout=MAX_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    assert b"Traceback" not in err
    return process.returncode, out, err.decode()


def test_a_full_disk_case_83(place):
    """A limit on the size of files has the effect of a full disk."""
    Path("many.csv").write_text("flow,pressure\n" + "10,20\n" * 500)
    before = {path.name for path in place.iterdir()}
    code, _, err = ended("score flow.vae many.csv -o out.csv", "ulimit -f 1;")
    assert (code, err.count("\n")) == (5, 1)
    assert err.startswith("error: Cannot write out.csv: the file would be larger than the system")
    assert Path("out.csv").read_bytes() == b"old output\n"
    assert {path.name for path in place.iterdir()} == before


@pytest.mark.parametrize(
    ("line", "code", "message"),
    [
        ("score flow.vae good.csv -o - >/dev/full", 5, "error: Cannot write standard output: the"),
        ("inspect flow.vae >/dev/full", 5, "error: "),
        ("score flow.vae good.csv -o - >&-", 5, "error: Cannot write standard output: "),
        ("score flow.vae - -o new.csv <&-", 3, "error: standard input is empty."),
        ("score flow.vae good.csv -o new.csv 2>/dev/full", 0, ""),
        ("score flow.vae good.csv -o new.csv 2>&-", 0, ""),
        ("score flow.vae no.csv -o new.csv 2>&-", 5, ""),
        ("score flow.vae good.csv -o new.csv <&- >&- 2>&-", 0, ""),
    ],
)
def test_full_or_closed_standard_streams_case_84(place, line, code, message):
    got, _, err = ended(line)
    assert got == code
    assert err.startswith(message)
    assert err.count("\n") == (1 if message else 0)
    if code == 0:
        assert Path("new.csv").read_text().count("\n") == 4


def test_a_closed_pipe_case_85(place):
    Path("many.csv").write_text("flow,pressure\n" + "10,20\n" * 100_000)
    with started("score flow.vae many.csv -o - -q") as process:
        assert process.stdout.readline() == b"row,anomaly_score,is_anomaly,status\n"
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


def size_of(path: Path) -> int:
    """Return the size of a file; 0 if `check_writable` has removed it again."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


@pytest.mark.parametrize(
    ("number", "code", "word"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")],
)
def test_signals_while_scoring_cases_86_87(place, number, code, word):
    Path("many.csv").write_text("flow,pressure\n" + "10,20\n" * 3_000_000)
    before = {path.name for path in place.iterdir()}
    with started("score flow.vae many.csv -o out.csv") as process:
        while not any(size_of(path) for path in place.glob(".out.csv.*.tmp")):
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(number)
        sent = time.monotonic()
        _, err = process.communicate()
    assert process.returncode == code
    assert time.monotonic() - sent < 10
    assert err.decode().splitlines()[-1] == word
    assert b"Traceback" not in err
    assert Path("out.csv").read_bytes() == b"old output\n"
    assert {path.name for path in place.iterdir()} == before


def test_few_descriptors_case_92(place):
    assert ended(SCORE, "ulimit -n 12;")[0] == 0


def test_little_memory_case_91(place):
    """Memory too small for TensorFlow is enough to score; a library that fails to load is reported."""
    assert ended(SCORE, "ulimit -v 4000000;")[0] == 0
    message = "libtensorflow_cc.so.2: failed to map segment from shared object"
    assert code_after(ImportError(message)) is Exit.RESOURCES
    assert code_after(ImportError("No module named 'x'")) is Exit.BUG


@pytest.mark.parametrize("kilobytes", [1_600_000, 2_700_000])
def test_too_little_memory_to_train_in_case_91(place, kilobytes):
    """TensorFlow would abort the process or hang, since its threads raise no exception."""
    code, _, err = ended("fit good.csv -o new.vae -q", f"ulimit -v {kilobytes};")
    assert code == 5
    assert err.startswith("error: TensorFlow needs 2.6 GB of address space, the limit of this ")
    assert err.endswith(" GB. Raise the limit.\n")
    assert not Path("new.vae").exists()


ENVIRONMENTS = {
    "93 C locale": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "93 decimal comma": {"LC_ALL": "de_DE.UTF-8", "LANG": "de_DE.UTF-8"},
    "93 time zone": {"TZ": "Asia/Kathmandu"},
    "94 no home": {"HOME": None},
    "94 home is no directory": {"HOME": "/dev/null", "XDG_CONFIG_HOME": "/dev/null/x"},
    "94 no colour": {"NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "1"},
    "94 warnings are errors": {"PYTHONWARNINGS": "error"},
    "94 optimised": {"PYTHONOPTIMIZE": "2", "PYTHONHASHSEED": "7"},
    "96 one thread": {"OMP_NUM_THREADS": "1"},
    "97 a missing device": {"CUDA_VISIBLE_DEVICES": "0"},
}


@pytest.mark.parametrize("case", ENVIRONMENTS)
def test_outputs_do_not_depend_on_the_environment_cases_93_to_97(place, vae, case):
    Path("b.csv").write_bytes(b"site,flow,pressure,\xc3\xa9\n\xc3\xa9,10,20,\xe2\x82\xac\n")
    line = "score flow.vae b.csv -o {} --id-column site"
    assert vae(line.format("here.csv")).code == 0
    code, out, err = ended(line.format("there.csv"), **ENVIRONMENTS[case])
    assert (code, out) == (0, b""), err
    assert Path("there.csv").read_bytes() == Path("here.csv").read_bytes()


@pytest.mark.parametrize("year", [1980, 2040])
def test_a_wrong_clock_case_95(place, vae, year, monkeypatch):
    assert vae(SCORE).code == 0
    assert vae("evaluate flow.vae good.csv -o here -q").code == 0
    temporary = Path(f".out.csv.{16 * '0'}.tmp")
    temporary.write_bytes(b"left by a killed process")
    monkeypatch.setattr(time, "time", lambda: (year - 1970) * 31_556_952.0)
    before = Path("out.csv").read_bytes()
    files = {path: path.read_bytes() for path in Path("here").iterdir()}
    assert vae(SCORE).code == 0
    assert not temporary.exists()
    assert Path("out.csv").read_bytes() == before
    # In the same place: the page names the command that wrote it.
    assert vae("evaluate flow.vae good.csv -o here -q").code == 0
    assert {path: path.read_bytes() for path in Path("here").iterdir()} == files


def test_a_deleted_working_directory_case_94(place):
    gone = "mkdir gone && cd gone && rmdir ../gone;"
    line = f"score {place}/flow.vae {place}/good.csv -o {place}/new.csv"
    assert ended(line, gone)[0] == 0
    assert ended(SCORE, gone)[0] == 5


def test_one_processor_case_96(place, vae):
    assert vae(SCORE).code == 0
    before = Path("out.csv").read_bytes()
    if shutil.which("taskset") is None:
        pytest.skip("no taskset")
    assert ended(SCORE, f"taskset -p -c {min(os.sched_getaffinity(0))} $$ >/dev/null;")[0] == 0
    assert Path("out.csv").read_bytes() == before

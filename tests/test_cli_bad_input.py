"""What is refused: one sentence, the right exit code, and nothing written.

Each case starts with an old output in place, which must survive.
"""

import io
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from ordinary_user import needs_permissions
from processes import start_command

import vae_anomaly
from vae_anomaly.cli import run
from vae_anomaly.cli.errors import Exit, code_after
from vae_anomaly.model.model import Model

DATA = Path(__file__).parent.parent / "data"
OLD = b"old output\n"
ADVICE = "Correct the cell or remove the row."


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A model of flow and pressure, and one that knows two columns by position."""
    folder = tmp_path_factory.mktemp("models")
    table = pd.read_csv(DATA / "normal.csv").iloc[:, :2].set_axis(["flow", "pressure"], axis=1)
    options = {"max_steps": 5, "n_members": 1, "contamination": 0.1, "random_state": 0}
    for name, rows in (("named", table), ("unnamed", table.to_numpy())):
        detector = vae_anomaly.VAEDetector(**options).fit(rows)
        vae_anomaly.save(detector, folder / f"{name}.vae")
    return folder


@pytest.fixture
def workplace(tmp_path, models, monkeypatch):
    """A folder with models, sound tables, and old outputs."""
    for path in models.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "good.csv").write_text("id,flow,pressure\n1,10,20\n2,11,21\n3,12,25\n")
    for name in ("out.csv", "out.parquet", "out.vae"):
        (tmp_path / name).write_bytes(OLD)
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "report.html").write_bytes(OLD)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def refused(workplace, capsys, monkeypatch):
    """Run a command line that must fail; return its exit code and its one sentence."""

    def refused(line, stdin=b""):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        before = snapshot(workplace)
        code = run(shlex.split(line))
        captured = capsys.readouterr()
        assert captured.out == ""
        assert "Traceback" not in captured.err
        errors = [text for text in captured.err.splitlines() if text.startswith("error: ")]
        assert len(errors) == 1, captured.err
        assert snapshot(workplace) == before
        return code, errors[0].removeprefix("error: ")

    return refused


def snapshot(folder):
    return {p: p.read_bytes() for p in folder.rglob("*") if p.is_file() and not p.is_symlink()}


# ------------------------------------------------------------------ what every table can be

ANY_TABLE = {
    "empty": (b"", "{t} is empty. Expected a line of column names, then rows."),
    "blank": (b"\n\n", "{t} is empty. Expected a line of column names, then rows."),
    "short row": (
        b"flow,pressure\n1,2\n3\n4\n",
        "{t}, line 3: expected 2 fields, as in the header, got 1. Line 4 is wrong as well. "
        "Complete the row or remove it.",
    ),
    "long row": (
        b"flow,pressure\n1,2,3\n",
        "{t}, line 2: expected 2 fields, as in the header, got 3. ",
    ),
    "open quote": (b'flow,pressure\n1,"2\n', "{t}, line 2: a quote is opened and never closed."),
    "latin-1": (b"flow,pressure\n1,2\n\xb5,2\n", "{t}, line 3: the byte 0xb5 is not UTF-8 text. "),
    "utf-16": ("flow,pressure\n1,2\n".encode("utf-16"), "{t} is UTF-16 text. Save it as UTF-8."),
    "nul": (b"flow,pressure\n1,\0\n", "{t}, line 2: a NUL byte. "),
    "two of a name": (
        b"flow,flow,pressure\n1,2,3\n",
        "{t} has more than one column called 'flow'.",
    ),
    "no header": (b"1,2\n3,4\n", "{t} begins with numbers, '1,2'. "),
    "gzip": (b"\x1f\x8b\x08\x00", "{t} looks like a gzip archive. "),
    "json list": (
        b'[{"flow": 1.0}]\n',
        "{t} looks like a JSON list. Write each of its objects on a line of its own: jq -c ",
    ),
    "json of a number": (
        b'{"flow": 1, "pressure": 2}\n3\n4\n',
        "{t}, line 2: expected a JSON object, got '3'. Line 3 is wrong as well. Write one on ",
    ),
    "json cut off": (b'{"flow": 1, "press', "{t}, line 1: expected a JSON object, got "),
    "json of lists": (
        b'{"flow": 1, "pressure": 2}\n\n{"flow": 1, "pressure": [2]}\n',
        "{t}, line 3, column 'pressure': expected a number, a text, true, false or null, got a "
        "list. Write its values as further columns.",
    ),
    "json of objects": (
        b'{"flow": {"mean": 1}, "pressure": 2}\n',
        "{t}, line 1, column 'flow': expected a number, a text, true, false or null, got an object",
    ),
    "json in latin-1": (b'{"flow": "\xb5"}\n', "{t}, line 1: the byte 0xb5 is not UTF-8 text. "),
    "json with nul": (b'{"flow": "\\u0000"}\n', "{t}, line 1: column 'flow': expected text in "),
    "no json": (b"{}\n", "{t} is empty. Expected a JSON object on each line."),
    "parquet": (b"PAR1 and then nothing", "{t} is not a sound Parquet file: "),
}


@pytest.mark.parametrize("case", ANY_TABLE)
@pytest.mark.parametrize(
    "line",
    [
        "fit {t} -o out.vae",
        "score named.vae {t} -o out.csv",
        "score named.vae {t} -o -",
        "evaluate named.vae {t} -o report",
    ],
)
@pytest.mark.parametrize("piped", [False, True], ids=["file", "stdin"])
def test_tables_that_no_command_takes(refused, workplace, line, case, piped):
    content, message = ANY_TABLE[case]
    (workplace / "bad.csv").write_bytes(content)
    code, words = refused(line.format(t="-" if piped else "bad.csv"), stdin=content)
    assert code == 3
    assert words.startswith(message.format(t="standard input" if piped else "bad.csv"))


@pytest.mark.parametrize("cell", ["-inf", "1e400"])
@pytest.mark.parametrize(
    "line", ["fit bad.csv -o out.vae", "score named.vae bad.csv -o out.csv --strict"]
)
def test_infinite_numbers_end_a_fit_and_a_strict_scoring(refused, workplace, line, cell):
    (workplace / "bad.csv").write_text(f"flow,pressure\n1,2\n1,{cell}\n")
    code, words = refused(line)
    message = f"bad.csv, line 3, column 'pressure': expected a finite number, got '{cell}'. "
    assert code == 3
    assert words.startswith(message)


# --------------------------------------------------------------------------- single cases

CASES = [
    # fit
    (
        "fit t.csv -o out.vae",
        b"flow,pressure\n1,2\n3,off\n",
        3,
        "t.csv, line 3, column 'pressure': expected a number, got 'off'. Correct the cell, or "
        "leave the column out with --ignore pressure, or make it one of levels with --type "
        "pressure=category.",
    ),
    (
        "fit t.csv -o out.vae",
        b"flow,pressure\n",
        3,
        "t.csv has 0 rows below its column names. Expected at least 2 to learn from.",
    ),
    (
        "fit t.csv -o out.vae",
        b"flow,pressure\n1,2\n",
        3,
        "t.csv has 1 row below its column names. Expected at least 2 to learn from.",
    ),
    (
        "fit t.csv -o out.vae",
        b"flow,pressure\n1,2\n1,2\n1,2\n",
        3,
        "All 2 columns are constant in the 2 training rows: there is nothing to learn. Expected "
        "at least one column that varies.",
    ),
    (
        "fit good.csv -o out.vae --ignore Flow",
        b"",
        3,
        "good.csv lacks a column that the command line names: 'Flow'. Did you mean 'flow' for "
        "'Flow'? Names must agree exactly.",
    ),
    (
        "fit t.csv -o out.vae",
        b"flow,\n1,0\n2,1\n",
        3,
        "t.csv: column 2 has no name. Name it, or leave it out with --ignore ''.",
    ),
    (
        "fit good.csv -o out.vae --ignore flow --ignore pressure --ignore id",
        b"",
        3,
        "good.csv: no column is left to learn from. Leave out fewer of its 3.",
    ),
    ("fit missing.csv -o out.vae", b"", 5, "Cannot read missing.csv: there is no such file."),
    (
        "fit report -o out.vae",
        b"",
        3,
        "report holds no images: no PNG, JPEG, BMP, TIFF, WebP or GIF files, in it "
        "or in its subfolders.",
    ),
    ("fit good.csv -o no/out.vae", b"", 5, "Cannot write no/out.vae: there is no directory 'no'."),
    ("fit good.csv -o report", b"", 5, "Cannot write report: it is a directory. Name a file."),
    ("fit good.csv -o good.csv", b"", 2, "The output good.csv is also an input. "),
    ("fit good.csv", b"", 2, "Missing option '-o' / '--output'. Try 'vae-anomaly fit --help'."),
    ("fit -o out.vae", b"", 2, "Missing argument 'DATA'. Try 'vae-anomaly fit --help'."),
    (
        "fit good.csv -o out.vae --contamination 0.1 --false-alarm-rate 0.1",
        b"",
        2,
        "--contamination and --false-alarm-rate both choose the threshold. Give one of them.",
    ),
    ("fit good.csv -o out.vae --beta=-1", b"", 2, "Invalid value for '--beta': -1.0 is not in"),
    ("fit good.csv -o out.vae --beta nan", b"", 2, "The 'beta' parameter of VAEDetector must be"),
    ("fit good.csv -o out.vae --score elb", b"", 2, "Invalid value for '--score': 'elb' is not"),
    ("fit good.csv -o out.vae --betta 1", b"", 2, "No such option"),
    # score
    (
        "score named.vae t.csv -o out.csv --strict",
        b"flow,pressure\n1,2\n3,off\n",
        3,
        f"t.csv, line 3, column 'pressure': expected a number, got 'off'. {ADVICE}",
    ),
    *(
        (
            line,
            b"flow,pressure\n1,2\n3,off\n4,on\n",
            3,
            "t.csv, column 'pressure': expected numbers, as in training, got text in 2 of 3 cells, "
            "the first 'off' in line 3. Check that it is the column that was meant.",
        )
        for line in (
            "score named.vae t.csv -o out.csv",
            "score named.vae t.csv -o -",
            "evaluate named.vae t.csv -o report",
        )
    ),
    (
        "score named.vae t.csv -o out.csv",
        b"Flow,x\n1,2\n",
        3,
        "t.csv lacks 2 columns that the model names: 'flow', 'pressure'. Did you mean 'Flow' for "
        "'flow'? Names must agree exactly.",
    ),
    (
        "score named.vae good.csv -o out.csv --strict",
        b"",
        3,
        "good.csv: the model does not know 'id'. Remove what is extra, or score without --strict.",
    ),
    (
        "score unnamed.vae good.csv -o out.csv",
        b"",
        3,
        "good.csv has 3 columns for the model, which was fitted on 2 without names and so takes "
        "them by position. Bring exactly these 2, in the order of training.",
    ),
    (
        "score named.vae good.csv -o out.csv --id-column ID",
        b"",
        3,
        "good.csv lacks a column that the command line names: 'ID'. Did you mean 'id' for 'ID'?",
    ),
    (
        "score named.vae good.csv -o out.csv --id-column flow",
        b"",
        2,
        "The model was fitted on column 'flow': it cannot be the label or the identifier as well.",
    ),
    (
        "score named.vae good.csv -o out.xlsx",
        b"",
        2,
        "Cannot write scores as '.xlsx'. Name a .csv, .jsonl or .parquet file, or - for standard "
        "output.",
    ),
    (
        "score named.vae good.csv -o out.csv --repair --score kl",
        b"",
        2,
        "--repair needs a threshold, and that of the model is one of another score. Leave --score",
    ),
    ("score named.vae good.csv -o out.csv --explain 0", b"", 2, "Invalid value for '--explain'"),
    ("score named.vae good.csv -o good.csv", b"", 2, "The output good.csv is also an input."),
    ("score named.vae good.csv -o named.vae", b"", 2, "Cannot write scores as '.vae'."),
    ("score named.vae good.csv -o no/out.csv", b"", 5, "Cannot write no/out.csv: there is no dire"),
    ("score named.vae missing.csv -o out.csv", b"", 5, "Cannot read missing.csv: there is no such"),
    ("score missing.vae good.csv -o out.csv", b"", 5, "Cannot read missing.vae: there is no such"),
    ("score good.csv good.csv -o out.csv", b"", 4, "good.csv: not a sound vae-anomaly model: "),
    # evaluate
    (
        "evaluate named.vae good.csv -o report --label-column fault",
        b"",
        3,
        "good.csv lacks a column that the command line names: 'fault'. Its columns are 'id', ",
    ),
    (
        "evaluate named.vae t.csv -o report --label-column y",
        b"flow,pressure,y\n1,2,0\n1,2,\n",
        3,
        "t.csv, row 2, column 'y': expected a label, got an empty or missing cell.",
    ),
    (
        "evaluate named.vae t.csv -o report --label-column y",
        b"flow,pressure,y\n1,2,-1\n1,2,1\n",
        3,
        "t.csv, column 'y': labels -1 and 1 are ambiguous: scikit-learn's anomalies are -1, "
        "others' are 1. Say which rows are normal with --normal-label.",
    ),
    (
        "evaluate named.vae t.csv -o report --label-column y --normal-label fine",
        b"flow,pressure,y\n1,2,a\n1,2,b\n",
        3,
        "t.csv, column 'y': no row has the normal label 'fine'. Its labels are 'a', 'b'.",
    ),
    (
        "evaluate named.vae t.csv -o report",
        b"flow,pressure\n",
        3,
        "t.csv has no rows below its column names. There is nothing to report.",
    ),
    ("evaluate named.vae good.csv -o report --normal-label a", b"", 2, "--normal-label needs "),
    ("evaluate named.vae good.csv -o good.csv", b"", 5, "Cannot write good.csv"),
    # inspect and the rest
    ("inspect missing.vae", b"", 5, "Cannot read missing.vae: there is no such file."),
    ("inspect good.csv", b"", 4, "good.csv: not a sound vae-anomaly model: "),
    ("inspect empty.vae", b"", 4, "empty.vae: not a sound vae-anomaly model: "),
    ("demo -o good.csv", b"", 5, "Cannot write good.csv"),
    ("demo -o good.csv/x", b"", 5, "Cannot write good.csv/x"),
    ("train good.csv", b"", 2, "No such command 'train'. Try 'vae-anomaly --help'."),
]


@pytest.mark.parametrize(("line", "table", "code", "message"), CASES, ids=[c[0] for c in CASES])
def test_refused(refused, workplace, line, table, code, message):
    (workplace / "empty.vae").write_bytes(b"")
    (workplace / "t.csv").write_bytes(table)
    got = refused(line)
    assert got[0] == code, got
    assert got[1].startswith(message)


@pytest.mark.parametrize("line", ["score report good.csv -o out.csv", "inspect report"])
def test_a_directory_is_no_model(refused, line):
    code, message = refused(line)
    assert code in (Exit.MODEL, Exit.RESOURCES)
    assert "directory" in message


def test_a_link_to_the_input_is_the_input(refused, workplace):
    os.link(workplace / "good.csv", workplace / "hard.csv")
    assert refused("score named.vae good.csv -o hard.csv")[0] == 2


def test_columns_are_checked_before_tensorflow_is_loaded(workplace):
    (workplace / "bad.csv").write_text("flow,pressure\n1,2\n1,inf\n")
    code = (
        "import sys; from vae_anomaly.cli import run\n"
        "code = [run(line.split()) for line in sys.argv[1:]]\n"
        "sys.exit(f'{code}' if 'tensorflow' in sys.modules or set(code) != {3} else 0)"
    )
    lines = ["fit bad.csv -o m.vae", "score named.vae bad.csv -o s.csv --strict"]
    done = subprocess.run([sys.executable, "-c", code, *lines], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


def test_scoring_a_table_loads_no_slow_library(workplace):
    code = (
        "import sys; from vae_anomaly.cli import run\n"
        "code = run('score named.vae good.csv -o s.csv'.split())\n"
        "slow = {'tensorflow', 'sklearn', 'scipy', 'pandas', 'matplotlib'} & set(sys.modules)\n"
        "sys.exit(f'{slow}' if slow else code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


@needs_permissions
def test_a_write_protected_output(refused, workplace):
    (workplace / "out.csv").chmod(0o400)
    assert refused("score named.vae good.csv -o out.csv")[0] == 5


# -------------------------------------------------------------------- failures on the way


@pytest.mark.parametrize("output", ["out.csv", "out.parquet"])
@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (OSError(28, "No space left on device"), 5, "error: Cannot write {}: the disk is full."),
        (MemoryError(), 5, "error: Out of memory."),
        (KeyboardInterrupt(), 130, "interrupted"),
        (RuntimeError("odd"), 1, "error: RuntimeError: odd. This is a bug of vae-anomaly."),
    ],
    ids=["disk full", "memory", "ctrl-c", "bug"],
)
def test_a_failure_halfway_leaves_the_old_scores(
    workplace, capsys, monkeypatch, output, error, code, words
):
    def fail(self, records, **options):
        raise error

    monkeypatch.setattr(Model, "evaluate", fail)
    before = snapshot(workplace)
    assert run(f"score named.vae good.csv -o {output} --id-column id".split()) == code
    err = capsys.readouterr().err
    assert err.startswith(words.format(output))
    assert err.count("\n") == 1
    assert snapshot(workplace) == before


@pytest.mark.parametrize(("error", "code"), [(KeyboardInterrupt(), 130), (MemoryError(), 5)])
def test_a_failure_in_training_leaves_the_old_model(workplace, capsys, monkeypatch, error, code):
    def fail(self, rows):
        raise error

    monkeypatch.setattr(vae_anomaly.VAEDetector, "fit", fail)
    before = snapshot(workplace)
    assert run(["fit", "good.csv", "-o", "out.vae", "--ignore", "id"]) == code
    assert "Traceback" not in capsys.readouterr().err
    assert snapshot(workplace) == before


def test_debug_shows_the_traceback_and_the_sentence(workplace, capsys):
    assert run(["score", "named.vae", "missing.csv", "-o", "out.csv", "--debug"]) == 5
    err = capsys.readouterr().err
    assert "Traceback (most recent call last)" in err
    assert err.splitlines()[-1].startswith("error: Cannot read missing.csv")


def test_quiet_still_says_errors(refused):
    assert refused("score named.vae missing.csv -o out.csv -q")[0] == 5


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (BrokenPipeError(32, "Broken pipe"), Exit.CLOSED_PIPE),
        (vae_anomaly.DivergenceError("x"), Exit.DATA),
        (vae_anomaly.ParameterError("x"), Exit.USAGE),
        (type("ResourceExhaustedError", (Exception,), {})("x"), Exit.RESOURCES),
        (ZeroDivisionError(), Exit.BUG),
    ],
)
def test_exit_codes(error, code):
    assert code_after(error) is code


# -------------------------------------------------------------------------- real processes


def start(*args, **options):
    command = [sys.executable, "-m", "vae_anomaly", *map(str, args)]
    environment = os.environ | {"PYTHONPATH": str(DATA.parent)}
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True, **options)


def test_a_full_standard_output(workplace):
    with Path("/dev/full").open("w") as full:
        process = start(
            "score", "named.vae", "good.csv", "-o", "-", "--id-column", "id", stdout=full
        )
        _, err = process.communicate(timeout=60)
    assert process.returncode == 5
    assert err == (
        "error: Cannot write standard output: the disk is full. Free some space and run it again.\n"
    )


def test_a_reader_that_leaves(workplace):
    with start("inspect", "named.vae", stdout=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 141


@pytest.mark.parametrize(
    ("number", "code", "word"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")],
)
def test_signals_in_training(workplace, number, code, word):
    before = snapshot(workplace)
    # A learning rate at which nothing improves fast, and so nothing stops early.
    options = ("--max-steps", 10**6, "--learning-rate", 1e-6)
    with start_command(workplace, "fit", DATA / "normal.csv", "-o", "out.vae", *options) as process:
        assert process.stream.readline() == "fitting on 267 rows of 30 columns\n"
        time.sleep(1)
        process.send_signal(number)
        sent = time.monotonic()
        err = process.rest()
        assert process.returncode == code
    assert time.monotonic() - sent < 10
    assert err.splitlines()[-1] == word
    assert "Traceback" not in err
    assert snapshot(workplace) == before

"""The commands, as a user meets them when all is well."""

import csv
import hashlib
import io
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas as pd
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest

import vae_anomaly
from vae_anomaly.cli import run
from vae_anomaly.cli.commands import cli
from vae_anomaly.cli.console import Console
from vae_anomaly.cli.errors import Exit
from vae_anomaly.pipeline.interrupt import raising_signals
from vae_anomaly.pipeline.memory import MIN_ROWS, memory_of_fit, rows_within
from vae_anomaly.pipeline.sizes import bytes_of

DATA = Path(__file__).parent.parent / "data"
NORMAL, LABELLED = DATA / "normal.csv", DATA / "labelled.csv"

REASON = ("reason", "contribution", "value", "expected", "low", "high", "direction")
"""Columns of each reason, but for their number."""
COMMANDS = ("fit", "score", "evaluate", "recalibrate", "inspect", "export", "demo")
FAST = ("--max-steps", 100, "--members", 2)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "m.vae"
    assert run(["fit", str(NORMAL), "-o", str(path), *map(str, FAST), "--quiet"]) == 0
    return path


def rows_of(text):
    return list(csv.DictReader(io.StringIO(text)))


# ----------------------------------------------------------------------------- help


def test_help_is_light():
    """`--help` loads click and little else."""
    code = (
        "import sys; from vae_anomaly.cli import run; code = run(['--help'])\n"
        "heavy = {'tensorflow', 'keras', 'matplotlib', 'numpy', 'pandas', 'pyarrow', 'sklearn'}\n"
        "sys.exit(f'{heavy & set(sys.modules)}' if heavy & set(sys.modules) else code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("words", [(), ("-h",), ("--help",)])
def test_help_lists_the_commands_and_the_exit_codes(vae, words):
    code, out, err = vae(*words)
    assert (code, err) == (0, "")
    assert all(f"  {command} " in out for command in COMMANDS)
    assert "Exit codes: 0 done" in out


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help_with_an_example_that_parses(vae, command):
    code, out, _ = vae(command, "--help")
    assert code == 0
    examples = [line for line in out.splitlines() if f"vae-anomaly {command} " in line][1:]
    assert examples
    for example in examples:
        words = example.split(f"vae-anomaly {command} ")[1].split(" | ")[0].split()
        cli.commands[command].make_context(command, words)


def test_every_option_is_explained():
    for command in cli.commands.values():
        for option in command.params:
            if isinstance(option, click.Option):
                assert option.help, (command.name, option.name)


def choices(command, name):
    """Return the values that an option takes."""
    (option,) = [option for option in cli.commands[command].params if option.name == name]
    return tuple(option.type.choices)


def test_choices_are_those_of_the_library():
    from vae_anomaly.model.parameters import HIDDEN_UNITS, RULES
    from vae_anomaly.names import DUPLICATES, SERIES_ARCHITECTURES
    from vae_anomaly.stats.likelihoods import LIKELIHOODS
    from vae_anomaly.stats.scores import SCORES
    from vae_anomaly.training.optimizers import OPTIMIZERS

    assert choices("fit", "score_type") == ("auto", *SCORES)
    assert choices("score", "score") == choices("score", "also") == tuple(SCORES)
    assert set(choices("fit", "likelihood")) == set(LIKELIHOODS) - {"categorical"}
    assert set(choices("fit", "optimizer")) == set(OPTIMIZERS)
    assert choices("fit", "duplicates") == DUPLICATES
    # Those of records, and those of windows of time series.
    found = choices("fit", "architecture")
    assert set(found) == {"auto", *HIDDEN_UNITS, *SERIES_ARCHITECTURES}
    for option in ("likelihood", "optimizer", "architecture", "prior"):
        others = set(SERIES_ARCHITECTURES) - set(HIDDEN_UNITS)
        assert all(RULES[option].holds(name) for name in set(choices("fit", option)) - others)
        assert not RULES[option].holds("another")


def test_defaults_are_those_of_the_library():
    detector = vae_anomaly.VAEDetector()
    names = {"score": "score_type", "members": "n_members"}
    context = cli.commands["fit"].make_context("fit", ["in.csv", "-o", "m.vae"])
    for option, value in context.params.items():
        name = names.get(option, option)
        if hasattr(detector, name) and name not in ("random_state", "false_alarm_rate"):
            assert value == getattr(detector, name), name
    assert detector.false_alarm_rate == 0.01


def test_version(vae):
    assert vae("--version") == (0, f"vae-anomaly {vae_anomaly.__version__}\n", "")


def test_module_and_shim_are_the_same_program():
    shim = DATA.parent / "cli.py"
    texts = {
        subprocess.run(
            [sys.executable, *start, "--help"], capture_output=True, cwd=DATA.parent, check=True
        ).stdout
        for start in ([shim], ["-m", "vae_anomaly"])
    }
    assert len(texts) == 1


# ------------------------------------------------------------------------------ fit


def test_fit_says_what_it_learned(vae, tmp_path):
    table = pd.read_csv(NORMAL)[["mean_radius", "mean_texture"]].assign(
        site="here", lot=7.0, serial=range(267)
    )
    table.to_csv(tmp_path / "t.csv", index=False)
    model = tmp_path / "m.vae"
    rate = ("--false-alarm-rate", 0.05)
    code, out, err = vae("fit", tmp_path / "t.csv", "-o", model, "--ignore", "site", *rate, *FAST)
    assert (code, out) == (0, "")
    lines = err.splitlines()
    assert lines[0] == "fitting on 267 rows of 4 columns"
    assert re.fullmatch(
        r"trained for 100 steps in [\d.]+ s, best loss on held-out rows [-\d.]+ nats per row, "
        r"after 100 steps",
        lines[1],
    )
    assert lines[2] == "left out: 'site'"
    assert lines[3] == (
        "'serial': left out, identifier: whole numbers without gaps, hardly any twice"
    )
    assert lines[4] == "constant in training, any other value will count as anomalous: 'lot'"
    assert lines[5].startswith("threshold: ")
    assert lines[5].endswith(
        " nats, false-alarm rate 0.05 (from 59 calibration rows; so many give 0.011 to "
        "0.12 in 95 of 100 cases)"
    )
    assert lines[6:] == [f"model: {model}"]


def test_fit_is_repeatable_and_quiet(vae, tmp_path, model):
    assert vae("fit", NORMAL, "-o", tmp_path / "m.vae", *FAST, "-q") == (0, "", "")
    assert (tmp_path / "m.vae").read_bytes() == model.read_bytes()


def test_fit_hands_its_options_on(vae, tmp_path):
    options = "--contamination 0.1 --likelihood bernoulli --beta 0.5 --latent-dim 3 --score kl"
    code, _, err = vae(
        *("fit", "-", "-o", tmp_path / "m.vae", *options.split(), "--random-state", 5),
        *("--optimizer", "rmsprop", "--learning-rate", "0.002", "--members", 1, "--max-steps", 20),
        stdin=NORMAL.read_bytes(),
    )
    assert code == 0
    assert "above which 0.1 of the training rows lie" in err
    detector = vae_anomaly.load(tmp_path / "m.vae")
    wanted = {
        "contamination": 0.1,
        "likelihood": "bernoulli",
        "beta": 0.5,
        "latent_dim": 3,
        "score_type": "kl",
        "random_state": 5,
        "optimizer": "rmsprop",
        "learning_rate": 0.002,
        "n_members": 1,
        "max_steps": 20,
    }
    assert {name: getattr(detector, name) for name in wanted} == wanted


def least_limit(columns):
    """The lowest --memory-limit for two networks, as an option."""
    return f"{memory_of_fit(MIN_ROWS, columns, members=2) / 1e3 + 1:.0f}kB"


def test_fit_learns_from_as_many_rows_as_the_memory_allows(vae, tmp_path):
    X = np.random.RandomState(0).normal(size=(MIN_ROWS + 2000, 2))
    table = pd.DataFrame(X, columns=["a", "b"])
    table.to_csv(tmp_path / "t.csv", index=False)
    table.to_parquet(tmp_path / "t.parquet")
    options = ("--max-steps", 5, "--members", 2, "--memory-limit", least_limit(2))
    models = [tmp_path / name for name in ("csv.vae", "parquet.vae", "all.vae", "seed.vae")]
    code, out, err = vae("fit", tmp_path / "t.csv", "-o", models[0], *options)
    assert (code, out) == (0, "")
    count = int(re.search(r"learning from ([\d,]+) of 12,000 rows", err)[1].replace(",", ""))
    assert MIN_ROWS <= count < MIN_ROWS + 2000
    assert f"fitting on {count:,} rows of 2 columns" in err
    vae("fit", tmp_path / "t.parquet", "-o", models[1], *options)
    _, _, err = vae("fit", tmp_path / "t.csv", "-o", models[2], *options[:-1], "1.5GB")
    assert "learning from" not in err
    vae("fit", tmp_path / "t.csv", "-o", models[3], *options, "--random-state", 1)
    read = [model.read_bytes() for model in models]
    assert read[0] == read[1]
    assert len(set(read)) == 3


def test_rows_that_are_not_learned_from_are_checked_as_well(vae, tmp_path):
    sound = "\n".join(["a,b", *(f"{i % 7},{i % 5}" for i in range(2 * MIN_ROWS))])
    (tmp_path / "t.csv").write_text(f"{sound}\n1,oops\n")
    options = ("-o", tmp_path / "m.vae", "--members", 2, "--memory-limit", least_limit(2))
    code, _, err = vae("fit", tmp_path / "t.csv", *options)
    assert code == 3
    assert err.startswith(f"error: {tmp_path / 't.csv'}, line 20002, column 'b': expected a number")


def test_a_memory_limit_that_is_too_low_is_refused_with_the_lowest_that_is_not(vae, tmp_path):
    code, _, err = vae("fit", NORMAL, "-o", tmp_path / "m.vae", "--memory-limit", "300MB", *FAST)
    assert code == 2
    assert err.startswith(
        "error: --memory-limit of 0.3 GB is too little to learn from 10,000 rows of 30 columns: "
        "before the first of them 1.18 GB are taken, by TensorFlow about 1 GB. Give at least 1.2"
    )
    least = re.search(r"at least ([\d.]+GB)", err)[1]
    assert rows_within(bytes_of(least), columns=30, members=2) >= MIN_ROWS
    assert not (tmp_path / "m.vae").exists()


@pytest.mark.parametrize(
    ("text", "size"),
    [("2GB", 2e9), ("1.5 GiB", 1.5 * 2**30), ("900mb", 9e8), (".5TB", 5e11), ("1kib", 1024)],
)
def test_sizes_that_can_be_spelled(text, size):
    assert bytes_of(text) == size


@pytest.mark.parametrize("text", ["2", "2G", "GB", "-1GB", "1e3MB", "1,5GB", "2GBit", "nanGB", ""])
def test_sizes_that_cannot(vae, text):
    code, _, err = vae("fit", NORMAL, "-o", "m.vae", f"--memory-limit={text}")
    assert code == 2
    assert f"expected a size such as 2GB, 1.5GiB or 900MB, got {text!r}." in err


def test_no_memory_at_all_is_no_limit_and_long_codes_count(vae, tmp_path):
    code, _, err = vae("fit", NORMAL, "-o", "m.vae", "--memory-limit", "0.0GB")
    assert code == 2
    assert "expected more than nothing, such as 2GB, got '0.0GB'." in err
    options = ("--memory-limit", "2GB", "--latent-dim", 1024, "--members", 4)
    code, _, err = vae("fit", NORMAL, "-o", tmp_path / "m.vae", *options)
    assert code == 2
    assert "before the first of them 3.96 GB are taken" in err


def test_fit_warns_when_the_rate_is_too_fine(vae, tmp_path):
    options = ("--false-alarm-rate", "0.0001", "--max-steps", 5, "--members", 1)
    code, _, err = vae("fit", NORMAL, "-o", tmp_path / "m.vae", *options)
    assert code == 0
    assert "warning: false_alarm_rate=0.0001 needs at least 9999 calibration rows" in err


# ---------------------------------------------------------------------------- score


@pytest.fixture(scope="module")
def expected(model):
    """Scores and contributions from the library itself."""
    detector = vae_anomaly.load(model)
    # Text and then floats: pandas 2 rounds what it reads.
    X = pd.read_csv(LABELLED, dtype=str)[list(detector.feature_names_in_)].astype(float)
    return detector, -detector.score_samples(X), detector.explain(X)


def read_exactly(path: Any) -> pd.DataFrame:
    """Read CSV by Arrow: pandas 2 rounds what it reads."""
    return pa_csv.read_csv(path).to_pandas()


def test_scores_are_those_of_the_library(vae, model, expected, tmp_path):
    detector, scores, _ = expected
    out = tmp_path / "s.csv"
    code, stdout, err = vae("score", model, LABELLED, "-o", out)
    assert (code, stdout) == (0, "")
    table = read_exactly(out)
    assert list(table.columns) == ["row", "anomaly_score", "is_anomaly", "status"]
    assert table["row"].tolist() == list(range(1, 303))
    np.testing.assert_array_equal(table["anomaly_score"], scores)
    np.testing.assert_array_equal(table["is_anomaly"], (scores > -detector.offset_).astype(int))
    note, verdict, drift, place = err.splitlines()
    assert note == f"note: {LABELLED}: the model does not know 'id', 'diagnosis'; ignored"
    assert verdict == (
        f"{table['is_anomaly'].sum()} of 302 rows are flagged, above {-detector.offset_:.6g} nats"
    )
    assert drift.startswith("warning: as a whole, the scores of these 302 rows are not those of")
    assert place == f"scores: {out}"


def test_parquet_and_csv_agree(vae, model, tmp_path):
    read_exactly(LABELLED).to_parquet(tmp_path / "in.parquet")
    options = ("--id-column", "id", "--explain", 2, "-q")
    assert vae("score", model, LABELLED, "-o", tmp_path / "s.csv", *options) == (0, "", "")
    out = tmp_path / "s.parquet"
    assert vae("score", model, tmp_path / "in.parquet", "-o", out, *options) == (0, "", "")
    types = dict(zip(pq.read_schema(out).names, map(str, pq.read_schema(out).types), strict=True))
    assert types == {
        "id": "int64",
        "anomaly_score": "double",
        "is_anomaly": "bool",
        **{
            f"{name}_{k}": "string" if name in ("reason", "direction") else "double"
            for k in (1, 2)
            for name in REASON
        },
        "status": "string",
    }
    pd.testing.assert_frame_equal(
        read_exactly(tmp_path / "s.csv"),
        pd.read_parquet(out).astype({"is_anomaly": "int64"}),
        check_dtype=False,
        check_exact=True,
    )


def test_reasons_are_the_largest_contributions(vae, model, expected):
    _, scores, contributions = expected
    names = list(contributions.columns)
    code, out, _ = vae("score", model, LABELLED, "-o", "-", "--explain", 99)
    rows = rows_of(out)
    assert code == 0
    assert len(rows[0]) == 4 + len(REASON) * len(names)
    for i in (0, 100, 301):
        assert float(rows[i]["anomaly_score"]) == scores[i]
        pairs = [(rows[i][f"reason_{k}"], rows[i][f"contribution_{k}"]) for k in range(1, 31)]
        told = {name: float(part) for name, part in pairs if name}
        assert told == {n: contributions[n][i] for n in names if contributions[n][i] > 0}
        assert list(told.values()) == sorted(told.values(), reverse=True)


def test_order_of_columns_and_pipes_do_not_matter(vae, model):
    table = pd.read_csv(LABELLED, dtype=str)
    _, want, _ = vae("score", model, LABELLED, "-o", "-", "--id-column", "id")
    shuffled = table[table.columns[::-1]].to_csv(index=False).encode()
    code, got, err = vae("score", model, "-", "-o", "-", "--id-column", "id", stdin=shuffled)
    assert code == 0
    assert got == want
    assert "note: standard input: the model does not know 'diagnosis'; ignored" in err


def test_identifiers_are_copied_as_they_are(vae, model):
    table = pd.read_csv(NORMAL, dtype=str)[:3]
    table.insert(0, "Ω id", ["007", 'a,"b"', ""])
    code, out, _ = vae(
        *("score", model, "-", "-o", "-", "--id-column", "Ω id"),
        stdin=table.to_csv(index=False).encode(),
    )
    assert code == 0
    assert [row["Ω id"] for row in rows_of(out)] == ["007", 'a,"b"', ""]


def test_an_identifier_may_have_the_name_of_an_output(vae, model):
    table = pd.read_csv(NORMAL, dtype=str)[:3].assign(reason_1=["a", "b", "c"])
    code, out, _ = vae(
        *("score", model, "-", "-o", "-", "--id-column", "reason_1", "--explain", 1),
        stdin=table.to_csv(index=False).encode(),
    )
    assert code == 0
    rows = rows_of(out)
    assert list(rows[0])[:4] == ["id_reason_1", "anomaly_score", "is_anomaly", "reason_1"]
    assert [row["id_reason_1"] for row in rows] == ["a", "b", "c"]


def test_no_rows_no_scores(vae, model, tmp_path):
    (tmp_path / "empty.csv").write_text(NORMAL.read_text().splitlines()[0] + "\n")
    code, out, err = vae("score", model, tmp_path / "empty.csv", "-o", "-", "--explain", 1)
    names = [f"{name}_1" for name in REASON]
    assert (code, out) == (0, f"row,anomaly_score,is_anomaly,{','.join(names)},status\n")
    assert err.startswith("0 of 0 rows are flagged")
    out = tmp_path / "s.parquet"
    assert vae("score", model, tmp_path / "empty.csv", "-o", out)[0] == 0
    assert pq.read_table(out).num_rows == 0


def test_another_score_has_no_threshold(vae, model, expected):
    code, out, err = vae("score", model, LABELLED, "-o", "-", "--score", "kl")
    rows = rows_of(out)
    assert code == 0
    assert list(rows[0]) == ["row", "anomaly_score", "status"]
    detector = vae_anomaly.load(model)
    known = pd.read_csv(LABELLED)[detector.feature_names_in_]
    kl = detector.scores(known, ["kl"])["kl"]
    assert [float(row["anomaly_score"]) for row in rows] == pytest.approx(kl.tolist())
    assert "is_anomaly is left out" in err


def test_further_scores_get_columns_of_their_own(vae, model):
    names = ["elbo", "typicality"]
    also = [word for name in names for word in ("--also", name)]
    code, out, _ = vae("score", model, LABELLED, "-o", "-", *also, "--explain", 1)
    rows = rows_of(out)
    assert code == 0
    assert list(rows[0])[1:5] == ["anomaly_score", "is_anomaly", "score_elbo", "score_typicality"]
    detector = vae_anomaly.load(model)
    known = pd.read_csv(LABELLED)[detector.feature_names_in_]
    expected = detector.scores(known, ["exemplar", *names])
    for column, name in zip(
        ["anomaly_score", "score_elbo", "score_typicality"], expected, strict=True
    ):
        found = [float(row[column]) for row in rows]
        np.testing.assert_allclose(found, expected[name], rtol=1e-12)


def test_a_model_without_names_goes_by_position(vae, tmp_path):
    detector = vae_anomaly.VAEDetector(max_steps=5, n_members=1, contamination=0.1, random_state=0)
    rows = pd.read_csv(NORMAL)
    X = np.ascontiguousarray(rows.to_numpy())
    vae_anomaly.save(detector.fit(X), tmp_path / "m.vae")
    code, out, _ = vae("score", tmp_path / "m.vae", NORMAL, "-o", "-")
    assert code == 0
    np.testing.assert_array_equal(
        [float(row["anomaly_score"]) for row in rows_of(out)],
        -detector.score_samples(X),
    )


# ------------------------------------------------------- evaluate, inspect and demo


def test_evaluate_writes_a_report(vae, model, tmp_path):
    code, out, err = vae(
        *("evaluate", model, LABELLED, "-o", tmp_path / "report"),
        *("--label-column", "diagnosis", "--id-column", "id", "--title", "Tumours"),
    )
    assert (code, out) == (0, "")
    page = tmp_path / "report" / "report.html"
    assert f"report: {page}" in err.splitlines()
    assert "Tumours" in page.read_text(encoding="utf-8")
    assert "AUROC" in err


def test_evaluate_without_labels(vae, model, tmp_path):
    code, _, err = vae("evaluate", model, LABELLED, "-o", tmp_path / "report")
    assert code == 0
    assert "AUROC" not in err
    assert (tmp_path / "report" / "report.html").exists()


def test_inspect_describes(vae, model):
    code, out, err = vae("inspect", model)
    assert (code, err) == (0, "")
    assert f"written by   vae_anomaly {vae_anomaly.__version__}" in out
    assert "random_state=0" in out
    assert "columns      30" in out
    assert "mean_fractal_dimension" in out


def test_demo_shows_its_commands(vae, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = vae("demo", "--max-steps", 100)
    assert (code, out) == (0, "")
    commands = [line for line in err.splitlines() if line.startswith("$ ")]
    assert commands == [
        "$ vae-anomaly fit reports/demo/normal.csv -o reports/demo/model.vae"
        " --false-alarm-rate 0.05 --max-steps 100",
        "$ vae-anomaly score reports/demo/model.vae reports/demo/labelled.csv"
        " -o reports/demo/scores.csv --id-column id --explain 3",
        "$ vae-anomaly evaluate reports/demo/model.vae reports/demo/labelled.csv"
        " -o reports/demo/report --label-column diagnosis --id-column id",
    ]
    assert "AUROC" in err
    labelled, scores = (pd.read_csv(f"reports/demo/{name}.csv") for name in ("labelled", "scores"))
    flagged = labelled["diagnosis"][scores["is_anomaly"] == 1].value_counts()
    assert err.splitlines()[-3:] == [
        f"Having seen benign tumours alone, it flags {flagged['malignant']} of 212 malignant ones, "
        f"and {flagged['benign']} of 90 benign ones that are new to it.",
        "The report says why, row by row. Open it in a browser: reports/demo/report/report.html",
        "Your own table: vae-anomaly fit TABLE.csv --label-column LABEL -o MODEL.vae",
    ]
    for command in commands[:2]:  # what it shows does the same
        _, *words = command.split()[1:]
        before = Path(words[words.index("-o") + 1]).read_bytes()
        assert vae(*words, "-q")[0] == 0
        assert Path(words[words.index("-o") + 1]).read_bytes() == before


def test_committed_samples_are_what_the_script_writes(tmp_path):
    from vae_anomaly.samples import write_samples

    for path in write_samples(tmp_path):
        committed = DATA / path.name
        assert path.read_bytes() == committed.read_bytes()
        digest = hashlib.sha256(committed.read_bytes()).hexdigest()
        assert digest in (DATA / "README.md").read_text(encoding="utf-8")
    normal, labelled = pd.read_csv(NORMAL), pd.read_csv(LABELLED)
    assert len(normal.merge(labelled)) == 0
    assert labelled["diagnosis"].value_counts().to_dict() == {"malignant": 212, "benign": 90}


# ------------------------------------------------------------------------- progress


def test_progress_in_lines_when_piped(capsys, monkeypatch):
    monkeypatch.setattr("vae_anomaly.pipeline.progress.SECONDS_BETWEEN_LINES", 0.0)
    with Console().progress("training", 3000) as update:
        update(1000, "loss 1.5 nats")
        update(3000)
    assert capsys.readouterr().err == "training: 1,000 of 3,000, loss 1.5 nats\n"
    with Console(quiet=True).progress("training", 3) as update:
        update(1)
    assert capsys.readouterr().err == ""


def test_progress_as_a_bar_on_a_terminal(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("FORCE_COLOR", "1")
    with Console().progress("scoring", 10) as update:
        update(5)
        update(10)
    captured = capsys.readouterr()
    assert "scoring" in captured.err
    assert "10/10" in captured.err
    assert captured.out == ""


def test_exit_codes_are_those_of_the_help(vae):
    words = {Exit.DONE: "done", Exit.USAGE: "wrong usage", Exit.DATA: "input data refused"}
    words |= {Exit.MODEL: "model or checkpoint refused", Exit.RESOURCES: "files or memory"}
    words |= {Exit.INTERRUPTED: "interrupted", Exit.CLOSED_PIPE: "closed pipe", Exit.BUG: "a bug"}
    out = " ".join(vae("--help")[1].split())
    assert all(f"{code.value} {text}" in out for code, text in words.items())


def test_a_signal_that_python_had_to_ignore_is_heeded_at_the_next_step():
    with raising_signals(), Console(quiet=True).progress("training", 10) as update:
        update(1)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            update(2)

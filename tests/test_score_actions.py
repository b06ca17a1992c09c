"""`score` for action: what is kept, left out, sorted, skipped, and when it fails."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from conftest import COLUMNS, Vae, make_rows, read_cells

import vae_anomaly
from vae_anomaly.cli import run
from vae_anomaly.data.registry import open_source
from vae_anomaly.exceptions import ParameterError
from vae_anomaly.pipeline import sorting
from vae_anomaly.pipeline.conditions import Condition
from vae_anomaly.pipeline.results import Outputs
from vae_anomaly.pipeline.score import score

N = 60


@pytest.fixture
def place(brief: vae_anomaly.VAEDetector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the model m.vae and rows.csv, of which every third is anomalous."""
    vae_anomaly.save(brief, tmp_path / "m.vae")
    rows = make_rows(N, seed=1)[COLUMNS]
    rows.loc[::3, "square"] = -np.linspace(5.0, 9.0, N // 3)
    rows.insert(0, "pump", [f"p{i:02d}" for i in range(N)])
    rows.assign(site="a,b", code="007").to_csv(tmp_path / "rows.csv", index=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


# ------------------------------------------------------------------------------- columns kept


def test_columns_are_kept_as_they_are(place: Path, vae: Vae) -> None:
    given = read_cells((place / "rows.csv").read_text())
    plain = read_cells(vae("score m.vae rows.csv -o - --id-column pump")[1])
    code, out, err = vae("score m.vae rows.csv -o - --id-column pump --keep code,t --keep site")
    found = read_cells(out)
    assert code == 0
    assert list(found) == ["pump", "code", "t", "site", "anomaly_score", "is_anomaly", "status"]
    pd.testing.assert_frame_equal(found[["code", "t", "site"]], given[["code", "t", "site"]])
    pd.testing.assert_frame_equal(found[list(plain)], plain)
    assert "does not know" not in err


def test_all_columns_are_kept_but_that_of_the_keys(place: Path, vae: Vae) -> None:
    pd.read_csv("rows.csv").to_parquet("rows.parquet")
    line = "score m.vae rows.parquet -o s.parquet --id-column pump --keep all"
    assert vae(line)[0] == 0
    found, given = pq.read_table("s.parquet"), pq.read_table("rows.parquet")
    assert found.column_names[:6] == given.column_names
    assert found.select(given.column_names).equals(given.replace_schema_metadata())
    csv = read_cells(vae("score m.vae rows.csv -o - --keep all")[1])
    np.testing.assert_array_equal(csv["anomaly_score"].astype(float), found["anomaly_score"])


def test_a_kept_column_that_is_called_like_a_result_is_renamed(place: Path, vae: Vae) -> None:
    pd.read_csv("rows.csv").rename(columns={"site": "status"}).to_csv("rows.csv", index=False)
    found = read_cells(vae("score m.vae rows.csv -o - --keep status")[1])
    assert list(found) == ["row", "id_status", "anomaly_score", "is_anomaly", "status"]
    assert set(found["id_status"]) == {"a,b"}


def test_columns_to_keep_must_be_there(place: Path, vae: Vae) -> None:
    code, _, err = vae("score m.vae rows.csv -o - --keep sit")
    assert code == 3
    assert "rows.csv lacks a column that the command line names: 'sit'. Did you mean 'site'" in err


# ---------------------------------------------------------------------- left out, sorted, parts


def test_only_flagged_rows_are_written_with_the_reasons_of_all(place: Path, vae: Vae) -> None:
    words = "--explain 2 --repair --keep pump"
    every = read_cells(vae(f"score m.vae rows.csv -o - {words}")[1])
    code, out, err = vae(f"score m.vae rows.csv -o - --only-flagged {words}")
    assert code == 0
    flagged = every[every["is_anomaly"] == "1"].reset_index(drop=True)
    assert 0 < len(flagged) < N
    pd.testing.assert_frame_equal(read_cells(out), flagged)
    assert f"{len(flagged)} of {N} rows are flagged" in err
    assert "as a whole" in err, "drift is that of all rows"


def test_reasons_are_computed_for_flagged_rows_alone(
    place: Path, brief: vae_anomaly.VAEDetector
) -> None:
    outputs = Outputs(explain=1, repair=True, only_flagged=True)
    with open_source("rows.csv", brief.model_.encoder) as source:
        (found,) = score(brief.model_, source, outputs, executor=map)
    assert found.n_rows == len(found.scores) == N
    assert found.batch.num_rows == found.n_flagged < N


def test_only_flagged_needs_a_threshold(place: Path, vae: Vae) -> None:
    code, _, err = vae("score m.vae rows.csv -o - --only-flagged --score kl")
    assert code == 2
    assert "--only-flagged needs a threshold, and that of the model is one of another score" in err


@pytest.mark.parametrize("chunk", [7, 65_536])
def test_the_most_anomalous_rows_come_first(
    place: Path, vae: Vae, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    monkeypatch.setattr(sorting, "MAX_ROWS", chunk)
    monkeypatch.setattr("vae_anomaly.data.table.reader.MAX_BATCH_ROWS", 13)
    table = pd.read_csv("rows.csv", dtype=str)
    table.loc[[3, 20], "t"] = "inf"
    table.loc[5, COLUMNS] = table.loc[4, COLUMNS]  # a tie
    table.to_csv("rows.csv", index=False)
    every = read_cells(vae("score m.vae rows.csv -o - --explain 1 --keep pump")[1])
    code, _, _ = vae("score m.vae rows.csv -o s.csv --explain 1 --keep pump --sort")
    assert code == 6
    every["number"] = pd.to_numeric(every["anomaly_score"])
    order = every.sort_values("number", ascending=False, kind="stable", na_position="last")
    expected = order.drop(columns="number").reset_index(drop=True)
    pd.testing.assert_frame_equal(read_cells(Path("s.csv").read_text()), expected)
    assert list(expected["row"][-2:]) == ["4", "21"]


def test_nothing_is_sorted(place: Path, vae: Vae) -> None:
    header = Path("rows.csv").read_text().splitlines()[0]
    Path("none.csv").write_text(f"{header}\n")
    assert vae("score m.vae none.csv -o - --sort")[1] == "row,anomaly_score,is_anomaly,status\n"


def test_dictionaries_are_sorted(place: Path, vae: Vae) -> None:
    frame = pd.read_csv("rows.csv")
    frame["pump"] = frame["pump"].astype("category")
    frame.to_parquet("rows.parquet")
    assert vae("score m.vae rows.parquet -o s.parquet --sort --id-column pump")[0] == 0
    found = pq.read_table("s.parquet").to_pandas()
    assert found["anomaly_score"].is_monotonic_decreasing
    assert set(found["pump"]) == set(frame["pump"])


def test_the_two_parts_of_the_elbo(place: Path, vae: Vae, brief: vae_anomaly.VAEDetector) -> None:
    found = read_cells(vae("score m.vae rows.csv -o - --parts --also kl")[1])
    names = ["score_kl", "reconstruction_error", "kl_divergence"]
    assert list(found)[3:6] == names
    found[names] = found[names].astype(float)
    rows = pd.read_csv("rows.csv", dtype=str)[COLUMNS].astype(float)
    scores = brief.scores(rows, ["reconstruction", "kl", "elbo"])
    np.testing.assert_array_equal(found["reconstruction_error"], scores["reconstruction"])
    np.testing.assert_array_equal(found["kl_divergence"], scores["kl"])
    total = found["reconstruction_error"] + found["kl_divergence"]
    np.testing.assert_allclose(total, scores["elbo"], rtol=1e-9)


# ---------------------------------------------------------------- rows that cannot be scored


@pytest.mark.parametrize("cell", ["inf", "-inf", "1e400"])
def test_a_row_that_cannot_be_scored_has_a_status(place: Path, vae: Vae, cell: str) -> None:
    sound = read_cells(vae("score m.vae rows.csv -o - --explain 1")[1])
    table = pd.read_csv("rows.csv", dtype=str)
    table.loc[11, "count"] = cell
    table.to_csv("rows.csv", index=False)
    code, out, err = vae("score m.vae rows.csv -o - --explain 1")
    found = read_cells(out)
    assert code == 6
    assert found.loc[11, "status"].startswith("column 'count': expected a finite number, got ")
    assert set(found.drop(index=11)["status"]) == {"ok"}
    assert (found.loc[11].drop(["row", "status"]) == "").all()
    pd.testing.assert_frame_equal(found.drop(index=11), sound.drop(index=11))
    assert "skipped 1 row:\n  row 12: column 'count': expected a finite number, got " in err


def test_rows_that_cannot_be_scored_are_left_out_of_an_evaluation(place: Path, vae: Vae) -> None:
    table = pd.read_csv("rows.csv", dtype=str).assign(fault=[1, *[0] * 9] * (N // 10))
    table.loc[[0, 1], "count"] = "inf"
    table.to_csv("rows.csv", index=False)
    code, _, err = vae("evaluate m.vae rows.csv -o report --label-column fault --id-column pump")
    assert code == 6
    assert f"{N - 2} rows" in err
    assert "skipped 2 rows:\n  p00: column 'count': expected a finite number, got inf" in err


# ------------------------------------------------------------------------------- conditions


@pytest.mark.parametrize(
    ("condition", "code"),
    [
        ("flagged>5%", 7),
        ("flagged > 99.5 %", 0),
        ("flagged>=1", 7),
        (f"flagged>{N}", 0),
        ("drift", 7),
    ],
)
def test_a_condition_fails_the_command(place: Path, vae: Vae, condition: str, code: int) -> None:
    found, _, err = vae(f"score m.vae rows.csv -o s.csv --fail-if '{condition}'")
    assert found == code
    assert ("failed: " in err) == (code == 7)
    assert len(pd.read_csv("s.csv")) == N, "the result is written in any case"


def test_bounds_are_exact() -> None:
    three = Condition.parse("flagged>3%")
    assert not three.is_met(3, 100)
    assert three.is_met(4, 100)
    assert Condition.parse("flagged>=.1%").is_met(1, 1000)
    assert not Condition.parse("flagged>=0").is_met(0, 0)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--fail-if flagged", "expected flagged>5%, flagged>10, the same with >=, or drift, got"),
        ("--fail-if drift --score kl", "--fail-if drift needs calibration rows of the score"),
        ("--fail-if 'flagged>1' --score kl", "--fail-if flagged>1 needs a threshold"),
    ],
)
def test_conditions_that_nothing_can_meet(place: Path, vae: Vae, words: str, message: str) -> None:
    code, _, err = vae(f"score m.vae rows.csv -o s.csv {words}")
    assert code == 2
    assert message in err


def test_repairs_need_columns_that_mean_something(brief: vae_anomaly.VAEDetector) -> None:
    with pytest.raises(ParameterError, match="only_flagged needs a threshold"):
        Outputs(score="kl", only_flagged=True).check(brief.model_)


# ------------------------------------------------------------------ what a fit is remembered for


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose fit named an identifier, a label, and a column to leave out."""
    folder = tmp_path_factory.mktemp("fitted")
    rows = make_rows(200)[COLUMNS].assign(pump=range(200), note=range(200), fault=0)
    rows.to_csv(folder / "normal.csv", index=False)
    words = "--id-column pump --ignore note --label-column fault --max-steps 20 --members 1 -q"
    line = f"fit {folder}/normal.csv -o {folder}/m.vae {words}"
    assert run(line.split()) == 0
    return folder / "m.vae"


@pytest.mark.parametrize("there", [["pump", "note", "fault"], ["pump"], ["note"], []])
def test_columns_of_the_fit_that_are_no_features_may_be_there_or_not(
    fitted: Path, tmp_path: Path, vae: Vae, there: list[str]
) -> None:
    rows = make_rows(5, seed=1)[COLUMNS].assign(pump=list("abcde"), note="x", fault="y")
    rows[[*there, *COLUMNS]].to_csv(tmp_path / "rows.csv", index=False)
    code, out, err = vae(f"score {fitted} {tmp_path}/rows.csv -o - --strict")
    assert code == 0
    assert "does not know" not in err
    found = read_cells(out)
    assert found.columns[0] == ("pump" if "pump" in there else "row")
    assert list(found.iloc[:, 0]) == (list("abcde") if "pump" in there else list("12345"))


def test_another_identifier_can_be_named(fitted: Path, tmp_path: Path, vae: Vae) -> None:
    rows = make_rows(2, seed=1)[COLUMNS].assign(pump=["a", "b"], other=["c", "d"])
    rows.to_csv(tmp_path / "rows.csv", index=False)
    found = read_cells(vae(f"score {fitted} {tmp_path}/rows.csv -o - --id-column other")[1])
    assert list(found["other"]) == ["c", "d"]


# ------------------------------------------------------------------- JSON, files of options


def test_every_command_has_its_result_as_json(place: Path, vae: Vae) -> None:
    table = pd.read_csv("rows.csv").assign(fault=[1, 0, 0] * (N // 3))
    table.to_csv("rows.csv", index=False)
    table[table["fault"] == 0][COLUMNS].to_csv("normal.csv", index=False)
    results = {}
    for line in (
        "fit normal.csv -o f.vae --max-steps 20 --members 1 --contamination 0.1 -q",
        "score m.vae rows.csv -o s.csv --fail-if flagged>1 -q",
        "evaluate m.vae rows.csv -o report --label-column fault -q",
        "recalibrate m.vae normal.csv -o n.vae --false-alarm-rate 0.2 -q",
        "inspect m.vae",
        "export m.vae -o m.onnx -q",
    ):
        code, out, err = vae(f"{line} --json")
        command = line.split()[0]
        results[command] = facts = json.loads(out)
        assert (facts["command"], facts["exit_code"], err) == (command, code, "")
    fit, score_, evaluated = results["fit"], results["score"], results["evaluate"]
    assert (fit["model"], fit["n_records"], fit["n_steps"]) == ("f.vae", 2 * N // 3, 20)
    assert fit["threshold_from"] == "contamination"
    scored = pd.read_csv("s.csv")
    assert score_["n_flagged"] == scored["is_anomaly"].sum()
    assert score_["exit_code"] == 7
    assert score_["failed"][0].startswith("failed: flagged>1: ")
    assert score_["drift"]["p_value"] < 0.001
    assert evaluated["found"] + evaluated["missed"] == N // 3
    assert evaluated["auroc"]["low"] <= evaluated["auroc"]["value"] <= evaluated["auroc"]["high"]
    assert results["recalibrate"]["threshold"] == results["recalibrate"]["threshold"]
    assert results["inspect"]["threshold"] == results["export"]["threshold"]


def test_json_is_on_standard_error_where_scores_are_on_standard_output(
    place: Path, vae: Vae
) -> None:
    code, out, err = vae("score m.vae rows.csv -o - --json -q")
    assert code == 0
    assert out.startswith("row,anomaly_score,")
    assert json.loads(err)["scores"] == "-"


def test_options_come_from_a_file(place: Path, vae: Vae) -> None:
    Path("c.toml").write_text(
        'explain = 2\nid-column = "pump"\nonly-flagged = true\n'
        '[score]\nkeep = ["site", "t"]\nfail_if = "flagged>1"\n[fit]\nmax-steps = 7\n'
    )
    _, expected, _ = vae(
        "score m.vae rows.csv -o - --explain 1 --id-column pump --only-flagged --keep site,t"
    )
    code, out, _ = vae("score m.vae rows.csv -o - --config c.toml --explain 1")
    assert code == 7
    assert out == expected


@pytest.mark.parametrize(
    ("content", "code", "message"),
    [
        ("treshold = 1", 2, "c.toml: score has no option 'treshold'. Did you mean 'threshold'?"),
        ("[score]\nmodel = 'x'", 2, "c.toml: score has no option 'model'."),
        ("config = 'd.toml'", 2, "c.toml: score has no option 'config'."),
        ("explain = {k = 1}", 2, "c.toml, explain: expected a number, a text, true or false, or"),
        ("explain = 0", 2, "Invalid value for '--explain': 0 is not in the range x>=1"),
        ("explain", 2, "c.toml is not sound TOML: "),
        ("score = 3", 2, "c.toml: score must be a section of options, [score]."),
        (None, 5, "Cannot read c.toml: there is no such file."),
    ],
)
def test_files_of_options_that_are_refused(
    place: Path, vae: Vae, content: str | None, code: int, message: str
) -> None:
    if content is not None:
        Path("c.toml").write_text(content)
    found, _, err = vae("score m.vae rows.csv -o s.csv --config c.toml")
    assert found == code
    assert message in err
    assert not Path("s.csv").exists()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_complete_without_slow_libraries(shell: str) -> None:
    """The completions of ``vae-anomaly score --only``, in the form of each shell."""
    words = {"COMP_WORDS": "vae-anomaly score --only", "COMP_CWORD": "2"}
    if shell == "fish":
        words["COMP_CWORD"] = "--only"
    code = (
        "import sys; from vae_anomaly.cli import main\n"
        "try:\n    main()\n"
        "finally:\n    assert not {'numpy', 'tensorflow', 'pyarrow'} & set(sys.modules)\n"
    )
    environment = os.environ | words | {"_VAE_ANOMALY_COMPLETE": f"{shell}_complete"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "--only-flagged" in done.stdout


def test_inspect_names_what_is_remembered(fitted: Path, vae: Vae) -> None:
    code, out, _ = vae(f"inspect {fitted}")
    assert code == 0
    assert "columns      3\nidentifier   'pump'\nleft out     'note', 'fault'\n" in out
    facts = json.loads(vae(f"inspect {fitted} --json")[1])
    assert (facts["id_column"], facts["ignored"]) == ("pump", ["note", "fault", "pump"])

"""One labelled table: its normal rows are learned, some are held out for the evaluation."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import make_rows

from vae_anomaly import DataError, load
from vae_anomaly.data.registry import modality_of
from vae_anomaly.model.seen import digests_of
from vae_anomaly.pipeline.fit import read_training_data

FLAGS = "--max-steps 30 --members 2 --false-alarm-rate 0.05"


def labelled_rows() -> pd.DataFrame:
    """300 normal rows and 60 anomalies, shuffled, with text in a column."""
    normal, anomalous = make_rows(300, seed=0), make_rows(60, seed=1).assign(square=-9.0)
    rows = pd.concat([normal.assign(state="fine"), anomalous.assign(state="bad")])
    rows = rows.assign(site=np.random.RandomState(0).choice(["a", "b"], len(rows)))
    rows = rows.sample(frac=1, random_state=0, ignore_index=True)
    return rows[["t", "square", "site", "state"]]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    labelled_rows().to_csv(tmp_path / "all.csv", index=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def training(path: str, parameters=None, holdout=None, **options):
    """Return the training data of a table, and the lines about it."""
    with modality_of(path).open(path, fitting=True, **options) as source:
        return read_training_data(source, parameters or {}, holdout=holdout)


def test_normal_rows_are_read_in_their_order(place: Path) -> None:
    options = {"label_column": "state", "normal_label": ("fine",)}
    data = training("all.csv", holdout=0.0, **options)
    rows = labelled_rows()
    normal = rows[rows["state"] == "fine"]
    frame = data.source.training_data(data.records)
    assert list(frame.columns) == ["t", "square", "site"]
    np.testing.assert_array_equal(frame["t"].to_numpy(), normal["t"].to_numpy())
    assert frame["site"].tolist() == normal["site"].tolist()
    assert data.notes() == ["labels in 'state': 'fine' normal, 300 rows; 'bad' anomalous, 60 rows"]


def test_held_out_rows_are_a_random_share(place: Path) -> None:
    options = {"label_column": "state", "normal_label": ("fine",)}
    whole = training("all.csv", holdout=0.0, **options).records[:, 0]
    first, second, other = (
        training("all.csv", {"random_state": seed}, **options).records[:, 0] for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, second)
    assert len(first) == 240
    assert set(first) != set(other)
    # In their order.
    np.testing.assert_array_equal(first, whole[np.isin(whole, first)])
    third = training("all.csv", holdout=1 / 3, **options)
    assert (len(third.records), third.n_held_out) == (200, 100)
    assert third.notes()[-1] == (
        "held out 100 of 300 rows: `evaluate` on the same data uses these, and leaves out the "
        "others"
    )
    assert training("all.csv", ignore=("state",)).n_held_out == 0


def test_one_table_is_fitted_and_evaluated(place: Path, vae_lines) -> None:
    code, _, lines = vae_lines(
        f"fit all.csv -o m.vae --label-column state --normal-label fine {FLAGS}"
    )
    assert code == 0
    assert lines[0] == "labels in 'state': 'fine' normal, 300 rows; 'bad' anomalous, 60 rows"
    assert lines[1].startswith("held out 60 of 300 rows")
    assert lines[2] == "fitting on 240 rows of 3 columns"
    model = load("m.vae").model_
    assert len(model.seen.learned) + len(model.seen.calibration) == 240

    evaluate = "evaluate m.vae all.csv -o report --label-column state --normal-label fine"
    code, _, lines = vae_lines(evaluate)
    assert code == 0
    assert lines[:2] == [
        "labels in 'state': 'fine' normal, 300 rows; 'bad' anomalous, 60 rows",
        "note: left out 240 of 360 rows, which the model was fitted on",
    ]
    assert any(line.startswith("Of 60 normal rows, ") for line in lines)
    assert any(line.startswith("Of 60 anomalies, 60 are found") for line in lines)


def test_held_out_rows_are_those_that_the_model_has_not_seen(place: Path, vae_lines) -> None:
    labelled_rows().query("state == 'fine'").drop(columns="state").to_csv("ok.csv", index=False)
    assert vae_lines(f"fit ok.csv -o m.vae --holdout 0.25 {FLAGS}")[0] == 0
    model = load("m.vae").model_
    records = model.encoder.matrix(pd.read_csv("ok.csv")).to_numpy()
    assert model.seen.repeats(digests_of(model.encoder, records)).used.sum() == 75


@pytest.mark.parametrize(
    ("options", "code", "sentence"),
    [
        (
            "--label-column state",
            3,
            "error: all.csv, column 'state': none of the labels 'bad', 'fine' is known to mean "
            "normal. Say which does with --normal-label; if all rows are anomalies, label them 1.",
        ),
        ("--label-column state --normal-label good", 3, "no row has the normal label 'good'"),
        ("--normal-label fine", 2, "error: --normal-label needs --label-column."),
        ("--holdout 1", 2, "1.0 is not in the range 0<=x<1"),
        ("--label-column nosuch", 3, "nosuch"),
    ],
)
def test_labels_that_say_nothing_are_refused(place, vae_lines, options, code, sentence) -> None:
    found, _, lines = vae_lines(f"fit all.csv -o m.vae {options}")
    assert found == code
    assert sentence in lines[-1]
    assert not (place / "m.vae").exists()


def test_a_table_without_normal_rows_is_refused(place: Path) -> None:
    labelled_rows().assign(state="bad").to_csv("bad.csv", index=False)
    with pytest.raises(
        DataError,
        match=r"^bad.csv: no row is normal; labels in 'state': 'bad' anomalous, 360 rows. Say "
        r"which label is with --normal-label.$",
    ):
        training("bad.csv", label_column="state")


def test_columns_that_give_the_labels_away_are_named(place: Path) -> None:
    rows = labelled_rows()
    is_bad = rows["state"] == "bad"
    some = is_bad & (np.arange(len(rows)) % 3 == 0)
    rows = rows.assign(
        copy=np.where(is_bad, "x", "y"),
        mode=np.where(some, 1.0, 0.0),
        constant=4,
        gap=np.where(is_bad, 1.0, np.nan),
        often=np.where(is_bad | (np.arange(len(rows)) % 9 == 0), 1, 0),
    )
    rows.to_csv("leaks.csv", index=False)
    options = {"label_column": "state", "normal_label": ("fine",)}
    notes = training("leaks.csv", **options).notes()
    assert notes[1:3] == [
        "warning: 'copy', 'gap': one value in all normal rows, and never that one in anomalies: "
        "a copy of the labels? If so, --ignore copy,gap",
        "warning: 'mode': one value in all normal rows, and other ones in anomalies alone: known "
        "only afterwards, as labels are? If so, --ignore mode",
    ]
    assert not any("warning" in note for note in notes[3:])
    without = training("leaks.csv", **options, ignore=("copy, gap", "mode"))
    assert without.source.columns.features == ("t", "square", "site", "constant", "often")
    assert not any("warning" in note for note in without.notes())


def test_columns_that_may_be_labels_or_numbers_of_rows_are_named(place: Path) -> None:
    rows = labelled_rows().rename(columns={"state": "Fault"})
    shuffled = np.random.RandomState(0).permutation(len(rows)) + 1
    rows.assign(number=shuffled, count=np.arange(len(rows))).to_csv("ids.csv", index=False)
    notes = training("ids.csv").notes()
    assert notes == [
        "warning: 'number' numbers the rows in another order than theirs. If it identifies them, "
        "--ignore number",
        "warning: 'Fault' may hold labels, but is learned like any other column. If it does, "
        "--label-column Fault, or leave it out: --ignore Fault",
    ]


def test_copies_of_what_may_be_labels_are_named_in_the_first_run(place: Path) -> None:
    rows = labelled_rows().rename(columns={"state": "Fault"}).replace({"Fault": {"fine": "ok"}})
    rows["mode"] = np.where((rows["Fault"] == "bad") & (np.arange(len(rows)) % 2 == 0), 1, 0)
    rows.to_csv("copies.csv", index=False)
    notes = training("copies.csv").notes()
    assert notes[-1] == (
        "warning: 'mode': one value in all normal rows, and other ones in anomalies alone: known "
        "only afterwards, as labels are? If so, --ignore mode"
    )
    rows.replace({"Fault": {"ok": "blue"}}).to_csv("unknown.csv", index=False)
    assert not any("'mode'" in note for note in training("unknown.csv").notes())


def test_a_comma_in_a_name_is_no_separator(place: Path) -> None:
    pd.DataFrame({"a,b": [1.0, 2.0], "a": [1.0, 3.0], "c": [2.0, 9.0]}).to_csv("t.csv", index=False)
    assert training("t.csv", ignore=("a,b",)).source.columns.features == ("a", "c")
    assert training("t.csv", ignore=("a, c",)).source.columns.features == ("a,b",)
    with pytest.raises(DataError, match=re.escape("'d'")):
        training("t.csv", ignore=("a,d",))


def test_only_normal_rows_calibrate(place: Path, vae_lines) -> None:
    rows = labelled_rows().rename(columns={"state": "Fault"}).replace({"Fault": {"fine": "ok"}})
    rows[:180].to_csv("a.csv", index=False)
    rows[180:].to_csv("b.csv", index=False)
    rows[180:].query("Fault == 'ok'").to_csv("normal.csv", index=False)
    options = "--max-steps 40 --members 1 --false-alarm-rate 0.1"
    assert vae_lines(f"fit a.csv --label-column Fault -o m.vae {options}")[0] == 0
    code, _, lines = vae_lines("recalibrate m.vae b.csv --label-column Fault -o b.vae")
    n_anomalous = int((rows["Fault"][180:] == "bad").sum())
    assert code == 0
    assert f"labels in 'Fault': 'ok' normal, {180 - n_anomalous} rows; 'bad'" in lines[0]
    assert f"note: left out {n_anomalous} rows labelled as anomalous" in lines
    # The fit left out the column of labels, and the warning names it.
    code, _, lines = vae_lines("recalibrate m.vae normal.csv -o normal.vae")
    assert lines[0] == (
        "warning: 'Fault', which the fit left out, may hold labels. If so, only normal rows should "
        "calibrate: --label-column Fault"
    )
    normal, found = load("normal.vae").model_.calibration, load("b.vae").model_.calibration
    assert found.threshold == normal.threshold
    assert np.array_equal(found.scores, normal.scores)
    assert vae_lines("recalibrate m.vae normal.csv --normal-label ok -o n.vae")[0] == 2

"""Thresholds on the command line: batches, p-values, drift, recalibration, labels."""

import io
import json
import re
from decimal import Context

import numpy as np
import pandas as pd
import pytest
from conftest import COLUMNS, make_rows
from PIL import Image
from scipy import stats

import vae_anomaly


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A model with calibration rows, and one without."""
    folder = tmp_path_factory.mktemp("models")
    rows = make_rows(800)[COLUMNS]
    options = {"max_steps": 150, "n_members": 2, "random_state": 0}
    for name, how in (("m", {"false_alarm_rate": 0.05}), ("own", {"threshold": 5.0})):
        vae_anomaly.save(
            vae_anomaly.VAEDetector(**options, **how).fit(rows), folder / f"{name}.vae"
        )
    return folder


@pytest.fixture
def place(models, tmp_path, monkeypatch):
    for path in models.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    anomalous = make_rows(40, seed=2).assign(square=-9.0)
    table = pd.concat([make_rows(360, seed=1), anomalous])[COLUMNS]
    table.assign(fault=[0] * 360 + [1] * 40).to_csv(tmp_path / "mixed.csv", index=False)
    make_rows(500, seed=3)[COLUMNS].to_csv(tmp_path / "normal.csv", index=False)
    moved = make_rows(500, seed=4).assign(count=lambda rows: rows["count"] + 4)
    moved[COLUMNS].to_csv(tmp_path / "moved.csv", index=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


# ------------------------------------------------------------------------- p-values and batches


def test_p_values_are_those_of_the_library(place, vae):
    code, _, _ = vae("score m.vae mixed.csv -o s.csv --p-values --explain 1")
    assert code == 0
    scored, detector = pd.read_csv("s.csv"), vae_anomaly.load("m.vae")
    assert list(scored.columns[:4]) == ["row", "anomaly_score", "p_value", "is_anomaly"]
    rows = pd.read_csv("mixed.csv")[COLUMNS]
    np.testing.assert_array_equal(scored["p_value"], detector.p_values(rows))
    np.testing.assert_array_equal(scored["p_value"] <= 0.05, scored["is_anomaly"] == 1)


def test_fdr_flags_as_the_library_does(place, vae):
    code, _, err = vae("score m.vae mixed.csv -o s.csv --fdr 0.1 --p-values")
    assert code == 0
    scored, detector = pd.read_csv("s.csv"), vae_anomaly.load("m.vae")
    flags = detector.flag_batch(pd.read_csv("mixed.csv")[COLUMNS], fdr=0.1)
    np.testing.assert_array_equal(scored["is_anomaly"] == 1, flags == -1)
    adjusted = stats.false_discovery_control(scored["p_value"])
    np.testing.assert_array_equal(flags == -1, adjusted <= 0.1)
    assert (flags[360:] == -1).all()
    said = re.search(
        r"(\d+) of 400 rows are flagged, above [-\d.e+]+ nats; at most 10 % of them are "
        r"expected to be false",
        err,
    )
    assert said
    assert int(said[1]) == (flags == -1).sum()


def test_fdr_reads_standard_input_twice(place, vae):
    table = (place / "mixed.csv").read_bytes()
    _, want, _ = vae("score m.vae mixed.csv -o - --fdr 0.1")
    assert vae("score m.vae - -o - --fdr 0.1", stdin=table)[:2] == (0, want)


def test_fdr_says_when_calibration_rows_are_too_few(place, vae):
    lines = (place / "normal.csv").read_text().splitlines()
    outlier = ",".join(["0", "-99", "3"])
    (place / "one.csv").write_text("\n".join([*lines, outlier]))
    code, out, err = vae("score m.vae one.csv -o - --fdr 0.01")
    assert code == 0
    assert "warning: fdr=0.01 flags none of 501 rows, although" in err
    assert "0 of 501 rows are flagged\n" in err
    assert set(pd.read_csv(io.StringIO(out))["is_anomaly"]) == {0}


@pytest.mark.parametrize("option", ["--fdr 0.1", "--p-values"])
def test_batches_need_calibration_rows_of_this_score(place, vae, option):
    code, _, err = vae(f"score own.vae mixed.csv -o s.csv {option}")
    assert code == 2
    name = option.split()[0]
    assert f"error: {name} needs calibration rows, and with contamination or threshold" in err
    code, _, err = vae(f"score m.vae mixed.csv -o s.csv {option} --score kl")
    assert code == 2
    assert f"{name} goes with the score that the model was fitted with" in err
    assert not (place / "s.csv").exists()


# --------------------------------------------------------------------------------------- drift


def test_drift_is_said_with_the_columns_that_moved(place, vae):
    code, _, err = vae("score m.vae moved.csv -o s.csv")
    assert code == 0
    (line,) = [line for line in err.splitlines() if line.startswith("warning: ")]
    assert line.startswith(
        "warning: as a whole, the scores of these 500 rows are not those of normal rows "
        "(Kolmogorov-Smirnov, p "
    )
    assert "; of normal rows, one batch in 1,000 would be said to differ). Moved most: " in line
    assert "most: 'count', mean +2." in line
    assert line.endswith(
        " Either anomalies are many, or normal has moved: then `vae-anomaly recalibrate` or fit "
        "anew."
    )


@pytest.mark.parametrize("line", ["m.vae normal.csv", "own.vae moved.csv"])
def test_nothing_is_said_of_normal_rows_or_without_calibration(place, vae, line):
    code, _, err = vae(f"score {line} -o s.csv")
    assert code == 0
    assert "warning" not in err


def test_no_rows_do_not_drift(place, vae):
    (place / "none.csv").write_text("t,square,count\n")
    code, _, err = vae("score m.vae none.csv -o s.csv --fdr 0.1")
    assert code == 0
    assert err.startswith("0 of 0 rows are flagged")


# ------------------------------------------------------------------------------- recalibration


def test_recalibration_takes_the_threshold_from_the_rows(place, vae):
    before = (place / "m.vae").read_bytes()
    code, out, err = vae("recalibrate m.vae moved.csv -o new.vae --false-alarm-rate 0.1")
    assert (code, out) == (0, "")
    assert (place / "m.vae").read_bytes() == before
    old, new = (vae_anomaly.load(name) for name in ("m.vae", "new.vae"))
    rows = pd.read_csv("moved.csv")
    expected = vae_anomaly.recalibrate(old, rows, false_alarm_rate=0.1)
    assert new.offset_ == expected.offset_
    np.testing.assert_array_equal(new.score_samples(rows), old.score_samples(rows))
    flagged = (old.predict(rows) == -1).sum()
    first, second, third = err.splitlines()
    assert first == (f"the old threshold, {-old.offset_:.6g} nats, flags {flagged} of 500 rows")
    assert second.startswith(f"threshold: {-new.offset_:.6g} nats, false-alarm rate 0.1 (from 500")
    assert third == "model: new.vae"
    assert vae("score new.vae moved.csv -o s.csv")[2].startswith("49 of 500 rows are flagged")


def test_recalibration_gives_calibration_rows_to_a_model_without(place, vae):
    code, _, _ = vae("recalibrate own.vae normal.csv -o new.vae")
    assert code == 0
    assert vae("score new.vae mixed.csv -o s.csv --p-values -q")[0] == 0


def test_recalibration_is_refused_in_a_sentence(place, vae):
    (place / "none.csv").write_text("t,square,count\n")
    code, _, err = vae("recalibrate m.vae none.csv -o new.vae")
    assert code == 3
    assert "none.csv has no rows below its column names. There is nothing to calibrate by." in err
    code, _, err = vae("recalibrate m.vae normal.csv -o m.vae")
    assert code == 2
    assert "The output m.vae is also an input." in err
    assert vae("recalibrate m.vae normal.csv -o new.vae --strict")[0] == 2


def test_the_threshold_in_json_reproduces_the_flags_and_is_printed_with_six_digits(place, vae):
    _, out, _ = vae("score m.vae mixed.csv -o s.csv --json")
    threshold = json.loads(out)["threshold"]
    assert threshold == -vae_anomaly.load("m.vae").offset_
    assert vae(f"score m.vae mixed.csv -o t.csv --threshold {threshold}")[0] == 0
    assert (place / "t.csv").read_bytes() == (place / "s.csv").read_bytes()
    assert vae(f"recalibrate m.vae --threshold {threshold} -o n.vae")[0] == 0
    assert vae("score n.vae mixed.csv -o u.csv")[0] == 0
    assert (place / "u.csv").read_bytes() == (place / "s.csv").read_bytes()
    for command in ("inspect m.vae", "export m.vae -o m.onnx"):
        assert json.loads(vae(f"{command} --json")[1])["threshold"] == threshold
    digits = Context(prec=6).create_decimal(threshold).normalize()
    for command in ("score m.vae mixed.csv -o s.csv", "inspect m.vae", "export m.vae -o m.onnx"):
        _, out, err = vae(command)
        assert f" {digits} nats" in out + err


def test_a_threshold_flags_the_scores_above_it(place, vae):
    code, _, err = vae("score m.vae mixed.csv -o s.csv --score elbo --threshold 4.5")
    assert code == 0
    scored = pd.read_csv("s.csv")
    np.testing.assert_array_equal(scored["is_anomaly"] == 1, scored["anomaly_score"] > 4.5)
    assert f"{scored['is_anomaly'].sum()} of 400 rows are flagged, above 4.5 nats\n" in err
    assert "as a whole" not in err  # the calibration scores are others
    assert "as a whole" in vae("score m.vae moved.csv -o s.csv --threshold 9")[2]
    pd.read_csv("normal.csv")[:1].to_csv("one.csv", index=False)
    err = vae("score m.vae one.csv -o s.csv --threshold -99")[2]
    assert err.startswith("1 of 1 row is flagged, above -99 nats\n")


def test_recalibration_sets_a_threshold_and_keeps_the_calibration_rows(place, vae):
    code, out, err = vae("recalibrate m.vae --threshold 7.5 -o n.vae")
    assert (code, out) == (0, "")
    old, new = (vae_anomaly.load(name) for name in ("m.vae", "n.vae"))
    n, above = len(old.calibration_scores_), (old.calibration_scores_ > 7.5).sum()
    verb = "is" if above == 1 else "are"
    assert err.splitlines() == [
        f"threshold: 7.5 nats, set by hand; {above} of {n} calibration rows {verb} above it",
        "model: n.vae",
    ]
    assert (new.offset_, new.threshold, new.contamination) == (-7.5, 7.5, None)
    np.testing.assert_array_equal(new.calibration_scores_, old.calibration_scores_)
    assert vae("score n.vae mixed.csv -o s.csv --p-values")[0] == 0
    in_python = vae_anomaly.recalibrate(old, threshold=7.5)
    assert in_python.get_params() == new.get_params()
    rows = pd.read_csv("mixed.csv")[COLUMNS]
    np.testing.assert_array_equal(in_python.predict(rows), new.predict(rows))


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("recalibrate m.vae -o n.vae", "Expected DATA, and with it a --false-alarm-rate, or a "),
        ("recalibrate m.vae normal.csv --threshold 3 -o n.vae", "Give one of them."),
        ("recalibrate m.vae --threshold 3 --false-alarm-rate 0.1 -o n.vae", "Give one of them."),
        ("recalibrate m.vae --threshold nan -o n.vae", "threshold must be a finite number"),
        (
            "score m.vae mixed.csv -o s.csv --threshold inf",
            "number of nats. Got inf instead.",
        ),
        (
            "score m.vae mixed.csv -o s.csv --threshold 3 --fdr 0.1",
            "--fdr and --threshold both choose the threshold. Give one of them.",
        ),
        (
            "score m.vae mixed.csv -o s.csv --threshold 3 --score kl --p-values",
            "p-values goes",
        ),
        (
            "fit normal.csv -o n.vae --contamination 0.1 --false-alarm-rate 0.1",
            "--contamination and --false-alarm-rate both choose the threshold. Give one of them.",
        ),
    ],
)
def test_thresholds_are_refused_in_a_sentence(place, vae, line, sentence):
    code, _, err = vae(line)
    assert code == 2
    assert sentence in err
    assert not (place / "n.vae").exists()


def test_images_are_recalibrated_and_batched_as_rows_are(place, vae):
    rng = np.random.RandomState(0)
    for name, low in (("good", 0), ("new", 40), ("odd", 200)):
        (place / name).mkdir()
        for i in range(30):
            pixels = rng.randint(low, low + 55, size=(6, 6)).astype(np.uint8)
            Image.fromarray(pixels).save(place / name / f"{i:02}.png")
    options = "--max-steps 20 --members 1 --false-alarm-rate 0.1"
    assert vae(f"fit good -o p.vae {options}")[0] == 0
    code, _, err = vae("recalibrate p.vae new -o new.vae")
    assert code == 0
    assert "of 30 images" in err
    for name in ("image_shape", "resize"):
        assert vae_anomaly.inspect("new.vae")[name] == vae_anomaly.inspect("p.vae")[name]
    (place / "new" / "bad.png").write_bytes(b"no image")
    code, _, err = vae("score new.vae new -o s.csv --fdr 0.2 --p-values")
    assert code == 6
    scored = pd.read_csv("s.csv")
    assert list(scored.columns) == ["file", "anomaly_score", "p_value", "is_anomaly", "status"]
    assert scored.loc[scored["file"] == "bad.png", "p_value"].isna().all()
    code, _, err = vae("score new.vae odd -o s.csv")
    assert "warning: as a whole, the scores of these 30 images are not those of normal" in err


# -------------------------------------------------------------------- thresholds by labels


def test_evaluate_shows_thresholds_by_labels_and_uses_none(place, vae):
    before = (place / "m.vae").read_bytes()
    code, _, err = vae(
        "evaluate m.vae mixed.csv -o report --label-column fault --cost-miss 20 --min-recall 0.9 "
        "--min-precision 0.95 --f-beta 2"
    )
    assert code == 0
    chosen = [line for line in err.splitlines() if line.startswith("Chosen by these labels (")]
    assert [line.split("(")[1].split(")")[0] for line in chosen] == [
        "least cost, 20 a miss and 1 a false alarm",
        "recall of at least 90 %",
        "precision of at least 95 %",
        "greatest F2",
    ]
    assert all("and not used: a threshold of " in line for line in chosen)
    page = (place / "report" / "report.html").read_text("utf-8")
    assert "Thresholds chosen by labels" in page
    assert (place / "m.vae").read_bytes() == before


@pytest.mark.parametrize(
    "option",
    ["--cost-miss 5", "--cost-false-alarm 5", "--min-recall 1", "--min-precision 1", "--f-beta 1"],
)
def test_thresholds_by_labels_need_labels(place, vae, option):
    code, _, err = vae(f"evaluate m.vae mixed.csv -o report {option}")
    assert code == 2
    assert f"error: {option.split()[0]} needs --label-column." in err
    assert not (place / "report").exists()


def test_thresholds_by_labels_need_both_classes(place, vae):
    table = pd.read_csv("mixed.csv").assign(fault=0)
    table.to_csv("calm.csv", index=False)
    code, _, err = vae("evaluate m.vae calm.csv -o report --label-column fault --f-beta 1")
    assert code == 3
    assert "needs labels of both classes. All 400 rows are labelled normal." in err

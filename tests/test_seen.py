"""Records of a fit are known again: digests, repeats by chance, recalibration, evaluation."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import COLUMNS, make_rows
from PIL import Image

from vae_anomaly import (
    DataError,
    SeenRowsWarning,
    TooFewCalibrationRowsWarning,
    VAEDetector,
    load,
    recalibrate,
    save,
)
from vae_anomaly.data.registry import open_source
from vae_anomaly.model import seen as module
from vae_anomaly.model.seen import SeenRecords, digests_of, expected_repeats
from vae_anomaly.pipeline.evaluate import read_evaluation_data

QUICK = {"max_steps": 60, "n_members": 2, "random_state": 0}


def digests(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.uint64)


def mixed_rows(n: int, seed: int) -> pd.DataFrame:
    rng = np.random.RandomState(seed)
    rows = make_rows(n, seed=seed)[COLUMNS].assign(site=rng.choice(["a", "b", "c"], n))
    rows.loc[rng.uniform(size=n) < 0.1, "t"] = np.nan
    return rows


@pytest.fixture(scope="module")
def detector() -> VAEDetector:
    return VAEDetector(**QUICK, false_alarm_rate=0.05).fit(mixed_rows(400, seed=0))


@pytest.fixture
def place(detector: VAEDetector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a model, its training rows, fresh ones, and both with labels."""
    save(detector, tmp_path / "m.vae")
    old, fresh = mixed_rows(400, seed=0), mixed_rows(200, seed=1)
    anomalies = mixed_rows(50, seed=2).assign(square=-9.0)
    old.to_csv(tmp_path / "train.csv", index=False)
    fresh.to_csv(tmp_path / "fresh.csv", index=False)
    labelled = [old.assign(fault=0), fresh.assign(fault=0), anomalies.assign(fault=1)]
    pd.concat(labelled).sample(frac=1, random_state=0).to_csv(tmp_path / "all.csv", index=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


# ----------------------------------------------------------------------------- digests


def test_digests_are_those_of_the_records_however_they_are_read(
    detector: VAEDetector, place: Path
) -> None:
    encoder = detector.model_.encoder
    expected = digests_of(encoder, encoder.matrix(mixed_rows(400, seed=0)).to_numpy())
    assert len(np.unique(expected)) == 400
    with open_source("train.csv", encoder) as source:
        found = np.concatenate([digests_of(encoder, b.records) for b in source.batches()])
    np.testing.assert_array_equal(found, expected)
    records = encoder.matrix(mixed_rows(400, seed=0)).to_numpy()
    by_one = [digests_of(encoder, records[i : i + 1])[0] for i in range(400)]
    np.testing.assert_array_equal(by_one, expected)
    seen = detector.model_.seen
    both = np.sort(np.concatenate([seen.learned, seen.calibration]))
    np.testing.assert_array_equal(both, np.sort(expected))
    assert len(seen.calibration) == len(detector.calibration_scores_)


def test_digests_of_zeros_do_not_depend_on_the_sign(detector: VAEDetector) -> None:
    rows = np.zeros((2, 3))
    rows[1] = -0.0
    plain = VAEDetector(**QUICK, threshold=1.0).fit(make_rows(60)[COLUMNS].to_numpy())
    first, second = digests_of(plain.model_.encoder, rows)
    assert first == second


def test_digests_come_back_from_a_file(detector: VAEDetector, place: Path) -> None:
    again = load("m.vae").model_.seen
    np.testing.assert_array_equal(again.learned, detector.model_.seen.learned)
    np.testing.assert_array_equal(again.calibration, detector.model_.seen.calibration)
    assert again.learned.dtype == np.uint64


# ----------------------------------------------------------------------------- by chance


@pytest.mark.parametrize(("n", "m"), [(400, 400), (900, 150), (100, 700)])
def test_expected_repeats_are_those_of_random_divisions(n: int, m: int) -> None:
    rng = np.random.default_rng(0)
    pooled = np.sort(rng.geometric(0.02, size=n + m)).astype(np.uint64)
    repeats = []
    for _ in range(400):
        order = rng.permutation(n + m)
        known, fresh = pooled[order[:n]], pooled[order[n:]]
        counts = [np.bincount(part.astype(int), minlength=1000) for part in (known, fresh)]
        repeats.append(np.minimum(*counts).sum())
    # They depend on the pooled records alone, and so are the same for each division.
    mean, deviation = expected_repeats(known, fresh)
    assert mean == pytest.approx(np.mean(repeats), abs=4 * np.std(repeats) / 20 + 0.3)
    assert deviation == pytest.approx(np.std(repeats), rel=0.2)


def test_expected_repeats_of_nothing_are_none() -> None:
    assert expected_repeats(digests(), digests(1)) == (0.0, 0.0)
    assert expected_repeats(digests(1), digests()) == (0.0, 0.0)


def test_records_that_never_repeat_by_chance_are_left_out() -> None:
    seen = SeenRecords().with_learned(digests(9, 3, 5)).with_calibration(digests(7))
    repeats = seen.repeats(digests(5, 5, 7, 8, 2**64 - 1))
    assert repeats.left_out.tolist() == [True, False, True, False, False]
    assert (repeats.n_left_out, repeats.n_equal) == (2, 2)
    learned = seen.repeats(digests(5, 5, 7, 8), calibration=False)
    assert learned.left_out.tolist() == [True, False, False, False]
    assert not seen.repeats(digests()).n_left_out
    assert not SeenRecords().repeats(digests(1, 2)).n_left_out


def test_frequent_records_are_kept_unless_the_data_are_those_of_the_fit() -> None:
    rng = np.random.default_rng(0)
    shares = rng.dirichlet(np.full(64, 0.3))
    draw = lambda n: rng.choice(64, size=n, p=shares).astype(np.uint64)  # noqa: E731
    learned, calibration = draw(800), draw(200)
    seen = SeenRecords().with_learned(learned).with_calibration(calibration)
    for n in (150, 1000, 4000):
        fresh = seen.repeats(draw(n))
        assert not fresh.n_left_out
        assert fresh.n_equal == pytest.approx(fresh.n_by_chance, abs=40)
    whole = np.concatenate([learned, calibration])
    assert seen.repeats(whole).n_left_out == 1000
    # What is left are the calibration records.
    repeats = seen.repeats(whole, calibration=False)
    np.testing.assert_array_equal(np.sort(whole[repeats.used]), np.sort(calibration))


def test_anomalies_do_not_hide_that_normal_records_were_seen() -> None:
    rng = np.random.default_rng(0)
    learned = rng.integers(0, 300, size=1000).astype(np.uint64)
    anomalies = np.arange(10_000, 30_000).astype(np.uint64)
    labels = np.arange(len(anomalies) + 1000) >= 1000
    seen = SeenRecords().with_learned(learned)
    repeats = seen.repeats(np.concatenate([learned, anomalies]), normal=~labels)
    assert repeats.left_out[:1000].all()
    assert not repeats.left_out[1000:].any()


def test_of_very_many_records_a_sample_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_DIGESTS", 1000)
    rng = np.random.default_rng(0)
    learned = rng.integers(0, 2**64 - 1, size=5000, dtype=np.uint64)
    fresh = rng.integers(0, 2**64 - 1, size=2000, dtype=np.uint64)
    seen = SeenRecords().with_learned(learned)
    assert len(seen.learned) == 1000
    repeats = seen.repeats(np.concatenate([learned[:2000], fresh]))
    # Judged are a fifth of all, and of these the fresh ones are used.
    assert set(np.flatnonzero(repeats.used)) <= set(range(2000, 4000))
    assert repeats.used.sum() == pytest.approx(400, abs=80)
    assert repeats.n_left_out == pytest.approx(400, abs=80)
    note = repeats.notes("row", "learned", keep=False)[1]
    assert re.fullmatch(
        r"note: left out 3,\d\d\d rows that it may have seen: of so many, a model knows a sample",
        note,
    )
    assert seen.repeats(fresh).used.all()


# ------------------------------------------------------------------------- recalibration


def test_rows_that_were_learned_do_not_calibrate(detector: VAEDetector) -> None:
    old, fresh = mixed_rows(400, seed=0), mixed_rows(200, seed=1)
    expected = recalibrate(detector, fresh)
    n_learned = len(detector.model_.seen.learned)
    with pytest.warns(
        SeenRowsWarning, match=rf"^left out {n_learned} of 600 rows, which the model learned$"
    ):
        other = recalibrate(detector, pd.concat([old, fresh]))
    # The calibration rows of the fit may calibrate again.
    calibrates = np.isin(
        digests_of(detector.model_.encoder, detector.model_.records(old)),
        detector.model_.seen.calibration,
    )
    scores = np.concatenate(
        [-detector.score_samples(old[calibrates]), expected.calibration_scores_]
    )
    np.testing.assert_array_equal(other.calibration_scores_, np.sort(scores))
    with pytest.warns(
        SeenRowsWarning,
        match=rf"^the model learned {n_learned} of these 600 rows, which are kept: others have",
    ):
        kept = recalibrate(detector, pd.concat([old, fresh]), keep_learned=True)
    assert len(kept.calibration_scores_) == 600


def test_too_few_rows_that_were_not_learned_are_refused(detector: VAEDetector) -> None:
    seen = detector.model_.seen
    n, left = len(seen.learned), len(seen.calibration)
    with pytest.raises(
        DataError,
        match=rf"^Expected at least 99 rows that the model has not learned, for a false-alarm "
        rf"rate of 0.01, got {left}: {n} of 400 rows were in its training data. Bring others. "
        rf"With --keep-learned, or keep_learned=True, those count as well, and the threshold is "
        rf"too low.$",
    ):
        recalibrate(detector, mixed_rows(400, seed=0), false_alarm_rate=0.01)
    with pytest.warns(TooFewCalibrationRowsWarning):  # none was learned
        recalibrate(detector, mixed_rows(20, seed=1), false_alarm_rate=0.01)


def test_rows_of_a_recalibration_are_known_to_evaluations_and_not_to_the_next_one(
    detector: VAEDetector, place: Path
) -> None:
    today = mixed_rows(200, seed=1)
    model = recalibrate(detector, today).model_
    again = recalibrate(VAEDetector.from_model(model), today)
    assert len(again.calibration_scores_) == 200
    with open_source("fresh.csv", model.encoder) as source:
        with pytest.raises(
            DataError,
            match=r"^fresh.csv: the model was fitted on all 200 rows, which say nothing about "
            r"others. Bring others, or fit with some held out \(--holdout 0.2\), or keep these "
            r"with --keep-learned.$",
        ):
            read_evaluation_data(source, model)
        assert len(read_evaluation_data(source, model, keep_learned=True).records) == 200


# --------------------------------------------------------------------------- command line


def test_recalibrate_leaves_out_training_rows(
    detector: VAEDetector, place: Path, vae_lines
) -> None:
    n, left = len(detector.model_.seen.learned), len(detector.model_.seen.calibration)
    code, _, lines = vae_lines("recalibrate m.vae train.csv -o n.vae")
    assert code == 0
    assert lines[0] == f"note: left out {n} of 400 rows, which the model learned"
    assert f"of {left} rows" in lines[1]
    # Calibration rows alone give the threshold of the fit.
    np.testing.assert_allclose(load("n.vae").offset_, detector.offset_, rtol=1e-9)

    code, _, lines = vae_lines("recalibrate m.vae train.csv -o o.vae --false-alarm-rate 0.01")
    assert code == 3
    assert lines[0].startswith("error: Expected at least 99 rows that the model has not learned")
    assert not Path("o.vae").exists()

    code, _, lines = vae_lines("recalibrate m.vae train.csv -o n.vae --keep-learned")
    assert code == 0
    assert lines[0] == (
        f"warning: the model learned {n} of these 400 rows, which are kept: others have higher "
        f"scores"
    )
    assert "of 400 rows" in lines[1]
    assert vae_lines("recalibrate m.vae fresh.csv -o n.vae")[2][0].startswith("the old threshold")


def test_evaluate_leaves_out_training_rows(place: Path, vae_lines) -> None:
    code, _, lines = vae_lines("evaluate m.vae all.csv --label-column fault -o report")
    assert code == 0
    assert lines[:2] == [
        "labels in 'fault': '0' normal, 600 rows; '1' anomalous, 50 rows",
        "note: left out 400 of 650 rows, which the model was fitted on",
    ]
    assert any(line.startswith("Of 200 normal rows, ") for line in lines)
    assert any(line.startswith("Of 50 anomalies, ") for line in lines)
    page = Path("report/report.html").read_text(encoding="utf-8")
    assert "all.csv, without 400 rows of training" in page

    code, _, lines = vae_lines(
        "evaluate m.vae all.csv --label-column fault -o report --keep-learned"
    )
    assert code == 0
    assert lines[1].startswith("warning: the model was fitted on 400 of these 650 rows, which are")
    assert any(line.startswith("Of 600 normal rows, ") for line in lines)

    code, _, lines = vae_lines("evaluate m.vae train.csv -o report")
    assert code == 3
    assert lines[0].startswith("error: train.csv: the model was fitted on all 400 rows")


def test_images_that_were_learned_are_left_out(tmp_path: Path, monkeypatch, vae_lines) -> None:
    monkeypatch.chdir(tmp_path)
    rng = np.random.RandomState(0)
    for name, low, count in (("good", 0, 40), ("crack", 150, 10)):
        Path("parts", name).mkdir(parents=True)
        for i in range(count):
            pixels = rng.randint(low, low + 100, size=(8, 8)).astype(np.uint8)
            Image.fromarray(pixels).save(f"parts/{name}/{i:02}.png")
    options = "--max-steps 20 --members 1 --false-alarm-rate 0.1"
    assert vae_lines(f"fit parts -o p.vae {options}")[0] == 0
    code, _, lines = vae_lines("evaluate p.vae parts -o report")
    assert code == 0
    assert "note: left out 40 of 50 images, which the model was fitted on" in lines
    assert (
        "warning: no normal image is left. Bring others, or fit with some held out "
        "(--holdout 0.2)." in lines
    )
    code, _, lines = vae_lines("recalibrate p.vae parts -o n.vae")
    assert code == 0
    assert lines[1] == "note: left out 31 of 40 images, which the model learned"


def test_a_table_of_few_distinct_rows_is_used_as_before(
    tmp_path: Path, monkeypatch, vae_lines
) -> None:
    monkeypatch.chdir(tmp_path)
    rng = np.random.RandomState(0)
    rows = pd.DataFrame({name: rng.binomial(1, 0.2, 1600) for name in "abcdef"})
    rows[:800].to_csv("old.csv", index=False)
    rows[800:].to_csv("new.csv", index=False)
    assert (
        vae_lines("fit old.csv -o m.vae --max-steps 20 --members 1 --false-alarm-rate 0.05")[0] == 0
    )
    code, _, lines = vae_lines("recalibrate m.vae new.csv -o n.vae")
    assert code == 0
    assert re.fullmatch(
        r"note: \d+ rows are equal to some that the model learned; about \d+ would be by chance, "
        r"so that all are kept",
        lines[0],
    )
    assert "of 800 rows" in lines[1]
    code, _, lines = vae_lines("recalibrate m.vae old.csv -o n.vae")
    assert (code, lines[0]) == (0, "note: left out 641 of 800 rows, which the model learned")
    code, _, lines = vae_lines("evaluate m.vae old.csv -o report")
    assert code == 3

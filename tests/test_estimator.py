"""VAEDetector: scores, explanations and the scikit-learn contract."""

from __future__ import annotations

import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from conftest import QUICK, make_rows
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from vae_anomaly import DataError, DivergenceError, ParameterError, VAEDetector
from vae_anomaly.model.terms import compute_terms
from vae_anomaly.training.history import History

finite = st.floats(allow_nan=False, allow_infinity=False)


def anomalous_rows(rows: pd.DataFrame) -> pd.DataFrame:
    """Each value within its column's range, but off the parabola."""
    return rows.assign(square=np.where(rows["square"] > 2, 0.0, 4.0))


# With the Bernoulli likelihood these rows leave the latent code unused.
@pytest.mark.filterwarnings("ignore::vae_anomaly.UnusedLatentWarning")
@pytest.mark.parametrize(("likelihood", "least"), [("gaussian", 0.8), ("bernoulli", 0.6)])
def test_rows_off_the_manifold_score_higher(
    rows: pd.DataFrame, likelihood: str, least: float
) -> None:
    detector = VAEDetector(
        max_steps=800, n_members=2, contamination=0.1, likelihood=likelihood, random_state=0
    ).fit(rows)
    fresh = make_rows(300, seed=1)
    scores = -detector.score_samples(pd.concat([fresh, anomalous_rows(fresh)]))
    assert roc_auc_score([0] * 300 + [1] * 300, scores) > least


def test_decision_function_and_predict_follow_from_score_samples(
    fitted: VAEDetector, rows: pd.DataFrame
) -> None:
    scores = fitted.score_samples(rows)
    assert scores.dtype == np.float64
    np.testing.assert_array_equal(fitted.decision_function(rows), scores - fitted.offset_)
    np.testing.assert_array_equal(fitted.predict(rows), np.where(scores < fitted.offset_, -1, 1))
    assert fitted.score(rows) == -fitted.scores(rows, ["elbo"]).to_numpy().mean()


def test_scores_do_not_depend_on_batch_order_or_neighbours(fitted: VAEDetector) -> None:
    X = make_rows(700, seed=2)
    scores = fitted.score_samples(X)
    order = np.random.RandomState(0).permutation(len(X))
    np.testing.assert_array_equal(fitted.score_samples(X.iloc[order]), scores[order])
    batches = [fitted.score_samples(X.iloc[i : i + 17]) for i in range(0, len(X), 17)]
    np.testing.assert_array_equal(np.concatenate(batches), scores)
    assert fitted.score_samples(X.iloc[[5]])[0] == scores[5]
    transposed = pd.DataFrame(np.asfortranarray(X), columns=X.columns)
    np.testing.assert_array_equal(fitted.score_samples(transposed), scores)


def test_the_same_seed_gives_the_same_bits_and_another_does_not(rows: pd.DataFrame) -> None:
    first, second, other = (
        VAEDetector(**QUICK | {"random_state": seed, "contamination": 0.1})
        .fit(rows)
        .score_samples(rows)
        for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, other)


def test_another_process_gives_the_same_bits(
    rows: pd.DataFrame, fitted: VAEDetector, tmp_path
) -> None:
    joblib.dump(fitted, tmp_path / "detector")
    rows.to_pickle(tmp_path / "rows")
    code = (
        "import joblib, numpy as np, pandas as pd; detector = joblib.load('detector'); "
        "np.save('scores', detector.score_samples(pd.read_pickle('rows')))"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    np.testing.assert_array_equal(np.load(tmp_path / "scores.npy"), fitted.score_samples(rows))


def test_no_global_random_state_is_touched(rows: pd.DataFrame) -> None:
    import random

    import tensorflow as tf

    tf.random.set_seed(0)
    states = np.random.get_state()[1].copy(), random.getstate()
    before = tf.random.get_global_generator().state.numpy()
    VAEDetector(**QUICK, contamination=0.1).fit(rows).score_samples(rows)
    np.testing.assert_array_equal(np.random.get_state()[1], states[0])
    assert random.getstate() == states[1]
    np.testing.assert_array_equal(tf.random.get_global_generator().state.numpy(), before)


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"likelihood": "bernoulli"},
        {"likelihood": "heteroscedastic"},
        {"likelihood": "student_t"},
        {"likelihood": "discretized_logistic"},
        {"beta": 0},
        {"score_type": "kl"},
        {"score_type": "reconstruction"},
    ],
)
def test_explanations_sum_to_the_anomaly_score(rows: pd.DataFrame, parameters: dict) -> None:
    detector = VAEDetector(**QUICK, contamination=0.1, **parameters).fit(rows)
    X = pd.concat([rows[:20], anomalous_rows(rows[20:40]), rows[:1] * 1e30])
    explained = detector.explain(X)
    assert list(explained.columns) == list(rows.columns)
    pd.testing.assert_index_equal(explained.index, X.index)
    np.testing.assert_allclose(explained.sum(axis=1), -detector.score_samples(X), rtol=1e-6)


def test_explanations_name_the_column_that_is_wrong(
    fitted: VAEDetector, rows: pd.DataFrame
) -> None:
    for column, value in [("t", 9.0), ("constant", 8.0), ("count", 40.0)]:
        wrong = rows[:1].assign(**{column: value})
        assert fitted.explain(wrong).iloc[0].idxmax() == column


@settings(max_examples=50, deadline=None)
@given(st.lists(finite, min_size=4, max_size=4))
def test_finite_rows_have_finite_scores(fitted: VAEDetector, row: list[float]) -> None:
    X = pd.DataFrame([row], columns=["t", "square", "constant", "count"])
    assert np.isfinite(fitted.score_samples(X)).all()
    assert np.isfinite(fitted.reconstruct(X)).all(axis=None)
    assert np.isfinite(fitted.transform(X)).all()


@pytest.mark.parametrize("column", ["t", "square", "constant", "count"])
@pytest.mark.parametrize("sign", [-1, 1])
def test_scores_keep_rising_with_distance(
    fitted: VAEDetector, rows: pd.DataFrame, column: str, sign: int
) -> None:
    distances = sign * np.logspace(2, 300, 60)
    X = pd.concat([rows[:1]] * len(distances)).assign(**{column: distances})
    assert (np.diff(-fitted.score_samples(X)) > 0).all()


def test_scores_are_close_to_those_of_many_draws(fitted: VAEDetector, rows: pd.DataFrame) -> None:
    noise = np.random.RandomState(0).normal(size=(512, 32)).astype(np.float32)
    exact = VAEDetector.from_model(replace(fitted.model_, noise=noise))
    assert fitted.noise_.shape == (2, 32)
    assert fitted.score(rows) == pytest.approx(exact.score(rows), abs=0.1)


def test_one_wild_training_cell_does_no_harm(rows: pd.DataFrame) -> None:
    wild = rows.copy()
    wild.loc[0, "t"] = 1e30
    detector = VAEDetector(max_steps=800, n_members=2, random_state=0, contamination=0.1).fit(wild)
    fresh = make_rows(300, seed=1)
    scores = -detector.score_samples(pd.concat([fresh, anomalous_rows(fresh)]))
    assert np.isfinite(scores).all()
    assert roc_auc_score([0] * 300 + [1] * 300, scores) > 0.8


def test_units_and_offsets_of_columns_do_not_matter(rows: pd.DataFrame) -> None:
    parameters = QUICK | {"contamination": 0.1}
    scores = VAEDetector(**parameters).fit(rows).score_samples(rows)
    # Powers of two, so that the change of units is exact.
    other = rows * [1024.0, 0.25, 2.0, 1.0]
    again = VAEDetector(**parameters).fit(other).score_samples(other)
    np.testing.assert_allclose(again, scores, rtol=1e-6)


def test_calibration_keeps_the_false_alarm_rate_on_fresh_rows() -> None:
    detector = VAEDetector(max_steps=200, n_members=2, false_alarm_rate=0.1, random_state=0)
    detector.fit(make_rows(2000))
    assert len(detector.calibration_scores_) == 399
    flagged = (detector.predict(make_rows(5000, seed=7)) == -1).mean()
    # The rate given 399 calibration rows is Beta(40, 360): 0.10 +- 0.015.
    assert flagged == pytest.approx(0.1, abs=0.06)


def test_threshold_is_the_users_own(rows: pd.DataFrame) -> None:
    detector = VAEDetector(**QUICK, threshold=12.5).fit(rows)
    assert detector.offset_ == -12.5
    assert detector.calibration_scores_.size == 0


def test_reconstruct_sample_and_transform(rows: pd.DataFrame) -> None:
    detector = VAEDetector(
        max_steps=1500, n_members=2, variance=0.02, contamination=0.1, random_state=0
    ).fit(rows)
    rebuilt = detector.reconstruct(rows).to_numpy()
    correlation = [np.corrcoef(rebuilt[:, i], rows.iloc[:, i])[0, 1] for i in (0, 1, 3)]
    assert min(correlation) > 0.8
    np.testing.assert_array_equal(rebuilt[:, 2], 7.0)

    drawn = detector.sample(2000, random_state=0)
    assert drawn.shape == (2000, 4)
    np.testing.assert_allclose(drawn.mean(axis=0), rows.mean(), atol=0.4)
    np.testing.assert_array_equal(drawn, detector.sample(2000, random_state=0))

    assert detector.transform(rows).shape == (300, 64)
    assert detector.latent_kl_.shape == (2, 32)


def test_beta_zero_is_an_autoencoder(rows: pd.DataFrame) -> None:
    detector = VAEDetector(**QUICK, beta=0, score_type="elbo", contamination=0.1).fit(rows)
    assert not detector.noise_.any()
    model = detector.model_
    terms = compute_terms(model, model.encoder.encode(rows.to_numpy()), frozenset({"elbo"}))
    assert not (terms.beta * terms.elbo.kl).any()


@pytest.mark.parametrize("again", ["fit", "fit_predict", "fit_transform", "thread"])
def test_a_fit_within_a_fit_of_the_same_detector_is_refused(rows: pd.DataFrame, again) -> None:
    def refit(history: object) -> None:
        if again == "thread":
            with ThreadPoolExecutor(1) as pool:
                pool.submit(detector.fit, rows[["t"]]).result()
        else:
            getattr(detector, again)(rows[["t"]])

    options = {"max_steps": 20, "n_members": 1, "contamination": 0.1, "random_state": 0}
    detector = VAEDetector(**options, callback=refit)
    words = "This detector is being fitted already: its callback, or another thread, called fit"
    with pytest.raises(ParameterError, match=words):
        detector.fit(rows)
    with pytest.raises(NotFittedError):
        detector.predict(rows)
    scores = detector.set_params(callback=None).fit(rows).score_samples(rows)
    np.testing.assert_array_equal(scores, VAEDetector(**options).fit(rows).score_samples(rows))


def test_a_callback_may_fit_a_clone_and_set_parameters(rows: pd.DataFrame) -> None:
    options = {"max_steps": 120, "n_members": 1, "contamination": 0.1, "random_state": 0}
    plain = VAEDetector(**options).fit(rows)

    def meddle(history: object) -> None:
        clone(detector).set_params(callback=None, max_steps=5, beta=0.5).fit(rows)
        detector.set_params(beta=7.0, max_steps=9, contamination=0.5, score_type="elbo")

    detector = VAEDetector(**options, callback=meddle)
    detector.fit(rows)
    with pytest.raises(
        ParameterError, match=r"were set after fit: beta=7\.0, contamination=0\.5, max"
    ):
        detector.predict(rows)
    detector.set_params(**options, beta=1.0, score_type="auto")
    np.testing.assert_array_equal(detector.score_samples(rows), plain.score_samples(rows))
    assert detector.offset_ == plain.offset_


def test_history_is_kept_and_passed_to_the_callback(rows: pd.DataFrame) -> None:
    seen: list[int] = []

    def watch(history: History) -> None:
        seen.append(history.step[-1])

    detector = VAEDetector(max_steps=250, n_members=2, random_state=0, callback=watch,
                           false_alarm_rate=0.1, beta=0.5).fit(rows)  # fmt: skip
    history = detector.history_
    assert seen == history.step == [100, 200, 250]
    assert len(history.held_out) == 3
    np.testing.assert_allclose(
        history.loss, np.add(history.reconstruction, np.multiply(0.5, history.kl)), rtol=1e-5
    )
    assert history.loss[-1] < history.loss[0]


def test_it_works_with_scikit_learns_tools(rows: pd.DataFrame) -> None:
    quick = VAEDetector(**QUICK, contamination=0.1)
    pipeline = make_pipeline(StandardScaler(), clone(quick)).fit(rows)
    assert pipeline.predict(rows).shape == (300,)
    assert pipeline.score_samples(rows).shape == (300,)
    assert np.isfinite(cross_val_score(quick, rows, cv=2)).all()
    search = GridSearchCV(quick, {"beta": [0.5, 1.0]}, cv=2, n_jobs=1).fit(rows)
    assert search.best_params_["beta"] in (0.5, 1.0)


def test_pickles_score_the_same(fitted: VAEDetector, rows: pd.DataFrame) -> None:
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.score_samples(rows), fitted.score_samples(rows))


@pytest.mark.parametrize(
    "convert", [lambda f: f.to_numpy().tolist(), lambda f: np.asfortranarray(f)]
)
def test_arrays_and_lists_score_as_frames_do(rows: pd.DataFrame, convert: Any) -> None:
    parameters = QUICK | {"contamination": 0.1}
    expected = VAEDetector(**parameters).fit(rows).score_samples(rows)
    plain = convert(rows)
    np.testing.assert_array_equal(
        VAEDetector(**parameters).fit(plain).score_samples(plain), expected
    )


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        (
            {"latent_dim": 0},
            "The 'latent_dim' parameter of VAEDetector must be None or an int >= 1. Got 0 instead.",
        ),
        ({"latent_dim": True}, "must be None or an int >= 1. Got True instead."),
        ({"hidden_units": ()}, "None or a non-empty tuple of ints >= 1. Got () instead."),
        ({"likelihood": "poisson"}, "'discretized_logistic', 'bernoulli'. Got 'poisson' instead."),
        ({"optimizer": "sgd"}, "must be one of 'adam', 'rmsprop'. Got 'sgd' instead."),
        ({"score_type": "mse"}, "'typicality', 'latent_distance'. Got 'mse' instead."),
        ({"variance": 0.0}, "must be None or a number in [1e-30, inf). Got 0.0 instead."),
        ({"beta": -1}, "must be a number in [0, inf). Got -1 instead."),
        ({"learning_rate": float("nan")}, "must be a number in (0, inf). Got nan instead."),
        ({"false_alarm_rate": 1.0}, "must be a number in (0, 1). Got 1.0 instead."),
        ({"contamination": 0.6}, "must be None or a number in (0, 0.5]. Got 0.6 instead."),
        ({"contamination": 0.1, "threshold": 3.0}, "Leave one of them at its default."),
    ],
)  # fmt: skip
def test_parameters_are_judged_in_fit(parameters: dict, sentence: str) -> None:
    with pytest.raises(ParameterError) as caught:
        VAEDetector(**parameters).fit(make_rows(20))
    assert str(caught.value).endswith(sentence)


def test_two_rows_are_too_few_to_calibrate() -> None:
    with pytest.raises(DataError, match="at least 2 rows to learn from, got 1; 1 of 2 calibrates"):
        VAEDetector().fit(np.eye(2))


@pytest.mark.parametrize("n", [0, -1, 1.5])
def test_sample_takes_whole_numbers(fitted: VAEDetector, n: Any) -> None:
    with pytest.raises(ParameterError, match="n_samples must be an int >= 1"):
        fitted.sample(n)


def test_constant_data_are_refused() -> None:
    with pytest.raises(DataError, match="All 2 columns are constant in the 10 training rows"):
        VAEDetector(contamination=0.1).fit(np.ones((10, 2)))


def test_divergence_says_what_to_change(rows: pd.DataFrame) -> None:
    detector = VAEDetector(max_steps=300, n_members=1, learning_rate=1e20, contamination=0.1)
    with pytest.raises(DivergenceError, match=r"Lower learning_rate \(it is 1e\+20\)"):
        detector.fit(rows)
    with pytest.raises(Exception, match="not fitted"):
        detector.score_samples(rows)


@pytest.mark.parametrize("n", [8, 300])
def test_a_last_step_that_diverges_is_noticed(n: int) -> None:
    detector = VAEDetector(max_steps=1, n_members=1, learning_rate=1e10, contamination=0.2)
    with pytest.raises(DivergenceError, match="after 1 steps the loss is not a finite number"):
        detector.fit(make_rows(n))


@pytest.mark.parametrize(
    "method",
    [
        *("score_samples", "scores", "score", "explain", "decision_function", "predict"),
        *("p_values", "flag_batch", "transform", "reconstruct", "decode"),
        *("contribution_maps", "anomaly_maps"),
    ],
)
def test_methods_before_fit_raise_that_it_is_not_fitted(method: str) -> None:
    with pytest.raises(NotFittedError, match="not fitted"):
        getattr(VAEDetector(), method)(np.eye(2))
    with pytest.raises(NotFittedError, match="not fitted"):
        VAEDetector().sample()
    with pytest.raises(NotFittedError, match="not fitted"):
        VAEDetector().interpolate(np.eye(2)[0], np.eye(2)[1])


def test_an_interrupted_fit_leaves_nothing_that_looks_fitted(rows: pd.DataFrame) -> None:
    detector = VAEDetector(**QUICK, contamination=0.1).fit(rows)

    def interrupt(history: History) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        detector.set_params(callback=interrupt).fit(rows[["t", "count"]])
    with pytest.raises(Exception, match="not fitted"):
        detector.score_samples(rows[["t", "count"]])


def test_keras_on_another_backend_is_refused_in_one_sentence() -> None:
    code = (
        "import os; os.environ['KERAS_BACKEND'] = 'jax'\n"
        "import numpy as np\nfrom vae_anomaly import VAEDetector, VAEAnomalyError\n"
        "try: VAEDetector().fit(np.random.RandomState(0).normal(size=(50, 2)))\n"
        "except VAEAnomalyError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "Unset KERAS_BACKEND, or set it to 'tensorflow'" in done.stdout

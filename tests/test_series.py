"""Detection in time series: windows, scores of time steps, alarms and events."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy.stats import beta, binom
from sklearn.base import clone

from vae_anomaly import DataError, ModelFileError, ParameterError, SeriesDetector, load, save
from vae_anomaly.data.series.segments import Segment
from vae_anomaly.series.alarms import (
    AlarmBudget,
    BlockMaxima,
    Promise,
    alarm_rank,
    blocks_needed,
    span,
)
from vae_anomaly.series.calibration import calibrated
from vae_anomaly.series.channels import ChannelScaler, bridged, run_lengths
from vae_anomaly.series.events import joined_runs
from vae_anomaly.series.file import needs_tensorflow
from vae_anomaly.series.model import CAUSES, StepScores, step_errors
from vae_anomaly.series.networks import LATENT, UNITS, networks_of
from vae_anomaly.series.windows import covering, window_starts, windows_at
from vae_anomaly.storage.container import open_container, write_container
from vae_anomaly.training.history import History

Array = NDArray[np.float64]

# Keras' own way to pickle a model calls NumPy as older versions of it wished.
pytestmark = pytest.mark.filterwarnings("ignore:.*__array__ implementation:DeprecationWarning")

PERIOD, CHANNELS = 40, ("sine", "cosine", "constant")
MOVED = np.array([0.0, 0.5, 0.0])


def make_series(n: int, seed: int) -> pd.DataFrame:
    """Return two noisy waves, and a channel that never changes."""
    rng = np.random.RandomState(seed)
    phase = 2 * np.pi * np.arange(n) / PERIOD
    waves = np.column_stack([np.sin(phase), np.cos(phase)]) + 0.1 * rng.normal(size=(n, 2))
    index = pd.date_range("2026-01-01", periods=n, freq="5min", tz="UTC")
    return pd.DataFrame(np.column_stack([waves, np.full(n, 5.0)]), index=index, columns=CHANNELS)


@pytest.fixture(scope="module")
def detector() -> SeriesDetector:
    """A fitted detector shared by all tests; do not change it."""
    return SeriesDetector(window=PERIOD, max_steps=300, random_state=0).fit(make_series(3000, 0))


@pytest.fixture
def normal() -> pd.DataFrame:
    return make_series(800, 1)


def scores_of(detector: SeriesDetector, series: pd.DataFrame) -> StepScores:
    return detector.model_.score(series.to_numpy())


# ------------------------------------------------------------------------------ windows


@pytest.mark.parametrize(("n", "window", "hop"), [(50, 7, 1), (50, 7, 3), (9, 9, 4), (8, 9, 2)])
def test_windows_cover_time_steps(n: int, window: int, hop: int) -> None:
    starts = window_starts(n, window, hop)
    values = np.random.RandomState(0).normal(size=(len(starts), 2))
    found = covering(values, starts, window, n)
    for step in range(n):
        over = values[(starts <= step) & (step < starts + window)]
        if len(over):
            np.testing.assert_allclose(found.mean[step], over.mean(axis=0))
            np.testing.assert_array_equal(found.maximum[step], over.max(axis=0))
        else:
            assert np.isnan(found.mean[step]).all()
    assert (len(starts) == 0) == (n < window)
    if len(starts):  # every time step is in a window
        assert np.isfinite(found.mean).all()


def test_windows_hold_consecutive_time_steps() -> None:
    values = np.arange(20.0).reshape(10, 2)
    windows = windows_at(values, np.array([0, 6]), 3)
    np.testing.assert_array_equal(windows[1], values[6:9])
    assert windows.shape == (2, 3, 2)


# ----------------------------------------------------------------------------- channels


def test_channels_are_scaled_by_what_was_measured() -> None:
    values = np.array([[1.0, 7.0], [np.nan, 7.0], [3.0, np.nan]])
    scaler = ChannelScaler.fit([Segment.of(values)])
    np.testing.assert_array_equal(scaler.center, [2.0, 7.0])
    np.testing.assert_array_equal(scaler.scale, [1.0, 0.0])
    steps = scaler.standardized(values)
    np.testing.assert_array_equal(steps, [[-1.0], [0.0], [1.0]])
    np.testing.assert_array_equal(scaler.restored(steps), [[1.0, 7.0], [2.0, 7.0], [3.0, 7.0]])


def test_a_constant_channel_with_rounding_is_constant() -> None:
    values = np.full((1000, 1), 0.1) * 3
    assert len(ChannelScaler.fit([Segment.of(values)]).varying) == 0


def test_gaps_are_bridged_and_runs_counted() -> None:
    column = np.array([[np.nan], [2.0], [np.nan], [np.nan], [8.0], [np.nan]])
    np.testing.assert_array_equal(bridged(column).ravel(), [2.0, 2.0, 4.0, 6.0, 8.0, 8.0])
    assert bridged(np.full((3, 1), np.nan)).tolist() == [[0.0]] * 3
    runs = run_lengths(np.array([[1.0], [1.0], [np.nan], [np.nan], [1.0], [1.0]]))
    assert runs.ravel().tolist() == [1, 2, 1, 1, 1, 2]


# ------------------------------------------------------------------------------- alarms


@pytest.mark.parametrize("rate", [0.001, 0.01, 0.05, 0.3])
@pytest.mark.parametrize("n_blocks", [1, 20, 150, 3000])
def test_ranks_keep_the_rate_with_confidence(n_blocks: int, rate: float) -> None:
    def keeps(rank: int) -> bool:
        # The rate of blocks above the rank-th largest of n has this distribution.
        exceeding = beta(rank, n_blocks + 1 - rank)
        return exceeding.mean() <= rate + 1e-12 and exceeding.sf(min(1, 2 * rate)) <= 0.05

    possible = [rank for rank in range(1, n_blocks + 1) if keeps(rank)]
    assert alarm_rank(n_blocks, rate) == max(possible, default=0)
    assert (n_blocks >= blocks_needed(rate)) == bool(possible)


def test_blocks_have_their_largest_score() -> None:
    scores = np.array([1.0, np.nan, 5.0, 2.0, np.nan, np.nan, 7.0])
    for values, length, largest in (
        (scores, 2, [1.0, 5.0]),
        (scores, 10, [7.0]),
        (np.full(4, np.nan), 2, []),
    ):
        maxima = BlockMaxima(length)
        maxima.add(values[:, None])
        maxima.finish()
        assert maxima.found.ravel().tolist() == largest


def test_windows_and_points_have_half_of_the_episodes_each() -> None:
    n = 400
    blocks = np.column_stack([np.arange(n), 2.0 * np.random.RandomState(0).permutation(n)])
    rank = alarm_rank(n, 0.025)
    found = calibrated(blocks, 10, AlarmBudget(0.05, 10), None, "normal data")
    assert found.thresholds[:2] == (n - rank, 2.0 * (n - rank))
    # All are those of windows, if the blocks are too few for halves.
    few = blocks[: blocks_needed(0.05)]
    found = calibrated(few, 10, AlarmBudget(0.05, 10), None, "normal data")
    assert found.thresholds[:2] == (np.sort(few[:, 0])[-alarm_rank(len(few), 0.05)], np.inf)
    found = calibrated(few, 10, None, None, "normal data")
    assert found.thresholds[:2] == tuple(few.max(axis=0))


def test_spans_of_time_are_in_words() -> None:
    minute = 60 * 10**9
    assert [span(n, minute) for n in (1, 90, 119, 120, 4320)] == [
        *("60 seconds", "90 minutes", "119 minutes", "2 hours", "3 days"),
    ]
    assert span(1234567, None) == "1,234,567 time steps"
    words = Promise(AlarmBudget(2, 100), n_blocks=7, block=64).words()
    assert words == (
        "At most 2 false episodes in 100 time steps, on average, if the coming time is like the "
        "calibration part: 7 blocks of 64 time steps."
    )


def test_flags_close_together_are_one_event() -> None:
    flags = np.zeros(20, dtype=bool)
    flags[[2, 3, 6, 12, 19]] = True
    assert joined_runs(flags, 3) == [(2, 7), (12, 13), (19, 20)]
    assert joined_runs(flags, 2) == [(2, 4), (6, 7), (12, 13), (19, 20)]
    assert joined_runs(flags, 7) == [(2, 20)]
    assert joined_runs(np.zeros(5, dtype=bool), 2) == []


# ----------------------------------------------------------------------------- detector


def test_energies_are_those_of_the_nearest_windows(
    detector: SeriesDetector, normal: pd.DataFrame
) -> None:
    model = detector.model_
    values = normal.to_numpy(copy=True)[:100]
    values[50, 0] = np.nan
    errors = step_errors(model.scaler, model.comparison, values, model.window, model.hop)
    steps = bridged((values[:, :2] - model.scaler.center[:2]) / model.scaler.scale[:2])
    kept = model.comparison.training.points.reshape(-1, PERIOD, 2)
    for k, start in enumerate(errors.starts):
        window, known = steps[start : start + PERIOD], np.isfinite(values[start : start + PERIOD])
        squares = (window - kept) ** 2
        nearest = squares.sum(axis=(1, 2)).argsort(kind="stable")[:5]
        halves = np.where(known[:, :2], 0.5 * squares[nearest].mean(axis=0), np.nan)
        np.testing.assert_allclose(errors.energy[k], np.nanmean(halves, axis=0), rtol=1e-4)
        peak = np.sqrt(np.nanmean(halves**2, axis=0))
        np.testing.assert_allclose(errors.peak[k], peak, rtol=1e-4)
    flat = steps[:PERIOD].reshape(1, -1)
    rebuilt = np.asarray(model.comparison.network.reconstruct(flat))
    encode = model.comparison.network.encoder.encode
    difference = encode(flat).targets - encode(rebuilt).targets
    expected = difference.reshape(PERIOD, 2) ** 2
    expected[np.isnan(values[:PERIOD, :2])] = 0.0
    np.testing.assert_allclose(errors.residual[:PERIOD], expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("engine", ["numpy", "tensorflow"])
def test_the_last_targets_are_those_of_all(detector: SeriesDetector, engine: str) -> None:
    network = detector.model_.comparison.network.network.with_engine(engine)
    inputs = np.random.RandomState(0).normal(size=(300, PERIOD * 2))
    every = network.decode(network.encode(inputs)[0])
    for count in (1, 7, PERIOD * 2):
        np.testing.assert_allclose(
            network.last_targets(inputs, count), every[:, -count:], atol=1e-5
        )


def test_scores_combine_channels_and_windows(
    detector: SeriesDetector, normal: pd.DataFrame
) -> None:
    model = detector.model_
    errors = step_errors(model.scaler, model.comparison, normal.to_numpy(), model.window, model.hop)
    each = np.sqrt(((errors.energy / model.typical_energy) ** 2).mean(axis=1))
    found = scores_of(detector, normal).scores
    for step in (0, 333, 799):
        over = each[(errors.starts <= step) & (step < errors.starts + PERIOD)]
        assert found[step, 0] == pytest.approx(np.sqrt(over.mean() * over.max()))
    squares = (errors.residual / model.typical_residual) ** 2
    np.testing.assert_allclose(found[:, 1], np.sqrt(squares.mean(axis=1)))


def test_normal_time_is_seldom_flagged(detector: SeriesDetector, normal: pd.DataFrame) -> None:
    scores = detector.score_samples(normal)
    assert scores.shape == (800,)
    assert np.isfinite(scores).all()
    assert (scores < -1).mean() < 0.1
    np.testing.assert_array_equal(detector.predict(normal), np.where(scores < -1, -1, 1))
    np.testing.assert_allclose(detector.decision_function(normal), scores + 1)


def flat(values: Array) -> None:
    values[400:430, 0] = 0.0


def spike(values: Array) -> None:
    values[410, 1] += 3.0


def stuck(values: Array) -> None:
    values[400:430, 1] = values[400, 1]


def other_constant(values: Array) -> None:
    values[405:415, 2] = 5.5


@pytest.mark.parametrize(
    ("fault", "channel"),
    [(flat, "sine"), (spike, "cosine"), (stuck, "cosine"), (other_constant, "constant")],
)
def test_a_fault_is_one_event_in_its_channel(
    detector: SeriesDetector, normal: pd.DataFrame, fault: object, channel: str
) -> None:
    values = normal.to_numpy(copy=True)
    fault(values)  # type: ignore[operator]
    faulty = pd.DataFrame(values, index=normal.index, columns=normal.columns)
    events = detector.events(faulty)
    near = events[(events["start"] <= normal.index[415]) & (events["end"] >= normal.index[405])]
    assert len(near) == 1
    event = near.iloc[0]
    assert event["channels"].split(", ")[0] == channel
    assert normal.index[400 - PERIOD] <= event["start"] <= event["peak"] <= event["end"]
    assert event["score"] > 1
    assert event["cause"] in CAUSES
    if channel == "constant":
        assert event["cause"] == "run"


def test_a_constant_channel_that_is_rarely_read_may_not_change() -> None:
    sparse = make_series(1000, 0)
    sparse.loc[np.arange(1000) % 5 != 0, "constant"] = np.nan
    fitted = SeriesDetector(window=PERIOD, max_steps=20, random_state=0).fit(sparse)
    other = sparse.copy()
    other.iloc[600:640, 2] += 1.0  # eight readings, none next to another
    flags, before = (fitted.predict(one) == -1 for one in (other, sparse))
    read = sparse["constant"].notna().to_numpy()
    assert flags[600:640][read[600:640]].all()
    np.testing.assert_array_equal(
        np.delete(flags, np.s_[600:640]), np.delete(before, np.s_[600:640])
    )


def test_contributions_sum_to_the_score(detector: SeriesDetector, normal: pd.DataFrame) -> None:
    normal.iloc[200:220, 0] += 2.0
    contributions = detector.explain(normal)
    assert tuple(contributions.columns) == CHANNELS
    np.testing.assert_allclose(contributions.sum(axis=1), -detector.score_samples(normal))
    assert contributions.iloc[210].idxmax() == "sine"


def test_expected_values_are_normal_ones(detector: SeriesDetector, normal: pd.DataFrame) -> None:
    faulty = normal.copy()
    faulty.iloc[400:420, 0] = 9.0
    expected = detector.expected(faulty).to_numpy()
    clean = normal.to_numpy()
    assert np.abs(expected[400:420] - clean[400:420]).mean() < 0.3
    np.testing.assert_array_equal(expected[:, 2], 5.0)


def test_missing_values_are_not_scored(detector: SeriesDetector, normal: pd.DataFrame) -> None:
    faulty = normal.copy()
    faulty.iloc[300:305, 0] = 50.0
    gone = faulty.copy()
    gone.iloc[300:305, 0] = np.nan
    assert -detector.score_samples(faulty)[302] > 10
    assert -detector.score_samples(gone)[302] < 1.5


def test_a_callback_sees_the_training_and_may_end_it(normal: pd.DataFrame) -> None:
    steps: list[int] = []

    def after_interval(history: History) -> bool:
        steps.append(history.step[-1])
        return True

    settings = {"window": PERIOD, "max_steps": 1000, "random_state": 0}
    detector = SeriesDetector(**settings, callback=after_interval).fit(normal)
    assert len(steps) == 1
    assert detector.model_.comparison.network.history.step == steps


def test_fit_reports_the_progress_of_training(
    tmp_path: Path,
    vae: Callable[..., tuple[int, str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("vae_anomaly.pipeline.progress.SECONDS_BETWEEN_LINES", 0.0)
    training = written(tmp_path, "training.csv", make_series(300, 0))
    words = ("--time-column", "time", "--window", PERIOD, "--max-steps", 200)
    code, _, err = vae("fit", training, "-o", tmp_path / "m.vae", *words)
    assert code == 0, err
    assert re.search(r"training: 100 of 200, loss [\d.]+ nats", err), err


def test_a_dead_channel_makes_no_other_look_wrong(
    detector: SeriesDetector, normal: pd.DataFrame
) -> None:
    dead = normal.copy()
    dead.iloc[250:, 0] = np.nan
    whole, scores = scores_of(detector, normal), scores_of(detector, dead)
    ends = slice(250 + PERIOD, None)  # in windows without a value of the channel
    assert scores.total[ends].max() <= whole.total[ends].max()
    assert detector.events(dead)["start"].isin(detector.events(normal)["start"]).all()
    dead.iloc[500:520, 1] += 3.0
    (event,) = detector.events(dead).query("score > 2").itertuples()
    assert event.channels == "cosine"
    assert event.start < dead.index[520]
    assert event.end >= dead.index[500]


def test_broken_windows_are_compared_by_what_is_known(
    detector: SeriesDetector, normal: pd.DataFrame
) -> None:
    model = detector.model_
    values = normal.to_numpy(copy=True)[:PERIOD]
    values[10:30, 0] = np.nan
    errors = step_errors(model.scaler, model.comparison, values, model.window, model.hop)
    window = (values[:, :2] - model.scaler.center[:2]) / model.scaler.scale[:2]
    kept = model.comparison.training.points.reshape(-1, PERIOD, 2)
    squares = (window - kept) ** 2
    nearest = np.nansum(squares, axis=(1, 2)).argsort(kind="stable")[:5]
    halves = 0.5 * squares[nearest].mean(axis=0)
    np.testing.assert_allclose(errors.energy[0], np.nanmean(halves, axis=0), rtol=1e-4)
    # What is missing has the values of these windows before the network sees it.
    filled = np.where(np.isnan(window), kept[nearest].mean(axis=0, dtype=np.float64), window)
    rebuilt = np.asarray(model.comparison.network.reconstruct(filled.reshape(1, -1)))
    encode = model.comparison.network.encoder.encode
    expected = encode(filled.reshape(1, -1)).targets - encode(rebuilt).targets
    expected = np.where(np.isnan(window), 0.0, expected.reshape(PERIOD, 2) ** 2)
    np.testing.assert_allclose(errors.residual, expected, rtol=1e-5, atol=1e-6)


def test_a_causal_score_does_not_know_the_future(normal: pd.DataFrame) -> None:
    causal = SeriesDetector(window=PERIOD, causal=True, max_steps=100, random_state=0)
    causal.fit(make_series(1500, 0))
    scores = causal.score_samples(normal)
    assert np.isnan(scores[: PERIOD - 1]).all()
    assert np.isfinite(scores[PERIOD - 1 :]).all()
    changed = normal.copy()
    changed.iloc[500:] += 3.0
    np.testing.assert_array_equal(causal.score_samples(changed)[:500], scores[:500])
    assert -causal.score_samples(changed)[505] > 1


def test_several_series_are_scored_apart(detector: SeriesDetector, normal: pd.DataFrame) -> None:
    parts = [normal.to_numpy()[:300], normal.to_numpy()[300:320], normal.to_numpy()[320:]]
    scores = detector.score_samples(parts)
    assert len(scores) == len(normal)
    np.testing.assert_array_equal(scores[:300], detector.score_samples(parts[0]))
    assert np.isnan(scores[300:320]).all()  # shorter than a window
    assert (detector.predict(parts)[300:320] == 1).all()


def make_windows(n: int, seed: int) -> Array:
    """Return separate windows of waves, each with its own phase: (n, PERIOD, 2)."""
    rng = np.random.RandomState(seed)
    phase = 2 * np.pi * (np.arange(PERIOD) / 20 + rng.rand(n, 1))
    waves = np.stack([np.sin(phase), np.cos(phase)], axis=2)
    return waves + 0.1 * rng.normal(size=waves.shape)


def test_windows_that_are_cut_already_calibrate_by_the_last_of_them() -> None:
    detector = SeriesDetector(max_steps=150, random_state=0).fit(make_windows(400, 0))
    assert detector.model_.window == PERIOD
    promise = detector.promise_
    assert (promise.n_blocks, promise.block) == (120, PERIOD)
    fresh = make_windows(300, 1)
    scores = detector.score_samples(fresh)
    np.testing.assert_array_equal(scores, detector.score_samples(list(fresh)))
    flagged = (scores < -1).reshape(300, PERIOD).any(axis=1)
    expected = promise.budget.rate(PERIOD)  # of windows with a false episode
    assert flagged.sum() <= binom.ppf(0.9999, 300, 2 * expected)
    fresh[::3, 10:25, 1] = 0.0
    flagged = (detector.score_samples(fresh) < -1).reshape(300, PERIOD).any(axis=1)
    assert flagged[::3].mean() > 0.95
    again = detector.recalibrate(make_windows(50, 2))
    assert (again.promise_.n_blocks, again.promise_.block) == (50, PERIOD)


def test_copies_score_identically(detector: SeriesDetector, normal: pd.DataFrame) -> None:
    again = clone(detector).fit(make_series(3000, 0))
    copy = pickle.loads(pickle.dumps(detector))
    expected = detector.score_samples(normal)
    for other in (again, copy):
        np.testing.assert_array_equal(other.score_samples(normal), expected)


def test_thresholds_hold_a_number_of_episodes() -> None:
    series = make_series(6000, 0)
    detector = SeriesDetector(
        window=32, false_alarms=1, per="day", max_steps=100, random_state=0
    ).fit(series)
    budget = detector.promise_.budget
    assert (budget.episodes, budget.steps) == (1, 288)
    assert detector.promise_.n_blocks == (1800 - 32) // 64
    fresh = make_series(288 * 20, 3)
    assert len(detector.events(fresh)) <= 40  # in 20 days, twice the budget


def test_a_promise_that_the_data_cannot_support_is_refused() -> None:
    detector = SeriesDetector(window=32, false_alarms=1, per="week", max_steps=10)
    message = (
        r"At most 1 false episode in 7 days cannot be promised: that needs a calibration part, the "
        r"last 30% of training, of 10.\d days, got 6 days. Give about 1.\d times the data, "
        r"or accept more false episodes."
    )
    with pytest.raises(DataError, match=message):
        detector.fit(make_series(6000, 0))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"window": 2}, "'window' parameter of SeriesDetector must be None or an int >= 4"),
        ({"per": "year"}, "must be one of 'hour', 'day', 'week', 'month', or a number of time"),
        ({"architecture": "rnn"}, "must be one of 'dense', 'conv', 'lstm', 'gru'"),
        ({"false_alarms": 0}, "must be None or a number in"),
    ],
)
def test_parameters_are_checked(parameters: dict[str, object], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        SeriesDetector(**parameters).fit(make_series(500, 0))  # type: ignore[arg-type]


def test_a_span_of_time_needs_time_stamps() -> None:
    with pytest.raises(ParameterError, match="per='week' needs time stamps, and the series has"):
        SeriesDetector(false_alarms=1).fit(make_series(500, 0).to_numpy())


def test_short_and_constant_series_are_refused() -> None:
    with pytest.raises(DataError, match="at least 16 time steps without a break, 4 windows of 4"):
        SeriesDetector().fit(make_series(5, 0))
    with pytest.raises(DataError, match="at least 160 time steps without a break, 4 windows of 40"):
        SeriesDetector(window=40).fit(make_series(150, 0))
    with pytest.raises(DataError, match=r"or 10 series of a window, got 40\. Give a longer"):
        SeriesDetector().fit(make_windows(9, 0))
    with pytest.raises(DataError, match="All 3 channels are constant in the 500 time steps of"):
        SeriesDetector(window=40).fit(np.ones((500, 3)))


# ----------------------------------------------------------------------------- networks


def n_weights(model: object) -> int:
    return int(model.count_params())  # type: ignore[attr-defined]


@pytest.mark.parametrize("channels", [1, 3])
def test_networks_have_the_documented_layers(channels: int) -> None:
    window, c, u = 50, channels, UNITS
    for name, gates, extra in (("lstm", 4, 1), ("gru", 3, 2)):
        encoder, decoder = networks_of(name, window, c)
        recurrent = gates * (c * u + u * u + extra * u)
        assert n_weights(encoder) == recurrent + (u + 1) * 2 * LATENT
        recurrent = gates * (LATENT * u + u * u + extra * u)
        assert n_weights(decoder) == recurrent + (u + 1) * c
    encoder, decoder = networks_of("conv", window, c)
    convolutions = (5 * c + 1) * 32 + (5 * 32 + 1) * 64
    assert n_weights(encoder) == convolutions + (13 * 64 + 1) * 2 * LATENT
    convolutions = (5 * 64 + 1) * 32 + (5 * 32 + 1) * c
    assert n_weights(decoder) == (LATENT + 1) * 13 * 64 + convolutions
    for code, window_model in ((decoder.input_shape, encoder.input_shape),):
        assert code == (None, LATENT)
        assert window_model == (None, window, c)
    assert decoder.output_shape == (None, window, c)


@pytest.mark.parametrize("architecture", ["conv", "lstm", "gru"])
def test_other_networks_find_the_same_faults(architecture: str, normal: pd.DataFrame) -> None:
    detector = SeriesDetector(
        window=PERIOD, architecture=architecture, max_steps=50, random_state=0
    ).fit(make_series(1000, 0))
    faulty = normal.copy()
    faulty.iloc[400:430, 0] = 0.0
    scores = -detector.score_samples(faulty)
    assert scores[415] > 1
    copy = pickle.loads(pickle.dumps(detector))
    np.testing.assert_array_equal(-copy.score_samples(faulty), scores)


# -------------------------------------------------------------------------------- files


@pytest.mark.parametrize("architecture", ["dense", "gru"])
def test_a_file_holds_a_detector(architecture: str, normal: pd.DataFrame, tmp_path: Path) -> None:
    detector = SeriesDetector(
        window=PERIOD, architecture=architecture, false_alarms=3, per=300, max_steps=5
    ).set_params(random_state=0)
    detector.fit(make_series(2000, 0))
    path = tmp_path / "series.vae"
    digest = save(detector, path)
    again = load(path)
    assert isinstance(again, SeriesDetector)
    assert again.get_params() == detector.get_params()
    assert again.promise_ == detector.promise_
    assert (again.step_, again.channels_) == (detector.step_, detector.channels_)
    np.testing.assert_array_equal(again.score_samples(normal), detector.score_samples(normal))
    pd.testing.assert_frame_equal(again.events(normal), detector.events(normal))
    assert save(again, path) == digest
    network = detector.model_.comparison.network.network
    assert needs_tensorflow(open_container(path)) == network.needs_tensorflow
    with pytest.raises(ParameterError, match=r"is a model of time series, and needs no networks"):
        load(path, features="net.onnx")


def change(path: Path, key: str, value: object) -> None:
    """Write the file again with another setting."""
    file = open_container(path)
    entries = {name: entry for name, entry in file.header.items() if name != "__metadata__"}
    in_order = sorted(entries, key=lambda name: entries[name]["data_offsets"])
    layout = {name: (entries[name]["dtype"], tuple(entries[name]["shape"])) for name in in_order}
    arrays = {name: (layout[name][0], array) for name, array in file.arrays(layout).items()}
    write_container(path, file.config | {key: value}, arrays)


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("channels", ["a", "a", "b"], "channels must be 1 to 10,000 different names"),
        ("channels", [], "channels must be 1 to 10,000 different names"),
        ("window", 0, "window must be an int from 1 to 1,000,000"),
        ("window", True, "window must be an int from 1 to 1,000,000"),
        ("window", 41, "its settings ask for"),
        ("n_varying", 4, "n_varying must be an int from 1 to 3"),
        ("n_exemplars", 1, "n_exemplars must be 2 to 4096"),
        ("n_exemplars", 5000, "n_exemplars must be 2 to 4096"),
        ("step", 0, "step must be null or nanoseconds"),
        ("thresholds", [1.0, -1.0, 2.0], "thresholds must be positive numbers"),
        ("promise", [1.0, 2.0, 3.0, 4], "promise must be positive numbers"),
        ("parameters", {}, "its parameters are not those of a detector of time series"),
        ("reading", {"time_column": [1]}, "reading must map names to texts, lists of texts or int"),
        ("network", {}, "the settings of its networks are not those of a model"),
        ("other", 1, "its settings are not those of a detector of time series"),
    ],
)
def test_unsound_files_are_refused(
    detector: SeriesDetector, tmp_path: Path, key: str, value: object, reason: str
) -> None:
    path = tmp_path / "series.vae"
    save(detector, path)
    change(path, key, value)
    with pytest.raises(ModelFileError, match=f"not a sound vae-anomaly model: {reason}"):
        load(path)


# ------------------------------------------------------------------------- command line


def written(folder: Path, name: str, series: pd.DataFrame) -> Path:
    path = folder / name
    series.rename_axis("time").reset_index().to_csv(path, index=False)
    return path


def test_commands_fit_and_score_series(
    normal: pd.DataFrame, tmp_path: Path, vae: Callable[..., tuple[int, str, str]]
) -> None:
    training = written(tmp_path, "training.csv", make_series(2000, 0))
    normal.iloc[400:430, 0] = 0.0
    normal = normal.drop(normal.index[[600, *range(700, 720)]])
    recent = written(tmp_path, "recent.csv", normal)
    model, scores, events = (tmp_path / name for name in ("m.vae", "s.csv", "e.csv"))
    code, out, err = vae(
        *("fit", training, "-o", model, "--time-column", "time", "--window", PERIOD),
        *("--max-steps", 100, "--false-alarms-per", "day=3"),
    )
    assert (code, out) == (0, ""), err
    assert "fitting on 2,000 time steps of 3 channels: 'sine', 'cosine', 'constant'" in err
    assert "At most 3 false episodes in 24 hours, on average, if the coming time is" in err

    code, out, err = vae("score", model, recent, "-o", scores, "--events", events, "--explain", 1)
    assert (code, out) == (0, ""), err
    assert "1 gap, 20 time steps in all, without a score" in err
    found = pd.read_csv(scores)
    assert list(found) == [
        *("row", "time", "anomaly_score", "is_anomaly", "event_id", "reason_1", "value_1"),
        *("expected_1", "contribution_1", "status"),
    ]
    again = load(model)
    np.testing.assert_allclose(found["anomaly_score"], -again.score_samples(normal), rtol=1e-6)
    assert (found["is_anomaly"] == (found["anomaly_score"] > 1)).all()
    assert found["reason_1"][415] == "sine"
    assert found["value_1"][415] == 0.0
    listed = pd.read_csv(events)
    assert listed["cause"].tolist()[-1] == "gap"
    assert (found["event_id"].dropna().unique() == listed["event_id"].dropna()).all()

    code, out, err = vae("inspect", model)
    assert (code, err) == (0, "")
    assert "series       'sine', 'cosine', 'constant'" in out
    assert "constant     'constant'" in out
    assert f"time step    300 s; windows of {PERIOD} steps" in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--false-alarms-per", "week"), "expected one of hour, day, week, month and a number"),
        (("--time-column", "time", "--image-size", "8"), "--image-size is for images, not for"),
        (("--time-column", "time", "--contamination", "0.1"), "--contamination is not for time"),
        (("--time-column", "time", "--type", "a=number"), "--type is for tables, not for series."),
        (("--time-column", "time", "--holdout", "0.2"), "--holdout is not for time series. Leave"),
    ],
)
def test_options_of_other_data_are_refused(
    words: tuple[str, ...],
    message: str,
    tmp_path: Path,
    vae: Callable[..., tuple[int, str, str]],
) -> None:
    training = written(tmp_path, "training.csv", make_series(300, 0))
    code, _, err = vae("fit", training, "-o", tmp_path / "m.vae", *words)
    assert code == 2
    assert message in err


def test_columns_are_left_out_and_texts_missing_in_fit_and_score(
    tmp_path: Path, vae: Callable[..., tuple[int, str, str]]
) -> None:
    labelled = make_series(500, 0).astype({"cosine": object}).assign(fault=0)
    labelled.iloc[200:203, labelled.columns.get_loc("cosine")] = "Bad Input"
    training, model = written(tmp_path, "training.csv", labelled), tmp_path / "m.vae"
    words = ("--time-column", "time", "--window", PERIOD, "--max-steps", 10)
    words = (*words, "--ignore", "fault,constant", "--missing", "Bad Input")
    code, _, err = vae("fit", training, "-o", model, *words)
    assert code == 0, err
    assert "without a value, which neighbours stand in for, of channel 'cosine' (3)." in err
    found = load(model)
    assert isinstance(found, SeriesDetector)
    assert found.channels_ == ("sine", "cosine")
    assert vae("score", model, training, "-o", tmp_path / "s.csv")[0] == 0


def test_only_normal_time_steps_are_learned(
    tmp_path: Path, vae: Callable[..., tuple[int, str, str]]
) -> None:
    labelled = make_series(900, 0).assign(state="ok")
    labelled.iloc[200:230, labelled.columns.get_indexer(["sine", "state"])] = [50.0, "broken"]
    training, model = written(tmp_path, "training.csv", labelled), tmp_path / "m.vae"
    words = ("--time-column", "time", "--window", PERIOD, "--max-steps", 10)
    code, _, err = vae("fit", training, "-o", model, *words, "--label-column", "state")
    assert code == 0, err
    assert "labels: 'ok' normal, 870 rows; 'broken' anomalous, 30 rows" in err
    assert "fitting on 870 time steps of 3 channels" in err
    found = load(model)
    assert isinstance(found, SeriesDetector)
    assert found.model_.scaler.center[0] < 1.0  # 50 was not learned
    # The labels need not be there when time goes on.
    recent = written(tmp_path, "recent.csv", make_series(300, 1))
    assert vae("score", model, recent, "-o", tmp_path / "s.csv")[0] == 0
    code, _, err = vae("fit", training, "-o", model, *words, "--normal-label", "ok")
    assert code == 2
    assert "--normal-label needs --label-column." in err


def test_moved_series_are_warned_of_and_recalibrated(
    detector: SeriesDetector, tmp_path: Path, vae: Callable[..., tuple[int, str, str]]
) -> None:
    model, scores = tmp_path / "m.vae", tmp_path / "s.csv"
    save(detector, model)
    usual = written(tmp_path, "usual.csv", make_series(4000, 2))
    moved = written(tmp_path, "moved.csv", make_series(4000, 3) + MOVED)
    code, _, err = vae("score", model, usual, "-o", scores, "--fail-if", "drift")
    assert (code, "warning" in err) == (0, False), err
    code, _, err = vae("score", model, moved, "-o", scores, "--fail-if", "drift", "--json")
    assert code == 7
    assert "as a whole, these 50 blocks of time have higher scores than those of" in err
    assert "Moved most: 'cosine', mean +0.7 deviations. Either anomalies are many" in err

    new = tmp_path / "new.vae"
    code, _, err = vae("recalibrate", model, moved, "-o", new, "--false-alarms-per", "day=2")
    assert code == 0, err
    assert "the old thresholds flag " in err
    assert "At most 2 false episodes in 24 hours, on average, if the coming time is like" in err
    found = load(new)
    assert isinstance(found, SeriesDetector)
    assert (found.false_alarms, found.per) == (2, "day")
    assert found.model_.block_scores.shape == (50, 2)
    again = written(tmp_path, "again.csv", make_series(4000, 4) + MOVED)
    code, _, err = vae("score", new, again, "-o", scores, "--fail-if", "drift")
    assert (code, "warning" in err) == (0, False), err
    for words, message in (
        ((moved, "--threshold", 2), "--threshold is not for time series"),
        ((), "Expected DATA, normal time series to calibrate by."),
        ((moved, "--false-alarms-per", "month=1"), "cannot be promised: that needs normal data of"),
    ):
        code, _, err = vae("recalibrate", model, *words, "-o", new)
        assert code in (2, 3), err
        assert message in err


def test_silent_channels_and_series_without_scores_are_warned_of(
    detector: SeriesDetector, tmp_path: Path, vae: Callable[..., tuple[int, str, str]]
) -> None:
    model, scores = tmp_path / "m.vae", tmp_path / "s.csv"
    save(detector, model)
    series = make_series(200, 1)
    series.iloc[100 : 100 + PERIOD - 1, 0] = np.nan
    code, _, err = vae("score", model, written(tmp_path, "a.csv", series), "-o", scores)
    assert (code, "warning" in err) == (0, False), err
    series.iloc[100 : 100 + PERIOD, 0] = np.nan
    warning = "'sine' has no value for up to 3.33 hours: its anomalies cannot be found there."
    dead = written(tmp_path, "b.csv", series)
    code, _, err = vae("score", model, dead, "-o", scores, "--json")
    assert code == 0
    assert f"warning: {warning}" in err
    code, _, err = vae("recalibrate", model, dead, "-o", tmp_path / "n.vae")
    assert f"warning: {warning}" in err
    code, _, err = vae("evaluate", model, dead, "-o", tmp_path / "report")
    assert f"Warning: {warning}" in err
    page = (tmp_path / "report" / "report.html").read_text("utf-8")
    assert "has no value for up to 3.33 hours" in page
    short = written(tmp_path, "c.csv", series[: PERIOD - 1])
    code, _, err = vae("score", model, short, "-o", scores)
    assert code == 6
    assert "warning: no row has a score: that needs 40 time steps, 3.33 hours, without a" in err


def test_irregular_rows_are_brought_to_a_given_step(
    tmp_path: Path, vae: Callable[..., tuple[int, str, str]]
) -> None:
    series = make_series(900, 0)
    apart = np.random.RandomState(0).exponential(1.0, len(series))
    series.index = pd.Timestamp("2026-01-01") + pd.to_timedelta(np.cumsum(apart), unit="h")
    data, model = written(tmp_path, "irregular.csv", series), tmp_path / "m.vae"
    words = ("--time-column", "time", "--window", 20, "--max-steps", 10, "-o", model)
    code, _, err = vae("fit", data, *words)
    assert code == 3
    assert "The rows are too irregular for a grid" in err
    code, _, err = vae("fit", data, *words, "--step", "1h", "--max-gap", 20)
    assert code == 0, err
    assert load(model).step_ == 3600 * 10**9
    code, _, err = vae("score", model, data, "-o", tmp_path / "s.csv")
    assert code == 0, err
    code, _, err = vae("fit", data, *words, "--step", "often")
    assert code == 2
    assert "step must be a positive duration, such as '5min' or '10s'. Got 'often'" in err


def test_standard_input_is_refused(
    detector: SeriesDetector, tmp_path: Path, vae: Callable[..., tuple[int, str, str]]
) -> None:
    model = tmp_path / "m.vae"
    save(detector, model)
    message = "Time series are not read from standard input. Write them to a file, and name it."
    for words in (
        ("fit", "-", "--time-column", "time", "-o", tmp_path / "n.vae"),
        ("score", model, "-", "-o", "-"),
    ):
        code, _, err = vae(*words)
        assert (code, message in err) == (2, True), err
    code, _, err = vae("score", model, "-", "-o", "-", "--stream")
    assert (code, "not for `serve`, `score --stream` and" in err) == (2, True), err


def test_recalibration_is_by_blocks_of_the_given_series(
    detector: SeriesDetector, normal: pd.DataFrame
) -> None:
    moved = normal + MOVED
    other = detector.recalibrate(moved)
    assert other.promise_.n_blocks == len(normal) // (2 * PERIOD)
    scores = other.model_.score(moved.to_numpy()).scores[:, :2]
    largest = scores.reshape(10, 2 * PERIOD, 2).max(axis=1)
    np.testing.assert_array_equal(other.model_.block_scores, largest)
    assert other.model_.thresholds[:2] == tuple(largest.max(axis=0))
    # What was learned is the same, and so is the first detector.
    before = scores_of(detector, normal)
    np.testing.assert_array_equal(scores_of(other, normal).scores, before.scores)
    assert detector.model_.thresholds != other.model_.thresholds
    with pytest.raises(DataError, match="Expected at least 40 time steps without a break"):
        detector.recalibrate(normal[:30])


def test_options_of_other_models_are_refused(
    detector: SeriesDetector,
    normal: pd.DataFrame,
    tmp_path: Path,
    vae: Callable[..., tuple[int, str, str]],
) -> None:
    model, recent = tmp_path / "m.vae", written(tmp_path, "recent.csv", normal)
    save(detector, model)
    code, _, err = vae("export", model, "-o", tmp_path / "m.onnx", "--check")
    assert code == 2
    assert "--check is not for time series" in err
    for option, value in (("--fdr", 0.1), ("--threshold", 0.1), ("--engine", "numpy")):
        code, _, err = vae("score", model, recent, "-o", tmp_path / "s.csv", option, value)
        assert code == 2
        assert f"{option} is not for time series" in err

"""Tables with categories and missing cells, from a frame or a file to scores and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from scipy.special import log_softmax
from sklearn.metrics import roc_auc_score

from vae_anomaly import DriftWatch, VAEDetector, load, save
from vae_anomaly.cli import run
from vae_anomaly.data.registry import open_source
from vae_anomaly.data.table.codebook import MAX_TEXTS, Codebook
from vae_anomaly.data.table.column import MAX_LEVELS
from vae_anomaly.data.table.encoder import TableEncoder
from vae_anomaly.data.table.schema import TableSchema
from vae_anomaly.exceptions import DataError, ParameterError
from vae_anomaly.model.reference import MAX_COMPARED, MIN_CODE_DISTANCE, N_SUSPECTS
from vae_anomaly.stats.categorical import Categorical, unseen_probability
from vae_anomaly.stats.densities import numpy_ops
from vae_anomaly.stats.likelihoods import Block, JointLikelihood
from vae_anomaly.stats.thresholds import choose_calibration_rows
from vae_anomaly.training.batches import shown_features

CENTER = {"north": 0.0, "south": 4.0, "west": -4.0}
BRIEF = {"max_steps": 1500, "n_members": 2, "false_alarm_rate": 0.05, "random_state": 0}


def machines(n: int, seed: int, *, missing: float = 0.0) -> pd.DataFrame:
    """Return rows whose load follows from their site, with a serial number and a remark."""
    rng = np.random.RandomState(seed)
    site = rng.choice(list(CENTER), size=n)
    frame = pd.DataFrame(
        {
            "serial": np.arange(n) + 1000 * seed,
            "site": site,
            "load": np.array([CENTER[one] for one in site]) + 0.3 * rng.normal(size=n),
            "speed": rng.normal(size=n),
            "running": rng.uniform(size=n) < 0.8,
        }
    )
    used = ["site", "load", "speed", "running"]
    return frame.assign(**frame[used].mask(rng.uniform(size=(n, 4)) < missing))


NORMAL = machines(900, 1, missing=0.05)
FRESH = machines(400, 2)


@pytest.fixture(scope="module")
def detector() -> VAEDetector:
    return VAEDetector(**BRIEF).fit(NORMAL)


def swapped(rows: pd.DataFrame) -> pd.DataFrame:
    """Return rows whose site is another one: no cell is unusual by itself."""
    other = {"north": "south", "south": "west", "west": "north"}
    return rows.assign(site=rows["site"].map(other))


def test_a_level_that_does_not_fit_the_rest_of_its_row_is_found(detector: VAEDetector) -> None:
    scores = -detector.score_samples(pd.concat([FRESH, swapped(FRESH)]))
    assert roc_auc_score([0] * 400 + [1] * 400, scores) > 0.97
    reasons = detector.explain(swapped(FRESH))
    assert reasons.columns.tolist() == NORMAL.columns.tolist()
    np.testing.assert_allclose(reasons.sum(axis=1), scores[400:], rtol=1e-9)
    assert reasons[["site", "load"]].sum(axis=1).median() > 3 * reasons["speed"].median()
    assert (reasons["serial"] == 0).all()


def test_the_rate_of_false_alarms_is_kept(detector: VAEDetector) -> None:
    rows = machines(4000, 3, missing=0.05)
    assert 0.02 < (detector.predict(rows) == -1).mean() < 0.09


@pytest.mark.parametrize("missing", [0.0, 0.3, 0.6])
def test_the_rate_is_kept_at_every_share_of_missing_cells(
    detector: VAEDetector, missing: float
) -> None:
    # Without regard to missing cells: 6 to 19 % and below 1 %.
    rate = (detector.predict(machines(4000, 3, missing=missing)) == -1).mean()
    assert 0.02 < rate < 0.09


def test_an_unseen_level_is_a_reason(detector: VAEDetector) -> None:
    rows = FRESH.assign(site="east")
    assert (detector.score_samples(rows) < detector.score_samples(FRESH)).mean() > 0.95
    assert (detector.explain(rows).idxmax(axis=1) == "site").mean() > 0.8


def test_text_in_a_number_is_a_reason(detector: VAEDetector) -> None:
    some = FRESH.astype({"load": object})
    some.loc[some.index[:100], "load"] = "high"
    reasons = detector.explain(some)[:100]
    assert (reasons.idxmax(axis=1) == "load").mean() > 0.95
    assert reasons["load"].iloc[0] == pytest.approx(np.log(detector.model_.encoder.n_rows + 1))
    assert np.isfinite(detector.score_samples(some)).all()


def test_missing_cells_are_scored(detector: VAEDetector) -> None:
    for column in ("site", "load", "running"):
        scores = detector.score_samples(FRESH.assign(**{column: None}))
        assert np.isfinite(scores).all()
    nothing = FRESH.assign(site=None, load=np.nan, speed=np.nan, running=None)
    assert np.isfinite(detector.score_samples(nothing)).all()


def test_codes_come_into_use_while_the_weight_of_the_kl_divergence_grows() -> None:
    brief = VAEDetector(**BRIEF | {"max_steps": 800}).fit(NORMAL)
    assert (brief.latent_kl_.sum(axis=1) > 0.3).all()


def test_scores_do_not_depend_on_other_rows(detector: VAEDetector) -> None:
    scores = detector.score_samples(FRESH)
    np.testing.assert_array_equal(detector.score_samples(FRESH[::-1])[::-1], scores)
    np.testing.assert_array_equal(detector.score_samples(FRESH[7:8]), scores[7:8])


def test_engines_agree(detector: VAEDetector) -> None:
    model = detector.model_
    matrix = model.encoder.matrix(FRESH).to_numpy()
    expected = model.evaluate(matrix, contributions=True)
    for engine in ("tensorflow", "onnx"):
        other = model.with_engine(engine).evaluate(matrix, contributions=True)
        np.testing.assert_allclose(other.scores, expected.scores, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(
            other.contributions, expected.contributions, rtol=1e-3, atol=1e-3
        )


def predicted(detector: VAEDetector, rows: pd.DataFrame) -> tuple[Any, ...]:
    """Return inputs, targets and predictions of the first rows, in one padded batch."""
    model, network = detector.model_, detector.model_.network
    encoded = model.encoder.encode(model.encoder.matrix(rows).to_numpy())
    observed = encoded.observed[:, model.encoder.explained]
    arrays = (encoded.inputs.astype(np.float32), encoded.targets, observed)
    _, (x, targets, seen) = network.batches(*arrays)[0]
    return x, targets, model.reference.predict(network, x, targets, seen)


def test_codes_are_compared_apart_from_residuals(detector: VAEDetector) -> None:
    reference = detector.model_.reference
    k, used = len(reference.residual_unit), reference.code_unit > 0
    _, _, rows = predicted(detector, FRESH)
    places = np.random.RandomState(0).normal(scale=0.5, size=(len(rows.code), used.sum()))
    code = np.zeros_like(rows.code)
    code[:, used] = places * reference.code_unit[used]
    known, bandwidth = reference.points[:, k:], reference.code_bandwidth
    energy = 0.5 * ((places[:, None] - known) ** 2).sum(axis=2) / bandwidth
    energy = np.sort(energy, axis=1)[:, :16]
    expected = 0.5 * (energy[:, :5].mean(axis=1) - np.log(np.exp(-energy).mean(axis=1)))
    assert 0.1 < (expected < MIN_CODE_DISTANCE).mean() < 0.9
    found = reference._statistics(rows._replace(code=code), reference.costs(rows))
    expected = np.maximum(expected, MIN_CODE_DISTANCE)
    np.testing.assert_allclose(found[:, -1], expected, rtol=1e-3)
    np.testing.assert_array_equal(reference.exemplars.points, reference.points[:, :k])


def test_scores_of_many_rows_compare_with_some_of_the_exemplars(tmp_path) -> None:
    normal = machines(MAX_COMPARED + 200, 3)
    many = VAEDetector(**BRIEF | {"max_steps": 20, "n_members": 1}).fit(normal)
    model, reference = many.model_, many.model_.reference
    assert len(reference.points) == len(normal)
    assert len(reference.bandwidth) == len(reference.exemplars.points) == MAX_COMPARED
    compared = reference.position[:MAX_COMPARED].astype(int)
    learned = model.encoder.matrix(normal).to_numpy()
    k = len(reference.residual_unit)
    of_targets = model.encoder.encode(learned[compared]).targets.astype(np.float32)
    np.testing.assert_allclose(reference.targets[:MAX_COMPARED], of_targets, atol=1e-6)
    np.testing.assert_array_equal(reference.exemplars.points, reference.points[:MAX_COMPARED, :k])
    # Calibration rows leave themselves out if they are among them, and one like themselves.
    calibrates = np.flatnonzero(
        choose_calibration_rows(len(normal), 0.05, np.random.RandomState(0))
    )
    among = np.isin(calibrates, compared)
    assert 0.5 < among.mean() < 1
    scores = [
        model.evaluate(learned[calibrates[some]], n_left_out=count).scores
        for some, count in ((among, 2), (~among, 1))
    ]
    np.testing.assert_array_equal(np.sort(np.concatenate(scores)), model.calibration.scores)
    save(many, tmp_path / "m.vae")
    np.testing.assert_array_equal(
        load(tmp_path / "m.vae").score_samples(FRESH[:9]), many.score_samples(FRESH[:9])
    )


def test_cells_are_as_suspicious_as_the_others_are_without_them(detector: VAEDetector) -> None:
    model, n = detector.model_, 40
    network, reference = model.network, model.reference
    x, targets, rows = predicted(detector, swapped(FRESH[:n]))
    found = reference.suspicion(network, x, targets, rows)[:n]
    plain = np.sqrt(reference.costs(rows) * rows.surprise)
    compared = reference.similar(network.spec.joint).compare(
        targets, rows.residual / reference.residual_unit, rows.observed
    )
    less_suspect = compared.weights**-0.5 - 1.0  # L, in nats
    for cell in range(plain.shape[1]):
        shown = np.ones(rows.observed.shape, dtype=bool)
        shown[:, cell] = False
        without = reference.predict(
            network,
            x * shown[:, network.spec.feature_of_input],
            targets * shown[:, network.spec.joint.feature_of_target],
            rows.observed & shown,
        )
        rest = np.where(without.observed, without.surprise, 0.0)
        fall = plain.sum(axis=1) - np.sqrt(reference.costs(without) * rest).sum(axis=1)
        suspect = (plain > plain[:, [cell]]).sum(axis=1) < N_SUSPECTS
        expected = np.where(suspect, 0.5 * (plain[:, cell] + np.maximum(fall, 0)), plain[:, cell])
        expected /= (1.0 + less_suspect[:, cell]) ** 0.25
        np.testing.assert_allclose(found[:, cell], expected[:n], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("score", ["elbo", "importance_weighted", "typicality", "kl"])
def test_other_scores_see_only_observed_cells(detector: VAEDetector, score: str) -> None:
    found = detector.scores(FRESH.assign(load=np.nan), [score])
    assert np.isfinite(found[score]).all()


def test_a_model_file_holds_it_all(detector: VAEDetector, tmp_path) -> None:
    save(detector, tmp_path / "m.vae")
    again = load(tmp_path / "m.vae")
    np.testing.assert_array_equal(again.score_samples(FRESH), detector.score_samples(FRESH))
    assert again.model_.encoder.schema == detector.model_.encoder.schema


def test_rows_come_back_as_a_frame(detector: VAEDetector) -> None:
    rebuilt = detector.reconstruct(FRESH)
    assert rebuilt.columns.tolist() == FRESH.columns.tolist()
    assert rebuilt.index.equals(FRESH.index)
    assert rebuilt["running"].dtype == bool
    assert (rebuilt["site"] == FRESH["site"]).mean() > 0.9
    drawn = detector.sample(500, random_state=0)
    assert set(drawn["site"]) == set(CENTER)
    near = (drawn["load"] - drawn["site"].map(CENTER)).abs() < 2
    assert near.mean() > 0.55  # a third, if columns were independent
    assert drawn["serial"].isna().all()


def test_a_cell_is_expected_to_fit_the_others(detector: VAEDetector) -> None:
    model = detector.model_
    rows = swapped(FRESH)
    expected = model.expected(model.encoder.matrix(rows).to_numpy())
    assert (expected["site"] == FRESH["site"].to_numpy()).mean() > 0.9
    away = expected["load"] - rows["site"].map(CENTER).to_numpy()
    assert (away.abs() < 2).mean() > 0.9


def test_numbers_with_missing_cells_need_no_frame() -> None:
    rng = np.random.RandomState(0)
    X = rng.normal(size=(600, 2)) @ rng.normal(size=(2, 5)) + 0.1 * rng.normal(size=(600, 5))
    holes = np.where(rng.uniform(size=X.shape) < 0.1, np.nan, X)
    detector = VAEDetector(**BRIEF).fit(holes[:500])
    assert detector.model_.encoder.has_masks
    scores = -detector.score_samples(np.concatenate([holes[500:], X[500:] + 3.0 * np.eye(5)[0]]))
    assert roc_auc_score([0] * 100 + [1] * 100, scores) > 0.9
    assert isinstance(detector.reconstruct(X[:3]), np.ndarray)


def test_the_first_missing_cell_of_a_column_is_a_reason() -> None:
    X = np.random.RandomState(0).normal(size=(300, 3))
    detector = VAEDetector(max_steps=50, contamination=0.1, random_state=0).fit(X)
    row = np.array([[0.0, np.nan, 0.0]])
    assert detector.explain(row).iloc[0].idxmax() == "x1"
    # Other rows of the batch are scored as before, also the greatest number.
    rows = np.append(X, [[np.finfo(float).max] * 3], axis=0)
    scores = detector.score_samples(rows)
    np.testing.assert_array_equal(detector.score_samples(np.append(rows, row, axis=0))[:-1], scores)
    # No more than a level that none of the 300 rows had.
    assert detector.explain(row)["x1"][0] == pytest.approx(np.log(301))


def test_a_table_without_any_usable_column_is_refused() -> None:
    frame = pd.DataFrame({"id": [f"x{i}" for i in range(100)], "empty": [None] * 100})
    with pytest.raises(DataError) as caught:
        VAEDetector().fit(frame)
    assert str(caught.value) == (
        "No column is left to learn from: 'id' (identifier: 100 different texts in 100 cells), "
        "'empty' (empty: no cell has a value). Expected at least one of numbers, "
        "categories or dates. If one is, say so, as in column_types={'id': 'number'}."
    )


def test_numbers_that_count_up_are_learned_if_the_user_says_so() -> None:
    frame = pd.DataFrame({"height": np.arange(58, 178), "weight": np.arange(120) ** 2})
    with pytest.raises(DataError, match=r"'weight' \(counter: counts up from row to row\)"):
        VAEDetector().fit(frame)
    types = {"height": "number", "weight": "number"}
    detector = VAEDetector(
        column_types=types, max_steps=20, false_alarm_rate=0.1, random_state=0
    ).fit(frame)
    assert detector.feature_names_in_.tolist() == ["height", "weight"]


def test_custom_networks_take_complete_numbers() -> None:
    import keras

    encoder = keras.Sequential([keras.Input((5,)), keras.layers.Dense(4)])
    decoder = keras.Sequential([keras.Input((2,)), keras.layers.Dense(5)])
    with pytest.raises(ParameterError, match="Custom networks take numbers without missing cells"):
        VAEDetector(architecture=(encoder, decoder)).fit(NORMAL)


@pytest.mark.parametrize("likelihood", ["bernoulli", "student_t", "discretized_logistic"])
def test_numbers_may_have_other_likelihoods(likelihood: str) -> None:
    detector = VAEDetector(likelihood=likelihood, max_steps=50, random_state=0).fit(NORMAL)
    assert np.isfinite(detector.score_samples(FRESH)).all()


def test_drift_is_watched_by_the_scores(detector: VAEDetector) -> None:
    assert not DriftWatch(detector).add(FRESH).result().is_drift
    moved = FRESH.assign(load=FRESH["load"] + 3.0)
    found = DriftWatch(detector).add(moved).result()
    assert found.is_drift
    assert found.movements[0].column == "load"


def test_polars_and_arrow_frames_score_as_pandas(detector: VAEDetector) -> None:
    import pyarrow as pa

    table = pa.Table.from_pandas(FRESH)
    np.testing.assert_array_equal(detector.score_samples(table), detector.score_samples(FRESH))


# ----------------------------------------------------------------------------- command line


def test_a_mixed_file_is_fitted_scored_and_reported(tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    NORMAL.to_csv("normal.csv", index=False)
    rows = pd.concat([FRESH[:60], swapped(FRESH)[:30]]).assign(fault=[0] * 60 + [1] * 30)
    rows.to_csv("rows.csv", index=False)
    rows.to_parquet("rows.parquet")
    fit = "fit normal.csv -o m.vae --max-steps 600 --members 2 --false-alarm-rate 0.05"
    assert run(fit.split()) == 0
    said = capsys.readouterr().err
    assert "'serial': left out, identifier: whole numbers without gaps, hardly any twice" in said
    assert "'site': category of 3 levels: 3 different texts, missing in" in said
    for name in ("rows.csv", "rows.parquet"):
        assert run(["score", "m.vae", name, "-o", f"{name}.out.csv", "--explain", "1"]) == 0
    capsys.readouterr()
    result = pd.read_csv("rows.csv.out.csv")
    assert roc_auc_score(rows["fault"], result["anomaly_score"]) > 0.95
    other = pd.read_csv("rows.parquet.out.csv")
    np.testing.assert_allclose(other["anomaly_score"], result["anomaly_score"], rtol=1e-12)
    assert run(["inspect", "m.vae"]) == 0
    described = capsys.readouterr().out
    assert "category, 3 different texts: 'south'" in described or "'north'" in described
    assert run(["evaluate", "m.vae", "rows.csv", "--label-column", "fault", "-o", "report"]) == 0
    page = (tmp_path / "report" / "report.html").read_text()
    assert "north" in page


def test_a_column_that_is_left_out_may_be_the_key(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    NORMAL.to_csv("normal.csv", index=False)
    fit = "fit normal.csv -o m.vae --max-steps 50 --members 1 --quiet"
    assert run(fit.split()) == 0
    assert (
        run(["score", "m.vae", "normal.csv", "-o", "s.csv", "--id-column", "serial", "--quiet"])
        == 0
    )
    assert pd.read_csv("s.csv")["serial"].tolist() == NORMAL["serial"].tolist()
    assert (
        run(["score", "m.vae", "normal.csv", "-o", "s.csv", "--id-column", "site", "--quiet"]) == 2
    )


def test_texts_that_look_like_numbers_are_pointed_out() -> None:
    rng = np.random.RandomState(0)
    frame = pd.DataFrame(
        {
            "paid": [f"{one:,.2f}" for one in rng.uniform(900, 9000, 120)],
            "share": [f"{one} %" for one in rng.randint(0, 30, 120)],
            "took": pd.to_timedelta(rng.randint(0, 9000, 120), unit="s"),
            "room": [f"{one}-{one % 7}" for one in rng.randint(0, 30, 120)],
        }
    )
    paid, share, took, room = (one.reason for one in TableSchema.of(frame).columns)
    advice = "is a number or a time, write such cells as plain numbers"
    assert paid.startswith("120 different texts in 120 cells; if '")
    assert paid.endswith(advice)
    assert share.startswith("30 different texts; if '")
    assert share.endswith(f" %' {advice}")
    assert "; if '0 days 0" in took
    assert took.endswith(advice)
    assert room.endswith("different texts")


def test_dates_in_several_formats_are_pointed_out() -> None:
    days = pd.Series(pd.date_range("2024-01-20", periods=120))
    by_month = days.dt.strftime("%d.%m.%Y").where(days.dt.month % 2 == 0, days.astype(str))
    frame = pd.DataFrame({"day": by_month, "part": [f"{i}.13.{i % 7}" for i in range(120)]})
    day, part = (one.reason for one in TableSchema.of(frame).columns)
    fact = "120 different texts in 120 cells"
    assert day == f"{fact}; if '2024-01-20' is a date, write all such cells in one format"
    assert part == fact


def test_a_memory_limit_counts_the_levels_of_texts(tmp_path) -> None:
    NORMAL.to_csv(tmp_path / "normal.csv", index=False)
    with open_source(str(tmp_path / "normal.csv"), fitting=True) as source:
        # Three numbers, two texts; each with a mask, of levels with an indicator of others.
        assert source.max_numbers == 2 * 3 + 2 * 2
        assert source.record_shape == (5,)
        batch = next(source.batches())
        assert source.max_numbers == 2 * 3 + len(CENTER) + 2 + len([True, False]) + 2
    encoder = VAEDetector(max_steps=5, n_members=1).fit(NORMAL).model_.encoder
    assert encoder.encode(batch.records).inputs.shape[1] <= source.max_numbers


def test_levels_that_are_not_told_apart_need_no_memory() -> None:
    book = Codebook()
    book.codes(pa.array([f"town {i}" for i in range(MAX_LEVELS - 1)]), 0)
    assert book.max_numbers == MAX_LEVELS - 1 + 2
    for start in range(0, 2 * MAX_TEXTS + 1, 1000):
        book.codes(pa.array([f"town {start + i}" for i in range(1000)]), start)
    assert book.max_numbers == MAX_LEVELS + 2


def test_a_fit_is_resumed_where_features_are_hidden(tmp_path) -> None:
    def interrupt(history) -> None:
        if len(history.step) == stop_after:
            raise KeyboardInterrupt

    brief = BRIEF | {"max_steps": 800}
    expected = VAEDetector(**brief).fit(NORMAL).score_samples(FRESH)
    for stop_after in (1, 5):  # while the weight of the KL divergence grows, and later
        brief["checkpoint"] = tmp_path / str(stop_after)
        with pytest.raises(KeyboardInterrupt):
            VAEDetector(**brief, callback=interrupt).fit(NORMAL)
        resumed = VAEDetector(**brief).fit(NORMAL)
        np.testing.assert_array_equal(resumed.score_samples(FRESH), expected)


def test_types_are_chosen_on_the_command_line(tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    rows = NORMAL.assign(zip=[100, 200, 300] * 300, plant=["007", "012", "100"] * 300)
    rows = rows.assign(**{"a=b": 1.0})
    rows.to_csv("normal.csv", index=False)
    brief = ["--max-steps", "50", "--members", "1"]
    types = ["--type", "zip=category", "--type", "serial=number", "--type", "a=b=ignore"]
    assert run(["fit", "normal.csv", "-o", "m.vae", *types, *brief]) == 0
    detector = load("m.vae")
    encoder = detector.model_.encoder
    found = dict(zip(encoder.features, encoder.schema.columns, strict=True))
    assert "a=b" not in found
    assert found["zip"].levels == ("100", "200", "300")
    assert found["plant"].levels == ("007", "012", "100")
    assert found["serial"].type == "number"
    assert detector.column_types == {"zip": "category", "serial": "number"}
    assert run(["score", "m.vae", "normal.csv", "-o", "s.csv"]) == 0
    read = pd.read_csv("normal.csv", dtype={"plant": str, "zip": str})
    expected = -detector.score_samples(read.drop(columns="a=b"))
    np.testing.assert_allclose(pd.read_csv("s.csv")["anomaly_score"], expected, rtol=1e-12)
    assert run(["fit", "normal.csv", "-o", "m.vae", "--type", "ZIP=number", *brief]) == 3
    assert "names: 'ZIP'. Did you mean 'zip' for 'ZIP'?" in capsys.readouterr().err
    assert run(["fit", "normal.csv", "-o", "m.vae", "--type", "zip=text", *brief]) == 2
    assert (
        "Invalid value for '--type': expected NAME=TYPE with a TYPE of number, category, date, "
        "date:FORMAT, ignore, got 'zip=text'." in capsys.readouterr().err
    )


def test_a_file_and_a_frame_give_the_same_model(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    NORMAL.to_csv("normal.csv", index=False)
    assert (
        run(["fit", "normal.csv", "-o", "m.vae", "--max-steps", "50", "--members", "1", "--quiet"])
        == 0
    )
    encoder = load("m.vae").model_.encoder
    frame = pd.read_csv("normal.csv")
    alike = VAEDetector(max_steps=50, n_members=1).fit(frame).model_.encoder
    assert isinstance(encoder, TableEncoder)
    assert encoder.features == alike.features
    assert [one.type for one in encoder.schema.columns] == [
        one.type for one in alike.schema.columns
    ]


# -------------------------------------------------------------------------------- likelihood


def test_a_category_has_the_log_probability_of_its_level() -> None:
    logits = np.random.RandomState(0).normal(size=(7, 4))
    target = np.eye(4)[[0, 1, 2, 3, 0, 1, 2]]
    target[6] = 0.0  # a missing cell
    joint = JointLikelihood((Block("categorical", 1, 4),))
    expected = (log_softmax(logits, axis=1) * target).sum(axis=1)
    found = joint.log_prob(numpy_ops, target, logits, {})
    np.testing.assert_allclose(found[:, 0], expected, rtol=1e-12)
    np.testing.assert_allclose(joint.mean(numpy_ops, logits), np.exp(log_softmax(logits, axis=1)))


def test_draws_have_the_probabilities_of_the_levels_that_were_seen() -> None:
    logits = np.tile(np.log([0.5, 0.3, 0.2, 1e-3]), (50_000, 1))
    drawn = Categorical().sample(np.random.RandomState(0), [logits], {})
    assert (drawn.sum(axis=1) == 1).all()
    np.testing.assert_allclose(drawn.mean(axis=0), [0.5, 0.3, 0.2, 0.0], atol=0.01)


def test_training_starts_from_the_shares_of_the_levels() -> None:
    target = np.eye(3)[[0, 0, 0, 1]]
    start = Categorical().starting_outputs(target)
    np.testing.assert_allclose(np.exp(start), np.array([3.5, 1.5, 0.5]) / 5.5)
    joint = JointLikelihood((Block("gaussian", 1), Block("categorical", 1, 3)))
    outputs = joint.starting_outputs(np.column_stack([np.zeros(4), target]))
    np.testing.assert_allclose(outputs, [0.0, *start])
    assert JointLikelihood((Block("gaussian", 2),)).starting_outputs(np.zeros((4, 2))) is None


def test_unseen_levels_have_the_probability_of_good_and_turing() -> None:
    # Ten cells, two levels that occurred once.
    assert unseen_probability(np.array([8.0, 1.0, 1.0])) == pytest.approx(3 / 14)


def test_a_share_of_the_features_is_hidden_in_training() -> None:
    shown = shown_features((4, 5000), 40, [0, 1])
    hidden = 1.0 - shown.mean(axis=-1)
    # Also those of which none is hidden by chance: the mean of (1 - u)^40 for u in (0, 0.5).
    assert (hidden == 0).mean() == pytest.approx(0.25 + 0.75 * 2 / 41, abs=0.02)
    assert hidden[hidden > 0].max() < 0.9
    assert hidden.mean() == pytest.approx(0.75 * 0.25, abs=0.01)
    np.testing.assert_array_equal(shown, shown_features((4, 5000), 40, [0, 1]))

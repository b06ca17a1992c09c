"""Data frames of mixed types: through scikit-learn, and back in their types and spellings."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from sklearn.utils import get_tags

from vae_anomaly import VAEDetector

BRIEF = {"max_steps": 400, "n_members": 2, "false_alarm_rate": 0.05, "random_state": 0}
LEVELS = {"a": 0.6, "b": 0.3, "c": 0.1}


def mixed(n: int, seed: int) -> pd.DataFrame:
    """Return rows with cells of many types of pandas, some missing."""
    rng = np.random.RandomState(seed)
    level = pd.Series(rng.choice(list(LEVELS), p=list(LEVELS.values()), size=n))
    frame = pd.DataFrame(
        {
            "ordered": pd.Categorical(level, categories=["c", "b", "a"], ordered=True),
            "codes": pd.Categorical(rng.choice([10, 20, 30], size=n)),
            "string": level.astype("string").array,
            "object": level.to_numpy(dtype=object),
            "bool": rng.uniform(size=n) < 0.8,
            "boolean": pd.array(rng.uniform(size=n) < 0.8, dtype="boolean"),
            "Int64": pd.array(rng.poisson(5, size=n), dtype="Int64"),
            "int16": rng.poisson(5, size=n).astype(np.int16),
            "with_holes": rng.poisson(50, size=n).astype(float),
            "float32": rng.normal(size=n).astype(np.float32),
            "Float64": pd.array(rng.normal(size=n), dtype="Float64"),
        },
        index=[f"row {i}" for i in range(n)],
    )
    frame.loc[frame.index[::4], "with_holes"] = np.nan
    frame.loc[frame.index[::10], ["boolean", "Int64", "string"]] = pd.NA
    return frame


FRAME = mixed(800, 0)


@pytest.fixture(scope="module")
def detector() -> VAEDetector:
    return VAEDetector(**BRIEF).fit(FRAME)


# -------------------------------------------------------------------------------- out again


def test_reconstructions_have_the_types_and_spellings_of_the_data(detector: VAEDetector) -> None:
    given = mixed(50, 1)
    rebuilt = detector.reconstruct(given)
    pd.testing.assert_series_equal(rebuilt.dtypes, given.dtypes)
    pd.testing.assert_index_equal(rebuilt.index, given.index)
    assert set(rebuilt["codes"]) <= {10, 20, 30}
    assert not rebuilt.isna().any(axis=None)


def test_levels_that_the_data_have_no_category_for_are_added(detector: VAEDetector) -> None:
    given = mixed(50, 1).assign(codes=pd.Categorical([20] * 50))
    rebuilt = detector.reconstruct(given)
    assert rebuilt["codes"].cat.categories[0] == 20
    assert rebuilt["codes"].notna().all()


def test_booleans_that_were_texts_in_training_stay_texts() -> None:
    rows = FRAME[["float32"]].assign(done=np.where(FRAME["bool"], "True", "False"))
    detector = VAEDetector(**BRIEF).fit(rows)
    given = rows.assign(done=FRAME["bool"])
    assert set(detector.reconstruct(given)["done"]) <= {"True", "False"}


def test_levels_are_drawn_by_their_probabilities(detector: VAEDetector) -> None:
    drawn = detector.sample(4000, random_state=0)
    for column in ("ordered", "string", "object"):
        shares = drawn[column].value_counts(normalize=True)
        for level, share in LEVELS.items():
            assert shares[level] == pytest.approx(share, abs=0.08)
    assert drawn["bool"].mean() == pytest.approx(0.8, abs=0.08)


def test_whole_numbers_are_drawn_whole(detector: VAEDetector) -> None:
    drawn = detector.sample(200, random_state=0)
    for column in ("Int64", "int16", "with_holes"):
        assert drawn[column].dtype == np.int64
        assert drawn[column].nunique() > 5
    assert (drawn["float32"] != drawn["float32"].round()).all()


def test_missing_cells_are_drawn_as_often_as_they_were(detector: VAEDetector) -> None:
    assert not detector.sample(500, random_state=0).isna().any(axis=None)
    drawn = detector.sample(4000, random_state=0, missing=True)
    shares = FRAME.isna().mean()
    # Of those rows that are learned from: four fifths, so within three standard errors of both.
    error = 3 * np.sqrt(shares * (1 - shares) * (1 / 4000 + 1 / 640))
    assert ((drawn.isna().mean() - shares).abs() <= error).all()
    whole = drawn["with_holes"].dropna()
    assert (whole == whole.round()).all()
    np.testing.assert_array_equal(detector.score_samples(drawn) < np.inf, True)


def test_arrays_have_missing_cells_drawn_too() -> None:
    X = np.random.RandomState(0).normal(size=(300, 3))
    X[::2, 1] = np.nan
    brief = VAEDetector(max_steps=30, n_members=1, contamination=0.1, random_state=0)
    detector = clone(brief).fit(X)
    drawn = detector.sample(1000, random_state=0, missing=True)
    assert np.isnan(drawn).mean(axis=0) == pytest.approx([0, 0.5, 0], abs=0.08)
    plain = brief.fit(np.nan_to_num(X))
    assert np.isfinite(plain.sample(100, random_state=0, missing=True)).all()


# ------------------------------------------------------------------------------ scikit-learn


def test_tags_say_what_is_taken() -> None:
    tags = get_tags(VAEDetector()).input_tags
    assert tags.allow_nan
    assert tags.categorical
    assert not tags.string  # arrays of text are not taken
    assert not tags.sparse


@pytest.mark.parametrize("container", ["pandas", "polars"])
def test_codes_come_in_the_container_that_is_set(container: str) -> None:
    pytest.importorskip(container, reason=f"{container} is not installed")
    detector = VAEDetector(max_steps=20, n_members=1, latent_dim=3, random_state=0)
    codes = detector.set_output(transform=container).fit(FRAME).transform(FRAME)
    assert list(codes.columns) == ["vaedetector0", "vaedetector1", "vaedetector2"]
    assert list(codes.columns) == detector.get_feature_names_out().tolist()
    array = detector.set_output(transform="default").transform(FRAME)
    assert array.dtype == np.float64
    np.testing.assert_array_equal(codes.to_numpy(), array)
    if container == "pandas":
        pd.testing.assert_index_equal(codes.index, FRAME.index)


def test_mixed_frames_go_through_a_pipeline(detector: VAEDetector) -> None:
    same = make_pipeline(FunctionTransformer(), VAEDetector(**BRIEF)).fit(FRAME)
    rows = mixed(60, 2)
    np.testing.assert_array_equal(same.predict(rows), detector.predict(rows))
    np.testing.assert_array_equal(same.transform(rows), detector.transform(rows))
    after = make_pipeline(clone(detector), StandardScaler()).fit(FRAME)
    assert after.transform(rows).shape == (60, len(detector.get_feature_names_out()))


def test_a_column_transformer_may_stand_before() -> None:
    columns = make_column_transformer(
        (OneHotEncoder(sparse_output=False), ["ordered"]),
        (StandardScaler(), ["with_holes", "float32"]),
        remainder="drop",
    )
    pipeline = make_pipeline(columns, VAEDetector(**BRIEF)).fit(FRAME)
    far = mixed(60, 3).assign(float32=np.float32(30.0))
    assert (pipeline.predict(far) == -1).all()
    assert pipeline[-1].n_features_in_ == 5
    named = make_pipeline(clone(columns).set_output(transform="pandas"), VAEDetector(**BRIEF))
    assert "standardscaler__float32" in named.fit(FRAME)[-1].feature_names_in_
    kept = make_column_transformer(
        ("passthrough", ["object", "float32"]), verbose_feature_names_out=False
    )
    through = make_pipeline(kept.set_output(transform="pandas"), VAEDetector(**BRIEF)).fit(FRAME)
    assert [one.type for one in through[-1].model_.encoder.schema.columns] == ["category", "number"]


def test_a_clone_fits_alike(detector: VAEDetector) -> None:
    chosen = VAEDetector(**BRIEF, column_types={"int16": "category", "codes": "ignore"})
    copy = clone(chosen)
    assert copy.get_params() == chosen.get_params()
    assert not hasattr(copy, "model_")
    again = clone(detector).fit(FRAME)
    np.testing.assert_array_equal(again.score_samples(FRAME), detector.score_samples(FRAME))


def test_parameters_are_searched_on_a_mixed_frame() -> None:
    search = GridSearchCV(
        VAEDetector(max_steps=100, n_members=1, contamination=0.1, random_state=0),
        {"latent_dim": [1, 4]},
        cv=2,
    )
    search.fit(FRAME)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.best_estimator_.predict(FRAME).shape == (len(FRAME),)

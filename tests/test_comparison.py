"""Comparison of two models: paired statistics, the page, the command."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from accessibility import check_page, needs_axe
from conftest import Vae, make_rows
from scipy import stats
from sklearn.base import clone
from sklearn.metrics import roc_auc_score

from vae_anomaly import DataError, VAEDetector, save
from vae_anomaly.metrics.paired import agreement, auroc_difference
from vae_anomaly.model.file import restored
from vae_anomaly.pipeline.comparison import read_compared
from vae_anomaly.report.comparison import build_comparison
from vae_anomaly.report.comparison_page import render_comparison
from vae_anomaly.storage.container import open_container


def brute_force(scores: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the structural components of DeLong's variance, from all pairs."""
    pairs = scores[labels][:, None] - scores[~labels][None]
    wins = (pairs > 0) + 0.5 * (pairs == 0)
    return wins.mean(axis=1), wins.mean(axis=0)


@pytest.mark.parametrize("decimals", [8, 0])
def test_the_difference_of_areas_has_the_interval_of_delong(decimals: int) -> None:
    rng = np.random.RandomState(0)
    labels = rng.uniform(size=120) < 0.3
    first = (rng.normal(size=120) + labels).round(decimals)
    second = (0.5 * first + rng.normal(size=120) + 0.5 * labels).round(decimals)
    found = auroc_difference(first, second, labels)
    expected = roc_auc_score(labels, first) - roc_auc_score(labels, second)
    assert found.value == pytest.approx(expected)
    (v10, v01), (w10, w01) = brute_force(first, labels), brute_force(second, labels)
    covariance = np.cov(v10, w10) / len(v10) + np.cov(v01, w01) / len(v01)
    contrast = np.array([1.0, -1.0])
    half = stats.norm.ppf(0.975) * np.sqrt(contrast @ covariance @ contrast)
    assert (found.low, found.high) == pytest.approx((expected - half, expected + half))


def test_intervals_of_the_difference_cover_the_truth() -> None:
    truth = stats.norm.cdf(1.5 / np.sqrt(2)) - stats.norm.cdf(1.0 / np.sqrt(2))
    covered = 0
    for seed in range(200):
        rng = np.random.RandomState(seed)
        labels = np.arange(150) < 50
        noise = rng.multivariate_normal([0, 0], [[1, 0.6], [0.6, 1]], size=150)
        found = auroc_difference(noise[:, 0] + 1.5 * labels, noise[:, 1] + labels, labels)
        covered += found.low <= truth <= found.high
    assert 0.90 <= covered / 200 <= 0.99


def test_flags_are_compared_by_the_test_of_mcnemar() -> None:
    first = np.repeat([True, True, False, False], [40, 12, 3, 45])
    second = np.repeat([True, False, True, False], [40, 12, 3, 45])
    found = agreement("rows", first, second)
    assert found[1:5] == (40, 12, 3, 45)
    assert found.p_value == pytest.approx(2 * stats.binom.cdf(3, 15, 0.5))
    assert agreement("rows", first, first).p_value == 1.0


@pytest.fixture(scope="module")
def folder(fitted: VAEDetector, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two models, and labelled rows."""
    folder = tmp_path_factory.mktemp("compared")
    save(fitted, folder / "a.vae")
    rows = make_rows(300)
    save(clone(fitted).set_params(max_steps=20, score_type="elbo").fit(rows), folder / "b.vae")
    here = pd.concat([make_rows(100, seed=1), make_rows(30, seed=2)], ignore_index=True)
    here.loc[100:, "square"] -= np.linspace(0, 3, 30)
    here["fault"] = np.where(np.arange(130) < 100, "no", "yes")
    here.to_csv(folder / "t.csv", index=False)
    return folder


def test_two_models_are_compared_on_one_page(folder: Path, tmp_path: Path, vae: Vae) -> None:
    a, b, data = folder / "a.vae", folder / "b.vae", folder / "t.csv"
    code, _, err = vae("evaluate", a, b, data, "-o", tmp_path / "out", "--label-column", "fault")
    assert code == 0, err
    models = [restored(open_container(str(path))) for path in (a, b)]
    rows = pd.read_csv(data)
    labels = (rows.pop("fault") == "yes").to_numpy()
    scores = [model.anomaly_scores(model.records(rows)) for model in models]
    flags = [model.calibration.flags(one) for model, one in zip(models, scores, strict=True)]
    both = (flags[0] & flags[1]).sum()
    assert (
        f"Of 130 rows, A (a.vae) flags {flags[0].sum()} and B (b.vae) {flags[1].sum()}: both "
        f"{both}, only A {flags[0].sum() - both}, only B {flags[1].sum() - both}."
    ) in err
    areas = [roc_auc_score(labels, one) for one in scores]
    assert f"The AUROC is {areas[0]:.3f} (95 % interval " in err
    assert f"for B: a difference of {areas[0] - areas[1]:+.3f} (95 % interval " in err
    rank = stats.spearmanr(*scores).statistic
    assert f"The scores order the rows alike to a rank correlation of {rank:.3f}." in err
    page = (tmp_path / "out" / "report.html").read_text("utf-8")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["report.html"]
    assert "vae-anomaly evaluate a.vae b.vae t.csv -o out --label-column fault" in page
    for path in (a, b):
        assert open_container(str(path)).sha256 in page
    disputed = page.split('<div id="flagged">')[1].split("</table>")[0]
    assert disputed.count("<tr>") == 1 + (flags[0] != flags[1]).sum()
    assert str(tmp_path) not in page
    assert len(page) < 1_000_000


@needs_axe
def test_the_page_of_a_comparison_is_accessible(folder: Path, tmp_path: Path, vae: Vae) -> None:
    words = (folder / "a.vae", folder / "b.vae", folder / "t.csv", "-o", tmp_path / "out")
    assert vae("evaluate", *words, "--label-column", "fault")[0] == 0
    check_page(tmp_path / "out" / "report.html", tmp_path / "profile")


def test_models_that_agree_have_nothing_disputed(folder: Path) -> None:
    model = restored(open_container(str(folder / "a.vae")))
    data = read_compared([model, model], str(folder / "t.csv"), {})
    assert data.labels is None
    report = build_comparison([model, model], data, files=["a.vae", "<b>.vae"])
    assert (report.difference, report.n_disputed) == (None, 0)
    assert report.correlation == pytest.approx(1)
    page = render_comparison(report)
    assert "Both models flag the same rows." in page
    assert "<b>.vae" not in page
    assert "recall" not in page


def test_rows_that_one_of_the_models_learned_are_left_out(
    folder: Path, fitted: VAEDetector, tmp_path: Path
) -> None:
    models = [restored(open_container(str(folder / name))) for name in ("a.vae", "b.vae")]
    path = str(tmp_path / "seen.csv")
    pd.concat([make_rows(300)[:40], make_rows(20, seed=5)]).to_csv(path, index=False)
    data = read_compared(models, path, {})
    assert len(data.keys) == 20
    assert data.notes[-1] == "note: left out 40 of 60 rows, which one of the models was fitted on"
    assert len(read_compared(models, path, {}, keep_learned=True).keys) == 60
    make_rows(300)[:40].to_csv(path, index=False)
    with pytest.raises(DataError, match="the models were fitted on all of these records"):
        read_compared(models, path, {})


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("a.vae", "b.vae", "a.vae", "t.csv"), "One model is evaluated, or two are compared. Got"),
        (("a.vae", "b.vae", "t.csv", "--top", "3"), "--top is for one model, and two are compared"),
        (
            ("a.vae", "b.vae", "t.csv", "--min-recall", "0.5"),
            "--min-recall is for one model, and two are compared.",
        ),
    ],
)
def test_what_two_models_do_not_have_is_refused(
    words: tuple[str, ...],
    message: str,
    folder: Path,
    tmp_path: Path,
    vae: Vae,
) -> None:
    inputs = [folder / word if word.endswith((".vae", ".csv")) else word for word in words]
    code, _, err = vae("evaluate", *inputs, "-o", tmp_path / "out")
    assert (code, message in err) == (2, True), err
    assert not (tmp_path / "out").exists()

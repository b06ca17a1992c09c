"""Trainings that came to nothing say so."""

import warnings

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

from vae_anomaly import UnusedLatentWarning, VAEDetector
from vae_anomaly.cli import run
from vae_anomaly.training.collapse import warn_if_unused

RNG = np.random.RandomState(0)
T = RNG.uniform(-2, 2, size=(300, 1))
TOGETHER = np.hstack([T, T**2, -T]) + 0.05 * RNG.normal(size=(300, 3))


def test_a_collapsed_posterior_is_told_and_scores_are_still_there():
    detector = VAEDetector(beta=50, max_steps=600, n_members=1, random_state=0, contamination=0.1)
    with pytest.warns(ConvergenceWarning, match=r"No latent dimension is used: .* lower beta"):
        detector.fit(TOGETHER)
    scores = detector.score_samples(np.vstack([TOGETHER, [[50, 50, 50]]]))
    assert np.isfinite(scores).all()
    assert scores.argmin() == 300


def test_a_latent_code_in_use_is_not_told_of():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        VAEDetector(max_steps=600, n_members=1, random_state=0, contamination=0.1).fit(TOGETHER)


@pytest.mark.parametrize(
    ("latent_kl", "columns", "steps"), [(0.5, 3, 3000), (0.001, 1, 3000), (0.001, 3, 100)]
)
def test_where_there_is_nothing_to_say_nothing_is_said(latent_kl, columns, steps):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_if_unused(np.array([[0.0, latent_kl]]), columns=columns, steps=steps)


def test_the_command_line_says_it_too(tmp_path, capsys):
    np.savetxt(tmp_path / "t.csv", TOGETHER, delimiter=",", header="a,b,c", comments="")
    line = f"fit {tmp_path}/t.csv -o {tmp_path}/m.vae --beta 50 --max-steps 600 --members 1"
    assert run([*line.split(), "--contamination", "0.1"]) == 0
    assert "warning: No latent dimension is used: " in capsys.readouterr().err
    assert issubclass(UnusedLatentWarning, ConvergenceWarning)

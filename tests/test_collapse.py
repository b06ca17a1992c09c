"""Warning for posterior collapse."""

import warnings

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

from vae_anomaly import UnusedLatentWarning, VAEDetector
from vae_anomaly.cli import run
from vae_anomaly.training.collapse import warn_if_unused

RNG = np.random.RandomState(0)
T = RNG.uniform(-2, 2, size=(300, 1))
DEPENDENT = np.hstack([T, T**2, -T]) + 0.05 * RNG.normal(size=(300, 3))


def test_posterior_collapse_warns_and_scores_stay_usable():
    detector = VAEDetector(beta=50, max_steps=600, n_members=1, random_state=0, contamination=0.1)
    with pytest.warns(ConvergenceWarning, match=r"No latent dimension is used: .* lower beta"):
        detector.fit(DEPENDENT)
    scores = detector.score_samples(np.vstack([DEPENDENT, [[50, 50, 50]]]))
    assert np.isfinite(scores).all()
    assert scores.argmin() == 300


def test_a_used_latent_code_does_not_warn():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        VAEDetector(max_steps=600, n_members=1, random_state=0, contamination=0.1).fit(DEPENDENT)


@pytest.mark.parametrize(
    ("latent_kl", "columns", "steps"), [(0.5, 3, 3000), (0.001, 1, 3000), (0.001, 3, 100)]
)
def test_inconclusive_cases_do_not_warn(latent_kl, columns, steps):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_if_unused(np.array([[0.0, latent_kl]]), columns=columns, steps=steps)


def test_the_command_line_shows_the_warning(tmp_path, capsys):
    np.savetxt(tmp_path / "t.csv", DEPENDENT, delimiter=",", header="a,b,c", comments="")
    line = f"fit {tmp_path}/t.csv -o {tmp_path}/m.vae --beta 50 --max-steps 600 --members 1"
    assert run([*line.split(), "--contamination", "0.1"]) == 0
    assert "warning: No latent dimension is used: " in capsys.readouterr().err
    assert issubclass(UnusedLatentWarning, ConvergenceWarning)

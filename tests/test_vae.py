"""The ELBO against a model whose likelihood is known in closed form."""

from __future__ import annotations

import numpy as np
import pytest
from network_parts import elbo_terms, spec_of
from scipy import stats

from vae_anomaly.inference.network import Network
from vae_anomaly.networks.spec import NetworkSpec
from vae_anomaly.networks.vae import build_vae
from vae_anomaly.stats.likelihoods import Block

RNG = np.random.RandomState(0)
COLUMNS, LATENT, VARIANCE = 5, 2, 0.3

LOADINGS = RNG.normal(size=(LATENT, COLUMNS))
OFFSET = RNG.normal(size=COLUMNS)
MARGINAL = stats.multivariate_normal(OFFSET, LOADINGS.T @ LOADINGS + VARIANCE * np.eye(COLUMNS))
"""x = z LOADINGS + OFFSET + noise: probabilistic PCA (Tipping and Bishop, 1999)."""

LINEAR = spec_of(1, COLUMNS, (), LATENT, "gaussian", variance=VARIANCE)


def linear_weights(posterior_error: float) -> np.ndarray:
    """Weights of the linear model with its exact posterior, plus an error of the mean."""
    precision = np.eye(LATENT) + LOADINGS @ LOADINGS.T / VARIANCE
    kernel = LOADINGS.T @ np.linalg.inv(precision) / VARIANCE
    log_variance = np.log(1 / np.diag(precision))
    arrays = {
        "encoder_out.kernel": np.hstack([kernel, np.zeros_like(kernel)]),
        "encoder_out.bias": np.concatenate([posterior_error - OFFSET @ kernel, log_variance]),
        "decoder_out.kernel": LOADINGS,
        "decoder_out.bias": OFFSET,
    }
    return LINEAR.pack({k: v[None].astype(np.float32) for k, v in arrays.items()})


@pytest.mark.parametrize("posterior_error", [0.0, 0.5, 2.0])
def test_elbo_of_a_linear_gaussian_model_is_below_its_log_likelihood(posterior_error) -> None:
    x = MARGINAL.rvs(size=200, random_state=1)
    noise = np.random.RandomState(2).standard_normal((4000, LATENT)).astype(np.float32)
    terms = elbo_terms(Network(LINEAR, linear_weights(posterior_error)), noise, x, x)
    elbo = -(terms.reconstruction.sum(axis=1) + terms.kl)
    exact = MARGINAL.logpdf(x)
    # The mean over draws has an error of its own.
    assert (elbo < exact + 0.05).all()
    gap = (exact - elbo).mean()
    # The gap is KL(q || p(z|x)), here in closed form.
    precision = np.eye(LATENT) + LOADINGS @ LOADINGS.T / VARIANCE
    error = np.full(LATENT, posterior_error)
    q_variance = 1 / np.diag(precision)
    expected = 0.5 * (
        np.sum(np.diag(precision) * q_variance)
        + error @ precision @ error
        - LATENT
        - np.linalg.slogdet(precision)[1]
        - np.log(q_variance).sum()
    )
    assert gap == pytest.approx(expected, abs=0.02, rel=0.002)


def test_terms_match_a_plain_numpy_forward_pass() -> None:
    spec = spec_of(3, 4, (7, 5), 2, "gaussian")
    rng = np.random.RandomState(0)
    weights = rng.normal(scale=0.3, size=(3, spec.n_weights)).astype(np.float32)
    x = rng.normal(size=(10, 4))
    noise = rng.standard_normal((6, 2)).astype(np.float32)

    reconstruction, kl = np.zeros((10, 4)), np.zeros(10)
    for m in range(3):
        w = {name: array[m].astype(float) for name, array in spec.unpack(weights).items()}

        def dense(h: np.ndarray, name: str, w: dict = w) -> np.ndarray:
            return h @ w[f"{name}.kernel"] + w[f"{name}.bias"]

        h = np.maximum(dense(x, "encoder_0"), 0)
        h = np.maximum(dense(h, "encoder_1"), 0)
        mean, log_variance = np.split(dense(h, "encoder_out"), 2, axis=1)
        for e in noise:
            h = np.maximum(dense(mean + np.exp(log_variance / 2) * e, "decoder_0"), 0)
            h = np.maximum(dense(h, "decoder_1"), 0)
            deviation = np.sqrt(np.exp(w["likelihood_0.log_variance"]) + 1e-4)
            density = stats.norm(dense(h, "decoder_out"), deviation).logpdf(x)
            reconstruction -= density / (3 * len(noise))
        kl += 0.5 * (mean**2 + np.exp(log_variance) - 1 - log_variance).sum(axis=1) / 3

    terms = elbo_terms(Network(spec, weights), noise, x, x)
    np.testing.assert_allclose(terms.reconstruction, reconstruction, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(terms.kl, kl, rtol=1e-5)


@pytest.mark.parametrize(
    "spec",
    [
        spec_of(2, 3, (8, 4), 2, "gaussian"),
        spec_of(1, 6, (5,), 3, "gaussian", variance=0.5),
        spec_of(4, 2, (5, 6, 7), 1, "bernoulli", noiseless=True),
        spec_of(2, 90, (5,), 2, "gaussian", grid=(9, 10, 1)),
        spec_of(2, 90, (5,), 2, "gaussian", grid=(9, 10, 1), batch_norm=True),
        NetworkSpec(2, 4, (Block("student_t", 2), Block("discretized_logistic", 3)), (5,), 2),
        NetworkSpec(2, 4, (Block("heteroscedastic", 2), Block("bernoulli", 3)), (5,), 2),
    ],
)
def test_the_spec_knows_the_weights_of_the_model(spec: NetworkSpec) -> None:
    vae = build_vae(spec)
    variables = [*vae.trainable_variables, *vae.non_trainable_variables]
    shapes = [tuple(v.shape) for v in variables]
    expected = [(spec.members, *shape) for shape in spec.weight_shapes().values()]
    assert [v.name.split(".")[-1] for v in variables] == [
        name.split(".")[-1] for name in spec.weight_shapes()
    ]
    assert sum(int(np.prod(v.shape[1:])) for v in vae.trainable_variables) == spec.n_trainable
    # A bias is held as (members, 1, units), for the sake of broadcasting.
    assert [tuple(np.delete(s, 1)) if len(s) == 3 and s[1] == 1 else s for s in shapes] == [
        tuple(np.delete(e, 1)) if len(e) == 3 and e[1] == 1 else e for e in expected
    ]
    assert vae.initial_weights(np.random.RandomState(0)).shape == (spec.members, spec.n_weights)
    weights = np.arange(spec.members * spec.n_weights, dtype=np.float32).reshape(spec.members, -1)
    np.testing.assert_array_equal(spec.pack(spec.unpack(weights)), weights)


def test_scores_are_the_mean_over_members_that_do_not_see_each_other() -> None:
    both, one = spec_of(2, 3, (8,), 2, "gaussian"), spec_of(1, 3, (8,), 2, "gaussian")
    rng = np.random.RandomState(0)
    weights = rng.normal(scale=0.3, size=(2, both.n_weights)).astype(np.float32)
    x, noise = rng.normal(size=(5, 3)), rng.normal(size=(4, 2)).astype(np.float32)
    whole = Network(both, weights)
    assert whole.member(1).spec == one
    together = elbo_terms(whole, noise, x, x)
    alone = [elbo_terms(whole.member(m), noise, x, x) for m in (0, 1)]
    for i in (0, 1):
        np.testing.assert_allclose(together[i], (alone[0][i] + alone[1][i]) / 2, rtol=1e-6)

"""Networks without a detector, and the terms of their ELBO."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np

from vae_anomaly.data.base import Encoded
from vae_anomaly.inference.network import Network
from vae_anomaly.model.reference import Reference
from vae_anomaly.model.terms import compute_terms
from vae_anomaly.networks.spec import NetworkSpec
from vae_anomaly.stats.likelihoods import Block
from vae_anomaly.stats.scores import RowTerms


def spec_of(
    members: int, columns: int, hidden: tuple[int, ...], latent: int, likelihood: str, **more: Any
) -> NetworkSpec:
    """Describe networks with one block: a target for each input."""
    return NetworkSpec(members, columns, (Block(likelihood, columns),), hidden, latent, **more)


@dataclass(frozen=True, eq=False)
class Parts:
    """Parts of a model; see `model.terms.ScoringParts`."""

    encoder: Any
    network: Network
    noise: np.ndarray
    prior: np.ndarray | None = None
    beta: float = 1.0
    reference: Reference = field(default_factory=Reference.empty)


def elbo_terms(network: Network, noise: np.ndarray, x: np.ndarray, target: np.ndarray) -> RowTerms:
    """Compute both terms of minus the ELBO of encoded rows without a penalty."""
    features = network.spec.joint.n_features
    parts = Parts(SimpleNamespace(explained=np.arange(features)), network, noise)
    encoded = Encoded(x, target, np.zeros((len(x), features)))
    with network.engine.setting:
        return compute_terms(parts, encoded, frozenset({"elbo"})).elbo

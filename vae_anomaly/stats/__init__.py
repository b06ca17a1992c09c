"""Densities, likelihoods, priors, scores and thresholds."""

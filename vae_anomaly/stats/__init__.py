"""Formulas: densities, likelihoods, priors, scores and thresholds."""

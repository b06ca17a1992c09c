"""Robustness tests: hostile models, broken data, killed processes (`docs/reliability.md`)."""

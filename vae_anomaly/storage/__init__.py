"""Atomic file writes and the container format of model files."""

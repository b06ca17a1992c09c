"""Evaluation metrics: pure functions of scores, labels, masks and codes."""

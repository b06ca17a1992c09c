"""Data sources and their encoding for the networks."""

"""`vae-anomaly check`."""

from __future__ import annotations

from vae_anomaly.pipeline.export import checked_lines
from vae_anomaly.pipeline.work import Done, Work

__all__ = ["run"]


def run(work: Work, graph: str, engine: str) -> Done:
    """Check GRAPH in an engine."""
    for line in checked_lines(graph, engine):
        work.say(line)
    return Done()

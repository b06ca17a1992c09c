"""`vae-anomaly check`."""

from __future__ import annotations

from vae_anomaly.cli.console import Console
from vae_anomaly.pipeline.export import checked_lines

__all__ = ["run"]


def run(console: Console, graph: str, engine: str) -> None:
    """Check GRAPH in an engine."""
    for line in checked_lines(graph, engine):
        console.say(line)

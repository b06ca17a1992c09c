"""`vae-anomaly inspect`."""

from __future__ import annotations

import click

from vae_anomaly.cli.console import Console
from vae_anomaly.detectors import function_of
from vae_anomaly.pipeline.description import description
from vae_anomaly.storage.container import open_container

__all__ = ["run"]


def run(console: Console, model: str) -> None:
    """Describe MODEL."""
    file = open_container(model)
    facts = function_of(file, "describe")(file)
    if console.json:
        console.facts.update(facts, file=model)
    else:
        click.echo(description(model, facts))

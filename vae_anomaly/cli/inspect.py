"""`vae-anomaly inspect`."""

from __future__ import annotations

import click

from vae_anomaly.cli.console import Console
from vae_anomaly.pipeline.description import describe_model, model_facts

__all__ = ["run"]


def run(console: Console, model: str) -> None:
    """Describe MODEL."""
    if console.json:
        console.facts.update(model_facts(model), file=model)
    else:
        click.echo(describe_model(model))

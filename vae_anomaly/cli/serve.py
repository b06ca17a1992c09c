"""`vae-anomaly serve`."""

from __future__ import annotations

from vae_anomaly._types import Parameter
from vae_anomaly.cli.console import Console
from vae_anomaly.cli.errors import Exit
from vae_anomaly.pipeline.options import given_options
from vae_anomaly.service import LOOPBACK, Settings, serve

__all__ = ["run"]


def run(
    console: Console, model: str, *, host: str, port: int, workers: int, **given: Parameter
) -> Exit:
    """Serve MODEL until a signal ends it."""
    settings = Settings(model, is_local=host in LOOPBACK, **given_options(given))
    serve(settings, host, port, workers, say=console.say)
    return Exit.DONE

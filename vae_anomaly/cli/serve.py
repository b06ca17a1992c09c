"""`vae-anomaly serve`."""

from __future__ import annotations

from vae_anomaly._types import Parameter
from vae_anomaly.pipeline.options import given_options
from vae_anomaly.pipeline.work import Done, Work
from vae_anomaly.service import LOOPBACK, Settings, serve

__all__ = ["run"]


def run(work: Work, model: str, *, host: str, port: int, workers: int, **given: Parameter) -> Done:
    """Serve MODEL until a signal ends it."""
    settings = Settings(model, is_local=host in LOOPBACK, **given_options(given))
    serve(settings, host, port, workers, say=work.say)
    return Done()

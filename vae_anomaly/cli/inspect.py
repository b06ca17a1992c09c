"""`vae-anomaly inspect`."""

from __future__ import annotations

from vae_anomaly.detectors import function_of
from vae_anomaly.pipeline.description import description
from vae_anomaly.pipeline.work import Done, Work
from vae_anomaly.storage.container import open_container

__all__ = ["run"]


def run(work: Work, model: str) -> Done:
    """Describe MODEL."""
    file = open_container(model)
    facts = function_of(file, "describe")(file)
    return Done(facts=facts | {"file": model}, text=description(model, facts))

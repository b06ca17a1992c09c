"""HTTP service that scores rows: JSON or Arrow in, the same out.

The extra ``serve`` installs what is needed: ``pip install ".[serve]"`` in a checkout.

====================  ======================================================================
``GET /health``       ``{"status": "ok"}``
``GET /model``        digest, score, threshold and columns of the model
``POST /score``       rows, as JSON objects or as a stream of Arrow; options as a query, such as
                      ``?explain=2&keep=id``: those of `vae_anomaly.score_batch`
====================  ======================================================================

Errors are ``{"error": "..."}`` with a status of 4xx or 5xx. There is no authentication: what
reaches the port may score.
"""

from __future__ import annotations

from vae_anomaly.service.app import LOOPBACK, Settings, create_app, serve

__all__ = ["LOOPBACK", "Settings", "create_app", "serve"]

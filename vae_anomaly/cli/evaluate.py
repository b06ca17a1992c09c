"""`vae-anomaly evaluate`."""

from __future__ import annotations

from vae_anomaly._types import Parameter
from vae_anomaly.cli.console import Console
from vae_anomaly.cli.errors import Exit
from vae_anomaly.report.evaluation import Work
from vae_anomaly.report.paths import report_on

__all__ = ["run"]


def run(
    console: Console, models: tuple[str, ...], data: str, output: str, **given: Parameter
) -> Exit:
    """Report how MODEL does on DATA, or compare two models."""
    work = Work(console.say, console.progress, console.start_tensorflow)
    found = report_on(models, data, output, given, work)
    console.say(*found.notes)
    console.facts.update(found.facts)
    return Exit.SKIPPED if found.n_skipped else Exit.DONE

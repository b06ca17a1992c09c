"""Scores of the records in a path."""

from __future__ import annotations

from vae_anomaly.data.registry import open_source
from vae_anomaly.model.file import restored
from vae_anomaly.pipeline.options import Options, check_model_options, divide, flag
from vae_anomaly.pipeline.paths import check_outside
from vae_anomaly.pipeline.results import OUTPUTS, Outputs
from vae_anomaly.pipeline.score import score_file
from vae_anomaly.pipeline.work import Done, Work
from vae_anomaly.storage.container import UnopenedFile

__all__ = ["score"]

OWN = ("engine", "fail_if", "maps")
"""Options that concern neither the source nor the columns of the result."""


def score(file: UnopenedFile, path: str, output: str, options: Options, work: Work) -> Done:
    """Score the records in a path with a model file, and write the result.

    Raises
    ------
    ParameterError, ModelFileError, DataError, OutputError
        As `open_source` and `score_file`.
    """
    model = restored(file)
    # --strict is for all modalities.
    check_model_options({**options, "strict": None}, model.encoder.modality, file.name)
    conditions, maps = options["fail_if"], options["maps"]
    wanted, asked = divide({**options, **dict.fromkeys(OWN)}, OUTPUTS)
    if options["engine"] is not None:
        model = model.with_engine(options["engine"])
    outputs = Outputs(**wanted)
    outputs.check(model, flag)
    if maps is not None:
        check_outside(maps, path, "maps")
    for condition in conditions:
        condition.check(outputs, model)
    with open_source(path, model.encoder, **asked) as source:
        work.say(*source.notes)
        if model.network.needs_tensorflow and source.n_records != 0:
            work.start()
        progress = work.progress
        flagged: list[object] | None = None if maps is None else []
        summary = score_file(model, source, output, outputs, progress=progress, flagged=flagged)
        if maps is not None:
            from vae_anomaly.displays.map_files import write_maps

            some, only = flagged or (), outputs.only_flagged
            lines = write_maps(
                model, source, maps, flagged=some, only_flagged=only, progress=progress
            )
            work.say(*lines)
    return summary.done(source, outputs, output, conditions)

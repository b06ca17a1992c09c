"""`fit`, `score` and `evaluate` on images. Loaded when one of them meets images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vae_anomaly.cli.checks import check_directory, check_output, check_room_for_tensorflow
from vae_anomaly.cli.console import Console
from vae_anomaly.cli.exits import Exit
from vae_anomaly.cli.fitting import threshold_origin
from vae_anomaly.cli.scoring import choose_score, further_columns, further_scores
from vae_anomaly.cli.training import UNIT, fit_and_save, train
from vae_anomaly.cli.watching import Watch, check_p_values, for_batch, verdict
from vae_anomaly.cli.writing import check_format, score_writer
from vae_anomaly.data.image.decoder import ImageError
from vae_anomaly.data.image.schema import ImageSchema, anomalous_folders
from vae_anomaly.data.image.source import NORMAL_FOLDERS, ImageBatch, ImageSource, open_images
from vae_anomaly.exceptions import DataError
from vae_anomaly.persistence import load
from vae_anomaly.stats.thresholds import conformal_p_values

__all__ = [
    "evaluate_images",
    "fit_images",
    "model_of_images",
    "read_images",
    "score_images",
]

LISTED_SKIPPED = 10


def fit_images(
    console: Console,
    data: str,
    output: str,
    *,
    image_size: tuple[int, int] | None = None,
    resize: str = "stretch",
    strict: bool = False,
    keep_partial: bool = False,
    **parameters: Any,
) -> Exit:
    """Fit a detector on images and save it.

    Parameters
    ----------
    console : Console
    data, output : str
        Folder or file of images to read, model file to write.
    image_size : tuple of int, optional
        Height and width to bring the images to; by default their own, within 32.
    resize : {"stretch", "letterbox"}, default="stretch"
    strict : bool, default=False
        Refuse images that cannot be read.
    keep_partial : bool, default=False
        Keep the best weights so far when interrupted.
    **parameters
        Of VAEDetector.

    Returns
    -------
    Exit
    """
    check_output(output, data)
    check_room_for_tensorflow()  # before the data: with so little, libraries that read it hang
    source = open_images(data, fitting=True, strict=strict)
    _say_notes(console, source)
    schema = ImageSchema.measure(source, image_size, resize)
    with console.progress("reading", len(source), unit=UNIT) as update:
        pixels, positions = schema.read(source, update)
    if len(pixels) < 2:
        why = f" The first: {source.skipped[0][1]}." if source.skipped else ""
        raise DataError(
            f"{source.name}: {len(pixels)} of {len(source)} images can be read. "
            f"Expected at least 2 to learn from.{why}"
        )
    _warn_of_anomalies(console, source, positions)

    from vae_anomaly.estimator import VAEDetector

    console.start_tensorflow()
    console.say(f"training on {len(pixels):,} images of {schema}")
    detector = VAEDetector(**parameters)
    seconds, code = fit_and_save(
        console, detector, pixels, output, schema=schema, keep_partial=keep_partial
    )
    history = detector.history_
    console.say(
        f"trained for {history.step[-1]:,} steps in {seconds:.1f} s, "
        f"loss {history.loss[-1]:.4g} nats an image"
    )
    origin = threshold_origin(detector, "images")
    console.say(f"threshold: {-detector.offset_:.4g} nats, {origin}")
    console.say(f"model: {output}")
    skipped = _say_skipped(console, source)
    return skipped if code is Exit.DONE else code


def score_images(
    console: Console,
    model: str,
    data: str,
    output: str,
    *,
    score: str | None = None,
    also: Sequence[str] = (),
    strict: bool = False,
    fdr: float | None = None,
    p_values: bool = False,
    engine: str = "auto",
) -> Exit:
    """Score images: a line each, those that cannot be read with the reason instead.

    Parameters
    ----------
    console : Console
    model, data, output : str
        Model file and folder or file of images to read, table to write.
    score : str, optional
        Another score than the detector's own.
    also : sequence of str
        Further scores, each in a column of its own.
    strict : bool, default=False
        Refuse images that cannot be read.
    fdr : float, optional
        Share of flagged images that may be normal, in place of the detector's threshold.
    p_values : bool, default=False
        Add the p-value of each image.

    Returns
    -------
    Exit
    """
    check_format(output)
    check_output(output, data, model)
    detector, schema = model_of_images(model, data)
    detector, flags = choose_score(detector, score, engine)
    check_p_values(detector, flags=flags, fdr=fdr, p_values=p_values)
    source = open_images(data, strict=strict)
    _say_notes(console, source)
    fields = [("file", pa.string()), ("anomaly_score", pa.float64())]
    fields += [("p_value", pa.float64())] if p_values else []
    fields += [("is_anomaly", pa.bool_())] if flags else []
    fields += further_columns(also)
    columns = pa.schema([*fields, ("status", pa.string())])
    console.start_engine(detector)
    if fdr is not None:
        first = open_images(data, strict=strict)
        known = (b.pixels for b in first.batches(schema) if len(b.pixels))
        detector = for_batch(detector, fdr, (-detector.score_samples(p) for p in known))
    watch = Watch(detector, flags=flags, unit="images")
    strange = 0
    with (
        score_writer(output, columns) as write,
        console.progress("scoring", len(source), unit=UNIT) as update,
    ):
        for batch in source.batches(schema):
            scored = _scored_batch(detector, source, batch, columns)
            write(scored)
            watch.add(batch.pixels, scored.column("anomaly_score").drop_null().to_numpy())
            if flags:
                strange += sum(filter(None, scored.column("is_anomaly").to_pylist()))
            update(batch.stop)
    count = len(source) - len(source.skipped)
    if flags:
        console.say(verdict(detector, strange, count, "images", fdr))
    else:
        console.say(
            f"scored {count:,} images; is_anomaly is left out: the threshold is one of another "
            f"score"
        )
    watch.say(console)
    if output != "-":
        console.say(f"scores: {output}")
    return _say_skipped(console, source)


def _scored_batch(detector: Any, source: ImageSource, batch: ImageBatch, columns: pa.Schema) -> Any:
    """Score some images and lay out the result as `columns` says."""
    count = batch.stop - batch.start
    scores, missing = np.zeros(count), np.ones(count, dtype=bool)
    if len(batch.pixels):
        here = batch.positions - batch.start
        scores[here] = -detector.score_samples(batch.pixels)
        missing[here] = False
    arrays = [
        pa.array(source.names[batch.start : batch.stop], type=pa.string()),
        pa.array(scores, mask=missing),
    ]
    if "p_value" in columns.names:
        p_values = conformal_p_values(detector.calibration_scores_, scores)
        arrays.append(pa.array(p_values, mask=missing))
    if "is_anomaly" in columns.names:
        arrays.append(pa.array(-scores - detector.offset_ < 0, mask=missing))
    for further in further_scores(detector, batch.pixels, columns):
        whole = np.zeros(count)
        whole[~missing] = further
        arrays.append(pa.array(whole, mask=missing))
    status = [batch.faults.get(i, "ok") for i in range(batch.start, batch.stop)]
    return pa.RecordBatch.from_arrays([*arrays, pa.array(status)], schema=columns)


def evaluate_images(
    console: Console,
    model: str,
    data: str,
    output: str,
    *,
    normal_label: Sequence[str] = (),
    compare_beta: float | None = None,
    training: str | None = None,
    strict: bool = False,
    title: str = "Anomaly report",
    top: int = 10,
    **criteria: float | None,
) -> Exit:
    """Write a report on how a detector does on images.

    Parameters
    ----------
    console : Console
    model, data, output : str
        Model file and folder or file of images to read, directory to write to.
    normal_label : sequence of str
        Subfolders or labels of normal images; by default those of `anomalous_folders`.
    compare_beta : float, optional
        Weight of the KL divergence of a twin to compare the detector with.
    training : str, optional
        Folder or file of images that the detector was fitted on, for its twin.
    strict : bool, default=False
        Refuse images that cannot be read.
    title : str, default="Anomaly report"
    top : int, default=10
        Images to show.
    **criteria
        Of `report.Criteria`: what other thresholds to choose by.

    Returns
    -------
    Exit
    """
    check_directory(output, model, data)
    for folder in (data, training):
        if folder is not None and Path(output).resolve().is_relative_to(Path(folder).resolve()):
            raise click.UsageError(
                f"The report would lie among the images in {folder}. Choose another output."
            )
    detector, schema = model_of_images(model, data)
    if compare_beta == detector.beta:
        raise click.UsageError(
            f"{model} itself was fitted with beta {compare_beta:g}: there would be nothing to "
            f"compare. Choose another --compare-beta."
        )
    learned = None if training is None else open_images(training, fitting=True, strict=strict)
    source = open_images(data, strict=strict)
    _say_notes(console, source)
    labels = _labels(console, source, normal_label)
    pixels, positions = _read(console, source, schema)
    labels = None if labels is None else labels[positions]
    masks = _masks(console, source, schema, positions, labels)
    kinds = source.kinds
    twin = None
    if learned is not None and compare_beta is not None:
        twin = _twin(console, detector, compare_beta, learned, schema)

    # Matplotlib takes its time
    from vae_anomaly.report import Criteria, build_report, write_report
    from vae_anomaly.report.sections.image import ImageContext

    console.start_engine(detector)
    with console.progress("reporting", 2) as update:
        report = build_report(
            detector,
            pixels,
            labels,
            keys=[source.names[i] for i in positions],
            context=ImageContext(
                categories=None if kinds is None else [kinds[i] for i in positions],
                masks=masks,
                skipped=source.skipped,
                comparison_model=twin,
            ),
            title=title,
            model_name=Path(model).name,
            data_name=Path(data).resolve().name,
            top=top,
            criteria=Criteria(**criteria),
        )
        update(1)
        page = write_report(report, Path(output))
        update(2)
    for line in report.summary:
        console.say(line)
    console.say(f"report: {page}")
    code = _say_skipped(console, source)
    if learned is None:
        return code
    return max(code, _say_skipped(console, learned, "images for the twin"))


def model_of_images(model: str, data: str) -> tuple[Any, ImageSchema]:
    """Read a model of images, and how it wants them."""
    detector = load(model)
    shape = detector.image_shape_
    if shape is None:
        raise DataError(
            f"{data} holds images, but the model {model} was fitted on a table. Give it a "
            f"table, or fit a model on images."
        )
    if shape[2] not in (1, 3):
        raise DataError(
            f"The model {model} was fitted on images of {shape[2]} channels. Files give 1 or 3: "
            f"score arrays in Python."
        )
    resize = detector.model_.encoder.resize
    return detector, ImageSchema(*shape, *([] if resize is None else [resize]))


def read_images(
    console: Console, data: str, schema: ImageSchema, *, strict: bool
) -> tuple[NDArray[np.uint8], Exit]:
    """Read normal images, and choose the exit code by whether some could not be read."""
    source = open_images(data, fitting=True, strict=strict)
    _say_notes(console, source)
    pixels, positions = _read(console, source, schema)
    _warn_of_anomalies(console, source, positions)
    return pixels, _say_skipped(console, source)


def _read(
    console: Console, source: ImageSource, schema: ImageSchema
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Read all images that can be read; there must be one."""
    with console.progress("reading", len(source), unit=UNIT) as update:
        pixels, positions = schema.read(source, update)
    if not len(pixels):
        name, reason = source.skipped[0]
        raise DataError(
            f"{source.name}: none of {len(source)} images can be read. The first, {name}: {reason}."
        )
    return pixels, positions


def _twin(
    console: Console, detector: Any, beta: float, source: ImageSource, schema: ImageSchema
) -> Any:
    """Fit a detector that differs from another in nothing but the weight of the KL divergence."""
    from sklearn.base import clone

    _say_notes(console, source)
    pixels, _ = _read(console, source, schema)
    console.start_tensorflow()
    console.say(f"training a twin with beta {beta:g} on {len(pixels):,} images")
    twin = clone(detector).set_params(beta=beta)
    train(console, twin, pixels, work=f"training with beta {beta:g}", unit=UNIT)
    return twin


def _warn_of_anomalies(console: Console, source: ImageSource, positions: NDArray[np.int64]) -> None:
    """Say how many of the images of an array, which are all learned, are no normal ones."""
    try:
        anomalies = None if source.labels is None else anomalous_folders(source)
    except DataError as error:
        console.say(f"note: {error} To learn, labels are not needed.")
        return
    if anomalies is not None and anomalies[positions].any():
        console.say(
            f"warning: {anomalies[positions].sum():,} of {len(positions):,} images are labelled "
            f"as anomalies, and are learned as if they were normal. Leave them out of the file."
        )


def _labels(
    console: Console, source: ImageSource, normal: Sequence[str]
) -> NDArray[np.bool_] | None:
    """Tell anomalies from normal images, and say by what, or why not."""
    if source.labels is not None:
        console.say(f"labels: {source.labels.origin}, {len(set(source.labels.texts)):,} kinds")
    labels = anomalous_folders(source, normal=normal)
    if labels is None and source.kinds is not None:
        what, one = ("subfolder", "one") if source.labels is None else ("label", "normal ones")
        console.say(
            f"note: no {what} is called {', '.join(NORMAL_FOLDERS[:-1])} or {NORMAL_FOLDERS[-1]}, "
            f"so that nothing is known to be an anomaly. Name {one} with --normal-label."
        )
    return labels


def _masks(
    console: Console,
    source: ImageSource,
    schema: ImageSchema,
    positions: NDArray[np.int64],
    labels: NDArray[np.bool_] | None,
) -> list[NDArray[np.bool_] | None] | None:
    """Read the masks of the anomalies, where there are any."""
    if labels is None or not source.has_masks:
        return None
    masks: list[NDArray[np.bool_] | None] = [None] * len(positions)
    for i in np.flatnonzero(labels):
        try:
            masks[i] = source.mask(int(positions[i]), schema)
        except ImageError as error:
            if source.strict:
                raise
            console.say(f"warning: no mask for {_shown(source.names[positions[i]])}: {error}")
    found = sum(mask is not None for mask in masks)
    console.say(f"masks: {found:,} for {np.count_nonzero(labels):,} anomalies")
    return masks if found else None


def _say_notes(console: Console, source: ImageSource) -> None:
    for note in source.notes:
        console.say(f"note: {source.name}: {note}")


def _say_skipped(console: Console, source: ImageSource, what: str = "images") -> Exit:
    """Name what was not read, or only in part, and choose the exit code."""
    if source.animated:
        count, first = len(source.animated), _shown(source.animated[0])
        console.say(f"note: of {count:,} animated, the first frame was taken: {first} ...")
    if not source.skipped:
        return Exit.DONE
    console.say(f"skipped {len(source.skipped):,} of {len(source):,} {what}:")
    for name, reason in source.skipped[:LISTED_SKIPPED]:
        console.say(f"  {_shown(name)}: {reason}")
    if len(source.skipped) > LISTED_SKIPPED:
        console.say(f"  and {len(source.skipped) - LISTED_SKIPPED:,} more")
    return Exit.SKIPPED


def _shown(name: str) -> str:
    return name if name.isprintable() else repr(name)

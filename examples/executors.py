"""
Many files, many cores, a cluster
=================================

``score_file`` reads a source in batches, scores them, and writes the results in order, in bounded
memory. An executor decides where the batches are scored: in threads, which is the default, in a
pool of processes, or by the workers of a cluster.
"""

# %%
# A model and a file
# ------------------

import hashlib
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pyarrow as pa
from joblib import Parallel, delayed
from vae_anomaly import VAEDetector, load, save, score_batch
from vae_anomaly.data.registry import open_source
from vae_anomaly.pipeline.executors import Pool
from vae_anomaly.pipeline.results import Outputs
from vae_anomaly.pipeline.score import score_file

rng = np.random.default_rng(0)
rows = pd.DataFrame(rng.normal(size=(60_000, 8)), columns=[f"x{i}" for i in range(8)])
rows["x7"] = rows["x0"] * rows["x1"] + 0.1 * rows["x7"]

folder = Path(tempfile.mkdtemp())
rows.to_parquet(folder / "rows.parquet")
save(VAEDetector(max_steps=300, random_state=0).fit(rows[:2000]), folder / "model.vae")
model = load(folder / "model.vae").model_


def score_with(executor, name: str) -> str:
    """Score the file, and return the digest of the result."""
    target = folder / f"{name}.parquet"
    with open_source(str(folder / "rows.parquet"), model.encoder) as source:
        options = {} if executor is None else {"executor": executor}
        summary = score_file(model, source, str(target), Outputs(), **options)
    scores = pd.read_parquet(target)["anomaly_score"].to_numpy()
    digest = hashlib.sha256(scores.tobytes()).hexdigest()[:16]
    print(
        f"{name:10} {summary.n_scored:,} rows, {summary.n_flagged:,} flagged, scores {digest}"
    )
    return digest


# %%
# Threads, one after the other, processes
# ---------------------------------------
# An executor is any callable that takes a function and items, and returns the results in the order
# of the items: ``map`` is one. `Pool` makes one of anything with a ``submit`` method, such as the
# client of a cluster.

digests = [score_with(None, "default"), score_with(map, "serial")]
with ThreadPoolExecutor(4) as threads:
    digests.append(score_with(Pool(threads, max_pending=8), "threads"))

# %%
# Processes of joblib. Inside ``joblib.parallel_config(backend="dask")`` the same lines use the
# workers of a Dask cluster. Models with dense networks, the default for tables, score without
# TensorFlow, so that workers start quickly.


def in_processes(function, items):
    """Apply a function to items in two processes."""
    return Parallel(n_jobs=2, return_as="generator")(
        delayed(function)(item) for item in items
    )


digests.append(score_with(in_processes, "processes"))

# %%
# Systems that read and schedule by themselves, such as Spark, Ray or DuckDB, hand over batches
# of Arrow columns. ``score_batch`` is a pure function of such a batch and a model.

scored = score_batch(folder / "model.vae", pa.RecordBatch.from_pandas(rows))
values = scored.column("anomaly_score").to_numpy()
digests.append(hashlib.sha256(values.tobytes()).hexdigest()[:16])

# %%
# The same scores everywhere
# --------------------------
# A score depends on the row and the model alone: not on batches, threads, processes or the order
# of rows. So the digests are equal, and a part that failed can be scored again anywhere.

print("all equal:", len(set(digests)) == 1)

scores = pd.read_parquet(folder / "processes.parquet")["anomaly_score"]
fig, ax = plt.subplots()
ax.hist(scores, bins=100)
ax.axvline(
    model.calibration.threshold, color="black", linestyle="--", label="threshold"
)
ax.set(xlabel="anomaly score (nats)", ylabel="rows", yscale="log")
ax.legend(frameon=False)
plt.show()

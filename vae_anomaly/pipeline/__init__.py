"""Pipeline over sources: fit, score, evaluate, recalibrate, in bounded memory.

Each operation is a module that bears its name. They take a `data.base.Source`, a
`model.model.Model` and an `executors.Executor`, and name no modality.

Examples
--------
Score a file on two threads, and write the scores with a reason for each:

>>> import tempfile
>>> from concurrent.futures import ThreadPoolExecutor
>>> from pathlib import Path
>>> import pandas as pd
>>> from vae_anomaly import VAEDetector
>>> from vae_anomaly.data.registry import open_source
>>> from vae_anomaly.pipeline.executors import Pool
>>> from vae_anomaly.pipeline.results import Outputs
>>> from vae_anomaly.pipeline.score import score_file
>>> normal = pd.DataFrame({"flow": [1.0, 2.0, 3.0] * 40, "pressure": [5.0, 7.0] * 60})
>>> detector = VAEDetector(false_alarm_rate=0.1, max_steps=50, random_state=0)
>>> model = detector.fit(normal).model_
>>> folder = tempfile.mkdtemp()
>>> today, scores = (str(Path(folder, name)) for name in ("today.csv", "scores.csv"))
>>> pd.DataFrame({"flow": [2.0, 50.0], "pressure": [7.0, 7.0]}).to_csv(today, index=False)
>>> with open_source(today, model.encoder) as source, ThreadPoolExecutor(2) as threads:
...     summary = score_file(model, source, scores, Outputs(explain=1), executor=Pool(threads))
>>> summary.n_scored, summary.n_flagged
(2, 1)
>>> pd.read_csv(scores).loc[1, "reason_1"]
'flow'
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from vae_anomaly.data.series.series import Series, SeriesSet


def read_series(data, *, channels=None, step=None, **options):
    parts = data if isinstance(data, list) else [data]
    out = []
    row = 0
    names = None
    for i, p in enumerate(parts):
        t = None
        if isinstance(p, pd.DataFrame):
            names = tuple(map(str, p.columns))
            if isinstance(p.index, pd.DatetimeIndex):
                t = p.index.as_unit("ns").asi8
            p = p.to_numpy(float)
        p = np.asarray(p, float)
        if p.ndim == 1:
            p = p[:, None]
        out.append(
            Series(
                str(i) if len(parts) > 1 else "",
                t,
                p,
                np.ones(len(p), bool),
                np.arange(row, row + len(p)),
            )
        )
        row += len(p)
    names = names or tuple(f"channel_{i + 1}" for i in range(p.shape[1]))
    st = int(np.median(np.diff(out[0].times))) if out[0].times is not None else None
    return SeriesSet(tuple(out), names, st, row, ("",) * row)

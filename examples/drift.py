"""
Drift and recalibration
=======================

Machines age, seasons change, sensors are replaced: normal rows do not stay as they were. A
``DriftWatch`` says when a batch is no longer like the calibration rows, without labels, and which
columns moved. ``recalibrate`` takes a new threshold from recent normal rows, without training.
"""

# %%
# A pump in spring, and in summer
# -------------------------------
# In summer the water is warmer. Flow and pressure still belong together as before.

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from vae_anomaly import DriftWatch, VAEDetector, recalibrate

rng = np.random.default_rng(0)


def measure(n: int, warmer: float = 0.0) -> pd.DataFrame:
    """Draw normal measurements."""
    flow = rng.normal(10, 2, size=n)
    temperature = rng.normal(12 + warmer, 2, size=n)
    return pd.DataFrame(
        {
            "flow": flow,
            "pressure": 0.5 * flow + rng.normal(scale=0.2, size=n),
            "temperature": temperature,
            "power": 2 * flow + 0.1 * temperature + rng.normal(scale=0.3, size=n),
        }
    )


detector = VAEDetector(false_alarm_rate=0.02, max_steps=400, random_state=0).fit(
    measure(1500)
)

# %%
# Watch
# -----
# Of batches of normal rows, one in 1,000 raises the warning. ``score`` on the command line does
# the same for each file.

for warmer in (0.0, 2.0, 5.0):
    drift = DriftWatch(detector).add(measure(300, warmer)).result()
    moved = drift.movements[0]
    print(
        f"{warmer:+.0f} degrees: drift {drift.is_drift}, p = {drift.p_value:.2g}, "
        f"most moved: {moved.column} by {moved.shift:+.1f} standard deviations"
    )

# %%
# What happens if nobody watches
# ------------------------------
# The rate of false alarms rises far above the 2 % that were asked for.

summer = measure(1000, warmer=5.0)
later = measure(4000, warmer=5.0)
print(
    f"normal rows flagged in summer: {100 * (detector.predict(later) == -1).mean():.1f} %"
)

# %%
# Recalibrate
# -----------
# Normal rows of the new season set the threshold. Scores stay as they are, and so does the order
# of rows. Rows that the detector was trained on would be left out.

adapted = recalibrate(detector, summer)
print(f"after recalibration: {100 * (adapted.predict(later) == -1).mean():.1f} %")

# %%
# Does it still find faults? Here the pressure is 3 bar too low.

faults = measure(500, warmer=5.0)
faults["pressure"] -= 3
for name, one in (("before", detector), ("after", adapted)):
    print(
        f"{name}: {100 * (one.predict(faults) == -1).mean():.0f} % of the faults are flagged"
    )

fig, ax = plt.subplots()
for label, rows in (("normal in summer", later), ("faults", faults)):
    ax.hist(
        -detector.score_samples(rows), bins=60, density=True, alpha=0.5, label=label
    )
ax.axvline(-detector.offset_, color="grey", linestyle=":", label="threshold of spring")
ax.axvline(-adapted.offset_, color="black", linestyle="--", label="threshold of summer")
ax.set(xlabel="anomaly score (nats)", ylabel="density", xscale="log")
ax.legend(frameon=False)
plt.show()

# %%
# Recalibration is quick, and restores the false-alarm rate. Where it costs too much detection,
# fit again on rows of both seasons.

"""
A time series
=============

Three sensors of a machine, a value every quarter of an hour. ``SeriesDetector`` learns their daily
rhythm from a quiet time, and reports events: when, how strong, and which sensors.
"""

# %%
# Six weeks of three sensors
# --------------------------
# Temperature follows the load, and both follow the day. The last week has two faults: the
# temperature sensor is stuck for four hours, and on another day the load falls for three hours.

import textwrap

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from vae_anomaly import SeriesDetector

STEPS_A_DAY = 96

rng = np.random.default_rng(0)
time = pd.date_range("2025-03-03", periods=42 * STEPS_A_DAY, freq="15min")
day = 2 * np.pi * np.arange(len(time)) / STEPS_A_DAY
load = 50 + 20 * np.sin(day) + rng.normal(scale=2, size=len(time))
sensors = pd.DataFrame(
    {
        "load": load,
        "temperature": 20 + 0.4 * load + rng.normal(scale=0.5, size=len(time)),
        "humidity": 60 - 10 * np.sin(day + 1) + rng.normal(scale=1, size=len(time)),
    },
    index=time,
)
stuck = (time >= "2025-04-10 08:00") & (time < "2025-04-10 12:00")
sensors.loc[stuck, "temperature"] = sensors.loc[stuck, "temperature"].iloc[0]
fallen = (time >= "2025-04-12 05:00") & (time < "2025-04-12 08:00")
sensors.loc[fallen, "load"] -= 25

training, watched = sensors[:"2025-04-06"], sensors["2025-04-07":]

# %%
# Fit
# ---
# Windows are six hours long: shorter than a day, so that an event ends soon after a fault. The last
# three tenths of the training time are not learned but calibrate. The detector says what that means
# for false alarms.

detector = SeriesDetector(window=24, max_steps=300, random_state=0).fit(training)
print(textwrap.fill(detector.promise_.words(detector.step_), 80))

# %%
# Events
# ------
# The score is a multiple of the threshold: time steps above 1 are flagged. Flagged ones that
# belong together are one event.

events = detector.events(watched)
events[["start", "end", "peak", "score", "cause", "channels"]]

# %%
# Both faults are found, with the right sensor first. The event of a single time step is a false
# one: the sentence above says how many to expect.

# %%
# Series, score and events
# ------------------------
# Dashed lines are the values of similar training windows. They show what was expected during an
# event.

expected = detector.expected(watched)
scores = -detector.score_samples(watched)
figure, axes = plt.subplots(4, 1, figsize=(8, 7), sharex=True)
for ax, name in zip(axes, sensors, strict=False):
    ax.plot(watched.index, watched[name], linewidth=0.9)
    ax.plot(watched.index, expected[name], "--", color="grey", linewidth=0.9)
    ax.set_title(name, loc="left", fontsize=9)
axes[-1].plot(watched.index, scores, color="black", linewidth=0.9)
axes[-1].axhline(1.0, color="tab:orange", linestyle="--")
axes[-1].set_title("anomaly score, a multiple of the threshold", loc="left", fontsize=9)
for event in events.itertuples():
    for ax in axes:
        ax.axvspan(event.start, event.end, color="tab:orange", alpha=0.25)
figure.tight_layout()

# %%
# On the command line the same is ``vae-anomaly fit sensors.csv --time-column time -o machine.vae``,
# then ``score`` with ``--events events.csv``, and ``evaluate`` for a page with these figures.

"""
Categories, dates and missing cells
===================================

Most tables are no matrices of numbers. Here a table of orders has numbers, categories, a date, an
identifier, and cells that are missing. The detector finds out what each column is.
"""

# %%
# A table of orders
# -----------------
# Express parcels are light, freight is heavy, and heavy ones cost more. Orders come on working
# days. A tenth of the weights were not recorded.

import numpy as np
import pandas as pd
from vae_anomaly import VAEDetector
from vae_anomaly.displays import ContributionDisplay


def make_orders(n: int, seed: int) -> pd.DataFrame:
    """Draw normal orders."""
    rng = np.random.default_rng(seed)
    days = pd.bdate_range("2022-01-03", "2024-12-30")
    service = rng.choice(["express", "standard", "freight"], size=n, p=[0.3, 0.5, 0.2])
    typical = pd.Series(service).map(
        {"express": 1.0, "standard": 6.0, "freight": 120.0}
    )
    weight = typical * rng.lognormal(sigma=0.4, size=n)
    price = 4 + 1.5 * weight**0.8 + np.where(service == "express", 12, 0)
    return pd.DataFrame(
        {
            "order": [f"A-{seed}{i:06}" for i in range(n)],
            "date": pd.DatetimeIndex(rng.choice(days, size=n)).strftime("%Y-%m-%d"),
            "service": service,
            "country": rng.choice(
                ["DE", "FR", "PL", "IT"], size=n, p=[0.4, 0.3, 0.2, 0.1]
            ),
            "weight_kg": np.where(rng.uniform(size=n) < 0.1, np.nan, weight).round(2),
            "price": (price * rng.lognormal(sigma=0.05, size=n)).round(2),
        }
    )


orders = make_orders(1500, seed=1)
orders.head()

# %%
# Fit
# ---
# The type of each column is found in all of its cells. The fitted schema says what was found, and
# why. The identifier is left out: later ones are all new.

detector = VAEDetector(max_steps=400, random_state=0).fit(orders)
schema = detector.model_.encoder.schema
pd.set_option("display.max_colwidth", 80)
pd.DataFrame(
    {
        "type": [one.type for one in schema.columns],
        "why": [one.reason for one in schema.columns],
    },
    index=list(schema.names),
)

# %%
# Orders of another month
# -----------------------
# Two of these five are wrong: freight of 900 grams, and an express parcel at a tenth of its price.
# Each of their cells is ordinary by itself.

today = make_orders(5, seed=2)
today.loc[1, ["service", "weight_kg", "price"]] = ["freight", 0.9, 18.0]
today.loc[3, ["service", "weight_kg", "price"]] = ["express", 1.1, 1.9]
today["score"] = -detector.score_samples(today)
today["flagged"] = detector.predict(today.drop(columns="score")) == -1
today

# %%
# The reasons name columns of the table, never the indicators that a category becomes.

found = today[today["flagged"]].drop(columns=["score", "flagged"])
detector.reasons(found, top=2)[["row", "column", "value", "expected", "direction"]]

# %%

ContributionDisplay.from_estimator(detector, found, row=0)

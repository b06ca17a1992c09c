"""Pipeline over time series: fit, score, recalibrate, evaluate and export."""

"""Report on time series."""

"""Detection in time series: windows, their scores, alarms and events."""

"""Time series: time stamps, regular grids, files, window lengths."""

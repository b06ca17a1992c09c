"""Time series: time stamps, regular grids, files."""

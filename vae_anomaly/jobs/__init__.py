"""Work of the commands with detectors of records: a function of the name of each, in its module.

`vae_anomaly.detectors` lists them, and those of other types of detectors.
"""

"""Pipeline over sources: fit, score, evaluate, recalibrate, in bounded memory.

Each operation is a module that bears its name, for example::

    from vae_anomaly.pipeline.score import score_file

A source comes from `vae_anomaly.pipeline.sources.open_source`, a model from
`vae_anomaly.model.file.load_model`. Nothing here names a modality.
"""

"""Hostile models, broken data and pulled plugs: what `docs/reliability.md` promises."""

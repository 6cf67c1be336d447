"""Bundles: what agent sessions are made of. `merging.py` and `layers.py` compose, `plan.py` is what comes out."""

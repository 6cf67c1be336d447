"""Bundles on disk and in git: read, found, composed, prepared, watched. `preparing.py` puts it together."""

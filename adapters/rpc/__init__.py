"""The predecessor's method names: one table onto the commands and queries of today. Read `methods.py`, `calling.py`."""

"""The HTTP interface: queries, commands, the event stream, probes, behind one gate. Read `app.py`, then `routes.py`."""

"""The active half of the tower: the single writer, the effects (process managers), recovery.

Everything outside is seen through the Protocols in `ports.py`; adapters implement them.
"""

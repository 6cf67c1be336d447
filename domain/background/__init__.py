"""Background sessions: what triggers them, what waits, and what runs."""

"""Managed layouts and their panes: `events`, `state` (with the transition table), `commands`, `decide`."""

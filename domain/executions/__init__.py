"""Executions of Python code, the sessions they run in and what they ask: `events`, `state` (with the state tables),
`commands`, `decide`, `reports` (what the tower saw itself), `sessions` (checkpoints)."""

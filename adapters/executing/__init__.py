"""The parent's side of workers: their processes, their output, sessions on top of them, a pool, the local engine."""

"""Peers of the execution engine, each a program of its own that prints its figures as JSON on its last line.

They import nothing of ours: what they measure is the peer in its own process, as its users run it.
"""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

FOLDER: Final = Path(__file__).parent
PACKAGES: Final = {"jupyter": "jupyter_client", "durable_workflows": "dbos"}
TIMEOUT_S: Final = 600.0

Figures = dict[str, Any]
"""`p50_ms`, `p99_ms` of `1+1`; `rates`: executions a second by number of sessions; what else a peer can be asked."""


def figures_of(peer: str, *words: str) -> Figures | None:
    """None where the peer is not installed. Raises `RuntimeError` when it fails."""
    if importlib.util.find_spec(PACKAGES[peer]) is None:
        return None
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, str(FOLDER / f"{peer}.py"), *words],
        capture_output=True,
        text=True,
        env=environment,
        timeout=TIMEOUT_S,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{peer} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])

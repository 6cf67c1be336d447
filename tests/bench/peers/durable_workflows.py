"""DBOS on SQLite, a workflow with one step that adds 1 and 1: `python durable_workflows.py RUNS FOLDER`"""

import json
import statistics
import sys
import threading
import time
from pathlib import Path
from typing import Any

from dbos import DBOS, DBOSConfig

SESSIONS = (1, 8, 64)


@DBOS.step()
def add() -> int:
    return 1 + 1


@DBOS.workflow()
def one_step() -> int:
    return add()


def timed(runs: int) -> list[float]:
    times: list[float] = []
    for _ in range(runs):
        began = time.perf_counter()
        assert one_step() == 2
        times.append(time.perf_counter() - began)
    return times


def rate(sessions: int, runs: int) -> float:
    threads = [threading.Thread(target=timed, args=(runs,)) for _ in range(sessions)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sessions * runs / (time.perf_counter() - began)


def main(runs: int, folder: Path) -> None:
    config: DBOSConfig = {
        "name": "peer",
        "system_database_url": f"sqlite:///{folder / 'dbos.sqlite'}",
        "run_admin_server": False,
        "log_level": "ERROR",
    }
    DBOS(config=config)
    DBOS.launch()
    try:
        timed(10)
        times = sorted(timed(runs))
        figures: dict[str, Any] = {
            "p50_ms": 1000 * statistics.median(times),
            "p99_ms": 1000 * times[int(len(times) * 0.99)],
            "rates": {str(sessions): rate(sessions, max(1, runs // sessions)) for sessions in SESSIONS},
        }
    finally:
        DBOS.destroy()
    print(json.dumps(figures))


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))

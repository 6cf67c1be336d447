"""ipykernel through jupyter_client: figures as JSON. `python jupyter.py RUNS LINES_MB`"""

import json
import statistics
import subprocess
import sys
import threading
import time
from queue import Empty
from typing import Any

from jupyter_client import BlockingKernelClient, KernelManager

DEADLINE_S = 120.0
CANCEL_S = 5.0
"""What does not stop by then is not stopped by an interrupt."""

SESSIONS = (1, 8)
"""Kernels beside each other; 64 of them would be 64 processes of 60 MB and a minute of starting."""

LONG = {
    "loop": "import sys; print('started', flush=True)\nwhile True: pass",
    "sleep": "import time; print('started', flush=True)\ntime.sleep(100)",
    "await": "import asyncio; print('started', flush=True)\nawait asyncio.sleep(100)",
}


class Kernel:
    """One kernel with its client."""

    def __init__(self) -> None:
        self.manager = KernelManager()
        # What a kernel says of itself would stand among the figures.
        self.manager.start_kernel(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.client: BlockingKernelClient = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=DEADLINE_S)

    def close(self) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)

    def run(self, code: str) -> int:
        """Run to the kernel's own `idle`; bytes of output that came before it."""
        asked = self.client.execute(code)
        return self._until_idle(asked)

    def _until_idle(self, asked: str, timeout_s: float = DEADLINE_S) -> int:
        size = 0
        while True:
            message = self.client.get_iopub_msg(timeout=timeout_s)
            if message["parent_header"].get("msg_id") != asked:
                continue
            content: dict[str, Any] = message["content"]
            if message["msg_type"] == "stream":
                size += len(content["text"])
            if message["msg_type"] == "status" and content["execution_state"] == "idle":
                self._reply(asked)
                return size

    def _reply(self, asked: str) -> None:
        while self.client.get_shell_msg(timeout=DEADLINE_S)["parent_header"].get("msg_id") != asked:
            pass

    def cancel_s(self, code: str) -> float:
        """From the interrupt to the end of a cell that has begun. Raises `Empty` when it does not end."""
        asked = self.client.execute(code)
        while True:
            message = self.client.get_iopub_msg(timeout=DEADLINE_S)
            if message["msg_type"] == "stream" and message["parent_header"].get("msg_id") == asked:
                break
        began = time.perf_counter()
        self.manager.interrupt_kernel()
        self._until_idle(asked, CANCEL_S)
        return time.perf_counter() - began


def percentiles(times: list[float]) -> dict[str, float]:
    ordered = sorted(times)
    return {"p50_ms": 1000 * statistics.median(ordered), "p99_ms": 1000 * ordered[int(len(ordered) * 0.99)]}


def timed(kernel: Kernel, runs: int) -> list[float]:
    times: list[float] = []
    for _ in range(runs):
        began = time.perf_counter()
        kernel.run("1+1")
        times.append(time.perf_counter() - began)
    return times


def rate(sessions: int, runs: int) -> float:
    """Executions a second of that many kernels, a thread each."""
    kernels = [Kernel() for _ in range(sessions)]
    try:
        threads = [threading.Thread(target=timed, args=(each, runs)) for each in kernels]
        began = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return sessions * runs / (time.perf_counter() - began)
    finally:
        for kernel in kernels:
            kernel.close()


def cancelled(code: str) -> float | None:
    """Milliseconds, the median of five; None when an interrupt does not end it."""
    kernel = Kernel()
    try:
        return 1000 * statistics.median(kernel.cancel_s(code) for _ in range(5))
    except Empty:
        return None
    finally:
        kernel.close()


def main(runs: int, megabytes: int) -> None:
    began = time.perf_counter()
    kernel = Kernel()
    kernel.run("1+1")
    figures: dict[str, Any] = {"cold_ms": 1000 * (time.perf_counter() - began)}
    figures |= {f"cancel_{name}_ms": cancelled(code) for name, code in LONG.items()}
    try:
        figures |= percentiles(timed(kernel, runs))
        size = megabytes * 1_000_000
        for name, code in {
            "lines": f"line = 'x' * 79\nfor _ in range({size // 80}): print(line)",
            "blocks": f"import os\nfor _ in range({size // 65536}): os.write(1, b'x' * 65536)",
        }.items():
            began = time.perf_counter()
            came = kernel.run(code)
            figures[f"{name}_mb_s"] = came / 1_000_000 / (time.perf_counter() - began)
            figures[f"{name}_lost"] = size - came if name == "lines" else size // 65536 * 65536 - came
    except Empty:
        figures["gave_up"] = f"no answer in {DEADLINE_S:g} s"
    finally:
        kernel.close()
    figures["rates"] = {str(sessions): rate(sessions, runs // sessions) for sessions in SESSIONS}
    print(json.dumps(figures))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))

"""The execution in flight in one worker: its clock, which stands still while a person is asked, and how it is told."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

from adapters.executing import outcomes
from adapters.executing.outcomes import Failure, Outcome, State

ASYNC_TIMEOUT_S: Final = 30.0
"""Of a cell that awaits at top level, when none is given."""


class Running:
    """`stopping`: how it ends if it is stopped in time; `killed`: it was not, and its worker was. `left_behind`: the
    child processes that it has when it ends, if it is being stopped."""

    def __init__(
        self, execution_id: str, timeout_s: float | None, default_timeout: bool, late: Callable[[str], None]
    ) -> None:
        self.execution_id = execution_id
        self._timeout_s = timeout_s
        self._default_timeout = default_timeout
        self._late = late
        # Of a cell without a time limit, the worker says only what is otherwise.
        self._mode, self._blocking = "simple_sync", tuple[str, ...]()
        self._left_s: float | None = None
        self._since = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._asking = 0
        self.stopping: State | None = None
        self.killed = False
        self.children_before: frozenset[int] = frozenset()
        self.left_behind: frozenset[int] = frozenset()
        self.dropped_before = 0
        self.over = asyncio.Event()

    def started(self, frame: Mapping[str, Any]) -> None:
        self._mode, self._blocking = frame["mode"], tuple(frame["blocking"])
        awaits = self._default_timeout and self._mode == "top_level_await"
        self._left_s = ASYNC_TIMEOUT_S if self._timeout_s is None and awaits else self._timeout_s
        self._run_clock()

    def asks(self) -> None:
        self._asking += 1
        self.stop_clock()

    def answered(self) -> None:
        self._asking = max(0, self._asking - 1)
        if not self._asking:
            self._run_clock()

    def _run_clock(self) -> None:
        if self._left_s is not None and self.stopping is None and self._timer is None:
            loop = asyncio.get_running_loop()
            self._since = loop.time()
            self._timer = loop.call_later(self._left_s, self._late, self.execution_id)

    def stop_clock(self) -> None:
        if self._timer is not None and self._left_s is not None:
            self._timer.cancel()
            self._timer = None
            self._left_s = max(0.0, self._left_s - (asyncio.get_running_loop().time() - self._since))

    # --- its end ---------------------------------------------------------------------------------------------------

    def ended_by(self, frame: Mapping[str, Any], dropped: int, *, loss_fails: bool) -> Outcome:
        """`dropped`: bytes of its worker's output that have been dropped so far."""
        more: dict[str, Any] = {**self._common(dropped)}
        if frame["type"] == "result":
            outcome = outcomes.completed(self.execution_id, frame, **more)
        else:
            stopped = self.stopping if frame.get("cancelled") else None
            outcome = outcomes.failed(self.execution_id, frame, stopped or State.FAILED, **more)
        if loss_fails and outcome.dropped_bytes and outcome.state is State.COMPLETED:
            message = f"{outcome.dropped_bytes} bytes of output came faster than they were taken"
            return Outcome(
                execution_id=self.execution_id,
                state=State.FAILED,
                error=Failure(exception_type="OutputLost", message=message, code="output_lost"),
                execution_time=outcome.execution_time,
                children=outcome.children,
                **more,
            )
        return outcome

    def ended_with_worker(
        self, why: str, dropped: int, *, exit_code: int | None, number: int | None, memory_bytes: int | None
    ) -> Outcome:
        stopped = self.stopping if self.killed else None
        failure = Failure(
            exception_type="WorkerDied" if stopped is None else "KeyboardInterrupt",
            message=why if stopped is None else "it did not stop by itself and was killed with its worker",
            code="worker_died" if stopped is None else None,
            exit_code=exit_code,
            signal=number,
            last_memory_bytes=memory_bytes,
        )
        return Outcome(
            execution_id=self.execution_id,
            state=stopped or State.FAILED,
            error=failure,
            worker_restarted=True,
            **self._common(dropped),
        )

    def _common(self, dropped: int) -> dict[str, Any]:
        return {"mode": self._mode, "blocking": self._blocking, "dropped_bytes": dropped - self.dropped_before}

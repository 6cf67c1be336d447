"""Figures of executions: how they end, what blocks, workers that had to be replaced, the pool, promises, output."""

from collections import Counter as Count
from collections.abc import Callable, Iterable, Mapping, Sequence

from prometheus_client import CollectorRegistry, Counter
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from domain.envelope import Recorded
from domain.executions import events as ee
from domain.executions.events import ExecutionState
from domain.executions.state import ENDS
from domain.tower import Tower

OPEN = (ExecutionState.REQUESTED, ExecutionState.RUNNING, ExecutionState.RETRYING, ExecutionState.PAUSED)


class ExecutionFigures(Collector):
    """An observer of the writer. What is counted now is looked up when somebody asks. `workers` by what they do;
    `totals`: name -> sum so far (`pool_waits`, `pool_wait_seconds`, `output_bytes`)."""

    def __init__(
        self,
        registry: CollectorRegistry,
        *,
        workers: Callable[[], Mapping[str, int]],
        totals: Callable[[], Mapping[str, float]],
    ) -> None:
        self._workers = workers
        self._totals = totals
        self._state = Tower()
        self._ends = Counter("agenttower_executions", "Executions by mode and end.", ["mode", "end"], registry=registry)
        self._blocking = Counter(
            "agenttower_blocking_calls", "Executions with a call that blocks.", ["call"], registry=registry
        )
        self._restarts = Counter("agenttower_worker_restarts", "Workers that died or were killed.", registry=registry)
        registry.register(self)

    def holds(self, state: Tower) -> None:
        """What is in memory after recovery, before the first commit."""
        self._state = state

    def committed(self, recorded: Sequence[Recorded], state: Tower) -> None:
        self._state = state
        for record in recorded:
            event = record.event
            if isinstance(event, ee.ExecutionEnd):
                self._count(event)
            elif isinstance(event, ee.ExecutionRetryScheduled | ee.ExecutionPaused) and _died(event.error):
                self._restarts.inc()

    def _count(self, event: ee.ExecutionEnd) -> None:
        mode = "unknown"
        match event:
            case ee.ExecutionCompleted():
                mode = event.mode
                self._count_blocking(event.blocking)
            case ee.ExecutionFailed():
                mode = event.mode
                self._count_blocking(event.blocking)
                self._restarts.inc(_died(event.error))
            case ee.ExecutionCancelled() | ee.ExecutionTimedOut():
                self._restarts.inc(event.worker_restarted)
            case _:
                pass
        self._ends.labels(mode, str(ENDS[type(event)])).inc()

    def _count_blocking(self, calls: Iterable[str]) -> None:
        for call in calls:
            self._blocking.labels(call).inc()

    def collect(self) -> Iterable[Metric]:
        yield _gauges("executions_open", "Executions without an end, by state.", "state", self._open())
        yield _gauges("workers", "Workers by what they do.", "doing", self._workers())
        promises = self._state.promises
        pending = len(promises.known) - len(promises.order) + len(self._state.executions.open)
        yield GaugeMetricFamily("agenttower_promises_pending", "Promises that nobody has settled.", value=pending)
        for name, value in self._totals().items():
            yield CounterMetricFamily(f"agenttower_{name}", f"{name.replace('_', ' ')} since the start.", value=value)

    def _open(self) -> Mapping[str, int]:
        counts = Count(execution.state for execution in self._state.executions.open.values())
        return {str(state): counts[state] for state in OPEN}


def _gauges(name: str, said: str, label: str, values: Mapping[str, int]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"agenttower_{name}", said, labels=[label])
    for value, count in values.items():
        family.add_metric([value], count)
    return family


def _died(error: ee.ExecutionError | None) -> bool:
    return error is not None and error.code == "worker_died"

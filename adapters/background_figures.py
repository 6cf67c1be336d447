"""Figures of background sessions: what was fired and what became of it, runs, what waits; and of subscriptions."""

from collections import Counter as Count
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, Counter
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from domain.background import events as e
from domain.background.events import BackgroundState
from domain.envelope import Recorded
from domain.tower import Tower

Lags = Callable[[int], Sequence[Mapping[str, Any]]]
"""Of those who are subscribed, from the end of the log: `id` and `lag`."""


class BackgroundFigures(Collector):
    """An observer of the writer. What there is now is looked up when somebody asks."""

    def __init__(self, registry: CollectorRegistry, lags: Lags) -> None:
        self._lags = lags
        self._state = Tower()
        self._end = 0
        self._fired = Counter(
            "agenttower_triggers", "Firings by type and outcome.", ["type", "outcome"], registry=registry
        )
        self._runs = Counter(
            "agenttower_background_runs", "Runs of background sessions by outcome.", ["outcome"], registry=registry
        )
        registry.register(self)

    def holds(self, state: Tower, position: int) -> None:
        """What is in memory after recovery, before the first commit."""
        self._state, self._end = state, position

    def committed(self, recorded: Sequence[Recorded], state: Tower) -> None:
        self._state = state
        for record in recorded:
            self._end = record.position
            match record.event:
                case e.TriggerFired(type=type_, placed=placed):
                    self._fired.labels(type_, placed).inc()
                case e.TriggerRefused(type=type_):
                    self._fired.labels(type_, "refused").inc()
                case e.TriggerDropped():
                    # Its type stands in its firing, which nobody holds any more.
                    self._fired.labels("", "dropped").inc()
                case e.BackgroundStopped(dropped=dropped):
                    self._fired.labels("", "dropped").inc(len(dropped))
                case e.BackgroundRunEnded() as ended:
                    self._runs.labels("again" if ended.again else "completed" if ended.success else "failed").inc()
                case _:
                    pass

    def collect(self) -> Iterable[Metric]:
        known = [each for each in self._state.backgrounds.known.values() if not each.over]
        counts = Count(str(each.state) for each in known)
        sessions = GaugeMetricFamily(
            "agenttower_background_sessions", "Background sessions by state.", labels=["state"]
        )
        for state in BackgroundState:
            sessions.add_metric([str(state)], counts[str(state)])
        yield sessions
        running, waiting = sum(len(each.running) for each in known), sum(len(each.waiting) for each in known)
        yield GaugeMetricFamily("agenttower_background_running", "Runs of background sessions now.", value=running)
        yield GaugeMetricFamily("agenttower_background_waiting", "Firings that wait for their run.", value=waiting)
        behind = GaugeMetricFamily(
            "agenttower_subscription_lag_events", "Events that a subscription has not come by.", labels=["subscription"]
        )
        for each in self._lags(self._end):
            behind.add_metric([each["id"]], each["lag"])
        yield behind

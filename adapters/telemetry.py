"""What the tower tells about itself: log lines (structlog), figures (Prometheus), traces (OpenTelemetry)."""

import logging
import re
import sys
from collections import Counter as Count
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, TextIO

import structlog
from opentelemetry import trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from domain.envelope import Recorded
from domain.layouts.state import PaneState
from domain.tower import Tower
from handlers.batch import Decision

REDACTED: Final = "<redacted>"

# --- log lines -----------------------------------------------------------------------------------------------------

_SECRET: Final = re.compile(
    "TOKEN|SECRET|KEY|PASSWORD|PASSWD|PWD|AUTH|BEARER|CREDENTIAL|COOKIE|SESSION|PRIVATE|API", re.IGNORECASE
)
_CREDENTIALS: Final = re.compile(r"(?<=//)[^/@\s]+(?=@)")

PUBLIC_KEYS: Final = frozenset(
    {"idempotency_key", "session", "session_id", "session_name", "tmux_session_name", "agent_session"}
)
"""Names of ours that look like secrets and hold none."""


def is_secret_key(key: str) -> bool:
    """Whether the value of an environment variable, or of anything else of this name, is never shown."""
    return _SECRET.search(key) is not None


def redacted(values: Mapping[str, Any]) -> dict[str, Any]:
    """An environment with the values of secret-looking names replaced."""
    return {key: REDACTED if is_secret_key(key) else value for key, value in values.items()}


def _shown(key: str, value: Any) -> Any:
    if is_secret_key(key) and key not in PUBLIC_KEYS:
        return REDACTED
    match value:
        case str():
            return _CREDENTIALS.sub(REDACTED, value)
        case Mapping():
            # Inside a mapping the names are somebody else's, an environment's for one: none is known to be harmless.
            return {
                str(name): REDACTED if is_secret_key(str(name)) else _shown("", inner) for name, inner in value.items()
            }
        case list() | tuple():
            return [_shown("", inner) for inner in value]
        case _:
            return value


def redact(_logger: Any, _method: str, line: dict[str, Any]) -> dict[str, Any]:
    """structlog processor: no secret-looking value and no credentials of a URL leave the process."""
    return {key: _shown(key, value) for key, value in line.items()}


def configure_logging(*, json: bool, node: str, level: str = "INFO", stream: TextIO | None = None) -> None:
    """One line an entry on `stream` (stderr), as JSON or for people, each with `node`; stdlib loggers included."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        _with_node(node),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    shown: list[Any] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta]
    target = stream or sys.stderr
    if json:
        shown += [structlog.processors.format_exc_info, redact, structlog.processors.JSONRenderer(sort_keys=False)]
    else:
        # Not the renderer's own tracebacks: they show the values of variables, and take seconds.
        plain = structlog.dev.plain_traceback
        shown += [redact, structlog.dev.ConsoleRenderer(colors=target.isatty(), exception_formatter=plain)]
    handler = logging.StreamHandler(target)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=shown))
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level)
    for chatty in ("uvicorn", "uvicorn.error", "uvicorn.access", "asyncio", "httpx", "httpcore"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


def _with_node(node: str) -> Any:
    def add(_logger: Any, _method: str, line: dict[str, Any]) -> dict[str, Any]:
        line.setdefault("node", node)
        return line

    return add


# --- figures -------------------------------------------------------------------------------------------------------

_LATENCY_S: Final = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
_SIZES: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)


class _Panes(Collector):
    """Panes by state, counted when somebody asks: nothing to keep in step."""

    def __init__(self) -> None:
        self.state: Tower | None = None

    def collect(self) -> Iterable[GaugeMetricFamily]:
        family = GaugeMetricFamily("agenttower_panes", "Panes by state.", labels=["state"])
        counts: Count[str] = Count()
        if self.state is not None:
            counts.update(str(pane.state) for pane in self.state.layouts.panes.values())
        for state in PaneState:
            family.add_metric([str(state)], counts[str(state)])
        yield family


class _Lags(Collector):
    """How far projections are behind what is in memory, looked up when somebody asks."""

    def __init__(self) -> None:
        self.end = 0
        self.positions: Callable[[], Mapping[str, int]] = dict

    def collect(self) -> Iterable[GaugeMetricFamily]:
        family = GaugeMetricFamily(
            "agenttower_projection_lag_events", "Events not yet projected.", labels=["projection"]
        )
        for name, position in self.positions().items():
            family.add_metric([name], max(0, self.end - position))
        yield family


class Metrics:
    """The tower's figures in a registry of their own. An `Observer` of the writer; others call the plain methods."""

    def __init__(self) -> None:
        self.registry: Final = CollectorRegistry()
        self._panes = _Panes()
        self.registry.register(self._panes)
        self._lags = _Lags()
        self.registry.register(self._lags)
        registry = self.registry

        def seconds(name: str, doc: str) -> Histogram:
            return Histogram(f"agenttower_{name}_seconds", doc, buckets=_LATENCY_S, registry=registry)

        def sizes(name: str, doc: str) -> Histogram:
            return Histogram(f"agenttower_{name}", doc, buckets=_SIZES, registry=registry)

        self._commands = Counter(
            "agenttower_commands", "Commands by outcome and code.", ["outcome", "code"], registry=registry
        )
        self._decide_s = seconds("decide", "Deciding one batch.")
        self._append_s = seconds("append", "Appending one batch.")
        self._outcome_s = seconds("outcome", "A batch from taking its commands to its outcomes.")
        self._batch_commands = sizes("batch_commands", "Commands of a batch.")
        self._batch_events = sizes("batch_events", "Events of a batch.")
        self._position = Gauge("agenttower_log_position", "Last position that is in memory.", registry=registry)
        self._effects = Gauge("agenttower_effects_in_flight", "Actions under way.", ["effect"], registry=registry)
        self._round_trip_s = seconds("broker_round_trip", "A question to the broker and its answer.")

    # What the writer tells (handlers.writer.Observer).

    def committed(self, recorded: Sequence[Recorded], state: Tower) -> None:
        self._panes.state = state
        if recorded:
            self._lags.end = recorded[-1].position
            self._position.set(recorded[-1].position)

    def step_done(self, decisions: Sequence[Decision], events: int, decide_s: float, append_s: float) -> None:
        for decision in decisions:
            accepted = decision.code == "accepted"
            self._commands.labels("accepted" if accepted else "rejected", "" if accepted else decision.code).inc()
        self._decide_s.observe(decide_s)
        if events:
            self._append_s.observe(append_s)
            self._batch_events.observe(events)
        self._batch_commands.observe(len(decisions))
        self._outcome_s.observe(decide_s + append_s)

    # What everybody else tells.

    def holds(self, state: Tower, position: int) -> None:
        """What is in memory after recovery, before the first commit."""
        self._panes.state = state
        self._lags.end = position
        self._position.set(position)

    def follow_projections(self, positions: Callable[[], Mapping[str, int]]) -> None:
        """From now on report how far each projection is behind; `positions` by name, asked at every scrape."""
        self._lags.positions = positions

    def follow_effect(self, name: str, in_flight: Callable[[], int]) -> None:
        """From now on report the actions of an effect that are under way, asked at every scrape."""
        self._effects.labels(name).set_function(in_flight)

    def broker_round_trip(self, seconds: float) -> None:
        self._round_trip_s.observe(seconds)


# --- traces --------------------------------------------------------------------------------------------------------

_tracer: Final = trace.get_tracer("agenttower")
_propagator: Final = TraceContextTextMapPropagator()


@contextmanager
def span(name: str, traceparent: str | None, **attributes: str | float | bool) -> Iterator[str | None]:
    """A span below `traceparent` (a malformed one counts as none); gives the traceparent to hand on, None without any.

    Without an OpenTelemetry SDK nothing is recorded and a given traceparent is handed on as it is.
    """
    parent = _propagator.extract({} if traceparent is None else {"traceparent": traceparent})
    with _tracer.start_as_current_span(name, context=parent, attributes=attributes):
        carrier: dict[str, str] = {}
        _propagator.inject(carrier)
        yield carrier.get("traceparent")


class Traces:
    """An observer of the writer: every recorded event that belongs to a trace is a span of it, at its own time.

    Follow-up commands carry the trace on, so that it leads from the command to what the effects did.
    """

    def committed(self, recorded: Sequence[Recorded], state: Tower) -> None:
        for each in recorded:
            if isinstance(each.envelope.traceparent, str):
                self._span(each)

    def _span(self, recorded: Recorded) -> None:
        envelope = recorded.envelope
        at_ns = int(envelope.time.timestamp() * 1e9)
        _tracer.start_span(
            envelope.type,
            context=_propagator.extract({"traceparent": envelope.traceparent}),
            start_time=at_ns,
            attributes={
                "agenttower.subject": envelope.subject,
                "agenttower.position": recorded.position,
                "agenttower.command_id": envelope.commandid,
                "agenttower.actor": envelope.actor,
            },
        ).end(at_ns)

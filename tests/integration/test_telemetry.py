"""Log lines, figures, traces: what is shown, and above all what is not."""

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog
from prometheus_client import generate_latest

from adapters.telemetry import REDACTED, Metrics, configure_logging, is_secret_key, redacted, span
from domain.tower import Tower

SECRET_WORDS = ["TOKEN", "SECRET", "KEY", "PASSWORD", "PASSWD", "PWD", "AUTH"]
SECRET_WORDS += ["BEARER", "CREDENTIAL", "COOKIE", "SESSION", "PRIVATE", "API"]


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """Where the log goes; logging is afterwards as it was before."""
    root = logging.getLogger()
    handlers, level, before = list(root.handlers), root.level, structlog.get_config()
    yield io.StringIO()
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.configure(**before)


def parsed(stream: io.StringIO) -> list[dict]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


@pytest.mark.parametrize("word", SECRET_WORDS)
def test_each_word_makes_a_name_secret_in_any_case(word: str) -> None:
    for name in (word, word.lower(), f"MY_{word}_1", f"x{word.title()}y"):
        assert is_secret_key(name)
        assert redacted({name: "value"}) == {name: REDACTED}
    assert redacted({"PATH": "/bin", "HOME": "/"}) == {"PATH": "/bin", "HOME": "/"}


def test_a_line_has_node_level_logger_and_what_was_bound(lines: io.StringIO) -> None:
    configure_logging(json=True, node="n1", stream=lines)
    structlog.get_logger("tower").bind(command_id="c1").info("layout created", layout_id="L")
    logging.getLogger("library").warning("old-fashioned %s", "words")
    structlog.get_logger("tower").debug("not shown")
    first, second = parsed(lines)
    expected = {"event": "layout created", "node": "n1", "level": "info", "logger": "tower"}
    assert expected.items() <= first.items()
    assert (first["command_id"], first["layout_id"]) == ("c1", "L")
    assert {"event": "old-fashioned words", "node": "n1", "level": "warning"}.items() <= second.items()
    assert first["timestamp"].endswith("Z")


@pytest.mark.parametrize("as_json", [True, False])
def test_no_secret_is_shown(lines: io.StringIO, as_json: bool) -> None:
    configure_logging(json=as_json, node="n1", stream=lines)
    log = structlog.get_logger("tower")
    log.info(
        "starting",
        http_token="hunter2",
        env={"MY_API_KEY": "hunter2", "SESSION": "hunter2", "PATH": "/bin"},
        nested=[{"Authorization": "hunter2"}],
        url="nats://tower:hunter2@127.0.0.1:4222",
    )
    assert "hunter2" not in lines.getvalue()
    assert REDACTED in lines.getvalue()
    assert "/bin" in lines.getvalue()
    assert "@127.0.0.1:4222" in lines.getvalue()


def test_names_of_ours_that_only_look_secret_are_shown(lines: io.StringIO) -> None:
    configure_logging(json=True, node="n1", stream=lines)
    structlog.get_logger("tower").info("made", tmux_session_name="fleet", idempotency_key="k1")
    (line,) = parsed(lines)
    assert (line["tmux_session_name"], line["idempotency_key"]) == ("fleet", "k1")


@pytest.mark.parametrize("as_json", [True, False])
def test_a_traceback_shows_no_variables(lines: io.StringIO, as_json: bool) -> None:
    configure_logging(json=as_json, node="n1", stream=lines)
    password = "hunter" + "2"
    try:
        raise ValueError(len(password))
    except ValueError:
        structlog.get_logger("tower").exception("failed")
    assert "ValueError: 7" in lines.getvalue()
    assert "hunter2" not in lines.getvalue()


def test_figures() -> None:
    metrics = Metrics()
    metrics.holds(Tower(), 100)
    metrics.follow_projections(lambda: {"layouts": 90, "events": 120})
    metrics.broker_round_trip(0.003)
    in_flight = [1]
    metrics.follow_effect("spawning", lambda: len(in_flight))
    during = generate_latest(metrics.registry).decode()
    in_flight.clear()
    after = generate_latest(metrics.registry).decode()
    assert 'agenttower_projection_lag_events{projection="layouts"} 10.0' in after
    assert 'agenttower_projection_lag_events{projection="events"} 0.0' in after
    assert 'agenttower_effects_in_flight{effect="spawning"} 1.0' in during
    assert 'agenttower_effects_in_flight{effect="spawning"} 0.0' in after
    assert "agenttower_log_position 100.0" in after
    assert 'agenttower_broker_round_trip_seconds_bucket{le="0.005"} 1.0' in after
    assert 'agenttower_broker_round_trip_seconds_bucket{le="0.002"} 0.0' in after


def test_two_registries_do_not_share_figures() -> None:
    one, other = Metrics(), Metrics()
    one.broker_round_trip(1)
    assert "agenttower_broker_round_trip_seconds_count 0.0" in generate_latest(other.registry).decode()


def test_a_trace_is_handed_on_and_a_malformed_one_is_none() -> None:
    given = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    with span("asked", given) as carried:
        assert carried == given
    for nothing in (None, "", "nonsense", "00-0-0-00", "00-" + "0" * 32 + "-" + "0" * 16 + "-01"):
        with span("asked", nothing) as carried:
            assert carried is None

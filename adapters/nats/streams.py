"""The node's five streams: created as specified, or verified. A differing setting is reported, never changed."""

from collections.abc import Mapping
from typing import Any, Final

import structlog

from adapters.nats import subjects
from adapters.nats.connection import ApiError, js_api
from adapters.nats.wire import WireClient

SECOND_NS: Final = 1_000_000_000
DAY_NS: Final = 24 * 60 * 60 * SECOND_NS
MAX_COMMAND_BYTES: Final = 1024 * 1024
OUTPUT_BYTES: Final = 1024 * 1024 * 1024

STREAM_NOT_FOUND: Final = 10059

_log = structlog.get_logger("streams")


def stream_settings(
    node: str, *, replicas: int = 1, events_max_bytes: int = -1, output_max_bytes: int = OUTPUT_BYTES
) -> tuple[dict[str, Any], ...]:
    """What each stream must be, in the JSON API's words. -1 is no limit; durations are nanoseconds."""
    subjects.checked_node(node)
    common = {"retention": "limits", "storage": "file", "num_replicas": replicas}
    return (
        common
        | {
            "name": subjects.commands_stream(node),
            "subjects": [f"tower.cmd.{node}.*.*.*"],
            "max_age": DAY_NS,
            "duplicate_window": 120 * SECOND_NS,
            "max_msg_size": MAX_COMMAND_BYTES,
            "discard": "new",
        },
        common
        | {
            "name": subjects.events_stream(node),
            "subjects": [f"tower.evt.{node}.*.*.*"],
            "max_age": 0,
            "max_msgs": -1,
            "max_bytes": events_max_bytes,
            "discard": "new",
            "allow_atomic": True,
            "allow_direct": True,
            "deny_delete": True,
            "compression": "s2",
        },
        common
        | {
            "name": subjects.outcomes_stream(node),
            "subjects": [f"tower.out.{node}.*.*"],
            "max_msgs_per_subject": 1,
            "max_age": 7 * DAY_NS,
            "allow_direct": True,
            "persist_mode": "async",
        },
        common
        | {
            "name": subjects.output_stream(node),
            "subjects": [f"tower.log.{node}.*.*"],
            "max_age": 7 * DAY_NS,
            "max_bytes": output_max_bytes,
            "discard": "old",
        },
        common
        | {
            "name": subjects.timers_stream(node),
            "subjects": [f"tower.timer.{node}.>", f"tower.due.{node}.>"],
            "allow_msg_schedules": True,
            "allow_msg_ttl": True,
            "discard": "old",
            "max_age": 0,
        },
    )


def differences(expected: Mapping[str, Any], actual: Mapping[str, Any]) -> list[str]:
    """`stream: setting is X, expected Y` for each setting of `expected` that `actual` does not have."""
    return [
        f"{expected['name']}: {setting} is {_shown(actual.get(setting))}, expected {_shown(value)}"
        for setting, value in expected.items()
        if _settled(setting, actual.get(setting)) != _settled(setting, value)
    ]


def _settled(setting: str, value: Any) -> Any:
    """The server leaves out false and empty values, and the order of subjects means nothing."""
    if setting == "subjects":
        return sorted(value or ())
    return value or None


def _shown(value: Any) -> str:
    if value is None:
        return "unset"
    return ", ".join(value) if isinstance(value, list) else str(value).lower() if value in (True, False) else str(value)


async def ensure_stream(client: WireClient, settings: Mapping[str, Any]) -> list[str]:
    """Create the stream if it is missing; the differences if it is there. Raises `ApiError`."""
    name = settings["name"]
    try:
        info = await js_api(client, f"STREAM.INFO.{name}")
    except ApiError as error:
        if error.err_code != STREAM_NOT_FOUND:
            raise
        info = await js_api(client, f"STREAM.CREATE.{name}", settings)
        _log.info("stream created", stream=name)
    return differences(settings, info["config"])


async def ensure_streams(
    client: WireClient,
    node: str,
    *,
    replicas: int = 1,
    events_max_bytes: int = -1,
    output_max_bytes: int = OUTPUT_BYTES,
) -> list[str]:
    """Create or verify all streams of `node`; all differences as `stream: setting is X, expected Y`."""
    wanted = stream_settings(
        node, replicas=replicas, events_max_bytes=events_max_bytes, output_max_bytes=output_max_bytes
    )
    found: list[str] = []
    for settings in wanted:
        found += await ensure_stream(client, settings)
    for line in found:
        _log.warning("stream differs", difference=line)
    return found

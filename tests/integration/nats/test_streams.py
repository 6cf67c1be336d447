"""The five streams of a node: as specified, verified, never silently changed."""

from typing import Any

import pytest

from adapters.nats.broker import EmbeddedBroker
from adapters.nats.connection import ApiError, js_api
from adapters.nats.streams import differences, ensure_stream, ensure_streams, stream_settings
from adapters.nats.wire import WireClient
from tests.integration.conftest import NODE, Connected

DAY_NS = 86_400 * 10**9

SPECIFIED: dict[str, dict[str, Any]] = {
    "TOWER_COMMANDS_local": {
        "subjects": ["tower.cmd.local.*.*.*"],
        "storage": "file",
        "retention": "limits",
        "max_age": DAY_NS,
        "duplicate_window": 120 * 10**9,
        "max_msg_size": 1024 * 1024,
        "discard": "new",
    },
    "TOWER_EVENTS_local": {
        "subjects": ["tower.evt.local.*.*.*"],
        "storage": "file",
        "retention": "limits",
        "max_age": 0,
        "max_bytes": -1,
        "max_msgs": -1,
        "discard": "new",
        "allow_atomic": True,
        "allow_direct": True,
        "deny_delete": True,
        "deny_purge": False,
        "compression": "s2",
    },
    "TOWER_OUTCOMES_local": {
        "subjects": ["tower.out.local.*.*"],
        "max_msgs_per_subject": 1,
        "max_age": 7 * DAY_NS,
        "allow_direct": True,
        "persist_mode": "async",
    },
    "TOWER_OUTPUT_local": {"subjects": ["tower.log.local.*.*"], "max_age": 7 * DAY_NS, "discard": "old"},
    "TOWER_TIMERS_local": {
        "subjects": ["tower.timer.local.>", "tower.due.local.>"],
        "allow_msg_schedules": True,
        "allow_msg_ttl": True,
        "discard": "old",
        "max_age": 0,
    },
}


async def config_of(client: WireClient, stream: str) -> dict[str, Any]:
    return (await js_api(client, f"STREAM.INFO.{stream}"))["config"]


async def test_all_streams_have_the_specified_settings(tower_nats: WireClient) -> None:
    names = (await js_api(tower_nats, "STREAM.NAMES"))["streams"]
    assert sorted(names) == sorted(SPECIFIED)
    for stream, settings in SPECIFIED.items():
        config = await config_of(tower_nats, stream)
        assert {setting: config[setting] for setting in settings} == settings
    assert (await config_of(tower_nats, "TOWER_OUTPUT_local"))["max_bytes"] > 0


async def test_streams_that_are_there_are_verified(tower_nats: WireClient) -> None:
    before = [await config_of(tower_nats, stream) for stream in SPECIFIED]
    assert await ensure_streams(tower_nats, NODE) == []
    assert [await config_of(tower_nats, stream) for stream in SPECIFIED] == before


async def test_a_differing_setting_is_reported_and_left_alone(tower_nats: WireClient) -> None:
    events = await config_of(tower_nats, "TOWER_EVENTS_local")
    await js_api(tower_nats, "STREAM.UPDATE.TOWER_EVENTS_local", {**events, "discard": "old", "max_bytes": 5_000_000})
    outcomes = await config_of(tower_nats, "TOWER_OUTCOMES_local")
    await js_api(
        tower_nats, "STREAM.UPDATE.TOWER_OUTCOMES_local", {**outcomes, "subjects": ["tower.out.local.*.*", "extra"]}
    )
    assert await ensure_streams(tower_nats, NODE) == [
        "TOWER_EVENTS_local: max_bytes is 5000000, expected -1",
        "TOWER_EVENTS_local: discard is old, expected new",
        "TOWER_OUTCOMES_local: subjects is tower.out.local.*.*, extra, expected tower.out.local.*.*",
    ]
    assert (await config_of(tower_nats, "TOWER_EVENTS_local"))["discard"] == "old"


def test_a_setting_that_the_server_leaves_out_is_unset() -> None:
    wanted = {"name": "S", "allow_atomic": True, "max_age": 0, "deny_delete": False}
    assert differences(wanted, {"name": "S"}) == ["S: allow_atomic is unset, expected true"]


async def test_nodes_have_streams_of_their_own(tower_nats: WireClient) -> None:
    assert await ensure_streams(tower_nats, "site-b") == []
    names = (await js_api(tower_nats, "STREAM.NAMES"))["streams"]
    assert len(names) == 2 * len(SPECIFIED)
    with pytest.raises(ValueError, match="node"):
        await ensure_streams(tower_nats, "no.node")


async def test_a_refusal_of_the_broker_is_raised(broker: EmbeddedBroker, connected: Connected) -> None:
    client = await connected(broker.tower_url)
    with pytest.raises(ApiError, match="replicas"):
        await ensure_stream(client, stream_settings(NODE, replicas=3)[1])

"""Sessions by RPC, over HTTP and NATS: the answer to a foreground spawn waits for what is said."""

from typing import Any

import msgspec
import pytest

from adapters.nats.connection import connect
from tests.integration.sessions.conftest import Talks, agent, plan


class Caller:
    def __init__(self, talks: Talks, transport: str) -> None:
        self._talks = talks
        self._transport = transport

    async def call(self, verb: str, parameters: dict[str, Any]) -> dict[str, Any]:
        if self._transport == "http":
            return self._talks.desk.http.post(f"/rpc/app.session_{verb}", json=parameters).json()
        tower = self._talks.desk.tower
        client = await connect((tower.home / "nats.url").read_text().strip(), name="test")
        try:
            subject = f"tower.rpc.{tower.running.node}.host.app.session_{verb}"
            reply = await client.ask(subject, msgspec.json.encode(parameters), timeout_s=60)
            return msgspec.json.decode(reply.payload)
        finally:
            await client.close()

    async def result(self, verb: str, parameters: dict[str, Any]) -> dict[str, Any]:
        answer = await self.call(verb, parameters)
        assert (answer["ok"], answer["app_contract_version"]) == (True, "1.1"), answer
        return answer["result"]


@pytest.fixture(params=["http", "nats"])
def caller(request: pytest.FixtureRequest, talks: Talks) -> Caller:
    return Caller(talks, request.param)


async def test_a_foreground_spawn_is_answered_with_what_was_said(caller: Caller) -> None:
    result = await caller.result("spawn", {"bundle": plan(), "instruction": "hello"})
    assert (result["state"], result["output"], result["turn_count"]) == ("completed", "hello", 1)
    session = {"session_id": result["session_id"]}
    second = await caller.result("instruct", {**session, "instruction": "more", "wait": 30})
    assert (second["turn"], second["output"]) == (2, "more")
    assert "output" not in await caller.result("instruct", {**session, "instruction": "again"})
    ended = await caller.result("end", {**session, "wait": 30})
    assert ended["state"] == "completed"
    refused = await caller.call("resume", {**session, "instruction": "x"})
    assert refused["error"]["code"] == "session_ended"


async def test_one_in_the_background_and_one_that_is_not_waited_for_are_answered_at_once(caller: Caller) -> None:
    for more in ({"background": True}, {"wait": 0}, {"wait": 0.2}):
        result = await caller.result("spawn", {"bundle": agent(), "instruction": "hang", **more})
        assert result["state"] in ("waiting", "running")
        cancelled = await caller.result("cancel", {"session_id": result["session_id"], "wait": 30})
        assert cancelled["state"] == "cancelled"


@pytest.mark.parametrize("wait", [-1, 301, "long", True])
async def test_a_wait_has_a_limit(caller: Caller, wait: object) -> None:
    refused = await caller.call("spawn", {"bundle": plan(), "instruction": "hello", "wait": wait})
    assert (refused["error"]["code"], refused["error"]["details"]["field"]) == ("validation_failed", "wait")

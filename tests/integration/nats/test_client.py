"""The client of both doors: answered, asked again with the same id, and plain about what it does not know."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
import pytest

from adapters.nats import client as client_module
from adapters.nats.broker import EmbeddedBroker
from adapters.nats.client import CommandClient, NoTower, Undecided
from adapters.nats.connection import js_api
from adapters.nats.doors import DurableDoor, RequestDoor
from adapters.nats.outcomes import InboxOutcomes
from adapters.nats.server_config import container_user
from adapters.nats.wire import WireClient
from adapters.system import SystemIds
from handlers.inbox import Asked, Inbox
from handlers.ports import Answer
from tests.integration.conftest import NODE, Connected

CONTAINER = "a" * 64
ID = "01890a5d-ac96-774b-bcce-b302099a8057"

Decide = Callable[[Asked, int], bool]


class Tower:
    """Both doors on one inbox; answers each command with how often its id was asked, unless `decide` says no."""

    def __init__(self, client: WireClient, answers: WireClient) -> None:
        self.inbox = Inbox()
        self.outcomes = InboxOutcomes(answers, NODE)
        self.seen: dict[str, int] = {}
        self.answers: Decide = lambda asked, times: True
        self._request = RequestDoor(client, NODE, self.inbox, self.outcomes)
        self._durable = DurableDoor(client, NODE, self.inbox)
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        self._task = asyncio.create_task(self._run())
        await self._request.open()
        self._durable.open(0)

    async def close(self) -> None:
        await self._request.close()
        await self._durable.close()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            for asked in await self.inbox.take(100):
                assert isinstance(asked, Asked)
                command = msgspec.json.decode(asked.payload)
                times = self.seen[command["id"]] = self.seen.get(command["id"], 0) + 1
                if self.answers(asked, times):
                    result = {"noun": asked.noun, "verb": asked.verb, "data": command["data"], "times": times}
                    outcome = {"command_id": command["id"], "status": "accepted", "result": result, "position": 7}
                    payload = msgspec.json.encode(outcome)
                    await self.outcomes.answer([Answer(asked.origin, command["id"], payload, asked.reply_to)])


@pytest.fixture
async def tower(broker: EmbeddedBroker, connected: Connected, tower_nats: WireClient) -> AsyncIterator[Tower]:
    running = Tower(tower_nats, await connected(broker.answers_url))
    await running.open()
    yield running
    await running.close()


@pytest.fixture
async def operator(broker: EmbeddedBroker, connected: Connected, tower_nats: WireClient) -> CommandClient:
    return CommandClient(await connected(broker.operator_url), NODE, ids=SystemIds())


@pytest.fixture
def quick_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "FIRST_TRY_S", 0.1)


@pytest.mark.parametrize("door", ["request", "durable"])
class TestBothDoors:
    async def test_an_outcome(self, tower: Tower, operator: CommandClient, door: Any) -> None:
        outcome = await operator.ask("layout", "create", {"template_name": "1m"}, command_id=ID, door=door)
        assert outcome == {
            "command_id": ID,
            "status": "accepted",
            "result": {"noun": "layout", "verb": "create", "data": {"template_name": "1m"}, "times": 1},
            "position": 7,
        }

    async def test_many_at_the_same_time(self, tower: Tower, operator: CommandClient, door: Any) -> None:
        outcomes = await asyncio.gather(
            *(operator.ask("layout", "create", {"number": number}, door=door) for number in range(100))
        )
        assert [outcome["result"]["data"]["number"] for outcome in outcomes] == list(range(100))
        assert len(tower.seen) == 100

    async def test_a_container_with_its_own_user(
        self, tower: Tower, broker: EmbeddedBroker, connected: Connected, door: Any
    ) -> None:
        await broker.reload([container_user(NODE, CONTAINER, "secret")])
        nats = await connected(broker.url(CONTAINER), inbox_prefix=f"_INBOX.{CONTAINER}")
        peer = CommandClient(nats, NODE, ids=SystemIds(), origin=CONTAINER)
        assert (await peer.ask("pane", "list", {}, door=door))["status"] == "accepted"


class TestRequestDoor:
    async def test_no_tower(self, operator: CommandClient) -> None:
        with pytest.raises(NoTower, match="no tower runs for node local"):
            await asyncio.wait_for(operator.ask("layout", "create", {}), 5)

    async def test_it_asks_again_with_the_same_id(
        self, tower: Tower, operator: CommandClient, quick_tries: None
    ) -> None:
        tower.answers = lambda asked, times: times == 3
        outcome = await operator.ask("layout", "create", {}, command_id=ID)
        assert outcome["result"]["times"] == 3
        assert tower.seen == {ID: 3}

    async def test_it_gives_up_saying_what_is_unknown(
        self, tower: Tower, operator: CommandClient, quick_tries: None
    ) -> None:
        tower.answers = lambda asked, times: False
        with pytest.raises(Undecided, match="unknown whether") as undecided:
            await operator.ask("layout", "create", {}, command_id=ID, timeout_s=0.5)
        assert (undecided.value.command_id, undecided.value.queued_at) == (ID, None)
        assert tower.seen[ID] > 1

    async def test_a_broker_crash_in_between(
        self, tower: Tower, operator: CommandClient, broker: EmbeddedBroker
    ) -> None:
        def crash(asked: Asked, times: int) -> bool:
            if times == 1:
                assert broker.pid is not None
                os.kill(broker.pid, signal.SIGKILL)
            return times > 1

        tower.answers = crash
        outcome = await operator.ask("layout", "create", {}, command_id=ID)
        assert outcome["result"]["times"] >= 2


class TestDurableDoor:
    async def test_no_queue(self, broker: EmbeddedBroker, connected: Connected) -> None:
        client = CommandClient(await connected(broker.operator_url), "elsewhere", ids=SystemIds())
        with pytest.raises(NoTower, match="node elsewhere has no command queue"):
            await client.ask("layout", "create", {}, door="durable")

    async def test_queued_for_good_while_no_tower_runs(self, operator: CommandClient, tower_nats: WireClient) -> None:
        with pytest.raises(Undecided, match="queued for good at sequence 1 and not decided") as undecided:
            await operator.ask("layout", "create", {}, command_id=ID, timeout_s=0.3, door="durable")
        assert undecided.value.queued_at == 1
        # Asking again with the same id queues nothing new.
        with pytest.raises(Undecided) as again:
            await operator.ask("layout", "create", {}, command_id=ID, timeout_s=0.3, door="durable")
        assert again.value.queued_at == 1
        assert (await js_api(tower_nats, f"STREAM.INFO.TOWER_COMMANDS_{NODE}"))["state"]["messages"] == 1

    async def test_a_lost_answer_is_read_from_the_outcomes(
        self, tower: Tower, operator: CommandClient, broker: EmbeddedBroker, connected: Connected
    ) -> None:
        outcome = {"command_id": ID, "status": "accepted", "result": {}, "position": 9}

        def only_kept(asked: Asked, times: int) -> bool:
            kept.set()
            return False

        kept = asyncio.Event()
        tower.answers = only_kept
        asking = asyncio.create_task(operator.ask("layout", "create", {}, command_id=ID, door="durable"))
        await asyncio.wait_for(kept.wait(), 30)
        await tower.outcomes.answer([Answer("host", ID, msgspec.json.encode(outcome), None)])
        assert await asyncio.wait_for(asking, 30) == outcome

    async def test_too_large_is_said(self, operator: CommandClient) -> None:
        with pytest.raises(NoTower, match="did not queue the command"):
            await operator.ask("layout", "create", {"x": "x" * 1_100_000}, door="durable")


async def test_words_that_are_no_subject_are_refused(operator: CommandClient) -> None:
    for noun, verb in (("layout.create", "x"), ("layout", "*"), ("", "create"), ("layout", "a b")):
        with pytest.raises(ValueError, match="must be 1 to 128 characters"):
            await operator.ask(noun, verb, {})


async def test_the_payload_has_the_fields_that_were_given(tower: Tower, operator: CommandClient) -> None:
    payloads: list[bytes] = []

    def keep(asked: Asked, times: int) -> bool:
        payloads.append(asked.payload)
        return True

    tower.answers = keep
    await operator.ask("layout", "create", {"a": 1}, command_id=ID, idempotency_key="k", correlation_id="c")
    assert msgspec.json.decode(payloads[0]) == {
        "id": ID,
        "data": {"a": 1},
        "idempotency_key": "k",
        "correlationid": "c",
    }

"""Sessions that talk to a managed pane: the active half of a tower in this process, a real tmux, a shell in it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from adapters.engine import Engine
from adapters.nats.broker import EmbeddedBroker
from adapters.nats.wire import WireClient
from adapters.parts import Connections, Parts
from adapters.settings import Settings
from adapters.telemetry import Metrics
from domain.layouts.state import PaneState
from handlers.session_ports import Runtime, RuntimeFailed, RuntimeSpec, TurnState
from tests.integration.conftest import Connected
from tests.integration.runtimes.conftest import Stage
from tests.needs import need
from tests.waiting import eventually

LABEL = "worker"
TEMPLATE = f"name: one\npanes: [{{role: main, capability: test, label: {LABEL}}}]\n"


class Room:
    """A tower with one pane, whose shell is ready."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.made: list[Runtime] = []
        self.layout: dict[str, Any] = {}

    async def ask(self, verb: str, data: dict[str, Any]) -> dict[str, Any]:
        noun, _, verb = verb.partition(".")
        outcome = await self.engine.asker.ask(noun=noun, verb=verb, data=data)
        assert outcome["status"] == "accepted", outcome
        return outcome["result"]

    @property
    def pane_id(self) -> str:
        return self.layout["panes"][0]["pane_id"]

    async def furnish(self) -> None:
        wanted = {"container_id": "host", "template_name": "one", "tmux_session_name": "room"}
        self.layout = await self.ask("layout.create", wanted)
        panes = lambda: self.engine.writer.ledger.tower.layouts.panes  # noqa: E731
        await eventually(lambda: panes()[self.pane_id].state is PaneState.READY, "the pane is ready")

    async def stage(self, session_id: str = "s1", **runtime: Any) -> Stage:
        one = self.engine.executions.runtimes.make("pane")
        self.made.append(one)
        await one.start(RuntimeSpec(session_id=session_id, kind="pane", runtime={"pane": LABEL, **runtime}))
        return Stage(one)


@pytest.fixture
async def room(
    short_tmp: Path,
    broker: EmbeddedBroker,
    tower_nats: WireClient,
    connected: Connected,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Room]:
    need("tmux")
    monkeypatch.setenv("SHELL", "/bin/sh")
    config = short_tmp / "agenttower"
    (config / "templates").mkdir(parents=True)
    (config / "templates" / "one.yaml").write_text(TEMPLATE)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(short_tmp))
    settings = Settings(home=short_tmp, container_cli="no-container-engine", launch_settle=0.05)
    answers = await connected(broker.answers_url)
    connections = Connections(tower_nats, answers, broker.operator_url, broker)
    engine = Engine(settings, connections, Metrics())
    async with Parts() as parts:
        await engine.start(parts)
        room = Room(engine)
        await room.furnish()
        yield room
        for each in room.made:
            await each.close()
        await room.ask("layout.remove", {"layout_id": room.layout["layout_id"]})
        await eventually(lambda: engine.is_removed(room.pane_id), "the pane is removed")
        await engine.stop()
    await engine.terminals.close()


async def test_an_instruction_is_typed_and_what_the_pane_says_is_the_answer(room: Room) -> None:
    stage = await room.stage(idle_s=0.5)
    result = await stage.tell("echo 'said: '$((6 * 7)) ünïcode")
    assert (result.state, result.error) == (TurnState.COMPLETED, None)
    assert "said: 42 ünïcode\n" in result.output
    assert result.output == stage.text
    assert "\x1b" not in result.output
    assert "43" in (await stage.tell("echo $((42 + 1))")).output, "each turn has its own answer"
    assert "42" not in "".join(stage.said[-1:])


async def test_a_pattern_ends_the_turn_at_once(room: Room) -> None:
    stage = await room.stage(sentinel="^over$")
    result = await stage.tell("sleep 0.7; echo ov''er; sleep 100")
    assert result.state is TurnState.COMPLETED
    assert "over\n" in result.output


async def test_cancel_interrupts_what_runs_in_the_pane(room: Room) -> None:
    stage = await room.stage(sentinel="^free$")
    turn = asyncio.create_task(stage.tell("echo be''gun; sleep 1000"))
    await stage.hears("begun")
    await stage.runtime.cancel()
    assert (await turn).state is TurnState.CANCELLED
    assert (await stage.tell("echo fr''ee")).state is TurnState.COMPLETED


async def test_the_time_of_a_turn_ends_it(room: Room) -> None:
    stage = await room.stage(sentinel="^never$")
    result = await stage.tell("echo be''gun; sleep 1000", timeout_s=1.5)
    assert result.state is TurnState.TIMED_OUT
    assert "begun" in result.output


async def test_a_process_that_ends_fails_the_turn(room: Room) -> None:
    stage = await room.stage(sentinel="^never$")
    result = await stage.tell("echo la''st; exec true")
    assert (result.state, result.error and result.error.type) == (TurnState.FAILED, "pane_gone")
    assert "last" in result.output
    again = await stage.tell("echo anybody")
    assert again.error is not None
    assert again.error.type == "pane_not_ready"


async def test_a_pane_is_that_of_one_session(room: Room) -> None:
    stage = await room.stage("s1")
    with pytest.raises(RuntimeFailed, match="is that of session s1") as failed:
        await room.stage("s2", pane=room.pane_id)
    assert failed.value.type == "pane_not_ready"
    await stage.runtime.close()
    await room.stage("s2", pane=room.pane_id)


async def test_what_cannot_be_is_refused(room: Room) -> None:
    wrong: tuple[tuple[dict[str, Any], str, str], ...] = (
        ({"pane": "no-such"}, "pane_not_found", "there is none called no-such in host"),
        ({"sentinel": "(open"}, "runtime_invalid", "runtime.sentinel: missing )"),
        ({"idle_s": 0}, "runtime_invalid", "runtime.idle_s"),
    )
    for runtime, type_, told in wrong:
        with pytest.raises(RuntimeFailed) as failed:
            await room.stage(**runtime)
        assert (failed.value.type, told in str(failed.value)) == (type_, True), failed.value
    stage = await room.stage()
    result = await stage.tell("x" * 65_537)
    assert result.error is not None
    assert result.error.type == "instruction_too_long"

"""What holds for every runtime, whatever it runs on."""

import asyncio
from typing import Any, NamedTuple

import pytest

from handlers.session_ports import RuntimeFailed, TurnState
from tests.integration.runtimes.conftest import DEADLINE_S, MakeStage, Stage

GREETING = "hello ünïcode"


class Kind(NamedTuple):
    """How one kind is told to do the same things: to say the greeting, and to go on for ever once it has begun."""

    kind: str
    runtime: dict[str, Any]
    greet: str
    go_on: str
    begun: str


KINDS = (
    Kind("command", {"grace_s": 0.3}, f"say {GREETING}", "say begun\nhang", "begun"),
    Kind("python", {}, f"print({GREETING!r})", "print('begun')\nwhile True: pass", "begun"),
    Kind("echo", {"delay_s": 0.01}, GREETING, "begun " * 100_000, "begun"),
)


@pytest.fixture(params=KINDS, ids=lambda kind: kind.kind)
def kind(request: pytest.FixtureRequest) -> Kind:
    return request.param


@pytest.fixture
async def stage(make_stage: MakeStage, kind: Kind) -> Stage:
    return await make_stage(kind.kind, **kind.runtime)


async def test_a_turn_is_carried_out_and_what_it_says_is_passed_on(stage: Stage, kind: Kind) -> None:
    result = await stage.tell(kind.greet)
    assert (result.state, result.error) == (TurnState.COMPLETED, None)
    assert result.output.strip() == GREETING
    assert stage.text == result.output


async def test_one_turn_follows_another(stage: Stage, kind: Kind) -> None:
    for _ in range(3):
        assert (await stage.tell(kind.greet)).output.strip() == GREETING


async def test_cancel_ends_the_turn_and_not_the_session(stage: Stage, kind: Kind) -> None:
    turn = asyncio.create_task(stage.tell(kind.go_on))
    await stage.hears(kind.begun)
    await stage.runtime.cancel()
    result = await turn
    assert (result.state, result.error) == (TurnState.CANCELLED, None)
    assert kind.begun in result.output
    assert (await stage.tell(kind.greet)).state is TurnState.COMPLETED


async def test_a_second_cancel_and_one_between_turns_do_nothing(stage: Stage, kind: Kind) -> None:
    await stage.runtime.cancel()
    turn = asyncio.create_task(stage.tell(kind.go_on))
    await stage.hears(kind.begun)
    await stage.runtime.cancel()
    await stage.runtime.cancel()
    assert (await turn).state is TurnState.CANCELLED
    await stage.runtime.cancel()
    assert (await stage.tell(kind.greet)).state is TurnState.COMPLETED


async def test_the_time_of_a_turn_ends_it_and_keeps_what_was_said(stage: Stage, kind: Kind) -> None:
    result = await stage.tell(kind.go_on, timeout_s=1.0)
    assert (result.state, result.error) == (TurnState.TIMED_OUT, None)
    assert kind.begun in result.output
    assert (await stage.tell(kind.greet)).state is TurnState.COMPLETED


async def test_a_caller_that_is_cancelled_ends_the_turn(stage: Stage, kind: Kind) -> None:
    turn = asyncio.create_task(stage.tell(kind.go_on))
    await stage.hears(kind.begun)
    turn.cancel()
    with pytest.raises(asyncio.CancelledError):
        await turn
    assert (await stage.tell(kind.greet)).output.strip() == GREETING


async def test_close_comes_at_any_time_and_again(stage: Stage, kind: Kind) -> None:
    turn = asyncio.create_task(stage.tell(kind.go_on))
    await stage.hears(kind.begun)
    await stage.runtime.close()
    await stage.runtime.close()
    async with asyncio.timeout(DEADLINE_S):
        assert (await turn).state in (TurnState.CANCELLED, TurnState.FAILED)


async def test_a_map_of_another_shape_is_refused(make_stage: MakeStage, kind: Kind) -> None:
    with pytest.raises(RuntimeFailed, match=r"runtime\.env: Expected `array`, got `int`") as failed:
        await make_stage(kind.kind, env=3)
    assert failed.value.type == "runtime_invalid"

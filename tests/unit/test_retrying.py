"""The retry policy of a stage: 30 s a try, three tries, 1 s and 2 s between them, for what is transient only."""

import asyncio
from datetime import UTC, datetime

import pytest

from handlers.effects import retrying
from handlers.effects.retrying import RETRY_AFTER_S, STAGE_TIMEOUT_S, with_retries
from handlers.ports import SessionExists, TerminalError, TerminalGone, TerminalUnreachable


class Waits:
    """A clock on which waiting costs nothing, and is written down."""

    def __init__(self) -> None:
        self.waited: list[float] = []

    def now(self) -> datetime:
        return datetime(2026, 1, 2, tzinfo=UTC)

    def monotonic(self) -> float:
        return sum(self.waited)

    async def sleep(self, seconds: float) -> None:
        self.waited.append(seconds)


def failing(*failures: Exception | None) -> "Step":
    return Step(list(failures))


class Step:
    """Fails so, one after another; `None` succeeds."""

    def __init__(self, failures: list[Exception | None]) -> None:
        self.tries = 0
        self._failures = failures

    async def __call__(self) -> str:
        self.tries += 1
        failure = self._failures.pop(0)
        if failure is not None:
            raise failure
        return "done"


def test_the_policy() -> None:
    assert (STAGE_TIMEOUT_S, RETRY_AFTER_S) == (30.0, (1.0, 2.0))


@pytest.mark.parametrize("unreachable", [0, 1, 2])
async def test_what_is_transient_is_tried_again(unreachable: int) -> None:
    clock, step = Waits(), failing(*[TerminalUnreachable("no answer")] * unreachable, None)
    assert await with_retries(step, clock) == "done"
    assert clock.waited == list(RETRY_AFTER_S[:unreachable])


async def test_the_third_failure_is_the_last() -> None:
    clock, step = Waits(), failing(*[TerminalUnreachable("no answer")] * 3)
    with pytest.raises(TerminalUnreachable, match="no answer"):
        await with_retries(step, clock)
    assert (step.tries, clock.waited) == (3, [1.0, 2.0])


@pytest.mark.parametrize("error", [TerminalError("no space"), TerminalGone("no server"), SessionExists("taken")])
async def test_what_is_not_transient_fails_at_once(error: TerminalError) -> None:
    clock, step = Waits(), failing(error)
    with pytest.raises(type(error)):
        await with_retries(step, clock)
    assert (step.tries, clock.waited) == (1, [])


async def test_a_step_that_does_not_come_back_is_a_failure_that_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrying, "STAGE_TIMEOUT_S", 0.01)
    tries = 0

    async def hang() -> None:
        nonlocal tries
        tries += 1
        await asyncio.Event().wait()

    with pytest.raises(TerminalUnreachable, match="no answer in"):
        await with_retries(hang, Waits())
    assert tries == 3

"""Deaths and vanished panes: all of them, with their status, at once."""

import asyncio
import os
import resource
import signal
from collections.abc import Callable, Sequence

import pytest

from adapters.tmux.hooks import HOOKS
from adapters.tmux.terminal import POLL_S, TmuxTerminal
from handlers.ports import SeenPane
from tests.integration.tmux.support import Server, alive
from tests.waiting import eventually

ROUNDS = 100
TYPICAL_S = 0.3


async def _seen(terminal: TmuxTerminal, told: Callable[[Sequence[SeenPane]], bool]) -> float:
    """Look until `told`; how long it took, in seconds."""
    loop = asyncio.get_running_loop()
    started_at = loop.time()
    async with asyncio.timeout(30):
        while not told(await terminal.look()):
            pass
    return loop.time() - started_at


def _killed_by_9(pane_id: str) -> Callable[[Sequence[SeenPane]], bool]:
    return lambda panes: any(pane.pane_id == pane_id and pane.dead and pane.signal == 9 for pane in panes)


def _absent(pane_id: str) -> Callable[[Sequence[SeenPane]], bool]:
    return lambda panes: all(pane.pane_id != pane_id for pane in panes)


async def test_every_kill_is_told_with_its_signal(server: Server, terminal: TmuxTerminal):
    await terminal.create_session("base", [server.pane("base")])
    took: list[float] = []
    for number in range(ROUNDS):
        (pane,) = await terminal.add_panes("base", [server.pane(f"p{number}")])
        os.kill(pane.pid, signal.SIGKILL)
        took.append(await _seen(terminal, _killed_by_9(f"p{number}")))
        await terminal.kill_pane(pane.tmux_pane_id, f"p{number}")
    assert sorted(took)[ROUNDS // 2] < TYPICAL_S
    assert max(took) < 3.0


async def test_every_vanished_pane_is_missed(server: Server, terminal: TmuxTerminal):
    await terminal.create_session("base", [server.pane("base")])
    took: list[float] = []
    for number in range(ROUNDS):
        (pane,) = await terminal.add_panes("base", [server.pane(f"p{number}")])
        server.tmux("kill-pane", "-t", pane.tmux_pane_id)
        took.append(await _seen(terminal, _absent(f"p{number}")))
    assert sorted(took)[ROUNDS // 2] < TYPICAL_S
    assert max(took) < 3.0


async def test_many_deaths_at_once_all_have_their_status(server: Server, terminal: TmuxTerminal):
    made = await terminal.create_session("mass", [server.pane(f"p{n}") for n in range(40)])
    await terminal.look()
    for pane in made[:30]:
        os.kill(pane.pid, signal.SIGKILL)

    def told(panes: Sequence[SeenPane]) -> bool:
        return sum(pane.dead and pane.signal == 9 for pane in panes) == 30

    assert await _seen(terminal, told) < 2.0


@pytest.mark.parametrize(
    ("script", "exit_code", "signal_number"), [("exit 0", 0, None), ("exit 7", 7, None), ("kill -15 $$", None, 15)]
)
async def test_how_a_program_ended(
    server: Server, terminal: TmuxTerminal, script: str, exit_code: int | None, signal_number: int | None
):
    await terminal.create_session("ends", [server.sh("p1", script), server.pane("p2")])

    def told(panes: Sequence[SeenPane]) -> bool:
        by_id = {pane.pane_id: pane for pane in panes}
        ended = by_id["p1"]
        return not by_id["p2"].dead and (ended.dead, ended.exit_code, ended.signal) == (True, exit_code, signal_number)

    await _seen(terminal, told)


async def test_an_end_with_the_terminal_still_held_open(server: Server, terminal: TmuxTerminal):
    (pane,) = await terminal.create_session("held", [server.sh("p1", "(trap '' HUP; sleep 20) & exec sleep 1000")])
    await terminal.look()
    os.kill(pane.pid, signal.SIGKILL)
    assert await _seen(terminal, _killed_by_9("p1")) < 1.5


async def test_a_vanished_session_is_seen(server: Server, terminal: TmuxTerminal):
    await terminal.create_session("one", [server.pane("p1"), server.pane("p2")])
    await terminal.create_session("two", [server.pane("p3")])
    await terminal.look()
    server.tmux("kill-session", "-t", "=one")
    assert await _seen(terminal, lambda panes: [pane.pane_id for pane in panes] == ["p3"]) < 1.0


async def test_what_happens_between_two_looks_is_told_at_once(server: Server, terminal: TmuxTerminal):
    (pane,) = await terminal.create_session("between", [server.pane("p1")])
    await terminal.look()
    os.kill(pane.pid, signal.SIGKILL)
    await eventually(lambda: not alive(pane.pid))
    assert await _seen(terminal, _killed_by_9("p1")) < POLL_S


async def test_hooks_alone_are_enough(server: Server, terminal: TmuxTerminal):
    """Vanished without a process end that we watch: an operator's pane killed while our own live on."""
    (pane,) = await terminal.create_session("hooks", [server.pane("p1")])
    await terminal.look()
    await eventually(lambda: len(server.control_clients()) == 2)
    loop = asyncio.get_running_loop()

    async def waits_in_look() -> bool:
        started_at = loop.time()
        await terminal.look()
        return loop.time() - started_at >= POLL_S * 0.9

    await eventually(waits_in_look)
    looking = asyncio.create_task(terminal.look())
    started_at = loop.time()
    await asyncio.to_thread(server.tmux, "split-window", "-t", pane.tmux_pane_id, "sleep 1000")
    panes = await looking
    assert len(panes) == 2
    assert loop.time() - started_at < POLL_S * 0.9


async def test_the_poll_alone_is_enough(server: Server, terminal: TmuxTerminal):
    """No descriptors to watch processes with, and the hooks taken away by somebody."""
    (pane,) = await terminal.create_session("poll", [server.pane("p1"), server.pane("p2")][:1])
    await terminal.look()
    await eventually(lambda: len(server.control_clients()) == 2)
    for hook in HOOKS:
        server.tmux("set-hook", "-gu", hook)
    server.tmux("kill-pane", "-t", pane.tmux_pane_id)
    assert await _seen(terminal, _absent("p1")) < 2.0


async def test_without_descriptors_the_hooks_and_the_poll_remain(server: Server):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    terminal = TmuxTerminal(server.address())
    try:
        made = await terminal.create_session("few", [server.pane(f"p{n}") for n in range(64)])
        made = [*made, *await terminal.create_session("few2", [server.pane(f"q{n}") for n in range(30)])]
        for pane in made[-5:]:
            os.kill(pane.pid, signal.SIGKILL)
            assert pane.pane_id is not None
            assert await _seen(terminal, _killed_by_9(pane.pane_id)) < 2.0
    finally:
        await terminal.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_the_users_own_hooks_stay(server: Server, terminal: TmuxTerminal):
    await terminal.create_session("hooks", [server.pane("p1")])
    server.tmux("set-hook", "-g", "pane-died", "set-option -s @mine yes")
    await terminal.look()
    await eventually(lambda: "agenttower-look" in server.tmux("show-hooks", "-gw"))
    assert "@mine" in server.tmux("show-hooks", "-gw")
    await terminal.close()
    assert "agenttower-look" not in server.tmux("show-hooks", "-gw") + server.tmux("show-hooks", "-g")
    assert "@mine" in server.tmux("show-hooks", "-gw")


async def test_two_towers_on_one_server_both_see(server: Server):
    one, two = TmuxTerminal(server.address("one")), TmuxTerminal(server.address("two"))
    try:
        (pane,) = await one.create_session("shared", [server.pane("p1")])
        assert await one.sessions() == await two.sessions() == {"shared"}
        await asyncio.gather(one.look(), two.look())
        await eventually(lambda: len(server.control_clients()) == 4)
        os.kill(pane.pid, signal.SIGKILL)
        for took in await asyncio.gather(_seen(one, _killed_by_9("p1")), _seen(two, _killed_by_9("p1"))):
            assert took < 1.0
    finally:
        await one.close()
        await two.close()


async def test_a_program_that_ignores_the_hang_up_is_ended(server: Server, terminal: TmuxTerminal):
    script = "trap '' HUP TERM; echo ready; while :; do sleep 1; done"
    (pane,) = await terminal.create_session("stubborn", [server.sh("p1", script), server.pane("p2")][:1])
    await eventually(lambda: "ready" in server.log("p1").read_text())
    await terminal.kill_pane(pane.tmux_pane_id, "p1")
    await eventually(lambda: not alive(pane.pid))


async def test_closing_leaves_no_such_program_behind(server: Server):
    terminal = TmuxTerminal(server.address())
    script = "trap '' HUP TERM; echo ready; while :; do sleep 1; done"
    (pane,) = await terminal.create_session("stubborn", [server.sh("p1", script)])
    await eventually(lambda: "ready" in server.log("p1").read_text())
    await terminal.kill_pane(pane.tmux_pane_id, "p1")
    await terminal.close()
    await eventually(lambda: not alive(pane.pid))

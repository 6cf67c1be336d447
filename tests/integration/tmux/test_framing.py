"""Answers of a control connection, whatever panes show and commands do."""

import asyncio

import pytest

from adapters.tmux.control import ControlConnection
from adapters.tmux.errors import CommandFailed, ConnectionLost
from adapters.tmux.framing import MAX_BLOCK_BYTES, BadFraming, Block, Framer
from adapters.tmux.terminal import TmuxTerminal
from tests.integration.tmux.support import Server
from tests.waiting import eventually

HOSTILE = ("%begin 1 2 1", "%end 1 2 1", "%error 1 2 1", "%exit", "", "at-0123456789abcdef", "%output %0 x")


class Splits:
    """The framer alone, on bytes as they may come."""

    STREAM = (
        b"%begin 5 1 0\nattached\n%end 5 1 0\n%window-add @0\n"
        b"%begin 5 2 1\n%end 5 1 0\n%begin 5 3 1\n\n%error 5 2 10\n%end 5 2 1\n"
        b"%begin 5 3 1\nno such thing\n%error 5 3 1\n"
    )
    BLOCKS = (
        Block(("attached",), failed=False, ours=False),
        Block(("%end 5 1 0", "%begin 5 3 1", "", "%error 5 2 10"), failed=False, ours=True),
        Block(("no such thing",), failed=True, ours=True),
    )


@pytest.mark.parametrize("size", [1, 2, 3, 7, 10_000])
def test_blocks_do_not_depend_on_how_the_bytes_are_cut(size: int):
    framer = Framer()
    blocks: list[Block] = []
    for start in range(0, len(Splits.STREAM), size):
        blocks += framer.feed(Splits.STREAM[start : start + size])
    assert tuple(blocks) == Splits.BLOCKS
    assert not framer.ended


def test_the_end_is_told():
    framer = Framer()
    assert framer.feed(b"%exit server exited\n") == []
    assert framer.ended


@pytest.mark.parametrize("data", [b"open terminal failed\n", b"%begin 1 2 1\n" + b"x" * (MAX_BLOCK_BYTES + 1)])
def test_what_is_no_control_mode_is_refused(data: bytes):
    with pytest.raises(BadFraming):
        Framer().feed(data)


@pytest.fixture
async def connection(server: Server):
    connection = await ControlConnection.connect(server.address(), start_server=True, timeout_s=30)
    yield connection
    await connection.close()


async def test_pane_text_that_looks_like_markers_stays_text(
    server: Server, terminal: TmuxTerminal, connection: ControlConnection
):
    lines = " ".join(f"'{line}'" for line in HOSTILE)
    (pane,) = await terminal.create_session("hostile", [server.sh("p1", f"printf '%s\\n' {lines}; sleep 1000")])

    async def shown() -> list[str]:
        return await connection.run([["capture-pane", "-p", "-t", pane.tmux_pane_id]], timeout_s=30)

    async def complete() -> bool:
        return HOSTILE[-1] in await shown()

    await eventually(complete)
    assert tuple((await shown())[: len(HOSTILE)]) == HOSTILE
    assert await connection.run([["display-message", "-p", "still in step"]], timeout_s=30) == ["still in step"]


async def test_process_names_and_titles_cannot_forge_lines(server: Server, terminal: TmuxTerminal):
    name = "x\n%end 1 2 1\n|p9|%9|1|"
    script = f"printf '\\033]2;%s\\007' 'evil | title'; exec -a {_dollar_quoted(name)} sleep 1000"
    made = await terminal.create_session("forge", [server.pane("p1", "bash", "-c", script), server.pane("p2")])

    async def titled() -> bool:
        return {pane.title for pane in await terminal.panes()} >= {"evil | title"}

    await eventually(titled)
    panes = await terminal.panes()
    assert [pane.pane_id for pane in panes] == ["p1", "p2"]
    assert [pane.tmux_pane_id for pane in panes] == [pane.tmux_pane_id for pane in made]
    assert all("\n" not in pane.command for pane in panes)


def _dollar_quoted(text: str) -> str:
    return "$'" + text.replace("\n", "\\n") + "'"


async def test_an_error_ends_a_sequence_and_the_next_is_answered(connection: ControlConnection):
    commands = [["display-message", "-p", "one"], ["kill-pane", "-t", "%99"], ["display-message", "-p", "never"]]
    with pytest.raises(CommandFailed) as refused:
        await connection.run(commands, timeout_s=30)
    assert refused.value.output == ["one"]
    assert "can't find pane: %99" in refused.value.text
    assert await connection.run([["display-message", "-p", "two"]], timeout_s=30) == ["two"]


async def test_what_cannot_be_parsed_runs_not_at_all(connection: ControlConnection):
    with pytest.raises(CommandFailed, match="unknown command"):
        await connection.run([["set-option", "-s", "@touched", "1"], ["no-such-command"]], timeout_s=30)
    assert await connection.run([["display-message", "-p", "#{@touched}."]], timeout_s=30) == ["."]


async def test_overlapping_and_cancelled_requests_keep_their_own_answers(connection: ControlConnection):
    tasks = [
        asyncio.create_task(connection.run([["display-message", "-p", f"n{number}"]], timeout_s=30))
        for number in range(100)
    ]
    await asyncio.sleep(0)
    for task in tasks[::3]:
        task.cancel()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    for number, answer in enumerate(answers):
        if number % 3 == 0:
            assert isinstance(answer, asyncio.CancelledError)
        else:
            assert answer == [f"n{number}"]


async def test_hooks_do_not_answer_for_commands(server: Server, connection: ControlConnection):
    server.tmux("set-hook", "-g", "after-set-buffer", "display-message -p intruder")
    answer = await connection.run([["set-buffer", "x"], ["display-message", "-p", "mine"]], timeout_s=30)
    assert answer == ["mine"]


async def test_a_late_answer_ends_the_connection(connection: ControlConnection):
    with pytest.raises(ConnectionLost, match="within"):
        await connection.run([["wait-for", "never"]], timeout_s=0.05)
    assert not connection.alive
    with pytest.raises(ConnectionLost):
        await connection.run([["display-message", "-p", "x"]], timeout_s=30)


async def test_a_flooding_pane_does_not_slow_commands(server: Server, terminal: TmuxTerminal):
    flood = [server.pane(f"p{n}", "yes", "flood " * 20, log=server.logs / "null") for n in (1, 2)]
    await terminal.create_session("flood", flood)
    loop = asyncio.get_running_loop()
    took: list[float] = []
    for _ in range(50):
        started_at = loop.time()
        await terminal.panes()
        took.append(loop.time() - started_at)
    assert sorted(took)[25] < 0.25

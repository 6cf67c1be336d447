"""The `command` runtime with a program in a container, called as docs/runtimes.md shows: also its end reaches there."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

from adapters.runtimes.command import CommandRuntime
from handlers.session_ports import RuntimeSpec, Turn, TurnResult, TurnState
from tests.integration.containers.engines import Container
from tests.waiting import eventually

Start = Callable[..., Container]

PROGRAM = (
    'cat; echo; echo "in $AGENTTOWER_SESSION_ID"; [ -z "$1" ] || { (sleep 4321 &); echo hanging; exec sleep 4321; }'
)


async def _started(cli: str, container: Container, folder: Path, *words: str) -> CommandRuntime:
    inside = ["-e", "AGENTTOWER_WORKER", "-e", "AGENTTOWER_SESSION_ID", container.name]
    argv = [cli, "exec", "-i", *inside, "sh", "-c", PROGRAM, "sh", *words]
    runtime = CommandRuntime(dict(os.environ), working_dir=str(folder), mark=f"test-inside:{container.name}")
    map_ = {"kind": "command", "argv": argv, "grace_s": 0.5}
    env = {"AGENTTOWER_SESSION_ID": "s-1"}
    await runtime.start(RuntimeSpec(session_id="s-1", kind="command", runtime=map_, env=env))
    return runtime


async def test_a_turn_in_a_container_and_its_end(cli: str, start: Start, tmp_path: Path) -> None:
    container, said, heard = start(), list[str](), asyncio.Event()

    async def output(text: str) -> None:
        said.append(text)
        if "hanging" in "".join(said):
            heard.set()

    async def tell(runtime: CommandRuntime) -> TurnResult:
        return await runtime.execute(Turn(turn=1, instruction="look", context=(), timeout_s=60), output)

    def inside() -> bool:
        return "4321" in container.execute("bash", "-c", "cat /proc/[0-9]*/cmdline", check=False)

    quick = await _started(cli, container, tmp_path)
    result = await tell(quick)
    assert (result.state, result.output) == (TurnState.COMPLETED, "look\nin s-1\n")
    await quick.close()
    long = await _started(cli, container, tmp_path, "hang")
    turn = asyncio.create_task(tell(long))
    await asyncio.wait_for(heard.wait(), 60)
    assert await asyncio.to_thread(inside)
    await long.cancel()
    assert (await turn).state is TurnState.CANCELLED
    await long.close()
    await eventually(lambda: not inside(), "nothing of it is left in the container")

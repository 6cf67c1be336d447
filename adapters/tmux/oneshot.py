"""One `tmux` process a request: 4 ms each, for the times when no control connection can be had."""

import asyncio
import contextlib
from collections.abc import Sequence

from adapters.tmux.address import Address
from adapters.tmux.errors import CommandFailed, ConnectionLost, of_exit
from adapters.tmux.quoting import Command, sequence


async def run_once(address: Address, commands: Sequence[Command], *, start_server: bool, timeout_s: float) -> list[str]:
    """All output lines of one sequence, as `ControlConnection.run`.

    The sequence goes in by stdin: arguments would have a length limit and show environment values to every `ps`.
    """
    words = ("start-server", ";", "source-file", "-") if start_server else ("source-file", "-")
    process = await asyncio.create_subprocess_exec(
        *address.argv(*words, start_server=start_server),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=dict(address.environment),
        cwd=address.working_dir,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(timeout_s):
            output, said = await process.communicate((sequence(commands) + "\n").encode("utf-8", "surrogateescape"))
    except TimeoutError:
        raise ConnectionLost(f"no answer from tmux within {timeout_s} s") from None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    lines = output.decode("utf-8", "replace").splitlines()
    if process.returncode == 0:
        return lines
    error = of_exit(process.returncode, said.decode("utf-8", "replace"))
    if isinstance(error, CommandFailed):
        # source-file puts "-:1: " before what it could not parse; a refused command comes plain.
        raise CommandFailed(error.text.removeprefix("-:1: "), lines)
    raise error

"""One `tmux` process a request: 4 ms each, for the times when no control connection can be had."""

import asyncio
from collections.abc import Sequence

from adapters.tmux.address import Address
from adapters.tmux.errors import CommandFailed, ConnectionLost, NoAnswer, of_exit
from adapters.tmux.process import Process
from adapters.tmux.quoting import Command, sequence

# source-file puts this before what it could not parse; a refused command comes plain.
_STDIN_LINE = "-:1: "


async def run_once(address: Address, commands: Sequence[Command], *, start_server: bool, timeout_s: float) -> list[str]:
    """All output lines of one sequence, with the errors of `ControlConnection.run`.

    The sequence goes in by stdin: arguments would have a length limit and show environment values to every `ps`.
    """
    words = ("start-server", ";", "source-file", "-") if start_server else ("source-file", "-")
    lines = sequence(commands) + "\n"
    output = bytearray()
    ended = asyncio.Event()
    process = await Process.start(address, *words, start_server=start_server, on_output=output.extend, on_end=ended.set)
    try:
        async with asyncio.timeout(timeout_s):
            process.write(lines)
            process.end_input()
            await process.exited.wait()
            await ended.wait()
    except TimeoutError:
        process.kill()
        raise NoAnswer(f"no answer from tmux within {timeout_s} s") from None
    finally:
        await process.close()
    printed = output.decode("utf-8", "replace").splitlines()
    if process.exit_code == 0:
        return printed
    error = of_exit(process.exit_code, process.said)
    if isinstance(error, CommandFailed) and _killed(process.exit_code):
        raise ConnectionLost("the tmux client was killed")
    if isinstance(error, CommandFailed):
        raise CommandFailed(error.text.removeprefix(_STDIN_LINE), printed)
    raise error


def _killed(exit_code: int | None) -> bool:
    """By a signal, here or in a container; tmux itself ends with 0 or 1."""
    return exit_code is not None and (exit_code < 0 or exit_code > 128)

"""One `tmux` process a request: 4 ms each, for the times when no control connection can be had."""

import asyncio
import secrets
from collections.abc import Sequence

from adapters.tmux.address import Address
from adapters.tmux.errors import CommandFailed, ConnectionLost, NoAnswer, of_exit
from adapters.tmux.process import Process
from adapters.tmux.quoting import Command, sequence

# source-file puts this before what it could not parse; a refused command comes plain.
_STDIN_LINE = "-:1: "


# `exec` of the container engines loses what a program prints that ends at once, and gives its exit code all the same: a
# listing cut short would pass for panes that are gone. So a shell feeds tmux and stays until we have heard its end.
_STAYING = (
    't=$1; shift; while IFS= read -r line && [ "$line" != "$t" ]; do printf "%s\\n" "$line"; done | "$@";'
    ' code=$?; echo "$t $code" >&2; echo "$t $code"; exec cat >/dev/null'
)


async def run_once(address: Address, commands: Sequence[Command], *, start_server: bool, timeout_s: float) -> list[str]:
    """All output lines of one sequence, with the errors of `ControlConnection.run`.

    The sequence goes in by stdin: arguments would have a length limit and show environment values to every `ps`.
    """
    words = ("start-server", ";", "source-file", "-") if start_server else ("source-file", "-")
    lines = sequence(commands) + "\n"
    run = _run_here if address.local else _run_in_container
    exit_code, printed, said = await run(address, words, lines, start_server=start_server, timeout_s=timeout_s)
    if exit_code == 0:
        return printed
    error = of_exit(exit_code, said)
    if isinstance(error, CommandFailed) and (_killed(exit_code) or not (said or address.local)):
        raise ConnectionLost("the tmux client was killed, or its words were lost")
    if isinstance(error, CommandFailed):
        raise CommandFailed(error.text.removeprefix(_STDIN_LINE), printed)
    raise error


def _killed(exit_code: int | None) -> bool:
    """By a signal, here or in a container; tmux itself ends with 0 or 1."""
    return exit_code is not None and (exit_code < 0 or exit_code > 128)


async def _run_here(
    address: Address, words: Sequence[str], lines: str, *, start_server: bool, timeout_s: float
) -> tuple[int | None, list[str], str]:
    """Exit code, stdout, stderr."""
    output = bytearray()
    ended = asyncio.Event()
    process = await Process.start(
        address,
        address.argv(*words, start_server=start_server),
        on_output=output.extend,
        on_end=ended.set,
    )
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
    return process.exit_code, output.decode("utf-8", "replace").splitlines(), process.said


async def _run_in_container(
    address: Address, words: Sequence[str], lines: str, *, start_server: bool, timeout_s: float
) -> tuple[int | None, list[str], str]:
    """The same of tmux behind `exec`; of the engine, when that ended before tmux did."""
    token = f"at-{secrets.token_hex(8)}"
    output = bytearray()
    heard = asyncio.Event()
    ends = (f"{token} ".encode(), f"{token} ")

    def look() -> None:
        if ends[0] in output and ends[1] in process.said:
            heard.set()

    def take(data: bytes) -> None:
        output.extend(data)
        look()

    argv = (
        *address.launcher,
        "/bin/sh",
        "-c",
        _STAYING,
        "sh",
        token,
        *address.inside(*words, start_server=start_server),
    )
    process = await Process.start(address, argv, on_output=take, on_end=heard.set, on_error=look)
    try:
        async with asyncio.timeout(timeout_s):
            process.write(f"{lines}{token}\n")
            await heard.wait()
    except TimeoutError:
        process.kill()
        raise NoAnswer(f"no answer from tmux within {timeout_s} s") from None
    finally:
        await process.close()
    printed, found, code = output.decode("utf-8", "replace").rpartition(f"{token} ")
    said = process.said.partition(f"{token} ")[0].strip()
    if not found or not code.strip().isdigit():
        # Whatever tmux may have said: it is the engine that failed.
        return process.exit_code if process.exit_code else None, [], said
    return int(code), printed.splitlines(), said

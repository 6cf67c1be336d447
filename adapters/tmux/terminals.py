"""Which terminal belongs to which container, and whether tmux is there at all."""

import asyncio

from adapters.tmux.address import Address
from adapters.tmux.errors import INSTALL_LINE, of_exit
from adapters.tmux.terminal import TmuxTerminal
from handlers.ports import TerminalError, TerminalUnreachable

HOST = "host"
_VERSION_TIMEOUT_S = 5.0


class TmuxTerminals:
    """The `Terminals` port: the host's tmux server, on the given socket. The owner must `close` it."""

    def __init__(self, host: Address) -> None:
        self._terminals = {HOST: TmuxTerminal(host)}

    def of(self, container_id: str) -> TmuxTerminal:
        """The same object each time. `TerminalUnreachable` for a container without a terminal."""
        terminal = self._terminals.get(container_id)
        if terminal is None:
            raise TerminalUnreachable(f"no terminal is known for container {container_id}")
        return terminal

    async def close(self) -> None:
        for terminal in self._terminals.values():
            await terminal.close()


async def tmux_version(launcher: tuple[str, ...] = ()) -> str:
    """What `tmux -V` says, without the name: `3.3a`. `TerminalError` with the line that installs it, if missing."""
    try:
        process = await asyncio.create_subprocess_exec(
            *launcher, "tmux", "-V", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
    except FileNotFoundError as error:
        raise TerminalError(f"tmux is not installed: {INSTALL_LINE}") from error
    try:
        async with asyncio.timeout(_VERSION_TIMEOUT_S):
            output, said = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        raise TerminalUnreachable("tmux -V gave no answer") from None
    if process.returncode != 0:
        raise of_exit(process.returncode, said.decode("utf-8", "replace"))
    return output.decode("utf-8", "replace").strip().removeprefix("tmux ")

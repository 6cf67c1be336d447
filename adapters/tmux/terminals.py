"""Which terminal belongs to which container, and whether tmux is there at all."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial

from adapters.tmux.address import Address
from adapters.tmux.errors import INSTALL_LINE, of_exit
from adapters.tmux.registered import RegisteredTerminal
from adapters.tmux.terminal import TmuxTerminal
from domain.containers import ContainerGone, ContainerRegistered
from domain.envelope import Recorded
from domain.messages import HOST
from domain.tower import Tower
from handlers.ports import Terminal, TerminalError, TerminalGone, TerminalUnreachable

_VERSION_TIMEOUT_S = 5.0


def _unregistered(container_id: str) -> Address:
    raise TerminalGone(f"container {container_id} is not registered")


class TmuxTerminals:
    """The `Terminals` port: the host's tmux server, and those of containers. The owner must `close` it.

    `address_of` tells where a container's server is; it raises `TerminalGone` for a container that is not registered.
    It observes the writer, so that connections to what is not registered any more are closed.
    """

    def __init__(self, host: Address, address_of: Callable[[str], Address] = _unregistered) -> None:
        self._host = TmuxTerminal(host)
        self._address_of = address_of
        self._containers: dict[str, RegisteredTerminal] = {}

    def of(self, container_id: str) -> Terminal:
        """The same object each time; that of an unknown container answers every question with `TerminalGone`."""
        if container_id == HOST:
            return self._host
        terminal = self._containers.get(container_id)
        if terminal is None:
            terminal = RegisteredTerminal(partial(self._address_of, container_id))
            self._containers[container_id] = terminal
        return terminal

    def committed(self, recorded: Sequence[Recorded], state: Tower) -> None:
        for record in recorded:
            if isinstance(record.event, ContainerGone | ContainerRegistered):
                terminal = self._containers.get(record.event.container_id)
                if terminal is not None:
                    terminal.registry_changed()

    async def close(self) -> None:
        """All at the same time: one that does not answer keeps nobody waiting but itself."""
        await asyncio.gather(self._host.close(), *(terminal.close() for terminal in self._containers.values()))


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

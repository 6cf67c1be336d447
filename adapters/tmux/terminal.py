"""The `Terminal` port on one tmux server."""

import asyncio
import contextlib
import os
from collections.abc import Sequence

from adapters.tmux import sequences
from adapters.tmux.address import CONTROL_SESSION_PREFIX, Address
from adapters.tmux.errors import CommandFailed
from adapters.tmux.hooks import HookWaiter
from adapters.tmux.leftovers import Leftovers
from adapters.tmux.link import CLOSE_TIMEOUT_S, Link
from adapters.tmux.listing import Listing
from adapters.tmux.logs import log_command, make_logs, starts
from adapters.tmux.pasting import send_text
from adapters.tmux.quoting import Command
from adapters.tmux.watch import ProcessWatch
from handlers.ports import PaneToCreate, SeenPane, TerminalError, TerminalGone

POLL_S = 0.5
SETTLE_S = 0.6
NUDGE_EVERY_S = 0.02
CREATE_TIMEOUT_S = 20.0


class TmuxTerminal:
    """The panes of one tmux server. Connects when first used; the owner must `close` it."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self._link = Link(address)
        self._stirred = asyncio.Event()
        self._watch = ProcessWatch(self._stirred.set)
        self._leftovers = Leftovers()
        self._hooks = HookWaiter(self._link, self._stirred.set)
        self._hooks_task: asyncio.Task[None] | None = None
        # Dead panes (pane id and pid) about which tmux could not be made to tell more.
        self._given_up: set[tuple[str, int]] = set()

    async def sessions(self) -> frozenset[str]:
        names = await self._link.run([["list-sessions", "-F", "#{session_name}"]], repeatable=True)
        return frozenset(name for name in names if not name.startswith(CONTROL_SESSION_PREFIX))

    async def panes(self) -> Sequence[SeenPane]:
        listing = Listing()
        panes = listing.read(await self._link.run([listing.command("-a")], repeatable=True))
        self._follow(panes)
        return panes

    async def create_session(self, session_name: str, panes: Sequence[PaneToCreate]) -> Sequence[SeenPane]:
        if not panes:
            raise TerminalError("a session needs a pane")
        listing = Listing()
        dressed = await asyncio.to_thread(starts, self.address, panes)
        commands = sequences.create_session(session_name, dressed, listing)
        return await self._make(commands, panes, listing, start_server=True)

    async def add_panes(self, session_name: str, panes: Sequence[PaneToCreate]) -> Sequence[SeenPane]:
        if not panes:
            return ()
        window = sequences.read_window(await self._link.run(sequences.find_window(session_name), repeatable=True))
        listing = Listing()
        dressed = await asyncio.to_thread(starts, self.address, panes)
        commands = sequences.add_panes(session_name, window, dressed, listing)
        return await self._make(commands, panes, listing, start_server=False)

    async def attach_log(self, tmux_pane_id: str, pane_id: str, log_path: str) -> None:
        try:
            await asyncio.to_thread(make_logs, self.address, log_path)
        except (OSError, ValueError) as error:
            raise TerminalError(f"the log cannot be written: {error}") from error
        if not self.address.local:
            # The program behind the pipe would fail unheard.
            said = await self._link.run(sequences.can_write_log(log_path), repeatable=True)
            if said != ["yes"]:
                raise TerminalError("the log cannot be written in the container")
        log = log_command(self.address, log_path)
        await self._link.run(sequences.attach_log(tmux_pane_id, pane_id, log), repeatable=True)

    async def set_title(self, tmux_pane_id: str, pane_id: str, title: str) -> None:
        await self._link.run(sequences.set_title(tmux_pane_id, pane_id, title), repeatable=True)

    async def kill_pane(self, tmux_pane_id: str, pane_id: str) -> None:
        held = None
        try:
            if self.address.local:
                pids = await self._link.run(sequences.living_process(tmux_pane_id, pane_id), repeatable=True)
                held = self._leftovers.hold(int(pids[0])) if pids and pids[0] else None
            await self._link.run(sequences.kill_pane(tmux_pane_id, pane_id), repeatable=True)
        except TerminalGone:
            pass  # the pane went with its server
        except BaseException:
            if held is not None:
                os.close(held)
            raise
        if held is not None:
            self._leftovers.finish(held)

    async def send_text(self, tmux_pane_id: str, pane_id: str, text: str, *, enter: bool) -> bool:
        return await send_text(self._link, tmux_pane_id, pane_id, text, enter=enter)

    async def look(self) -> Sequence[SeenPane]:
        if self._hooks_task is None:
            self._hooks_task = asyncio.create_task(self._hooks.run(), name=f"tmux hooks of {self.address.node}")
        elif self._hooks_task.done():
            self._hooks_task.result()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(POLL_S):
                await self._stirred.wait()
        self._stirred.clear()
        panes = await self.panes()
        self._hooks.server_seen()
        return await self._settled(panes)

    async def close(self) -> None:
        """End the control clients. The server and its panes live on."""
        if self._hooks_task is not None:
            await self._hooks.stop()
            _, late = await asyncio.wait([self._hooks_task], timeout=CLOSE_TIMEOUT_S)
            for task in late:
                task.cancel()
            await asyncio.gather(self._hooks_task, return_exceptions=True)
            self._hooks_task = None
        await self._leftovers.close()
        self._watch.close()
        await self._link.close()

    async def _make(
        self, commands: Sequence[Command], panes: Sequence[PaneToCreate], listing: Listing, *, start_server: bool
    ) -> Sequence[SeenPane]:
        """Run a creating sequence; what it made is taken away again unless all of it came out as asked."""
        try:
            lines = await self._link.run(commands, start_server=start_server, timeout_s=CREATE_TIMEOUT_S)
        except TerminalError as failure:
            await self._unmake(failure.output if isinstance(failure, CommandFailed) else [])
            raise
        self._hooks.server_seen()
        listed = listing.read(lines)
        by_id = {pane.pane_id: pane for pane in listed}
        if any(pane.pane_id not in by_id for pane in panes):
            await self._unmake(lines)
            raise TerminalError("tmux did not make the panes that it was asked for")
        self._follow(listed, only_more=True)
        return tuple(by_id[pane.pane_id] for pane in panes)

    async def _unmake(self, output: Sequence[str]) -> None:
        with contextlib.suppress(TerminalError):
            await self._link.run([*sequences.unmake(sequences.made(output)), sequences.restore_history_limit()])

    def _follow(self, panes: Sequence[SeenPane], *, only_more: bool = False) -> None:
        if self.address.local:
            self._watch.follow({pane.pid for pane in panes if not pane.dead}, only_more=only_more)

    async def _settled(self, panes: Sequence[SeenPane]) -> Sequence[SeenPane]:
        """Until every death is told with its status, or `SETTLE_S`.

        tmux loses a SIGCHLD at times: the pane is then dead without a status, or not dead at all. Any child of the
        server that ends makes it reap them all.
        """
        deadline = asyncio.get_running_loop().time() + SETTLE_S
        self._given_up &= {(pane.tmux_pane_id, pane.pid) for pane in panes}
        while unsettled := {(pane.tmux_pane_id, pane.pid) for pane in panes if self._unsettled(pane)} - self._given_up:
            if asyncio.get_running_loop().time() >= deadline:
                self._given_up |= unsettled
                break
            await self._link.run([["run-shell", "-b", "true"]], repeatable=True)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(NUDGE_EVERY_S):
                    await self._stirred.wait()
            self._stirred.clear()
            panes = await self.panes()
        return panes

    def _unsettled(self, pane: SeenPane) -> bool:
        if pane.dead:
            return pane.exit_code is None and pane.signal is None
        return pane.pid in self._watch.ended

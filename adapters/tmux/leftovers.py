"""Processes that outlive their pane: tmux only hangs up the terminal, which a program may ignore."""

import asyncio
import contextlib
import os
import signal

_HANG_UP_GRACE_S = 2.0
_TERMINATE_GRACE_S = 2.0


class Leftovers:
    """Sees the processes of killed panes to their end, gently first. `close` does not wait: it kills."""

    def __init__(self) -> None:
        self._ending: dict[asyncio.Task[None], int] = {}

    @staticmethod
    def hold(pid: int) -> int | None:
        """A pidfd, to be taken before the pane is killed: the number alone may belong to another process afterwards."""
        try:
            return os.pidfd_open(pid)
        except OSError:
            return None

    def finish(self, pidfd: int) -> None:
        """Take over the pidfd of a process that was hung up: end it, then close the pidfd."""
        ended = asyncio.Event()
        asyncio.get_running_loop().add_reader(pidfd, ended.set)
        task = asyncio.create_task(_end(pidfd, ended), name="end of a killed pane's process")
        self._ending[task] = pidfd
        task.add_done_callback(self._forget)

    async def close(self) -> None:
        tasks = list(self._ending)
        for task in tasks:
            _send(self._ending[task], signal.SIGKILL)
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _forget(self, task: asyncio.Task[None]) -> None:
        pidfd = self._ending.pop(task)
        asyncio.get_running_loop().remove_reader(pidfd)
        os.close(pidfd)


async def _end(pidfd: int, ended: asyncio.Event) -> None:
    for grace_s, number in ((_HANG_UP_GRACE_S, signal.SIGTERM), (_TERMINATE_GRACE_S, signal.SIGKILL)):
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                await ended.wait()
                return
        _send(pidfd, number)


def _send(pidfd: int, number: signal.Signals) -> None:
    with contextlib.suppress(OSError):
        signal.pidfd_send_signal(pidfd, number)

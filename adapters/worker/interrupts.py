"""Stopping user code: which execution runs, who asked to stop it, and KeyboardInterrupt only where user code stands.

The parent writes a `cancel` frame and then sends SIGINT, again and again until the execution ends. The handler raises
once for an execution, and only with a frame of user code on the stack; elsewhere it does nothing. Where user code
waits for an answer, `check` raises instead: half a frame may be on its way there.
"""

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Final, NoReturn

from .cells import in_cell
from .frames import Channel, Closed, Frame

WIRE: Final = Channel.take.__code__.co_filename


class Interrupts:
    """`cancel_tasks(execution_id, scope)` stops what runs on the loop; it says whether the loop has work to stop."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._running: str | None = None
        self._wanted: str | None = None
        self._raised = False
        self.cancel_tasks: Callable[[str, str], bool] = lambda _execution_id, _scope: False
        self.listen()

    def listen(self) -> None:
        signal.signal(signal.SIGINT, self._interrupt)

    def begin(self, execution_id: str) -> None:
        # Its cancel may have come with it.
        self._wanted = execution_id if self._wanted == execution_id else None
        self._running, self._raised = execution_id, False

    def end(self) -> bool:
        """Whether this execution was asked to stop."""
        wanted = self._wanted == self._running
        self._running = self._wanted = None
        return wanted

    def on_cancel(self, frame: Frame) -> None:
        """A `cancel` frame came, read by whichever thread; one for an execution that is over does nothing."""
        execution_id = frame["execution_id"]
        if self._running not in (None, execution_id):
            return
        self._wanted = execution_id
        if self._running is None:
            return
        if threading.current_thread() is threading.main_thread():
            self.cancel_tasks(execution_id, frame.get("scope", "execution"))
        else:
            # Its signal may have come before the frame was read.
            os.kill(os.getpid(), signal.SIGINT)

    def check(self) -> None:
        """Where user code waits for an answer: raises KeyboardInterrupt if it is to stop."""
        if self._due and threading.current_thread() is threading.main_thread():
            self._raise()

    @property
    def _due(self) -> bool:
        return self._wanted is not None and self._wanted == self._running and not self._raised

    def _raise(self) -> NoReturn:
        self._raised = True
        raise KeyboardInterrupt

    def _interrupt(self, _number: int, frame: FrameType | None) -> None:
        if self._running is None:
            # Late. What can be read is for the main loop.
            return
        try:
            self._channel.take()
        except Closed:
            # The main loop finds out by itself.
            return
        if not self._due or self.cancel_tasks(self._running, "execution"):
            # Nothing to stop, or between two steps of tasks: they are cancelled instead.
            return
        while frame is not None:
            if frame.f_code.co_filename == WIRE:
                self._channel.wake()
                return
            if in_cell(frame.f_code.co_filename):
                self._raise()
            frame = frame.f_back

"""Stopping user code: which execution runs, who asked to stop it, and KeyboardInterrupt only where user code stands.

The parent writes a `cancel` frame and then sends SIGINT, again and again until the execution ends. The handler raises
once for an execution, and only with a frame of user code on the stack; elsewhere it does nothing.
"""

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType

from .cells import in_cell
from .frames import Channel, Closed, Frame


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
        self._running, self._wanted, self._raised = execution_id, None, False

    def end(self) -> bool:
        """Whether this execution was asked to stop."""
        wanted = self._wanted is not None and self._wanted == self._running
        self._running = self._wanted = None
        return wanted

    def on_cancel(self, frame: Frame) -> None:
        """A `cancel` frame came, read by whichever thread; one for an execution that is over is dropped."""
        execution_id = frame.get("execution_id")
        if execution_id is None or execution_id != self._running:
            return
        self._wanted = execution_id
        if threading.current_thread() is threading.main_thread():
            self.cancel_tasks(execution_id, frame.get("scope", "execution"))
        else:
            # Its signal may have come before the frame was read.
            os.kill(os.getpid(), signal.SIGINT)

    def _interrupt(self, _number: int, frame: FrameType | None) -> None:
        try:
            self._channel.take()
        except Closed:
            # The main loop finds out by itself.
            return
        if self._wanted is None or self._wanted != self._running or self._raised:
            return
        if self.cancel_tasks(self._wanted, "execution"):
            # Between two steps of tasks: they are cancelled instead.
            return
        if _user_code_on(frame):
            self._raised = True
            raise KeyboardInterrupt


def _user_code_on(frame: FrameType | None) -> bool:
    while frame is not None:
        if in_cell(frame.f_code.co_filename):
            return True
        frame = frame.f_back
    return False

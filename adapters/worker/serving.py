"""The worker's main loop: frames come, cells run in the main thread one at a time, what became of them goes back."""

import os
import signal
import sys
import time
from collections import deque
from typing import Any, Final, NoReturn

from . import process
from .asking import ANSWERS, Asking, Tower, take_over_input
from .cells import Cell, compile_cell, forget_source, run_async, run_sync
from .definitions import Definitions
from .failures import describe
from .frames import Channel, Closed, Frame
from .interrupts import Interrupts
from .looping import Looping
from .modes import BLOCKING_CALLS, BLOCKING_METHODS, SIMPLE_SYNC, UNKNOWN, Classifier
from .namespace import COMMIT, OVERWRITE, ROLLBACK, Namespace
from .output import flush_output, keep_spares, renew_closed_output, take_over_output
from .renewal import Builtins, Surroundings
from .values import tell

KEPT_SOURCES: Final = 1_000

ABILITIES: Final = ("execute", "cancel", "input", "capabilities", "checkpoint", "restore", "heartbeat")


class Config:
    """`fd`: the control socket. `working_dir`: where user code starts, and first in its `sys.path`. `limits`: see
    `process.LIMITS`. `blocking_calls`, `blocking_methods` and `ast_cache`: of the classifier. All but the socket can
    be changed by a `begin` frame before the first cell."""

    def __init__(
        self,
        fd: int,
        working_dir: str,
        heartbeat_s: float = 5.0,
        limits: dict[str, int] | None = None,
        blocking_calls: list[str] | None = None,
        blocking_methods: dict[str, list[str]] | None = None,
        ast_cache: int = 100,
    ) -> None:
        self.fd = fd
        self.working_dir = working_dir
        self.heartbeat_s = heartbeat_s
        self.limits = limits or {}
        self.blocking_calls = BLOCKING_CALLS if blocking_calls is None else blocking_calls
        self.blocking_methods = BLOCKING_METHODS if blocking_methods is None else blocking_methods
        self.ast_cache = ast_cache


def serve(config: Config) -> None:
    """Until `shutdown`, or until the parent is gone: then with everything that was started here."""
    # A low number, whatever the parent's was: `select` takes none above 1023.
    fd, config.fd = config.fd, os.dup(config.fd)
    os.close(fd)
    keep_spares()
    take_over_output()
    worker = Worker(config)
    try:
        worker.run()
    except Closed:
        _end_all()
    flush_output()
    os._exit(0)


def _end_all() -> NoReturn:
    """The parent is gone: nothing that was started here goes on, also what left the group."""
    process.kill_descendants()
    os.killpg(0, signal.SIGKILL)
    os._exit(1)


def _leave(error: BaseException | None) -> NoReturn:
    """A child that a cell forked, at the cell's end: as a program would."""
    code = 0
    if error is not None:
        told = describe(error)
        code = told.get("exit_code", 1)
        if not isinstance(error, SystemExit):
            os.write(2, told["traceback"].encode("utf-8", "backslashreplace"))
    flush_output()
    os._exit(code & 0xFF)


class Worker:
    def __init__(self, config: Config) -> None:
        self._pid = os.getpid()
        self._channel = Channel(config.fd)
        self._channel.on_frame = self._taken
        self._execution: str | None = None
        self._interrupts = Interrupts(self._channel)
        self._asking = Asking(self._channel, lambda: self._execution, self._interrupts.check)
        self._looping = Looping(config.fd, self._readable)
        self._channel.on_queued = self._looping.look
        self._interrupts.cancel_tasks = self._looping.cancel
        self._usage = process.Usage()
        process.fork_by_default()
        self._settle_in(config)
        self._new = Surroundings()
        self._builtins = Builtins()
        os.register_at_fork(after_in_child=self._forked)

    def _settle_in(self, config: Config) -> None:
        """Where a session's code will run, with no names of anybody's."""
        self._config = config
        os.chdir(config.working_dir)
        sys.path[0] = config.working_dir
        sys.argv = [""]
        process.set_limits(config.limits)
        take_over_input(self._asking)
        self._classifier = Classifier(config.blocking_calls, config.blocking_methods, config.ast_cache)
        self._namespace = Namespace(Tower(self._asking))
        self._definitions = Definitions()
        self._passing: deque[int] = deque()
        """Cells that defined nothing, whose source tracebacks may show for a while."""
        self._next_heartbeat = time.monotonic() + config.heartbeat_s

    def run(self) -> None:
        self._channel.send("ready", abilities=ABILITIES, python=sys.version.split()[0], pid=self._pid)
        # Some milliseconds that a worker of a pool has to spare: only before user code runs is it needed.
        process.settle()
        while True:
            frame = self._next_frame()
            match frame["type"]:
                case "execute":
                    self._execute(frame)
                case "checkpoint" | "restore" | "probe":
                    self._names_in_file(frame)
                case "begin":
                    self._begin(frame)
                case "reset":
                    self._reset(frame)
                case "shutdown":
                    return
                case other:
                    self._channel.send("refused", frame_id=frame.get("id"), message=f"no frame of the type {other!r}")

    # --- frames ----------------------------------------------------------------------------------------------------

    def _taken(self, frame: Frame) -> bool:
        """Frames that are for whoever waits, or must not wait for the running cell's end."""
        if frame["type"] in ANSWERS:
            self._asking.on_answer(frame)
        elif frame["type"] == "cancel":
            self._interrupts.on_cancel(frame)
        else:
            return False
        return True

    def _readable(self) -> None:
        """In the loop, where an exception would only be logged."""
        try:
            self._channel.take()
        except Closed:
            _end_all()

    def _next_frame(self) -> Frame:
        frames = self._channel.frames
        while True:
            if frames:
                return frames.popleft()
            if self._looping.made:
                self._looping.run_until(lambda: bool(frames), self._next_heartbeat, self._beat)
                continue
            try:
                return self._channel.wait(lambda: frames.popleft() if frames else None, self._next_heartbeat)
            except TimeoutError:
                self._beat()

    def _beat(self) -> float:
        """When the next one is due."""
        size = len(self._namespace.user_names())
        self._channel.send("heartbeat", namespace_size=size, **self._usage.now())
        self._next_heartbeat = time.monotonic() + self._config.heartbeat_s
        return self._next_heartbeat

    def _forked(self) -> None:
        """In a child that user code forked: it never answers for its parent."""
        self._channel.abandon()

    # --- cells -----------------------------------------------------------------------------------------------------

    def _execute(self, frame: Frame) -> None:
        execution_id, code = frame["execution_id"], frame["code"]
        transaction = frame.get("transaction", COMMIT)
        namespace = self._namespace
        namespace.keep_exception(None)
        number = namespace.begin(code)
        try:
            cell = compile_cell(code, number, self._classifier)
        except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError) as error:
            self._channel.send("started", execution_id=execution_id, mode=UNKNOWN, blocking=())
            self._channel.send("error", execution_id=execution_id, execution_time=0.0, **describe(error))
            return
        if frame.get("timed") or cell.mode.mode != SIMPLE_SYNC:
            self._channel.send("started", execution_id=execution_id, mode=cell.mode.mode, blocking=cell.mode.blocking)
        mark = None if transaction == COMMIT else namespace.mark()
        self._execution = execution_id
        value, error, cancelled, took_s = self._run(execution_id, cell)
        if os.getpid() != self._pid:
            _leave(error)
        if not self._definitions.note(code, self._classifier.tree(code, cell.filename)[0], namespace.names):
            self._passing.append(number)
            if len(self._passing) > KEPT_SOURCES:
                forget_source(self._passing.popleft())
        if mark is not None and (error is not None or transaction == ROLLBACK):
            namespace.roll_back(mark)
        renew_closed_output()
        fields: dict[str, Any] = {"execution_id": execution_id, "execution_time": took_s}
        if error is None:
            if value is not None and cell.last is not None:
                namespace.keep_value(number, value)
            told = tell(value)
        else:
            namespace.keep_exception(error)
            told = {**describe(error), "cancelled": cancelled}
        flush_output()
        self._execution = None
        self._channel.send("result" if error is None else "error", **fields, **told, children=process.children())

    def _run(self, execution_id: str, cell: Cell) -> tuple[Any, BaseException | None, bool, float]:
        """Value, exception, whether that is the end of a cancelled execution, and the time it took."""
        names, value, error = self._namespace.names, None, None
        self._builtins.change()
        started = time.perf_counter()
        self._interrupts.begin(execution_id)
        try:
            if cell.awaits:
                value = self._looping.run(execution_id, run_async(cell, names, self._builtins.make_whole))
            else:
                value = run_sync(cell, names)
        except:  # noqa: E722 (whatever user code raises is its outcome, and it may have deleted `BaseException`)
            error = sys.exception()
        self._builtins.make_whole()
        wanted = self._interrupts.end()
        took_s = time.perf_counter() - started
        stopped = isinstance(error, KeyboardInterrupt) or type(error).__name__ == "CancelledError"
        return value, error, wanted and stopped, took_s

    # --- from one session to the next ------------------------------------------------------------------------------

    def _begin(self, frame: Frame) -> None:
        """Another session's settings, before its first cell."""
        env = frame.pop("env")
        if env is not None:
            os.environ.clear()
            os.environ.update(env)
        fields = {name: value for name, value in frame.items() if name not in ("type", "id")}
        try:
            self._settle_in(Config(self._channel.fd, **fields))
        except OSError as error:
            os.write(2, f"the session cannot begin: {error}\n".encode())
            os._exit(1)

    def _reset(self, frame: Frame) -> None:
        """As before the first cell, as far as that can be."""
        self._looping.close()
        clean = self._new.restore(self._config.working_dir) and not process.children()
        self._builtins.forget()
        self._interrupts.listen()
        take_over_output()
        self._settle_in(self._config)
        self._channel.send("reset", frame_id=frame["id"], clean=clean)

    # --- checkpoints -----------------------------------------------------------------------------------------------

    def _names_in_file(self, frame: Frame) -> None:
        """Saved into the file that the parent names, or taken from it."""
        from . import checkpoints

        path, namespace, definitions = frame["path"], self._namespace, self._definitions
        try:
            match frame["type"]:
                case "checkpoint":
                    leave_out, single = frame.get("leave_out", {}), frame.get("single", False)
                    told = checkpoints.save(path, namespace, definitions, leave_out=leave_out, single=single)
                case "restore":
                    strategy, clear = frame.get("strategy", OVERWRITE), frame.get("clear_existing", False)
                    told = checkpoints.restore(path, namespace, definitions, strategy=strategy, clear_existing=clear)
                case _:
                    told = {"failed": checkpoints.probe(path, namespace, definitions)}
        except (OSError, checkpoints.CannotRestore) as error:
            self._channel.send("failed", frame_id=frame["id"], message=str(error))
            return
        self._channel.send(frame["type"], frame_id=frame["id"], **told)

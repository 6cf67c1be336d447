"""A program for each turn, such as the command line of an agent: the instruction goes in, what it prints is the answer.

What a turn leaves running lives on until the session is over; a turn that is stopped ends with all that it started.
"""

import asyncio
import contextlib
import os
import shutil
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import structlog

from adapters.executing.output import Decoder, pieces
from adapters.runtimes.context import handed_over
from adapters.runtimes.environment import environment_of, folder_of, without_secrets
from adapters.runtimes.kept import Kept
from adapters.runtimes.program import Pipe, Program, end_all
from adapters.runtimes.shapes import CommandShape, shaped
from handlers.session_ports import Output, RuntimeFailed, RuntimeSpec, Turn, TurnError, TurnResult, TurnState

ARGUMENT_BYTES: Final = 128 * 1024 - 1
"""The kernel's limit for one argument."""

STDERR_CHARACTERS: Final = 2_000
"""Of its end, told with an error."""

HEARD_CHARACTERS: Final = 2 * STDERR_CHARACTERS
"""More is kept, so that no secret is cut in two before it is looked for."""

_log = structlog.get_logger("runtimes")


class CommandRuntime:
    """`environment`: what the tower gives away of its own. `mark`: by which the processes of this session are known."""

    def __init__(self, environment: Mapping[str, str], *, working_dir: str, mark: str) -> None:
        self._tower = environment
        self._default_dir = working_dir
        self._mark = mark
        self._stop: asyncio.Event | None = None
        self._programs: list[Program] = []
        self._shape: CommandShape
        self._env: Mapping[str, str] = {}
        self._folder = working_dir
        self._session_id = ""

    async def start(self, spec: RuntimeSpec) -> None:
        self._shape = shape = shaped(spec.runtime, CommandShape)
        self._env = environment_of(self._tower, shape, spec)
        self._folder = folder_of(shape, spec, self._default_dir)
        self._session_id = spec.session_id
        await asyncio.to_thread(self._check)

    def _check(self) -> None:
        if not os.path.isdir(self._folder):
            raise RuntimeFailed("runtime_invalid", f"runtime.working_dir: there is no folder {self._folder}")
        name = self._shape.argv[0]
        if "/" in name:
            found = os.access(Path(self._folder, os.path.expanduser(name)), os.X_OK)
            where = f"{name} is no program that can be run in {self._folder}"
        else:
            found = shutil.which(name, path=self._env.get("PATH", os.defpath)) is not None
            where = f"there is no program {name} on the tower's PATH: {self._env.get('PATH', os.defpath)}"
        if not found:
            raise RuntimeFailed("program_not_found", where)

    async def execute(self, turn: Turn, output: Output) -> TurnResult:
        stop = self._stop = asyncio.Event()
        try:
            program = self._begin(turn)
        except RuntimeFailed as error:
            return TurnResult(state=TurnState.FAILED, error=TurnError(type=error.type, message=str(error)))
        kept, said = Kept(), _Tail()
        readers = [
            asyncio.create_task(_print(program.stdout, kept, output)),
            asyncio.create_task(said.read(program.stderr)),
        ]
        try:
            stopped = await self._until_over(program, readers, stop, turn.timeout_s)
            await asyncio.gather(*readers)
        except BaseException:
            program.kill()
            for reader in readers:
                reader.cancel()
            await asyncio.gather(*readers, return_exceptions=True)
            raise
        finally:
            self._stop = None
            program.leave()
        return self._result(program, kept, stopped, said.text)

    def _begin(self, turn: Turn) -> Program:
        """Raises `RuntimeFailed`."""
        shape = self._shape
        text = handed_over(turn, shape.context).encode("utf-8", "backslashreplace")
        by_argument = shape.input == "argument"
        if by_argument:
            _check_argument(text)
        argv = [os.path.expanduser(shape.argv[0]), *shape.argv[1:], *([os.fsdecode(text)] if by_argument else [])]
        given = None if by_argument else text
        mark = f"{self._mark}:{turn.turn}"
        try:
            program = Program(argv, folder=self._folder, env=self._env, mark=mark, given=given)
        except OSError as error:
            self._check()
            raise RuntimeFailed("program_not_found", f"{shape.argv[0]} cannot be run: {error.strerror}") from error
        self._programs = [*(each for each in self._programs if each.open), program]
        _log.info("program started", session_id=self._session_id, turn=turn.turn, pid=program.pid)
        return program

    async def _until_over(
        self, program: Program, readers: list[asyncio.Task[None]], stop: asyncio.Event, timeout_s: float | None
    ) -> TurnState | None:
        """How it was stopped, None when it ended by itself."""
        ended, asked = asyncio.ensure_future(program.ended.wait()), asyncio.ensure_future(stop.wait())
        try:
            waiting: set[asyncio.Future[Any]] = {ended, asked, *readers}
            async with asyncio.timeout(timeout_s):
                while not (ended.done() or asked.done()):
                    done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                    for reader in done:
                        reader.result()
            if ended.done():
                return None
            stopped = TurnState.CANCELLED
        except TimeoutError:
            stopped = TurnState.TIMED_OUT
        finally:
            ended.cancel()
            asked.cancel()
        await program.stop(self._shape.grace_s)
        await program.ended.wait()
        return stopped

    def _result(self, program: Program, kept: Kept, stopped: TurnState | None, said: str) -> TurnResult:
        code = program.exit_code
        assert code is not None
        state, error = stopped, None
        if state is None and code == 0:
            state = TurnState.COMPLETED
        elif state is None:
            state, error = TurnState.FAILED, self._error(code, said)
        _log.info("program ended", session_id=self._session_id, pid=program.pid, state=state.value, exit_code=code)
        return TurnResult(
            state=state, output=kept.text, left_out_bytes=kept.left_out_bytes, error=error, exit_code=code
        )

    def _error(self, code: int, said: str) -> TurnError:
        name = Path(self._shape.argv[0]).name
        how = f"{name} ended with exit code {code}" if code > 0 else f"{name} was ended by {_signal_name(-code)}"
        why = without_secrets(said, self._env)[-STDERR_CHARACTERS:].strip()
        return TurnError(type="exit_status" if code > 0 else "killed", message=f"{how}: {why}" if why else how)

    async def cancel(self) -> None:
        if self._stop is not None:
            self._stop.set()

    async def close(self) -> None:
        for program in self._programs:
            program.kill()
        if self._programs:
            await end_all(self._mark)
        while self._programs:
            self._programs.pop().close()


async def _print(pipe: Pipe, kept: Kept, output: Output) -> None:
    decoder = Decoder()
    while data := await pipe.take():
        await _pass_on(decoder.feed(data), kept, output)
    await _pass_on(decoder.end(), kept, output)


async def _pass_on(text: str, kept: Kept, output: Output) -> None:
    for piece in pieces(text):
        kept.add(piece)
        await output(piece)


class _Tail:
    """The end of what it says on standard error."""

    def __init__(self) -> None:
        self.text = ""

    async def read(self, pipe: Pipe) -> None:
        decoder = Decoder()
        while data := await pipe.take():
            self.text = (self.text + decoder.feed(data))[-HEARD_CHARACTERS:]
        self.text = (self.text + decoder.end())[-HEARD_CHARACTERS:]


def _check_argument(text: bytes) -> None:
    if len(text) > ARGUMENT_BYTES:
        message = f"the instruction with its context has {len(text)} bytes, an argument at most {ARGUMENT_BYTES}"
        raise RuntimeFailed("instruction_too_long", f"{message}: `input: stdin` has no such limit")
    if b"\0" in text:
        raise RuntimeFailed("runtime_invalid", "an argument cannot hold NUL: take `input: stdin`")


def _signal_name(number: int) -> str:
    with contextlib.suppress(ValueError):
        return signal.Signals(number).name
    return f"signal {number}"

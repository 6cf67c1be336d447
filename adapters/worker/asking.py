"""What user code may ask of whoever is outside: a person (`input`, `sys.stdin`, `getpass`) and the tower (`tower`)."""

import builtins
import getpass
import io
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any, Final

from .frames import Channel, Frame

ANSWERS: Final = frozenset(("input_response", "capability_response"))


class Asking:
    """Requests under way. Any thread may ask; one person is asked at a time. `check` is called while one waits: it
    raises what shall end the waiting."""

    def __init__(self, channel: Channel, execution: Callable[[], str | None], check: Callable[[], None]) -> None:
        self._channel = channel
        self._execution = execution
        self._check = check
        self._answers: dict[str, Frame] = {}
        self._one_at_a_time = threading.Lock()

    def on_answer(self, frame: Frame) -> None:
        self._answers[str(frame.get("request_id"))] = frame

    def ask(self, kind: str, **fields: Any) -> Frame:
        """The answer's frame. Interrupts come through as KeyboardInterrupt."""
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        if self._channel.fd < 0:
            raise EOFError("a forked child has nobody to ask")
        request_id = self._channel.send(kind, execution_id=self._execution(), **fields)

        def answer() -> Frame | None:
            self._check()
            return self._answers.pop(request_id, None)

        try:
            return self._channel.wait(answer)
        except BaseException:
            self._answers.pop(request_id, None)
            raise

    def person(self, prompt: str, *, secret: bool, choices: Sequence[str] | None = None, timeout: float | None) -> str:
        """A line without its end. Raises `EOFError`, `TimeoutError`, `KeyboardInterrupt`, `PermissionError` where
        people may not be asked."""
        with self._one_at_a_time:
            answer = self.ask("input_request", prompt=prompt, secret=secret, choices=choices, timeout=timeout)
        match answer.get("status"):
            case "ok":
                return str(answer.get("value", ""))
            case "timeout":
                raise TimeoutError("nobody answered in time")
            case "cancelled":
                raise KeyboardInterrupt
            case "denied":
                raise PermissionError(str(answer.get("message") or "input: people may not be asked"))
            case _:
                raise EOFError("there is no more input")

    def tower(self, capability: str, **arguments: Any) -> Any:
        """Raises `PermissionError` when the session's policy denies it, `RuntimeError` when it failed."""
        answer = self.ask("capability_request", capability=capability, arguments=arguments)
        match answer.get("status"):
            case "ok":
                return answer.get("value")
            case "denied":
                raise PermissionError(str(answer.get("message", capability)))
            case "timeout":
                raise TimeoutError(str(answer.get("message", capability)))
            case _:
                raise RuntimeError(str(answer.get("message", capability)))


class Tower:
    """The object `tower` of user code: what a session may ask of the tower, each as its policy allows."""

    def __init__(self, asking: Asking) -> None:
        self._asking = asking

    def __repr__(self) -> str:
        return "<tower>"

    def input(
        self, prompt: str = "", choices: Sequence[str] | None = None, secret: bool = False, timeout: float | None = None
    ) -> str:
        """Ask a person; `timeout` in seconds, 300 without one. Raises `EOFError`, `TimeoutError`."""
        return self._asking.person(prompt, secret=secret, choices=choices, timeout=timeout)

    def read_file(self, path: str) -> str:
        """A text file's content."""
        return self._asking.tower("read_file", path=str(path))

    def write_file(self, path: str, text: str) -> None:
        self._asking.tower("write_file", path=str(path), text=text)

    def fetch(
        self, url: str, method: str = "GET", headers: dict[str, str] | None = None, body: str | None = None
    ) -> Any:
        """An HTTP answer: `status`, `headers`, `text`."""
        return self._asking.tower("fetch", url=url, method=method, headers=headers or {}, body=body)

    def run(self, argv: Sequence[str], timeout: float | None = None) -> Any:
        """A command's end: `exit_code`, `stdout`, `stderr`."""
        return self._asking.tower("run", argv=list(argv), timeout=timeout)

    def spawn(self, bundle: str, instruction: str, **options: Any) -> Any:
        """Start a session; its result."""
        return self._asking.tower("spawn", bundle=bundle, instruction=instruction, **options)

    def emit(self, name: str, data: Any = None) -> Any:
        """Emit a session event."""
        return self._asking.tower("emit", name=name, data=data)


class AskedInput(io.TextIOBase):
    """`sys.stdin`: each line is asked of a person."""

    encoding = "utf-8"

    def __init__(self, asking: Asking) -> None:
        self._asking = asking
        self._rest = ""

    def readable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return False

    def fileno(self) -> int:
        return 0

    def readline(self, size: int | None = -1, /) -> str:
        if not self._rest:
            try:
                self._rest = self._asking.person("", secret=False, timeout=None) + "\n"
            except EOFError:
                return ""
        whole = size is None or size < 0
        line, self._rest = (self._rest, "") if whole else (self._rest[:size], self._rest[size:])
        return line

    def read(self, size: int | None = -1, /) -> str:
        if size is not None and size >= 0:
            return self.readline(size)
        return "".join(iter(self.readline, ""))


def take_over_input(asking: Asking) -> None:
    """`input`, `getpass.getpass` and `sys.stdin` ask the parent; child processes have nothing to read."""

    def asked_input(prompt: object = "", /) -> str:
        return asking.person(str(prompt), secret=False, timeout=None)

    def asked_secret(prompt: str = "Password: ", stream: Any = None, **_options: Any) -> str:
        return asking.person(prompt, secret=True, timeout=None)

    asked_input.__name__ = "input"
    builtins.input = asked_input
    getpass.getpass = asked_secret
    sys.stdin = AskedInput(asking)

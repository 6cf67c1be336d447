"""What tmux, docker and podman say, as the errors of the `Terminal` port."""

from handlers.ports import SessionExists, TerminalError, TerminalGone, TerminalUnreachable

INSTALL_LINE = "apt-get install tmux"

# tmux and the container engines give one exit code for many causes, so their text decides; it is not translated.
_NO_SERVER = ("no server running on", "error connecting to", "server exited", "lost server")
_NO_CONTAINER = ("no such container", "no container with name or id")
_NO_USER = ("unable to find user", "no matching entries in passwd file")
_NO_PROGRAM = ("executable file not found", "command not found", "no such file or directory: os error")
_UNREACHABLE = ("is not running", "is paused", "is stopped", "can only create exec sessions on running")
# What tmux says begins otherwise: whatever else an engine says, its container may well be alive.
_ENGINE = ("error: ", "error response from daemon", "error during connect", "cannot connect to", "unable to upgrade")

_NOT_EXECUTABLE = (126, 127)
_ENGINE_FAILED = (125, 255)


class CommandFailed(TerminalError):
    """tmux refused a command of a sequence; what the commands before it printed is in `output`."""

    def __init__(self, text: str, output: list[str]) -> None:
        super().__init__(text)
        self.text = text
        self.output = output


class ConnectionLost(TerminalUnreachable):
    """The control connection ended or was given up before the answer: the commands may or may not have run."""


class NoAnswer(ConnectionLost):
    """No answer in time. Asking again at once would only wait once more."""


class NoContainer(TerminalGone):
    """The engine does not know the container: nothing can be started in it either."""


def of_exit(exit_code: int | None, text: str) -> TerminalError:
    """The error for a `tmux` process (or the engine in front of it) that ended with this code and stderr text."""
    text = text.strip()
    said = text.lower()
    if "permission denied" in said:
        return TerminalUnreachable(text)
    if any(part in said for part in _NO_CONTAINER):
        return NoContainer(text)
    if any(part in said for part in _NO_SERVER):
        return TerminalGone(text)
    if any(part in said for part in _NO_USER):
        return TerminalError(text)
    if exit_code in _NOT_EXECUTABLE or any(part in said for part in _NO_PROGRAM):
        return TerminalError(f"tmux is not installed there ({INSTALL_LINE}): {text}")
    unanswered = exit_code is None or exit_code in _ENGINE_FAILED
    if unanswered or any(part in said for part in _UNREACHABLE) or said.startswith(_ENGINE):
        return TerminalUnreachable(text or "tmux gave no answer")
    return CommandFailed(text or f"tmux ended with exit code {exit_code}", [])


def of_command(failure: CommandFailed) -> TerminalError:
    """A refused command as the port's error: `SessionExists` where it is that, else the failure itself."""
    if failure.text.startswith("duplicate session:"):
        return SessionExists(failure.text)
    return failure

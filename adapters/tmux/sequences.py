"""The command sequences behind the `Terminal` port, as plain lists. No I/O.

tmux expands formats in titles and pipe commands, and times in the latter; values that must arrive unchanged are first
set as an option, which is taken as it is, and then named: an option's value is not expanded again.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from adapters.tmux.listing import PANE_OPTION, SESSION_OPTION, Listing
from adapters.tmux.log_pipe import make_command
from adapters.tmux.quoting import Command, sequence
from handlers.ports import PaneToCreate, TerminalError

HISTORY_LINES = 50_000
# Large enough that 64 tiled panes fit while no client is attached.
WIDTH, HEIGHT = 240, 60

_TITLE_OPTION = "@agenttower_title"
_LOG_OPTION = "@agenttower_log"
_HISTORY_OPTION = "@agenttower_history_limit"
_PANE_ID = re.compile(r"[A-Za-z0-9_:-]{1,128}")
_TMUX_PANE_ID = re.compile(r"%[0-9]{1,18}")
_SESSION_NAME = re.compile(r"[A-Za-z0-9_.:-]{1,128}")
_MADE = "agenttower-made"


@dataclass(frozen=True, slots=True)
class Start:
    """A pane and how to start it. `directory_known`: the working directory was seen to exist. `log`: the shell command
    that gets its output, None where it cannot be logged."""

    pane: PaneToCreate
    directory_known: bool
    log: str | None


def tmux_name(session_name: str) -> str:
    """The name that tmux makes of a session name: it keeps `.` and `:` for its own targets."""
    if not _SESSION_NAME.fullmatch(session_name):
        raise TerminalError(f"not a session name: {session_name!r}")
    return session_name.replace(".", "_").replace(":", "_")


def create_session(session_name: str, starts: Sequence[Start], listing: Listing) -> list[Command]:
    """A whole layout. Prints what `made` reads, then the session's panes for `listing`.

    A detached new session is no target for the commands after it, and ids are not known yet: its name is, and a pane
    just made is the active one of its window.
    """
    session = tmux_name(session_name)
    target = f"={session}:"
    first, *rest = starts
    commands: list[Command] = [
        # Else the server and its panes go when the last client, the tower's own, leaves.
        ["set-option", "-s", "exit-unattached", "off"],
        # A pane takes its history limit when it is made, and a session's first pane has only the global one to take.
        ["set-option", "-gF", _HISTORY_OPTION, "#{history-limit}"],
        ["set-option", "-g", "history-limit", str(HISTORY_LINES)],
        [
            *("new-session", "-d", "-P", "-F", f"{_MADE} #{{session_id}} #{{pane_id}}"),
            *("-s", session, "-x", str(WIDTH), "-y", str(HEIGHT)),
            *_process(first),
        ],
        restore_history_limit(),
        ["set-option", "-t", target, SESSION_OPTION, "1"],
        ["set-option", "-t", target, "history-limit", str(HISTORY_LINES)],
        ["set-option", "-t", target, "destroy-unattached", "off"],
        # -e put the first pane's environment into the session, where the other panes would inherit it.
        *(["set-environment", "-u", "-t", target, key] for key in first.pane.env),
        *_dressed(first, target),
    ]
    for start in rest:
        commands += _split(start, target)
    return [*commands, ["select-pane", "-t", f"{target}.{{top-left}}"], listing.command("-s", "-t", target)]


@dataclass(frozen=True, slots=True)
class Window:
    """A living window to add panes to: its id, its last pane, the pane that is active in it."""

    window_id: str
    last_pane: str
    active_pane: str


_WINDOW_FIELDS = f"#{{window_id}} #{{pane_id}} #{{pane_active}} #{{?{PANE_OPTION},1,0}}"


def find_window(session_name: str) -> list[Command]:
    return [["list-panes", "-s", "-t", f"={tmux_name(session_name)}:", "-F", _WINDOW_FIELDS]]


def read_window(lines: Sequence[str]) -> Window:
    """The window with most panes of ours, from what `find_window` printed."""
    windows: dict[str, list[list[str]]] = {}
    for line in lines:
        window_id, *fields = line.split(" ")
        windows.setdefault(window_id, []).append(fields)
    window_id, panes = max(windows.items(), key=lambda item: sum(ours == "1" for _, _, ours in item[1]))
    active = next((pane_id for pane_id, active, _ in panes if active == "1"), panes[-1][0])
    return Window(window_id, panes[-1][0], active)


def add_panes(session_name: str, window: Window, starts: Sequence[Start], listing: Listing) -> list[Command]:
    """Splits behind the last pane of a window; the pane that was active stays so. Prints like `create_session`."""
    active = window.active_pane
    commands: list[Command] = [["select-pane", "-t", window.last_pane]]
    for start in starts:
        commands += _split(start, window.window_id)
    return [
        *commands,
        ["if-shell", "-F", "-t", active, f"#{{==:#{{pane_id}},{active}}}", sequence([["select-pane", "-t", active]])],
        listing.command("-s", "-t", f"={tmux_name(session_name)}:"),
    ]


def restore_history_limit() -> Command:
    return ["set-option", "-gF", "history-limit", f"#{{{_HISTORY_OPTION}}}"]


def made(lines: Sequence[str]) -> list[str]:
    """Targets of what a sequence made, from its output: the session id for a new session, pane ids for splits."""
    return [line.split(" ")[1] for line in lines if line.startswith(_MADE + " ")]


def unmake(targets: Sequence[str]) -> list[Command]:
    """Kill what `made` told of; one that is gone does not keep the others."""
    commands: list[Command] = []
    for target in targets:
        kill = ["kill-session" if target.startswith("$") else "kill-pane", "-t", target]
        alive = f"#{{||:#{{==:#{{session_id}},{target}}},#{{==:#{{pane_id}},{target}}}}}"
        commands.append(["if-shell", "-F", "-t", target, alive, sequence([kill])])
    return commands


def attach_log(tmux_pane_id: str, pane_id: str, log: str) -> list[Command]:
    """Atomic: `pipe-pane` would close a pipe that is there, with `-o` as well. Refused when the pane is not ours."""
    target = pane_target(tmux_pane_id)
    pipe = [["set-option", "-p", "-t", target, _LOG_OPTION, log], _pipe(target)]
    return [_if_ours(target, pane_id, [["if-shell", "-F", "-t", target, "#{?pane_pipe,0,1}", sequence(pipe)]])]


def can_write_log(log_path: str) -> list[Command]:
    """Prints `yes` where the server's user can write the log, which is made, else `no`."""
    make = make_command(log_path).replace("#", "##")
    return [["if-shell", make, "display-message -p yes", "display-message -p no"]]


def set_title(tmux_pane_id: str, pane_id: str, title: str) -> list[Command]:
    """Refused when the pane is not ours."""
    target = pane_target(tmux_pane_id)
    return [_if_ours(target, pane_id, _title(target, title))]


def kill_pane(tmux_pane_id: str, pane_id: str) -> list[Command]:
    """Only a pane that carries our id; one that is gone gives no error."""
    target = pane_target(tmux_pane_id)
    return [["if-shell", "-F", "-t", target, is_ours(target, pane_id), sequence([["kill-pane", "-t", target]])]]


def living_process(tmux_pane_id: str, pane_id: str) -> list[Command]:
    """Prints the pid of the pane's process, if the pane carries our id and the process lives."""
    target = pane_target(tmux_pane_id)
    tell = sequence([["display-message", "-p", "-t", target, "#{?pane_dead,,#{pane_pid}}"]])
    return [["if-shell", "-F", "-t", target, is_ours(target, pane_id), tell]]


def _split(start: Start, target: str) -> list[Command]:
    return [
        # Side by side always: a tiled pane is wider than high, so there is room as long as there can be any.
        ["split-window", "-h", "-P", "-F", f"{_MADE} #{{pane_id}}", "-t", target, *_process(start)],
        *_dressed(start, target),
        ["select-layout", "-t", target, "tiled"],
    ]


def _dressed(start: Start, target: str) -> list[Command]:
    pane = start.pane
    commands: list[Command] = [
        ["set-option", "-p", "-t", target, PANE_OPTION, _own_id(pane.pane_id)],
        ["set-option", "-p", "-t", target, "remain-on-exit", "on"],
        *_title(target, pane.title),
    ]
    if start.log is not None:
        commands += [["set-option", "-p", "-t", target, _LOG_OPTION, start.log], _pipe(target)]
    return commands


def _title(target: str, title: str) -> list[Command]:
    return [
        ["set-option", "-p", "-t", target, _TITLE_OPTION, title],
        ["select-pane", "-t", target, "-T", f"#{{{_TITLE_OPTION}}}"],
    ]


def _pipe(target: str) -> Command:
    return ["pipe-pane", "-t", target, f"#{{{_LOG_OPTION}}}"]


def _process(start: Start) -> list[str]:
    """Environment, directory and program. tmux executes two words or more as they are, one by the user's shell.

    env adds the missing word, and says on the pane what cannot be executed (127), which tmux itself does not. It would
    take a name with `=` for a variable, and tmux goes to the home directory from one that does not exist: there, sh.
    """
    pane = start.pane
    if not pane.argv:
        raise TerminalError("a pane needs a program to run")
    words = [word for key, value in pane.env.items() for word in ("-e", f"{key}={value}")]
    directory = pane.working_dir
    # A "#" in -c would be read as a format.
    plain = directory is None or (start.directory_known and "#" not in directory)
    if directory is not None and plain:
        words += ["-c", directory]
    if plain and "=" not in pane.argv[0]:
        return [*words, "--", "/usr/bin/env", *pane.argv]
    return [*words, "--", "/bin/sh", "-c", 'cd -- "$0" && exec "$@"', directory or ".", *pane.argv]


def _if_ours(target: str, pane_id: str, commands: Sequence[Command]) -> Command:
    """The commands, or an error unless the pane carries our id. (An error in a branch does not end the line.)"""
    refused = sequence([["list-panes", "-t", f"=no pane {pane_id} at {target}"]])
    return ["if-shell", "-F", "-t", target, is_ours(target, pane_id), sequence(commands), refused]


def is_ours(target: str, pane_id: str) -> str:
    # if-shell takes another pane when its target is gone, so the target is asked for too.
    return f"#{{&&:#{{==:#{{pane_id}},{target}}},#{{==:#{{{PANE_OPTION}}},{_own_id(pane_id)}}}}}"


def _own_id(pane_id: str) -> str:
    if not _PANE_ID.fullmatch(pane_id):
        raise TerminalError(f"not a pane id: {pane_id!r}")
    return pane_id


def pane_target(tmux_pane_id: str) -> str:
    if not _TMUX_PANE_ID.fullmatch(tmux_pane_id):
        raise TerminalError(f"not a tmux pane id: {tmux_pane_id!r}")
    return tmux_pane_id

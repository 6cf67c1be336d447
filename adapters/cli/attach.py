"""`agenttower pane attach`: the real tmux client, in place of this process."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from typing import Annotated, Final

import typer

from adapters.cli import references
from adapters.cli.client import Row
from adapters.cli.command import Cli
from adapters.cli.failures import Failure
from adapters.cli.panes import PaneReference

ANSWER_S: Final = 10.0
HOST: Final = "host"


def attach(
    cli: Cli,
    pane: PaneReference,
    read_only: Annotated[bool, typer.Option("--read-only", "-r", help="Only look; keys but detach.")] = False,
) -> None:
    """Attach this terminal to the tmux session of a pane, with the pane selected. Detach with C-b d."""
    found = references.pane(cli.queries, pane)
    if found["state"] not in ("creating", "ready", "degraded") or not found.get("tmux_pane_id"):
        raise Failure(
            f"pane {found['id']} is {found['state']}: there is nothing to attach to",
            f"`agenttower pane logs {found['id']}` shows what it printed",
        )
    cli.place.need_files()
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise Failure(
            "attaching needs a terminal, on standard input and output",
            f"`agenttower pane logs {found['id']} --follow` needs none",
        )
    in_container = found.get("container_id", HOST) != HOST
    before, socket = _in_container(cli, found) if in_container else ((), cli.running.tmux)
    if not in_container:
        _check_not_nested(found, socket)
    # The tower's server is another one than the server this terminal may be in: nesting them is what is asked for.
    environment = {key: value for key, value in os.environ.items() if key not in ("TMUX", "TMUX_PANE")}
    asked = [word if word != "-it" else "-i" for word in before]
    check_is_there([*asked, "tmux", "-u", "-N", "-S", socket], found, environment)
    argv = [*(before or ()), "tmux", "-u", "-S", socket, *_attach_words(found["tmux_pane_id"], read_only=read_only)]
    program = shutil.which(argv[0])
    if program is None:
        raise Failure("tmux is missing", "apt-get install tmux")
    os.execve(program, argv, environment)  # noqa: S606, no shell is what is wanted


def _attach_words(target: str, *, read_only: bool) -> Sequence[str]:
    attach_it = ["attach-session", *(["-r"] if read_only else []), "-t", target]
    return [*attach_it, ";", "select-window", "-t", target, ";", "select-pane", "-t", target]


def _check_not_nested(found: Row, socket: str) -> None:
    """A terminal inside the tower's own tmux would show itself."""
    surrounding = os.environ.get("TMUX", "").partition(",")[0]
    if surrounding and os.path.realpath(surrounding) == os.path.realpath(socket):
        raise Failure(
            "this terminal is in the tower's tmux server already",
            f"tmux switch-client -t '{found['tmux_pane_id']}' shows the pane",
        )


def _in_container(cli: Cli, found: Row) -> tuple[Sequence[str], str]:
    """What stands before `tmux`, and the path of the socket inside."""
    from adapters.containers.cli import find_cli
    from adapters.containers.executing import attached_words
    from adapters.settings import load
    from domain.containers import ContainerFacts

    row = cli.queries.get(f"/v1/containers/{found['container_id']}")
    if not row.get("tmux_socket"):
        raise Failure(f"the user of container {row['name']} is not known", "start it, then `agenttower container scan`")
    setting = load({"home": cli.home, "node": cli.node}).container_cli
    program = find_cli(setting)
    if program is None:
        raise Failure(f"{setting or 'docker or podman'} is not there to reach container {row['name']}")
    facts = ContainerFacts(container_id=row["id"], name=row["name"], user=row["user"], tmux_socket=row["tmux_socket"])
    return attached_words(program, facts), facts.tmux_socket


def check_is_there(tmux: Sequence[str], found: Row, environment: dict[str, str]) -> None:
    """tmux numbers its panes anew with each server: only one that carries the pane's id is it."""
    ask = [*tmux, "display-message", "-p", "-t", found["tmux_pane_id"], "#{@agenttower_pane_id}"]
    try:
        done = subprocess.run(
            ask,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=ANSWER_S,
            check=False,
        )
    except FileNotFoundError as error:
        raise Failure("tmux is missing", "apt-get install tmux") from error
    except subprocess.TimeoutExpired as error:
        raise Failure(f"tmux gave no answer within {ANSWER_S:g} s") from error
    if done.stdout.strip() != found["id"]:
        said = f": {done.stderr.strip()[:200]}" if done.stderr.strip() else ""
        raise Failure(
            f"pane {found['id']} is not in tmux any more{said}",
            f"`agenttower pane show {found['id']}` says what is known",
        )

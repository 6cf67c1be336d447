"""`agenttower pane attach`: the real tmux client, in place of this process."""

import os
import shutil

from adapters.cli import references
from adapters.cli.command import Cli
from adapters.cli.failures import Failure
from adapters.cli.panes import PaneReference


def attach(cli: Cli, pane: PaneReference) -> None:
    """Attach this terminal to the tmux session of a pane, with the pane selected. Detach with C-b d."""
    found = references.pane(cli.queries, pane)
    if found["state"] not in ("creating", "ready", "degraded") or not found.get("tmux_pane_id"):
        raise Failure(
            f"pane {found['id']} is {found['state']}: there is nothing to attach to",
            f"`agenttower pane logs {found['id']}` shows what it printed",
        )
    if found.get("container_id", "host") != "host":
        raise Failure(f"pane {found['id']} is in container {found['container_id']}: attach with tmux in there")
    program = shutil.which("tmux")
    if program is None:
        raise Failure("tmux is missing", "apt-get install tmux")
    target = found["tmux_pane_id"]
    cli.place.need_files()
    argv = ["tmux", "-u", "-S", cli.running.tmux, "attach-session", "-t", target]
    argv += [";", "select-window", "-t", target, ";", "select-pane", "-t", target]
    # The tower's server is another one than the server this terminal may be in: nesting them is what is asked for.
    environment = {key: value for key, value in os.environ.items() if key not in ("TMUX", "TMUX_PANE")}
    os.execve(program, argv, environment)  # noqa: S606, no shell is what is wanted

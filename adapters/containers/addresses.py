"""Where the tmux server of a registered container is, and where its pane logs lie."""

from collections.abc import Callable
from typing import Final, NamedTuple

from adapters.containers.cli import find_cli
from adapters.containers.executing import exec_words
from domain.containers import ContainerFacts
from handlers.ports import TerminalGone, TerminalUnreachable


class Server(NamedTuple):
    """A tmux server in a container: what stands before `tmux`, its socket, the bench folder as it sees it."""

    launcher: tuple[str, ...]
    socket_path: str
    bench_dir: str | None


class Servers:
    """Finds servers by container id. `setting` is the engine's program; `known` gives what the registry holds."""

    def __init__(self, setting: str | None, known: Callable[[str], ContainerFacts | None]) -> None:
        self._setting: Final = setting
        self._known: Final = known

    def of(self, container_id: str) -> Server:
        """`TerminalGone`: not registered. `TerminalUnreachable`: it is not known yet whose server is used, or how."""
        container = self._known(container_id)
        if container is None:
            raise TerminalGone(f"container {container_id} is not registered")
        if not container.tmux_socket:
            raise TerminalUnreachable(f"the user of container {container.name} is not known: start it, and scan again")
        cli = find_cli(self._setting)
        if cli is None:
            raise TerminalUnreachable(f"{self._setting or 'docker or podman'} is not there to reach {container.name}")
        return Server(exec_words(cli, container), container.tmux_socket, container.bench_dir)

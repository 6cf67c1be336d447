"""The tmux servers, container engines and folders of pane logs that a tower's settings name."""

from collections.abc import Callable
from pathlib import Path

from adapters.containers.addresses import Servers
from adapters.containers.engine import CliEngine
from adapters.settings import Settings
from adapters.tmux.address import Address
from adapters.tmux.log_pipe import MIB
from adapters.tmux.terminals import TmuxTerminals
from domain.containers import ContainerFacts
from handlers.effects.pane_places import BENCH_LOGS

Registry = Callable[[str], ContainerFacts | None]
"""A registered container by its id."""


def terminals_of(settings: Settings, known: Registry) -> TmuxTerminals:
    """The tmux servers of this machine and of the registered containers."""
    servers = Servers(settings.container_cli, known)

    def address(container_id: str) -> Address:
        server = servers.of(container_id)
        return Address(
            socket_path=server.socket_path,
            node=settings.node,
            launcher=server.launcher,
            shared=(server.bench_dir, bench_of(settings)) if server.bench_dir is not None else None,
            log_max_bytes=settings.pane_log_max_mb * MIB,
        )

    host = Address(
        socket_path=str(settings.tmux_socket), node=settings.node, log_max_bytes=settings.pane_log_max_mb * MIB
    )
    return TmuxTerminals(host, address)


def log_folders(settings: Settings) -> tuple[Path, Path]:
    """Where pane logs stand on this machine: its own panes', and those of containers that mount the bench folder."""
    return settings.home / "logs" / "panes", bench_of(settings) / BENCH_LOGS


def containers_of(settings: Settings, known: Registry) -> CliEngine:
    return CliEngine(
        setting=settings.container_cli, filters=settings.container_filter, bench=bench_of(settings), known=known
    )


def bench_of(settings: Settings) -> Path:
    """What is mounted into containers."""
    return settings.home / "bench"

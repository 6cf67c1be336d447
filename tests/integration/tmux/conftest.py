"""A private tmux server a test; the terminal on it."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from adapters.tmux.terminal import TmuxTerminal
from tests.integration.tmux.support import Server
from tests.needs import need


@pytest.fixture
def server(short_tmp: Path) -> Iterator[Server]:
    need("tmux")
    server = Server(short_tmp)
    yield server
    server.kill()


@pytest.fixture
async def terminal(server: Server) -> AsyncIterator[TmuxTerminal]:
    terminal = TmuxTerminal(server.address())
    yield terminal
    await terminal.close()

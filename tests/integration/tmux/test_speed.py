"""Forty layouts of four panes, with generous bounds: this is a guard against a change of order, not a measure."""

import asyncio

from adapters.tmux.terminal import TmuxTerminal
from tests.integration.tmux.support import Server

LAYOUTS = 40
PANES = 4


async def test_a_full_node(server: Server, terminal: TmuxTerminal):
    loop = asyncio.get_running_loop()
    await terminal.create_session("warm", [server.pane("warm")])
    started_at = loop.time()
    for layout in range(LAYOUTS):
        await terminal.create_session(f"layout-{layout}", [server.pane(f"p{layout}:{n}") for n in range(PANES)])
    created_s = loop.time() - started_at

    started_at = loop.time()
    panes = await terminal.panes()
    listed_s = loop.time() - started_at
    assert len(panes) == LAYOUTS * PANES + 1
    assert len({pane.tmux_pane_id for pane in panes}) == len(panes)
    assert created_s < 10
    assert listed_s < 0.5

"""Titles and logs through the `Terminal` port: the simulator's server, a real tmux, and tmux in containers."""

import pytest

from handlers.ports import TerminalError, TerminalGone, TerminalUnreachable
from tests.contract.test_terminal import Rig, bench, listed, rig, two

__all__ = ("bench", "rig")


class TestDressing:
    async def test_a_title(self, rig: Rig) -> None:
        made = await rig.terminal.create_session("s", two(rig))
        await rig.terminal.set_title(made[1].tmux_pane_id, "p2", "s1")
        assert (await listed(rig.terminal, "p2")).title == "s1"

    async def test_a_log_that_is_attached_stays_so(self, rig: Rig) -> None:
        pane = rig.pane("p1")
        made = await rig.terminal.create_session("s", [pane])
        await rig.terminal.attach_log(made[0].tmux_pane_id, pane.pane_id, pane.log_path)
        assert (await listed(rig.terminal, "p1")).piped

    async def test_a_pane_that_is_not_ours_gets_neither(self, rig: Rig) -> None:
        """After a server ended, the next one counts from the same number on."""
        made = await rig.terminal.create_session("s", two(rig))
        for ask in (
            rig.terminal.set_title(made[0].tmux_pane_id, "p2", "s1"),
            rig.terminal.attach_log(made[0].tmux_pane_id, "p2", rig.pane("p2").log_path),
        ):
            with pytest.raises(TerminalError) as refused:
                await ask
            assert not isinstance(refused.value, TerminalUnreachable | TerminalGone)
        assert (await listed(rig.terminal, "p1")).title == made[0].title

    async def test_a_pane_that_is_gone_has_neither(self, rig: Rig) -> None:
        made = await rig.terminal.create_session("s", two(rig))
        rig.person_kills(made[0].tmux_pane_id)
        for ask in (
            rig.terminal.set_title(made[0].tmux_pane_id, "p1", "s1"),
            rig.terminal.attach_log(made[0].tmux_pane_id, "p1", rig.pane("p1").log_path),
        ):
            with pytest.raises(TerminalError) as refused:
                await ask
            assert not isinstance(refused.value, TerminalUnreachable | TerminalGone)

"""Sending text through the `Terminal` port: the simulator's server, a real tmux, and tmux in containers."""

import pytest

from handlers.ports import PaneNotThere, TerminalGone, TerminalUnreachable
from tests.contract.terminals import Rig, bench, dead, rig, two

__all__ = ("bench", "rig")


class TestSending:
    async def test_text_that_a_program_shows_is_seen_to_arrive(self, rig: Rig) -> None:
        made = await rig.terminal.create_session("s", two(rig))
        for text in ("hello", "-x", "two\nlines"):
            assert await rig.terminal.send_text(made[1].tmux_pane_id, "p2", text, enter=True)
            assert await rig.terminal.send_text(made[1].tmux_pane_id, "p2", text, enter=False)

    async def test_only_to_what_carries_our_id(self, rig: Rig) -> None:
        """Pane ids of tmux begin anew with each server."""
        made = await rig.terminal.create_session("s", two(rig))
        for tmux_pane_id, pane_id in ((made[0].tmux_pane_id, "p2"), ("%999", "p2"), (made[0].tmux_pane_id, "p3")):
            with pytest.raises(PaneNotThere):
                await rig.terminal.send_text(tmux_pane_id, pane_id, "hello", enter=True)

    async def test_not_to_a_program_that_has_ended(self, rig: Rig) -> None:
        made = await rig.terminal.create_session("s", [rig.pane("p1", ends=True), rig.pane("p2")])
        await dead(rig.terminal, "p1")
        with pytest.raises(PaneNotThere):
            await rig.terminal.send_text(made[0].tmux_pane_id, "p1", "hello", enter=True)

    async def test_not_to_a_pane_that_is_gone(self, rig: Rig) -> None:
        made = await rig.terminal.create_session("s", two(rig))
        rig.person_kills(made[0].tmux_pane_id)
        with pytest.raises(PaneNotThere):
            await rig.terminal.send_text(made[0].tmux_pane_id, "p1", "hello", enter=True)

    async def test_not_where_the_server_is_gone(self, rig: Rig) -> None:
        made = await rig.terminal.create_session("s", two(rig))
        rig.server_dies()
        with pytest.raises(TerminalGone):
            await rig.terminal.send_text(made[0].tmux_pane_id, "p1", "hello", enter=True)

    async def test_without_an_answer_nothing_is_known(self, rig: Rig) -> None:
        made = await rig.terminal.create_session("s", two(rig))
        with pytest.raises(TerminalUnreachable):
            await rig.unanswered(lambda: rig.terminal.send_text(made[0].tmux_pane_id, "p1", "hello", enter=True))

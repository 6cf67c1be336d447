"""The `Terminal` port: the same cases on the simulator's server, on a real tmux, and on one inside a container."""

import asyncio
import signal

import pytest

from handlers.ports import (
    SessionExists,
    TerminalError,
    TerminalGone,
    TerminalUnreachable,
)
from tests.contract.terminals import EXIT_CODE, Rig, bench, dead, ids, listed, rig, two
from tests.waiting import eventually

__all__ = ("bench", "rig")


class TestWithoutAServer:
    async def test_nothing_of_ours_can_be_alive(self, rig: Rig) -> None:
        for ask in (rig.terminal.sessions, rig.terminal.panes, rig.terminal.look):
            with pytest.raises(TerminalGone):
                await ask()

    async def test_there_is_no_session_to_add_panes_to(self, rig: Rig) -> None:
        with pytest.raises(TerminalGone):
            await rig.terminal.add_panes("s", [rig.pane("p1")])

    async def test_a_pane_to_kill_is_gone_already(self, rig: Rig) -> None:
        await rig.terminal.kill_pane("%0", "p1")

    async def test_a_server_that_died_took_all_with_it(self, rig: Rig) -> None:
        await rig.terminal.create_session("s", two(rig))
        rig.server_dies()
        with pytest.raises(TerminalGone):
            await rig.terminal.panes()
        await rig.terminal.kill_pane("%0", "p1")
        await rig.terminal.create_session("s", [rig.pane("p3")])
        assert await ids(rig.terminal) == ["p3"]


class TestCreating:
    async def test_gives_the_panes_in_order_as_they_are_listed(self, rig: Rig) -> None:
        made = await rig.terminal.create_session("s", two(rig))
        assert [(seen.pane_id, seen.title) for seen in made] == [(pane.pane_id, pane.title) for pane in two(rig)]
        assert [seen.pane_index for seen in made] == sorted({seen.pane_index for seen in made})
        assert len({seen.tmux_pane_id for seen in made}) == len({seen.pid for seen in made}) == 2
        assert all(seen.piped and not seen.dead and seen.session_name == "s" for seen in made)
        again = await rig.terminal.panes()
        assert [(seen.pane_id, seen.tmux_pane_id, seen.pid) for seen in again] == [
            (seen.pane_id, seen.tmux_pane_id, seen.pid) for seen in made
        ]

    async def test_a_session_is_listed_by_the_name_that_tmux_gives_it(self, rig: Rig) -> None:
        made = await rig.terminal.create_session("a.b", [rig.pane("p1")])
        assert await rig.terminal.sessions() == {"a_b"} == {seen.session_name for seen in made}

    @pytest.mark.parametrize("name", ["s.1", "s_1"])
    async def test_a_name_that_is_taken(self, rig: Rig, name: str) -> None:
        await rig.terminal.create_session("s_1", [rig.pane("p1")])
        with pytest.raises(SessionExists):
            await rig.terminal.create_session(name, [rig.pane("p2")])
        assert await ids(rig.terminal) == ["p1"]

    async def test_beside_what_a_person_has(self, rig: Rig) -> None:
        rig.person_creates("mine")
        with pytest.raises(SessionExists):
            await rig.terminal.create_session("mine", [rig.pane("p1")])
        await rig.terminal.create_session("s", [rig.pane("p1")])
        assert sorted(await ids(rig.terminal), key=str) == [None, "p1"]
        assert await rig.terminal.sessions() == {"mine", "s"}

    async def test_a_session_needs_a_pane(self, rig: Rig) -> None:
        with pytest.raises(TerminalError):
            await rig.terminal.create_session("s", [])


class TestAdding:
    async def test_to_a_living_session(self, rig: Rig) -> None:
        first = await rig.terminal.create_session("s.1", [rig.pane("p1")])
        made = await rig.terminal.add_panes("s.1", [rig.pane("p2"), rig.pane("p3")])
        assert [(seen.pane_id, seen.session_name, seen.piped) for seen in made] == [
            ("p2", "s_1", True),
            ("p3", "s_1", True),
        ]
        assert await ids(rig.terminal) == ["p1", "p2", "p3"]
        assert (await listed(rig.terminal, "p1")).pid == first[0].pid

    async def test_to_one_that_is_gone(self, rig: Rig) -> None:
        await rig.terminal.create_session("s", [rig.pane("p1")])
        with pytest.raises(TerminalError) as refused:
            await rig.terminal.add_panes("other", [rig.pane("p2")])
        assert not isinstance(refused.value, TerminalUnreachable | TerminalGone)
        assert await ids(rig.terminal) == ["p1"]

    async def test_none(self, rig: Rig) -> None:
        await rig.terminal.create_session("s", [rig.pane("p1")])
        assert list(await rig.terminal.add_panes("s", [])) == []


class TestKilling:
    async def test_one_of_two(self, rig: Rig) -> None:
        made = await rig.terminal.create_session("s", two(rig))
        await rig.terminal.kill_pane(made[0].tmux_pane_id, "p1")
        assert await ids(rig.terminal) == ["p2"]
        await rig.terminal.kill_pane(made[0].tmux_pane_id, "p1")

    async def test_only_what_carries_our_id(self, rig: Rig) -> None:
        """Pane ids of tmux begin anew with each server."""
        made = await rig.terminal.create_session("s", two(rig))
        await rig.terminal.kill_pane(made[0].tmux_pane_id, "p2")
        assert await ids(rig.terminal) == ["p1", "p2"]

    async def test_the_last_one_ends_its_session(self, rig: Rig) -> None:
        rig.person_creates("mine")
        made = await rig.terminal.create_session("s", [rig.pane("p1")])
        await rig.terminal.kill_pane(made[0].tmux_pane_id, "p1")
        assert await rig.terminal.sessions() == {"mine"}

    async def test_a_dead_one(self, rig: Rig) -> None:
        made = await rig.terminal.create_session("s", [rig.pane("p1", ends=True), rig.pane("p2")])
        await dead(rig.terminal, "p1")
        await rig.terminal.kill_pane(made[0].tmux_pane_id, "p1")
        assert await ids(rig.terminal) == ["p2"]


class TestLooking:
    async def test_a_program_that_ends_leaves_its_pane_with_the_exit_code(self, rig: Rig) -> None:
        await rig.terminal.create_session("s", [rig.pane("p1", ends=True), rig.pane("p2")])
        seen = await dead(rig.terminal, "p1")
        assert (seen.exit_code, seen.signal) == (EXIT_CODE, None)
        assert not (await listed(rig.terminal, "p2")).dead

    async def test_a_program_that_is_killed_leaves_its_pane_with_the_signal(self, rig: Rig) -> None:
        made = await rig.terminal.create_session("s", two(rig))
        await rig.terminal.look()
        rig.program_dies(made[1])
        seen = await dead(rig.terminal, "p2")
        assert (seen.exit_code, seen.signal) == (None, signal.SIGKILL)

    async def test_what_vanished_between_two_looks_is_missed_by_none(self, rig: Rig) -> None:
        made = await rig.terminal.create_session("s", two(rig))
        await rig.terminal.look()
        rig.person_kills(made[0].tmux_pane_id)
        async with asyncio.timeout(30):
            while [seen.pane_id for seen in await rig.terminal.look()] != ["p2"]:
                pass

    async def test_it_comes_back_when_nothing_happens(self, rig: Rig) -> None:
        await rig.terminal.create_session("s", two(rig))
        async with asyncio.timeout(30):
            for _ in range(3):
                assert [seen.pane_id for seen in await rig.terminal.look()] == ["p1", "p2"]


class TestWithoutAnAnswer:
    async def test_nothing_is_known(self, rig: Rig) -> None:
        await rig.terminal.create_session("s", two(rig))
        with pytest.raises(TerminalUnreachable):
            await rig.unanswered(rig.terminal.panes)
        assert await ids(rig.terminal) == ["p1", "p2"]

    async def test_panes_are_made_all_of_them_or_none(self, rig: Rig) -> None:
        """And whoever looks first makes none of them twice."""
        await rig.terminal.create_session("s", [rig.pane("p1")])
        more = [rig.pane("p2"), rig.pane("p3")]
        with pytest.raises(TerminalUnreachable):
            await rig.unanswered(lambda: rig.terminal.add_panes("s", more))
        there = await ids(rig.terminal)
        assert there in (["p1"], ["p1", "p2", "p3"])
        if there == ["p1"]:
            await rig.terminal.add_panes("s", more)
        assert await ids(rig.terminal) == ["p1", "p2", "p3"]
        await eventually(lambda: _stays(rig, ["p1", "p2", "p3"]), "no pane comes late")

    async def test_a_killed_pane_is_gone_at_the_second_try(self, rig: Rig) -> None:
        made = await rig.terminal.create_session("s", two(rig))
        with pytest.raises(TerminalUnreachable):
            await rig.unanswered(lambda: rig.terminal.kill_pane(made[0].tmux_pane_id, "p1"))
        await rig.terminal.kill_pane(made[0].tmux_pane_id, "p1")
        assert await ids(rig.terminal) == ["p2"]


async def _stays(rig: Rig, expected: list[str]) -> bool:
    """Over several looks, at half a second each."""
    return [await rig.terminal.look() and await ids(rig.terminal) for _ in range(3)] == [expected] * 3

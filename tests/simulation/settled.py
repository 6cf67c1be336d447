"""Liveness: with faults off everything settles, and what settled is the same everywhere."""

import asyncio
from typing import TYPE_CHECKING

from domain.layouts.restarts import ON_FAILURE
from domain.layouts.state import Pane, PaneState, Stage
from domain.messages import HOST, POLICY
from domain.node import CommandRejected
from handlers.effects.follow_ups import follow_up_id
from tests.faults.firings import firings_again, open_runs
from tests.simulation.loop import pause
from tests.simulation.read_models import differences

if TYPE_CHECKING:
    from tests.simulation.world import World

DEADLINE_S = 1200.0
"""The sweep waits for markers 5 min old, and ticks once a minute; a stage may hang 90 s."""

STEP_S = 1.0


async def settle(world: "World") -> None:
    """Raises `Violation` for what does not settle, or settles wrongly."""
    deadline = asyncio.get_running_loop().time() + DEADLINE_S
    try:
        async with asyncio.timeout_at(deadline):
            while undecided(world):
                await pause(STEP_S)
            # What is asked of a container that went is put off until the tower knows that it is gone.
            await world.people.ask_for_a_scan()
            await world.people.insist()
            if world.random.random() < 0.7:
                for tower in world.running:
                    tower.process.kill()
            await world.people.ask_all_again()
            # The last of two towers may still be starting: the other must have something to notice it by.
            while not all(tower.ready for tower in world.running):
                await pause(STEP_S)
            await world.people.ask_last()
            while not world.board.tick("sweep"):
                await pause(STEP_S)
            while unsettled(world):
                await pause(STEP_S)
    except TimeoutError:
        world.report(f"not settled within {DEADLINE_S:.0f} s: {'; '.join([*unsettled(world), *still_open(world)])}")
    check_memory(world)
    for line in firings_again(world.model.records):
        world.report(line)
    if world.shelf is not None:
        for line in differences(world.shelf, world.model.records):
            world.report(line)


def undecided(world: "World") -> list[int]:
    """What was queued for good and no tower has taken up: nobody asks for it a second time."""
    read = world.model.ledgers[-1].commands_at
    settled = world.model.decided | world.model.by_command.keys()
    return [
        sequence
        for sequence, key in world.people.queued.items()
        if sequence not in world.taken or (sequence > read and key not in settled)
    ]


def still_open(world: "World") -> list[str]:
    return [
        *(() if world.board.holds("sweep") else ("the sweep is not scheduled",)),
        *(f"command {sequence} was queued and is not decided" for sequence in undecided(world)),
        *(f"command {key} {world.model.asked[key]} has no outcome" for key in world.people.open),
    ]


def unsettled(world: "World") -> list[str]:
    """Each line says what is not yet as it must be."""
    lines: list[str] = []
    running = [tower for tower in world.running if tower.ready]
    if len(running) != 1 or len(world.running) != 1:
        lines.append(f"{len(world.running)} towers run, {len(running)} are ready")
    lines += ["a tick of the sweep is not read"] if world.board.due else []
    lines += [f"{tower.spawning.jobs_open} jobs open" for tower in running if tower.spawning.jobs_open]
    lines += [
        f"pane {pane.pane_id} is creating"
        for pane in world.model.layouts.panes.values()
        if pane.state is PaneState.CREATING
    ]
    lines += [f"execution {each} has no end" for each in world.model.tower.executions.open]
    lines += [f"session {each} has something to do" for each in world.model.tower.sessions.active]
    lines += open_runs(world.model.tower)
    lines += [f"text {send.send_id} has no end" for send in world.model.tower.sends.open.values()]
    lines += [f"pane {pane.pane_id} has failed and is not restarted: {pane}" for pane in unrestarted(world)]
    registry = world.model.tower.containers
    lines += [f"scan {scan_id} is open" for scan_id in registry.open_scans]
    known = {each: facts for each, facts in registry.known.items() if each != HOST}
    lines += [] if known == world.engine.containers else [f"{sorted(known)} are registered, not what the engine has"]
    head = len(world.stream.entries)
    lines += [
        f"read model {status.name} is {status.state(head - status.position)} at {status.position} of {head}"
        for tower in running
        if tower.projector is not None
        for status in tower.projector.progress
        if (status.position, status.stop) != (head, None)
    ]
    for container_id in world.servers:
        lines += _compare(world, container_id)
        lines += _compare_adopted(world, container_id)
    return lines


def unrestarted(world: "World") -> list[Pane]:
    """Panes with a restart policy that have failed and neither have a successor nor rest for a reason that is said,
    those left out that went with their container."""
    return [
        pane
        for layout in world.model.layouts.layouts.values()
        for pane in world.model.layouts.present_panes(layout.layout_id)
        if pane.restart == ON_FAILURE and pane.restart_given_up is None and _failed(pane) and not _refused(world, pane)
        if pane.pane_id not in world.model.lost_with_container
    ]


def _failed(pane: Pane) -> bool:
    if pane.failed_stage is Stage.PROCESS_EXITED:
        return pane.exit_code != 0
    return pane.restart_open or pane.failed_stage is Stage.PANE_VANISHED


def _refused(world: "World", pane: Pane) -> bool:
    """The log says that the policy tried, and why it was refused."""
    tried = (follow_up_id(pane.pane_id, f"restart:{half}") for half in ("remove", "recreate"))
    recorded = (record for each in tried for record in world.model.by_command.get((POLICY, each), ()))
    return any(isinstance(record.event, CommandRejected) for record in recorded)


def _compare(world: "World", container_id: str) -> list[str]:
    """State and tmux of one container say the same."""
    lines: list[str] = []
    layouts = world.model.layouts
    there = {pane.pane_id: pane for _, pane in world.servers[container_id].panes() if pane.pane_id is not None}
    for pane_id in there:
        state = layouts.panes.get(pane_id)
        if state is None or state.state is PaneState.REMOVED:
            lines.append(f"tmux holds pane {pane_id}, which is {'unknown' if state is None else 'removed'}")
    for pane in layouts.panes.values():
        if pane.container_id != container_id or not pane.live or pane.state is PaneState.CREATING:
            continue
        seen = there.get(pane.pane_id)
        if seen is None:
            lines.append(f"pane {pane.pane_id} is {pane.state}, and not in tmux")
            continue
        said = (pane.tmux_pane_id, pane.pid)
        if said != (seen.tmux_pane_id, seen.pid):
            lines.append(f"pane {pane.pane_id} is said to be {said}, tmux has it as {seen.tmux_pane_id} {seen.pid}")
        if pane.state is PaneState.READY and (seen.dead or not seen.piped or seen.title != pane.label):
            lines.append(f"pane {pane.pane_id} is ready, but in tmux {seen}")
    return lines


def _compare_adopted(world: "World", container_id: str) -> list[str]:
    """An adopted agent is there, or gone, and said to be so."""
    there = {(pane.tmux_pane_id, pane.pid) for _, pane in world.servers[container_id].panes() if not pane.dead}
    every = (agent for agent in world.model.tower.agents.known.values() if agent.container_id == container_id)
    return [
        f"agent {agent.agent_id} is {'gone' if agent.gone else 'there'}, tmux says otherwise"
        for agent in every
        if agent.gone == ((agent.tmux_pane_id, agent.pid) in there)
    ]


def check_memory(world: "World") -> None:
    for tower in world.running:
        world.model.check_memory(tower.process.name, tower.writer.ledger)
        world.model.expect(
            tower.writer.ledger.position == len(world.stream.entries), f"{tower.process.name} is behind the log"
        )

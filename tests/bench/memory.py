"""Memory that a layout of four ready panes takes in the state, at the capacity of a node and far beyond it."""

import gc
import tracemalloc
from datetime import UTC, datetime

from adapters.system import SystemIds
from domain import tower
from domain.containers import knowing
from domain.layouts.state import CAPACITY
from domain.messages import Command, Event
from domain.tower import Tower
from tests.bench.history import PANES, Step, create_step, spawn_steps
from tests.bench.report import Check, Options, Part, table

MANY = 10_000
TARGET_KB = 20.0
FLAT = 1.25
"""By how much a layout may take more among many than among few."""


async def measure(options: Options) -> Part:
    part = Part()
    shown = table(f"Memory of a layout of {PANES} panes", "layouts in the state", "kB a layout", "at most")
    found: dict[int, float] = {}
    for layouts in (CAPACITY, MANY):
        found[layouts] = _bytes_a_layout(layouts) / 1000
        shown.add_row(f"{layouts:,}", f"{found[layouts]:.1f}", f"{TARGET_KB:g}")
        reached = f"{found[layouts]:.1f} kB"
        part.checks.append(
            Check(f"memory a layout, {layouts:,} layouts", f"{TARGET_KB:g} kB", reached, found[layouts] < TARGET_KB)
        )
    growth = found[MANY] / found[CAPACITY]
    part.checks.append(Check("memory a layout, many to few", f"flat ({FLAT:g})", f"{growth:.2f}", growth <= FLAT))
    part.tables.append(shown)
    return part


def _bytes_a_layout(layouts: int) -> float:
    """Each layout lives in a container of its own, so that names and labels are free. Its events are decided on an
    empty node: the capacity is a rule of the decision, not of the state."""
    histories = (_events_of_one(f"{number:064x}") for number in range(layouts))
    state = Tower()
    gc.collect()
    tracemalloc.start()
    for events in histories:
        for event in events:
            state = tower.evolve(state, event)
    gc.collect()
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(state.layouts.open_layouts) == layouts
    return used / layouts


def _events_of_one(container_id: str) -> list[Event]:
    at = datetime.now(UTC)
    ids = SystemIds()
    state = Tower(containers=knowing((container_id,)))
    events: list[Event] = []

    def do(step: Step) -> None:
        nonlocal state
        request, facts = step
        for event in tower.decide(Command(id=ids.uuid7(), origin="tower", request=request, facts=facts), state):
            events.append(event)
            state = tower.evolve(state, event)

    create = create_step(at, container_id)
    do(create)
    for step in spawn_steps(create[1].ids[1:], at):
        do(step)
    return events

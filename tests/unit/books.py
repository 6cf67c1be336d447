"""What a node's events say, written down a second time in the plainest way, to hold the state against.

Nothing here is shared with the domain but the events: no index, no transition table, no aggregate.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from domain.agents import events as ae
from domain.layouts import events as e
from domain.messages import Event
from domain.node import NodeClaimed

LIVE = {"creating", "ready", "degraded"}


@dataclass
class PaneEntry:
    layout_id: str
    container_id: str
    slot: int
    label: str
    depth: int
    predecessor: str | None
    state: str = "creating"
    stage: str | None = None
    successors: list[str] = field(default_factory=list)

    @property
    def live(self) -> bool:
        return self.state in LIVE


@dataclass
class LayoutEntry:
    container_id: str
    session: str
    reported: str = "creating"
    reported_stage: str | None = None
    panes: list[str] = field(default_factory=list)


def aggregate(event: Event) -> tuple[str, str]:
    """Kind and id of what the event is about."""
    if isinstance(event, NodeClaimed):
        return "node", event.node
    if isinstance(event, ae.AgentAdopted | ae.AgentReported | ae.AgentGone):
        return "agent", event.agent_id
    kind = "pane" if hasattr(event, "pane_id") else "layout"
    return kind, getattr(event, f"{kind}_id")


class Books:
    def __init__(self) -> None:
        self.layouts: dict[str, LayoutEntry] = {}
        self.panes: dict[str, PaneEntry] = {}
        # Adopted agents that are not gone: place and label, each with its container.
        self.agents: dict[str, tuple[tuple[str, str], tuple[str, str]]] = {}
        self.sequences: Counter[tuple[str, str]] = Counter()

    def write(self, events: Iterable[Event]) -> None:
        for event in events:
            self._write(event)

    def _write(self, event: Event) -> None:
        self.sequences[aggregate(event)] += 1
        match event:
            case e.LayoutCreated():
                self.layouts[event.layout_id] = LayoutEntry(event.container_id, event.tmux_session_name)
            case e.LayoutStateChanged():
                layout = self.layouts[event.layout_id]
                assert event.from_ == layout.reported
                assert (event.to, event.failed_stage) != (layout.reported, layout.reported_stage), "nothing changed"
                layout.reported, layout.reported_stage = event.to, event.failed_stage
            case e.PaneCreated():
                self.panes[event.pane_id] = PaneEntry(
                    event.layout_id,
                    event.container_id,
                    event.slot,
                    event.label,
                    event.chain_depth,
                    event.predecessor_id,
                )
                self.layouts[event.layout_id].panes.append(event.pane_id)
                if event.predecessor_id is not None:
                    self.panes[event.predecessor_id].successors.append(event.pane_id)
            case e.PaneStateChanged():
                pane = self.panes[event.pane_id]
                assert event.from_ == pane.state
                pane.state, pane.stage = event.to, event.failed_stage
            case ae.AgentAdopted():
                place, label = (event.container_id, event.tmux_pane_id), (event.container_id, event.label)
                assert (place, label) not in self.agents.values()
                self.agents[event.agent_id] = (place, label)
            case ae.AgentGone():
                del self.agents[event.agent_id]
            case _:
                pass

    def standing(self) -> set[str]:
        """Layouts that are not removed."""
        return {layout_id for layout_id in self.layouts if self.layout_state(layout_id)[0] != "removed"}

    def layout_state(self, layout_id: str) -> tuple[str, str | None]:
        panes = [self.panes[pane_id] for pane_id in self.layouts[layout_id].panes]
        counted = [pane for pane in panes if pane.state != "removed" and not pane.successors]
        states = {pane.state for pane in counted}
        if not counted:
            return "removed", None
        if "creating" in states:
            return "creating", None
        if "failed" in states:
            return "failed", next(pane.stage for pane in counted if pane.state == "failed")
        return ("degraded" if "degraded" in states else "ready"), None

    def labels(self) -> dict[tuple[str, str], list[str]]:
        """Living panes by container and label."""
        held: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
        for pane_id, pane in self.panes.items():
            if pane.live:
                held[pane.container_id, pane.label].append(pane_id)
        return dict(held)

    def places(self) -> Counter[tuple[str, str, int]]:
        """How many living panes stand in each slot of each tmux session, sessions as tmux names them."""
        return Counter(
            (
                pane.container_id,
                self.layouts[pane.layout_id].session.translate({ord("."): "_", ord(":"): "_"}),
                pane.slot,
            )
            for pane in self.panes.values()
            if pane.live
        )

"""Every projection, by name."""

from typing import Final

from projections import agents, background, bundles, containers, events, executions, layouts, sessions
from projections.projection import Projection

PROJECTIONS: Final[tuple[Projection, ...]] = (
    layouts.PROJECTION,
    agents.PROJECTION,
    containers.PROJECTION,
    bundles.PROJECTION,
    executions.PROJECTION,
    sessions.PROJECTION,
    background.PROJECTION,
    events.PROJECTION,
)


def find(name: str) -> Projection | None:
    return next((projection for projection in PROJECTIONS if projection.name == name), None)

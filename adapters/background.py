"""The parts that let background sessions run, put together."""

from adapters.crashing import armed
from handlers.effects.background import BackgroundRuns
from handlers.effects.follow_ups import FollowUps
from handlers.ports import Clock


class TowerBackground:
    """`effects` are observers of the writer."""

    def __init__(self, *, follow_ups: FollowUps, clock: Clock) -> None:
        """The parts are armed."""
        self.runs = armed(BackgroundRuns(follow_ups=follow_ups, clock=clock))

    @property
    def effects(self) -> tuple[BackgroundRuns, ...]:
        return (self.runs,)

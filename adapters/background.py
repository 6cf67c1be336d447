"""The parts that let background sessions run, put together."""

import os

from adapters.crashing import armed
from adapters.settings import Settings
from handlers.effects.background import BackgroundRuns
from handlers.effects.declaring import Declaring
from handlers.effects.follow_ups import FollowUps
from handlers.ports import Clock
from handlers.session_facts import Prepared


class TowerBackground:
    """`effects` are observers of the writer."""

    def __init__(
        self, settings: Settings, *, follow_ups: FollowUps, clock: Clock, instance: str, bundles: Prepared
    ) -> None:
        """The parts are armed."""
        self.runs = armed(BackgroundRuns(follow_ups=follow_ups, clock=clock))
        self.declaring = armed(
            Declaring(
                bundles=bundles,
                follow_ups=follow_ups,
                instance=instance,
                configured=settings.background_sessions,
                folder=os.getcwd(),
            )
        )

    @property
    def effects(self) -> tuple[BackgroundRuns | Declaring, ...]:
        return (self.runs, self.declaring)

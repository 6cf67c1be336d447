"""What triggers background sessions, put together: watches, timers, and the events of issue directories."""

from functools import partial
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter

from adapters.crashing import armed
from adapters.settings import Settings
from adapters.triggers.issues import IssueDirectory
from adapters.triggers.kinds import StateFolders, TriggerKinds
from handlers.effects.follow_ups import FollowUps
from handlers.effects.noticing import Noticing
from handlers.effects.ticking import Ticking
from handlers.effects.triggering import Triggering
from handlers.ports import Clock, Ids, Timers


class TowerTriggers:
    """`effects` are observers of the writer. `hook`: the door for signed deliveries."""

    def __init__(
        self,
        settings: Settings,
        *,
        follow_ups: FollowUps,
        clock: Clock,
        ids: Ids,
        timers: Timers,
        instance: str,
        metrics: CollectorRegistry,
    ) -> None:
        folder = settings.home / "nodes" / settings.node / "triggers"
        deliveries = Counter(
            "agenttower_webhook_deliveries", "Deliveries to hooks by what became of them.", ["fate"], registry=metrics
        )
        self.kinds = TriggerKinds(
            folder=folder,
            clock=clock,
            ids=ids,
            count=lambda fate: deliveries.labels(fate).inc(),
            never=(str(settings.home),),
        )
        self.hook = self.kinds.door.take
        self.triggering = armed(
            Triggering(
                sources=self.kinds,
                folders=armed(StateFolders(folder / "of")),
                follow_ups=follow_ups,
                instance=instance,
                folder=str(settings.work_dir),
            )
        )
        self.ticking = armed(Ticking(timers=timers, follow_ups=follow_ups, clock=clock))
        trackers = {
            f"issues:{name}": partial(self._tracker, path, folder / "issues" / name, clock, ids)
            for name, path in settings.issues.items()
        }
        self.noticing = armed(Noticing(sources=trackers, follow_ups=follow_ups, clock=clock))

    @property
    def effects(self) -> tuple[Triggering, Ticking, Noticing]:
        return self.triggering, self.ticking, self.noticing

    def close(self) -> None:
        self.kinds.close()

    def _tracker(self, path: Path, state: Path, clock: Clock, ids: Ids) -> IssueDirectory:
        return IssueDirectory(path, state=state, inotify=self.kinds.inotify, clock=clock, ids=ids)

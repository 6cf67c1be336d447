"""Which story reaches which crash point."""

from collections.abc import Mapping

from tests.faults.bundled import Bundled
from tests.faults.conversed import Conversed
from tests.faults.declared import Declared
from tests.faults.executed import DeadlineRefused, Executed
from tests.faults.roused import Roused, SlowToPrepare, Unwatched
from tests.faults.stories import (
    BrokerGone,
    Due,
    Found,
    Frozen,
    FrozenAtStart,
    Joined,
    Life,
    Lingering,
    LogFull,
    Lost,
    Remains,
    Restarted,
    Scanned,
    Stale,
    Story,
    TimersRefused,
    Unpiped,
    Vanishing,
)
from tests.faults.watched import Deaf, Watched

STORIES: Mapping[str, Story] = {
    "background._asked.sleep.": SlowToPrepare(),
    "background._restart.": Unwatched(),
    "background.": Roused(),
    "bundles.": Bundled(),
    "capabilities.": Executed(),
    "declaring.": Declared(),
    "dues.schedule.sleep.": DeadlineRefused(),
    "dues.schedule.": Executed(),
    "deadlines.": Executed(),
    "executing.": Executed(),
    "inputs.": Executed(),
    "namespaces.": Executed(),
    "plans.": Conversed(),
    "session_facts.": Conversed(),
    "sessions.": Conversed(),
    "spawns.": Conversed(),
    "noticing._keep.sleep.": Deaf(),
    "noticing.": Watched(),
    "ticking.": Watched(),
    "triggering.": Watched(),
    "turns.": Conversed(),
    "engine._measure_broker.": Lingering(),
    "engine._purge_commands.": Lingering(),
    "housekeeping.": Due(),
    "recovery._kill_remains.": Remains(),
    "recovery._list.panes.after#2": Lost(),
    "recovery._list.panes.before#2": Lost(),
    "recovery._list.sleep.": Lost(),
    "recovery.retry.": FrozenAtStart(),
    "restarting._restart.sleep.": Restarted(),
    "retrying.with_retries.": Frozen(),
    "seats.": Executed(),
    "scanning._find.ask.": Found(),
    "scanning._find.scan.after": Found(),
    "scanning._list.": Scanned(),
    "stages.attach.attach_log.": Unpiped(),
    "stages._make.kill_pane.": Stale(),
    "stages._start_session.add_panes.": Joined(),
    "dues.run.due.after": Due(),
    "sweeping.schedule.sleep.": TimersRefused(),
    "watching._look.panes.": Vanishing(),
    "watching._look.sleep.": Vanishing(),
    "watching._watch.sleep.": Frozen(),
    "writer._after_full.": LogFull(),
    "writer._reread.": BrokerGone(),
}
"""By how the point's name begins; every other point is reached by a `Life`."""


def story_of(point: str) -> Story:
    return next((story for start, story in STORIES.items() if point.startswith(start)), Life())

"""The parts that let sessions take their turns, put together: transcripts, plans, facts, and the effect over them."""

from collections.abc import Callable
from pathlib import Path

from adapters.crashing import armed
from adapters.files.transcripts import FileTranscripts
from domain.tower import Tower
from handlers.effects.follow_ups import FollowUps
from handlers.effects.sessions import Sessions
from handlers.execution_ports import Blobs, OutputLog
from handlers.plans import Plans
from handlers.ports import Clock, Ids
from handlers.session_facts import Prepared, SessionFacts
from handlers.session_ports import Runtimes


class TowerSessions:
    """`effect` is an observer of the writer; `facts` are those of its decisions."""

    def __init__(
        self,
        *,
        folder: Path,
        runtimes: Runtimes,
        output: OutputLog,
        blobs: Blobs,
        follow_ups: FollowUps,
        clock: Clock,
        ids: Ids,
        state: Callable[[], Tower],
        bundles: Prepared,
    ) -> None:
        """`folder`: of the transcripts. The parts are armed."""
        self.transcripts = FileTranscripts(folder)
        storage, plans = armed(self.transcripts), Plans(blobs)
        self.facts = SessionFacts(bundles=bundles, blobs=blobs, plans=plans, storage=storage, ids=ids, state=state)
        self.effect = armed(
            Sessions(
                runtimes=runtimes,
                storage=storage,
                output=output,
                blobs=blobs,
                plans=plans,
                follow_ups=follow_ups,
                clock=clock,
            )
        )

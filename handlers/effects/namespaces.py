"""Saves and restores the names of sessions: what `session.checkpoint` and `session.restore` asked for.

Done by the executing effect when it is their turn; sends `session.record_*`. Making one twice does no harm.
"""

from collections.abc import Sequence
from typing import Final

import structlog

from domain.executions import commands as ec
from domain.executions.events import SkippedName
from domain.executions.state import Work
from handlers.effects.ends import shortened
from handlers.execution_ports import Blobs, NamesError, WorkerSession

NAMES: Final = 2_000
"""Names, and names that were left out, in one event."""

NAME_CHARACTERS: Final = 100
REASON_CHARACTERS: Final = 200

_log = structlog.get_logger(__name__)


class Namespaces:
    def __init__(self, *, blobs: Blobs) -> None:
        self._blobs = blobs

    async def perform(self, session: WorkerSession, work: Work) -> ec.ReportedOfSession:
        """What is to be told of it."""
        try:
            if work.digest is None:
                return await self._save(session, work)
            return await self._restore(session, work, work.digest)
        except NamesError as error:
            return _failed(work, "worker_failed", str(error))
        except OSError as error:
            _log.error("a checkpoint is not on the disk", session_id=work.session_id, reason=str(error))
            return _failed(work, "checkpoint_unavailable", str(error))
        except Exception as error:  # noqa: BLE001 (one bad checkpoint must not end the tower, nor stay open for ever)
            _log.exception("names could not be saved or restored", session_id=work.session_id)
            return _failed(work, "internal_error", f"{type(error).__name__}: the tower's log says why")

    async def _save(self, session: WorkerSession, work: Work) -> ec.ReportedOfSession:
        path = await self._blobs.scratch(work.work_id)
        saved = await session.checkpoint(path, verify=work.verify)
        digest, size_bytes = await self._blobs.take(path)
        return ec.SessionRecordCheckpointed(
            session_id=work.session_id,
            work_id=work.work_id,
            digest=digest,
            size_bytes=size_bytes,
            names=_names(saved.names),
            skipped=_skipped(saved.skipped),
            function_count=saved.function_count,
            class_count=saved.class_count,
        )

    async def _restore(self, session: WorkerSession, work: Work, digest: str) -> ec.ReportedOfSession:
        restored = await session.restore(
            self._blobs.path(digest), strategy=work.strategy, clear_existing=work.clear_existing
        )
        return ec.SessionRecordRestored(
            session_id=work.session_id,
            work_id=work.work_id,
            names=_names(restored.names),
            skipped=_skipped(restored.skipped),
        )


def _failed(work: Work, code: str, reason: str) -> ec.SessionRecordWorkFailed:
    return ec.SessionRecordWorkFailed(
        session_id=work.session_id, work_id=work.work_id, code=code, reason=shortened(reason, REASON_CHARACTERS)
    )


def _names(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(shortened(name, NAME_CHARACTERS) for name in names[:NAMES])


def _skipped(skipped: Sequence[tuple[str, str]]) -> tuple[SkippedName, ...]:
    return tuple(
        SkippedName(name=shortened(name, NAME_CHARACTERS), reason=shortened(reason, REASON_CHARACTERS))
        for name, reason in skipped[:NAMES]
    )

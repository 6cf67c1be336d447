"""The rules of namespaces: checkpoints, restores and forks of sessions.

A checkpoint or a restore waits for its turn among the executions of its session, and nothing else runs there meanwhile.
"""

from domain.errors import Rejection
from domain.executions import commands as c
from domain.executions import events as e
from domain.executions.decide import check_id, check_lasting
from domain.executions.state import Checkpoint, Executions, Session
from domain.messages import Event, Facts


def decide(request: c.AskedOfSession, facts: Facts, state: Executions) -> tuple[Event, ...]:
    match request:
        case c.SessionCheckpoint():
            session = _known(request.session_id, state)
            return (
                e.SessionCheckpointRequested(
                    session_id=session.session_id, work_id=facts.ids[0], verify=request.verify
                ),
            )
        case c.SessionRestore():
            session = _known(request.session_id, state)
            return (
                e.SessionRestoreRequested(
                    session_id=session.session_id,
                    work_id=facts.ids[0],
                    digest=_checkpoint(session, request.checkpoint).digest,
                    strategy=request.strategy,
                    clear_existing=request.clear_existing,
                ),
            )
        case c.SessionFork():
            return fork(request, facts, state)


def fork(request: c.SessionFork, facts: Facts, state: Executions) -> tuple[Event, ...]:
    session_id = facts.ids[0] if request.session_id is None else check_id("session_id", request.session_id)
    if session_id in state.sessions:
        raise Rejection("session_exists", f"there is a session {session_id}", session_id=session_id)
    source, checkpoint = _source(request.from_, state)
    return (e.SessionForked(session_id=session_id, from_session_id=source.session_id, digest=checkpoint.digest),)


def report(request: c.ReportedOfSession, state: Executions) -> tuple[Event, ...]:
    """`()` for work that is done."""
    work = state.works.get(request.work_id)
    if work is None or work.session_id != request.session_id:
        return ()
    match request:
        case c.SessionRecordCheckpointed():
            return (
                e.SessionCheckpointed(
                    session_id=request.session_id,
                    work_id=request.work_id,
                    digest=request.digest,
                    bytes_=request.size_bytes,
                    names=request.names,
                    skipped=request.skipped,
                    function_count=request.function_count,
                    class_count=request.class_count,
                    after=state.sessions[request.session_id].last,
                ),
            )
        case c.SessionRecordRestored():
            return (
                e.SessionRestored(
                    session_id=request.session_id,
                    work_id=request.work_id,
                    digest=work.digest or "",
                    names=request.names,
                    skipped=request.skipped,
                ),
            )
        case c.SessionRecordWorkFailed():
            return (
                e.SessionWorkFailed(
                    session_id=request.session_id,
                    work_id=request.work_id,
                    work="checkpoint" if work.digest is None else "restore",
                    code=request.code,
                    reason=request.reason,
                ),
            )


def _source(asked: str, state: Executions) -> tuple[Session, Checkpoint]:
    """The checkpoint that `asked` names: by session, by its digest, by the execution before it."""
    named = state.sessions.get(asked)
    if named is not None:
        return named, _checkpoint(named, None)
    for session in state.sessions.values():
        for checkpoint in reversed(session.checkpoints):
            if asked in (checkpoint.digest, checkpoint.after):
                return session, checkpoint
    raise _no_checkpoint(asked)


def _checkpoint(session: Session, digest: str | None) -> Checkpoint:
    for checkpoint in reversed(session.checkpoints):
        if digest in (None, checkpoint.digest):
            return checkpoint
    raise _no_checkpoint(digest or session.session_id)


def _no_checkpoint(asked: str) -> Rejection:
    return Rejection("checkpoint_not_found", f"no checkpoint of {asked} is kept", checkpoint=asked)


def _known(session_id: str, state: Executions) -> Session:
    session = state.sessions.get(session_id)
    if session is None:
        raise Rejection("session_not_found", f"no session {session_id}", session_id=session_id)
    check_lasting(session)
    return session

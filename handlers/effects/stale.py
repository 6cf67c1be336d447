"""Which sessions were spawned from what a bundle was before. They keep it, and are marked."""

from collections.abc import Iterator

from domain.bundles.events import bundle_id
from domain.sessions.commands import SessionRecordStale
from domain.sessions.state import Session
from domain.tower import Tower


def stale_sessions(state: Tower) -> Iterator[SessionRecordStale]:
    """Those that are not marked yet; none of a bundle of which nothing serves."""
    for session in state.sessions.known.values():
        told = stale(session, state)
        if told is not None:
            yield told


def stale(session: Session, state: Tower) -> SessionRecordStale | None:
    known = state.bundles.known.get(bundle_id(session.bundle.uri))
    if session.stale or known is None or known.digest in (None, session.bundle.digest):
        return None
    return SessionRecordStale(
        session_id=session.session_id, from_digest=session.bundle.digest, to_digest=known.digest or ""
    )

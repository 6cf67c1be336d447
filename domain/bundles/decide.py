"""The rules of bundles: what is recorded of a preparation, and what may be asked."""

from domain.bundles import commands as c
from domain.bundles import events as e
from domain.bundles.state import Bundles, Known
from domain.errors import Rejection
from domain.messages import Event, Facts, Result


def decide(request: c.BundleRequest, facts: Facts, state: Bundles) -> tuple[Event, ...]:
    """Raises `bundle_not_found` for what is asked of a bundle that no preparation has been tried of."""
    match request:
        case c.BundleReload(bundle=bundle):
            known = _found(bundle, state)
            return (e.BundleReloadRequested(bundle_id=known.bundle_id, uri=known.uri, reload_id=facts.ids[0]),)
        case c.BundleOverlayAdd(bundle=bundle):
            return _change(_found(bundle, state), "add", request.include, facts)
        case c.BundleOverlayRemove(bundle=bundle):
            return _change(_found(bundle, state), "remove", request.include, facts)
        case c.BundleRecordPrepared():
            return _prepared(request, state)
        case c.BundleRecordFailed():
            return _failed(request, state)
        case c.BundleRecordOverlay():
            return _overlay(request, state)
        case _:
            raise TypeError(f"{type(request).__name__} is no request of bundles")


def result(event: e.BundleEvent) -> Result:
    """What the asker is answered."""
    match event:
        case e.BundleReloadRequested():
            return {"bundle_id": event.bundle_id, "reload_id": event.reload_id}
        case e.BundleOverlayRequested():
            return {"bundle_id": event.bundle_id, "change_id": event.change_id, "name": event.name}
        case _:
            return {"bundle_id": event.bundle_id, "recorded": True}


def _found(text: str, state: Bundles) -> Known:
    known = state.find(text)
    if known is None:
        names = sorted({each.name or each.uri for each in state.known.values()})
        raise Rejection("bundle_not_found", f"no bundle {text} is known", bundle=text, searched=names)
    return known


def _change(known: Known, action: e.Action, include: str, facts: Facts) -> tuple[Event, ...]:
    if not known.name:
        message = f"{known.uri} could not be read yet: it has no name that an overlay could bear"
        raise Rejection("bundle_not_found", message, bundle=known.uri, searched=[known.uri])
    return (
        e.BundleOverlayRequested(
            bundle_id=known.bundle_id,
            uri=known.uri,
            change_id=facts.ids[0],
            name=known.name,
            action=action,
            include=include,
        ),
    )


def _prepared(found: c.BundleRecordPrepared, state: Bundles) -> tuple[Event, ...]:
    """Nothing for what is known to serve: a file was touched, or the tower started."""
    identity = e.bundle_id(found.uri)
    known = state.known.get(identity)
    open_ids = tuple(each for each in found.reload_ids if each in state.reloads)
    before = None if known is None else known.digest
    events: list[Event] = []
    if before is None:
        events.append(
            e.BundleLoaded(
                bundle_id=identity,
                uri=found.uri,
                name=found.name,
                version=found.version,
                description=found.description,
                files=found.files,
                warnings=found.warnings,
                load_s=found.load_s,
            )
        )
        events.append(
            e.BundlePrepared(
                bundle_id=identity,
                uri=found.uri,
                name=found.name,
                version=found.version,
                digest=found.digest,
                reason=found.reason,
                warnings=found.warnings,
                prepare_s=found.prepare_s,
            )
        )
    mended = known is not None and before is not None and known.problem is not None
    if open_ids or mended or before not in (None, found.digest):
        events.append(
            e.BundleReloaded(
                bundle_id=identity,
                uri=found.uri,
                name=found.name,
                version=found.version,
                description=found.description,
                from_=before,
                to=found.digest,
                reason=found.reason,
                reload_ids=open_ids,
                warnings=found.warnings,
                prepare_s=found.prepare_s,
            )
        )
    return tuple(events)


def _failed(found: c.BundleRecordFailed, state: Bundles) -> tuple[Event, ...]:
    """Nothing for the same failure once more, unless somebody asked."""
    identity = e.bundle_id(found.uri)
    known = state.known.get(identity)
    open_ids = tuple(each for each in found.reload_ids if each in state.reloads)
    name = "" if known is None else known.name
    serving = known.digest if known is not None and found.serving else None
    again = known is not None and known.problem == found.message
    if serving is None and not open_ids:
        if again and known is not None and known.digest is None:
            return ()
        return (
            e.BundlePrepareFailed(
                bundle_id=identity,
                uri=found.uri,
                name=name,
                code=found.code,
                message=found.message,
                details=found.details,
                reason=found.reason,
                warnings=found.warnings,
                prepare_s=found.prepare_s,
            ),
        )
    if again and not open_ids:
        return ()
    return (
        e.BundleReloadFailed(
            bundle_id=identity,
            uri=found.uri,
            name=name,
            serving=serving,
            code=found.code,
            message=found.message,
            details=found.details,
            reason=found.reason,
            reload_ids=open_ids,
            warnings=found.warnings,
            prepare_s=found.prepare_s,
        ),
    )


def _overlay(told: c.BundleRecordOverlay, state: Bundles) -> tuple[Event, ...]:
    """Nothing for a change that was recorded before."""
    change = state.changes.get(told.change_id)
    if change is None:
        return ()
    known = state.known.get(change.bundle_id)
    uri = "" if known is None else known.uri
    if told.code is not None:
        return (
            e.BundleOverlayFailed(
                bundle_id=change.bundle_id,
                uri=uri,
                change_id=change.change_id,
                name=change.name,
                code=told.code,
                message=told.message,
            ),
        )
    return (
        e.BundleOverlayWritten(
            bundle_id=change.bundle_id,
            uri=uri,
            change_id=change.change_id,
            name=change.name,
            includes=told.includes,
        ),
    )

"""What the tower knows of bundles: which serve, which do not and why, and what is still to be done."""

from typing import Final

import msgspec
from immutables import Map

from domain.bundles import events as e
from domain.messages import Event

MAX_KNOWN: Final = 1_000
"""Bundles that are remembered; beyond, the one that was prepared first is forgotten."""


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """`digest` is that of what serves, None while nothing does. `problem`: message of the last failure, None after a
    success. `order`: when it was first seen, among the others."""

    bundle_id: str
    uri: str
    name: str
    version: str = ""
    digest: str | None = None
    problem: str | None = None
    order: int


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """To be made in an overlay. Ids are in order of time."""

    change_id: str
    bundle_id: str
    name: str
    action: e.Action
    include: str


class Bundles(msgspec.Struct, frozen=True, kw_only=True):
    """`reloads`: id -> bundle, asked for and not done. `changes`: by id, likewise. `seen`: bundles so far."""

    known: Map[str, Known] = Map()
    reloads: Map[str, str] = Map()
    changes: Map[str, Change] = Map()
    seen: int = 0

    def find(self, text: str) -> Known | None:
        """By id, URI, or name: the one that serves before one that does not, then the one seen first."""
        found = self.known.get(text) or self.known.get(e.bundle_id(text))
        if found is not None:
            return found
        named = [known for known in self.known.values() if known.name == text]
        return min(named, key=lambda known: (known.digest is None, known.order), default=None)

    def changes_of(self, bundle_id: str) -> list[Change]:
        """In order."""
        return sorted(
            (change for change in self.changes.values() if change.bundle_id == bundle_id),
            key=lambda change: change.change_id,
        )

    def reloads_of(self, bundle_id: str) -> tuple[str, ...]:
        return tuple(sorted(reload_id for reload_id, of in self.reloads.items() if of == bundle_id))


def evolve(state: Bundles, event: Event) -> Bundles:
    match event:
        case e.BundleLoaded():
            return _known(state, event, name=event.name, version=event.version)
        case e.BundlePrepared():
            return _known(state, event, name=event.name, version=event.version, digest=event.digest, problem=None)
        case e.BundlePrepareFailed():
            return _known(state, event, name=event.name, digest=None, problem=event.message)
        case e.BundleReloaded():
            after = _known(state, event, name=event.name, version=event.version, digest=event.to, problem=None)
            return _done(after, event.reload_ids)
        case e.BundleReloadFailed():
            return _done(_known(state, event, problem=event.message), event.reload_ids)
        case e.BundleReloadRequested():
            return msgspec.structs.replace(state, reloads=state.reloads.set(event.reload_id, event.bundle_id))
        case e.BundleOverlayRequested():
            change = Change(
                change_id=event.change_id,
                bundle_id=event.bundle_id,
                name=event.name,
                action=event.action,
                include=event.include,
            )
            return msgspec.structs.replace(state, changes=state.changes.set(event.change_id, change))
        case e.BundleOverlayWritten() | e.BundleOverlayFailed() if event.change_id in state.changes:
            return msgspec.structs.replace(state, changes=state.changes.delete(event.change_id))
        case _:
            return state


def _known(state: Bundles, event: e.BundleEvent, **changes: str | None) -> Bundles:
    there = state.known.get(event.bundle_id)
    if there is None:
        there = Known(bundle_id=event.bundle_id, uri=event.uri, name="", order=state.seen)
        state = msgspec.structs.replace(state, seen=state.seen + 1)
    known = state.known.set(event.bundle_id, msgspec.structs.replace(there, **changes))
    if len(known) > MAX_KNOWN:
        known = known.delete(min(known.values(), key=lambda each: each.order).bundle_id)
    return msgspec.structs.replace(state, known=known)


def _done(state: Bundles, reload_ids: tuple[str, ...]) -> Bundles:
    reloads = state.reloads
    for reload_id in reload_ids:
        if reload_id in reloads:
            reloads = reloads.delete(reload_id)
    return msgspec.structs.replace(state, reloads=reloads)

"""Bundles: what serves, what does not and why, and the includes of their overlays."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from domain.bundles import events as e
from domain.envelope import Recorded
from projections.projection import Key, Projection, Row, Rows
from projections.tables import indexable, instant, number, optional, read_table, required, storable

RANKS: Final = {"serving": 1, "failed": 2}
"""State of a bundle -> its rank, as lists are sorted."""

BUNDLES: Final = read_table(
    "bundles",
    required("id"),
    required("name"),
    required("uri"),
    required("version"),
    required("description"),
    required("state"),
    number("state_rank"),
    optional("digest"),
    required("warnings"),
    optional("problem"),
    required("overlay"),
    required("open_requests"),
    number("reload_count"),
    number("prepare_us", nullable=True),
    required("first_seen_at"),
    optional("prepared_at"),
    optional("failed_at"),
    required("updated_at"),
    indexes=(("state_rank", "name", "id"), ("name", "state_rank")),
)
"""`digest`: of what serves. `warnings`, `problem`, `overlay` (its includes) and `open_requests` (reloads and changes of
the overlay that are not done) are JSON. `problem`: of the last preparation, null after one that succeeded."""


def touched(recorded: Recorded) -> Iterable[Key]:
    return ((BUNDLES.name, recorded.envelope.subject),)


def fold(rows: Rows, recorded: Recorded) -> None:
    event, at = recorded.event, instant(recorded.envelope.time)
    if not isinstance(event, e.BundleEvent):
        return
    row = rows.setdefault((BUNDLES.name, event.bundle_id), _new(event, at))
    row["updated_at"] = at
    match event:
        case e.BundleLoaded():
            row.update(_named(event), description=storable(event.description), warnings=_json(event.warnings))
        case e.BundlePrepared():
            row.update(_serves(event, event.digest, at))
        case e.BundleReloaded():
            row.update(_serves(event, event.to, at), description=storable(event.description))
            row["reload_count"] += 1
            _close(row, event.reload_ids)
        case e.BundlePrepareFailed():
            row.update(_failed(event, at), **_state("failed"), digest=None, prepare_us=None)
        case e.BundleReloadFailed():
            row.update(_failed(event, at))
            _close(row, event.reload_ids)
        case e.BundleReloadRequested():
            _open(row, event.reload_id)
        case e.BundleOverlayRequested():
            _open(row, event.change_id)
        case e.BundleOverlayWritten():
            row["overlay"] = _json(event.includes)
            _close(row, (event.change_id,))
        case e.BundleOverlayFailed():
            _close(row, (event.change_id,))
        case _:
            pass


def _new(event: e.BundleEvent, at: str) -> Row:
    return {
        "id": event.bundle_id,
        "name": "",
        "uri": storable(event.uri),
        "version": "",
        "description": "",
        **_state("failed"),
        "digest": None,
        "warnings": "[]",
        "problem": None,
        "overlay": "[]",
        "open_requests": "[]",
        "reload_count": 0,
        "prepare_us": None,
        "first_seen_at": at,
        "prepared_at": None,
        "failed_at": None,
        "updated_at": at,
    }


def _named(event: e.BundleLoaded | e.BundlePrepared | e.BundleReloaded) -> dict[str, Any]:
    return {"name": indexable(event.name), "version": storable(event.version)}


def _serves(event: e.BundlePrepared | e.BundleReloaded, digest: str, at: str) -> dict[str, Any]:
    return {
        **_named(event),
        **_state("serving"),
        "digest": digest,
        "warnings": _json(event.warnings),
        "problem": None,
        "prepare_us": round(event.prepare_s * 1_000_000),
        "prepared_at": at,
    }


def _failed(event: e.BundlePrepareFailed | e.BundleReloadFailed, at: str) -> dict[str, Any]:
    problem = {"code": event.code, "message": event.message, "details": event.details}
    return {"problem": _json(problem), "failed_at": at}


def _state(state: str) -> dict[str, Any]:
    return {"state": state, "state_rank": RANKS[state]}


def _open(row: Row, request_id: str) -> None:
    row["open_requests"] = _json([*msgspec.json.decode(row["open_requests"]), request_id])


def _close(row: Row, request_ids: Iterable[str]) -> None:
    done = set(request_ids)
    row["open_requests"] = _json([each for each in msgspec.json.decode(row["open_requests"]) if each not in done])


def _json(value: Any) -> str:
    return storable(msgspec.json.encode(value).decode())


def shown(row: Mapping[Any, Any]) -> dict[str, Any]:
    item = {name: value for name, value in row.items() if name not in ("state_rank", "prepare_us")}
    for name in ("warnings", "problem", "overlay", "open_requests"):
        item[name] = None if row[name] is None else msgspec.json.decode(row[name])
    item["prepare_s"] = None if row["prepare_us"] is None else row["prepare_us"] / 1_000_000
    return item


PROJECTION: Final = Projection(
    name="bundles", version=1, tables=(BUNDLES,), kinds=frozenset({"bundle"}), touched=touched, fold=fold
)

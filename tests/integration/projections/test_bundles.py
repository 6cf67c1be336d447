"""What bundles look like in queries."""

from typing import Any

import pytest

from domain.bundles import events as e
from domain.errors import Rejection
from tests.integration.projections.conftest import Running
from tests.integration.projections.recorded import ListLog
from tests.unit import test_bundles as b

OTHER: dict[str, Any] = {"bundle_id": e.bundle_id("/other"), "uri": "/other"}


async def shown(tower: Running, log: ListLog, *events: Any) -> dict[str, Any]:
    await log.record(*events)
    await tower.caught_up()
    found = await tower.models.bundle("b")
    assert found is not None and found == await tower.models.bundle(b.ID) == await tower.models.bundle(b.URI)
    return found


async def test_a_bundle_from_its_loading_to_its_mending(tower: Running, log: ListLog) -> None:
    row = await shown(tower, log, b.loaded(), b.prepared())
    assert row == {
        "id": b.ID,
        "name": "b",
        "uri": b.URI,
        "version": "1.0.0",
        "description": "",
        "state": "serving",
        "digest": "d1",
        "warnings": [],
        "problem": None,
        "overlay": [],
        "open_requests": [],
        "reload_count": 0,
        "prepare_s": 0.0,
        "first_seen_at": row["first_seen_at"],
        "prepared_at": row["updated_at"],
        "failed_at": None,
        "updated_at": row["updated_at"],
    }
    row = await shown(tower, log, b.asked("r1"), b.reload_failed("d1"))
    assert (row["state"], row["digest"], row["open_requests"]) == ("serving", "d1", ["r1"])
    assert row["problem"] == b.FAULT and row["failed_at"] == row["updated_at"]
    row = await shown(tower, log, b.reloaded("d1", "d2", "r1"))
    assert (row["digest"], row["problem"], row["open_requests"], row["reload_count"]) == ("d2", None, [], 1)
    row = await shown(tower, log, b.prepare_failed("b"))
    assert (row["state"], row["digest"], row["prepare_s"]) == ("failed", None, None)


async def test_the_includes_of_an_overlay(tower: Running, log: ListLog) -> None:
    change: dict[str, Any] = {**b.OF, "change_id": "c1", "name": "b"}
    wanted = e.BundleOverlayRequested(**change, action="add", include="/x")
    row = await shown(tower, log, b.loaded(), b.prepared(), wanted)
    assert (row["overlay"], row["open_requests"]) == ([], ["c1"])
    row = await shown(tower, log, e.BundleOverlayWritten(**change, includes=("/x",)))
    assert (row["overlay"], row["open_requests"]) == (["/x"], [])
    row = await shown(tower, log, wanted, e.BundleOverlayFailed(**change, code="bundle_not_found", message="no"))
    assert (row["overlay"], row["open_requests"]) == (["/x"], [])


async def test_those_that_serve_come_first(tower: Running, log: ListLog) -> None:
    failed = e.BundlePrepareFailed(**OTHER, name="", **b.FAULT, reason="start", warnings=(), prepare_s=0.0)
    await log.record(failed, b.loaded(), b.prepared())
    await tower.caught_up()
    first = await tower.models.bundles(limit=1)
    assert [row["uri"] for row in first.items] == [b.URI] and first.next_cursor is not None
    second = await tower.models.bundles(limit=1, cursor=first.next_cursor)
    assert [row["uri"] for row in second.items] == ["/other"] and second.next_cursor is None
    assert [row["uri"] for row in (await tower.models.bundles(state="failed")).items] == ["/other"]
    assert [row["uri"] for row in (await tower.models.bundles(name="b")).items] == [b.URI]
    assert await tower.models.bundle("nobody") is None
    with pytest.raises(Rejection) as refused:
        await tower.models.bundles(state="ready")
    assert refused.value.code == "validation_failed"

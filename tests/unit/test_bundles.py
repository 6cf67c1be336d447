"""What is recorded of bundles, and what may be asked of them."""

from types import MappingProxyType
from typing import Any

import pytest

from domain.bundles import commands as c
from domain.bundles import events as e
from domain.bundles.state import MAX_KNOWN, Bundles, evolve
from domain.messages import TOWER
from tests.unit.builders import BENCH, facts
from tests.unit.given import History, given

URI = "/srv/b"
ID = e.bundle_id(URI)
OF: dict[str, Any] = {"bundle_id": ID, "uri": URI}
NAMED: dict[str, Any] = {"name": "b", "version": "1.0.0", "description": ""}
FAULT: dict[str, Any] = {"code": "bundle_invalid", "message": "line 3", "details": {"line": 3}}


def found(digest: str = "d1", **more: Any) -> c.BundleRecordPrepared:
    return c.BundleRecordPrepared(**{"uri": URI, **NAMED, "digest": digest, "reason": "changed", **more})


def failed(*, serving: bool, **more: Any) -> c.BundleRecordFailed:
    return c.BundleRecordFailed(**{"uri": URI, **FAULT, "reason": "changed", "serving": serving, **more})


def loaded() -> e.BundleLoaded:
    return e.BundleLoaded(**OF, **NAMED, files=0, warnings=(), load_s=0.0)


def prepared(digest: str = "d1") -> e.BundlePrepared:
    return e.BundlePrepared(
        **OF, name="b", version="1.0.0", digest=digest, reason="changed", warnings=(), prepare_s=0.0
    )


def prepare_failed(name: str = "") -> e.BundlePrepareFailed:
    return e.BundlePrepareFailed(**OF, name=name, **FAULT, reason="changed", warnings=(), prepare_s=0.0)


def reloaded(before: str | None, after: str, *reload_ids: str) -> e.BundleReloaded:
    return e.BundleReloaded(
        **OF, **NAMED, from_=before, to=after, reason="changed", reload_ids=reload_ids, warnings=(), prepare_s=0.0
    )


def reload_failed(serving: str | None = "d1", *reload_ids: str, name: str = "b") -> e.BundleReloadFailed:
    return e.BundleReloadFailed(
        **OF, name=name, serving=serving, **FAULT, reason="changed", reload_ids=reload_ids, warnings=(), prepare_s=0.0
    )


def asked(reload_id: str) -> e.BundleReloadRequested:
    return e.BundleReloadRequested(**OF, reload_id=reload_id)


def by_tower(history: History, request: Any) -> Any:
    return history.when(request, origin=TOWER)


def test_a_bundle_bears_the_beginning_of_its_uris_digest() -> None:
    assert e.bundle_id("/srv/bundles/reviewer") == "204c91dfe9dd5766ca36e5d27cdbe91d"


class WhenUnknown:
    def test_it_is_loaded_and_prepared(self) -> None:
        by_tower(given(), found()).then(loaded(), prepared())

    def test_a_failure_is_told(self) -> None:
        by_tower(given(), failed(serving=False)).then(prepare_failed())

    def test_nothing_can_be_asked_of_it(self) -> None:
        for request in (c.BundleReload(bundle="b"), c.BundleOverlayAdd(bundle="b", include="x")):
            given().when(request, facts=facts("id")).then_rejected("bundle_not_found", bundle="b", searched=[])


class WhenServing:
    serving = given(loaded(), prepared())

    def test_the_same_content_is_no_news(self) -> None:
        by_tower(self.serving, found()).then_nothing()

    def test_another_content_is_reloaded(self) -> None:
        by_tower(self.serving, found("d2")).then(reloaded("d1", "d2"))

    def test_a_failure_leaves_it_serving_and_is_told_once(self) -> None:
        after = by_tower(self.serving, failed(serving=True)).then(reload_failed())
        assert after.state.bundles.known[ID].digest == "d1"
        by_tower(after, failed(serving=True)).then_nothing()

    def test_the_old_content_again_after_a_failure_is_told(self) -> None:
        after = by_tower(self.serving.and_given(reload_failed()), found()).then(reloaded("d1", "d1"))
        assert after.state.bundles.known[ID].problem is None

    def test_a_failure_of_a_tower_that_starts_leaves_nothing_serving(self) -> None:
        after = by_tower(self.serving, failed(serving=False)).then(prepare_failed("b"))
        assert after.state.bundles.known[ID].digest is None
        by_tower(after, failed(serving=False)).then_nothing()
        by_tower(after, found()).then(loaded(), prepared())

    @pytest.mark.parametrize("name", ["b", URI, ID])
    def test_a_reload_is_asked_by_name_uri_or_id(self, name: str) -> None:
        happened = self.serving.when(c.BundleReload(bundle=name), facts=facts("r1"))
        assert happened.result == {"bundle_id": ID, "reload_id": "r1"}
        happened.then(asked("r1"))

    def test_it_is_the_operators_alone(self) -> None:
        self.serving.when(c.BundleReload(bundle="b"), origin=BENCH, facts=facts("r1")).then_rejected("host_only")


class WhenAskedToReload:
    waiting = given(loaded(), prepared(), asked("r1"), asked("r2"))

    def test_the_same_content_is_told_to_who_asked(self) -> None:
        after = by_tower(self.waiting, found(reload_ids=("r1",))).then(reloaded("d1", "d1", "r1"))
        assert after.state.bundles.reloads_of(ID) == ("r2",)

    def test_a_failure_is_told_to_who_asked(self) -> None:
        after = by_tower(self.waiting, failed(serving=True, reload_ids=("r1", "r2"))).then(
            reload_failed("d1", "r1", "r2")
        )
        assert not after.state.bundles.reloads

    def test_a_request_is_answered_once(self) -> None:
        after = by_tower(self.waiting, found(reload_ids=("r1", "r2"))).accepted()
        by_tower(after, found(reload_ids=("r1", "r2"))).then_nothing()

    def test_it_is_answered_also_when_nothing_serves(self) -> None:
        story = given(prepare_failed(), asked("r1"))
        by_tower(story, failed(serving=False, reload_ids=("r1",))).then(reload_failed(None, "r1", name=""))
        by_tower(story, found(reload_ids=("r1",))).then(loaded(), prepared(), reloaded(None, "d1", "r1"))


class WhenItsOverlayIsChanged:
    serving = given(loaded(), prepared())
    change = MappingProxyType({"change_id": "c1", "name": "b"})

    @pytest.mark.parametrize(
        ("request_type", "action"), [(c.BundleOverlayAdd, "add"), (c.BundleOverlayRemove, "remove")]
    )
    def test_the_change_is_open_until_it_is_recorded(self, request_type: Any, action: Any) -> None:
        wanted = e.BundleOverlayRequested(**OF, **self.change, action=action, include="/x")
        happened = self.serving.when(request_type(bundle="b", include="/x"), facts=facts("c1"))
        assert happened.result == {"bundle_id": ID, "change_id": "c1", "name": "b"}
        story = happened.then(wanted)
        assert [each.action for each in story.state.bundles.changes_of(ID)] == [action]
        written = e.BundleOverlayWritten(**OF, **self.change, includes=("/x",))
        done = by_tower(story, c.BundleRecordOverlay(change_id="c1", includes=("/x",))).then(written)
        assert not done.state.bundles.changes
        by_tower(done, c.BundleRecordOverlay(change_id="c1", includes=("/x",))).then_nothing()

    def test_a_change_that_cannot_be_made_is_told(self) -> None:
        story = self.serving.and_given(e.BundleOverlayRequested(**OF, **self.change, action="add", include="/x"))
        told = c.BundleRecordOverlay(change_id="c1", code="bundle_not_found", message="no /x")
        by_tower(story, told).then(e.BundleOverlayFailed(**OF, **self.change, code="bundle_not_found", message="no /x"))

    def test_a_bundle_that_was_never_read_has_no_name_for_it(self) -> None:
        request = c.BundleOverlayAdd(bundle=URI, include="/x")
        given(prepare_failed()).when(request, facts=facts("c1")).then_rejected(
            "bundle_not_found", bundle=URI, searched=[URI]
        )


def test_of_two_with_one_name_the_one_that_serves_is_meant() -> None:
    other = e.BundlePrepareFailed(
        bundle_id="0" * 32, uri="/other", name="b", **FAULT, reason="start", warnings=(), prepare_s=0.0
    )
    both = given(other, loaded(), prepared()).state.bundles
    assert both.find("b") == both.known[ID]
    assert both.find("/other") is None and both.find("0" * 32) == both.known["0" * 32]


def test_the_memory_of_bundles_is_bounded() -> None:
    state = Bundles()
    for number in range(MAX_KNOWN + 2):
        uri = f"/b/{number}"
        event = e.BundlePrepareFailed(
            bundle_id=e.bundle_id(uri), uri=uri, name="", **FAULT, reason="used", warnings=(), prepare_s=0.0
        )
        state = evolve(state, event)
    assert len(state.known) == MAX_KNOWN
    assert state.find("/b/1") is None and state.find("/b/2") is not None

"""A scan of a whole tower: what it finds, what it leaves out, and where it is read."""

from tests.integration.tower.conftest import Desk
from tests.waiting import eventually


async def test_it_lists_what_the_tower_did_not_make_and_nothing_else(desk: Desk) -> None:
    await desk.ready("managed")
    desk.tmux("new-session", "-d", "-s", "mine", "cat")
    desk.tmux("new-session", "-d", "-s", "pending", "cat")
    desk.tmux("select-pane", "-t", "pending:", "-T", "@MANAGED:token:m1")
    scan_id = desk.accepted("container", "scan", {})["scan_id"]
    await eventually(lambda: desk.events(id=scan_id, type="container.scanned"), "the scan is done")
    requested, scanned = desk.events(id=scan_id)
    assert (requested["actor"], scanned["actor"], scanned["causationid"]) == ("host", "tower", requested["id"])
    assert (scanned["data"]["container_ids"], scanned["data"]["listed"]) == (["host"], ["host"])
    assert [pane["session_name"] for pane in scanned["data"]["unmanaged"]] == ["mine"]
    assert scanned["data"]["reason"] == "no-container-engine is not there"
    rows = desk.get("/containers/host/unmanaged-panes")["items"]
    assert [row["session_name"] for row in rows] == ["mine"]

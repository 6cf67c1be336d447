"""Containers and their unmanaged panes as documented in `/openapi.json`; see `rows.py`."""

from datetime import datetime
from typing import Any, Literal

from pydantic import ConfigDict, Field

from adapters.http.rows import TIME, PageOf, Row

CONTAINER_ID = "4b825dc642cb6eb9a060e54bf8d69288fbee49046b825dc642cb6eb9a060e54b"
SCAN_ID = "01985b7e-6d10-7c44-9a51-0c6f3f6f0a06"

CONTAINER: dict[str, Any] = {
    "id": CONTAINER_ID,
    "name": "bench-1",
    "image": "bench:local",
    "state": "running",
    "running": True,
    "uid": 1000,
    "user": "dev",
    "tmux_socket": "/tmp/tmux-1000/default",  # noqa: S108 (the path inside a container)
    "bench_dir": None,
    "unmanaged_pane_count": 1,
    "scan_id": SCAN_ID,
    "scanned_at": TIME,
    "registered_at": TIME,
    "updated_at": TIME,
}
UNMANAGED_PANE: dict[str, Any] = {
    "id": f"{CONTAINER_ID}:%7",
    "container_id": CONTAINER_ID,
    "scan_id": SCAN_ID,
    "tmux_pane_id": "%7",
    "session_name": "dev",
    "window_index": 1,
    "pane_index": 0,
    "pid": 77,
    "command": "vim",
    "title": "notes",
    "scanned_at": TIME,
}


class Container(Row):
    """A container of the registry, or the machine itself, whose id is `host`."""

    model_config = ConfigDict(json_schema_extra={"examples": [CONTAINER]})

    id: str
    name: str
    image: str
    state: Literal["running", "stopped", "gone"] = Field(description="`gone`: the engine does not know it any more.")
    running: bool
    uid: int | None = Field(description="Whose tmux server is used inside, as a number.")
    user: str
    tmux_socket: str = Field(description="Its path inside.")
    bench_dir: str | None = Field(description="Where the tower's bench folder is mounted inside.")
    unmanaged_pane_count: int | None = Field(ge=0, description="Of the last scan; null where none could look.")
    scan_id: str | None = Field(description="The last scan that listed its panes.")
    scanned_at: datetime | None
    registered_at: datetime
    updated_at: datetime


class UnmanagedPane(Row):
    """A tmux pane that the tower did not make, as the last scan listed it."""

    model_config = ConfigDict(json_schema_extra={"examples": [UNMANAGED_PANE]})

    id: str = Field(description="Container and pane id of tmux.")
    container_id: str
    scan_id: str
    tmux_pane_id: str
    session_name: str
    window_index: int
    pane_index: int
    pid: int
    command: str
    title: str
    scanned_at: datetime


class ContainerPage(PageOf[Container]):
    pass


class UnmanagedPanePage(PageOf[UnmanagedPane]):
    pass

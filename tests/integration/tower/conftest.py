"""A whole tower as a child process, its own tmux server, and a person's view of both."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from adapters.cli.child_tower import ChildTower
from tests.needs import need
from tests.waiting import eventually

PENDING = "@MANAGED:"


class TmuxPane(NamedTuple):
    """What tmux says of a pane that carries our user option."""

    tmux_pane_id: str
    pane_id: str
    title: str
    pid: int
    command: str
    dead: bool
    session: str


class Desk:
    """What a test does with a tower: asks over HTTP, looks at tmux."""

    def __init__(self, tower: ChildTower) -> None:
        self.tower = tower
        self._http: httpx.Client | None = None
        self._after = 0

    @property
    def http(self) -> httpx.Client:
        if self._http is None:
            token = (self.tower.home / "http.token").read_text()
            headers = {"Authorization": f"Bearer {token}"}
            self._http = httpx.Client(base_url=self.tower.running.http + "/v1", headers=headers, timeout=30)
        return self._http

    def close(self) -> None:
        if self._http is not None:
            self._http.close()
            self._http = None

    def restart(self) -> None:
        """SIGKILL, then a new process on the same home."""
        self.close()
        self.tower.kill()
        self.tower.start()

    def get(self, path: str, **query: Any) -> Any:
        """Reads its own writes."""
        answer = self.http.get(path, params={"after": self._after, **query})
        assert answer.status_code == 200, answer.text
        return answer.json()

    def command(self, noun: str, verb: str, data: dict[str, Any], **fields: Any) -> dict[str, Any]:
        """The outcome, accepted or rejected."""
        outcome = self.http.post("/commands", json={"noun": noun, "verb": verb, "data": data, **fields}).json()
        self._after = max(self._after, outcome["position"])
        return outcome

    def accepted(self, noun: str, verb: str, data: dict[str, Any], **fields: Any) -> dict[str, Any]:
        outcome = self.command(noun, verb, data, **fields)
        assert outcome["status"] == "accepted", outcome
        return outcome["result"]

    def create(self, session: str, template: str = "1m+2s", **data: Any) -> dict[str, Any]:
        data = {"container_id": "host", "template_name": template, "tmux_session_name": session, **data}
        return self.accepted("layout", "create", data)

    def layout(self, layout_id: str) -> dict[str, Any]:
        return self.get(f"/layouts/{layout_id}")

    def pane(self, pane_id: str) -> dict[str, Any]:
        return self.get(f"/panes/{pane_id}")

    async def settled(self, layout_id: str, *, timeout_s: float = 30) -> dict[str, Any]:
        """The layout once none of its panes is being created."""

        def look() -> dict[str, Any] | None:
            layout = self.layout(layout_id)
            return layout if layout["state"] != "creating" else None

        found = await eventually(look, f"layout {layout_id} settles", timeout_s=timeout_s)
        assert found is not None
        return found

    async def ready(self, session: str, template: str = "1m+2s", **data: Any) -> dict[str, Any]:
        """A new layout, ready."""
        layout = await self.settled(self.create(session, template, **data)["layout_id"])
        assert layout["state"] == "ready", layout
        return layout

    def tmux(self, *words: str) -> str:
        done = subprocess.run(
            ["tmux", "-u", "-S", str(self.tower.tmux_socket), *words],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        return done.stdout

    def tmux_panes(self) -> list[TmuxPane]:
        """The managed panes that stand in tmux."""
        names = ("pane_id", "@agenttower_pane_id", "pane_pid", "pane_current_command", "pane_dead", "session_name")
        # Last what may hold the separator.
        form = "|".join(f"#{{{name}}}" for name in (*names, "pane_title"))
        panes = (line.split("|", len(names)) for line in self.tmux("list-panes", "-a", "-F", form).splitlines())
        return [
            TmuxPane(tmux_pane_id, pane_id, title, int(pid), command, dead == "1", session)
            for tmux_pane_id, pane_id, pid, command, dead, session, title in panes
            if pane_id
        ]

    def events(self, **query: Any) -> list[dict[str, Any]]:
        """All events that match, in order."""
        found: list[dict[str, Any]] = []
        page = self.get("/events", limit=200, **query)
        while True:
            found += page["items"]
            if page["next_cursor"] is None:
                return found
            page = self.get("/events", limit=200, cursor=page["next_cursor"], **query)

    def cli(self, *words: str) -> subprocess.CompletedProcess[str]:
        """The command line on this tower's home."""
        environment = {key: value for key, value in os.environ.items() if not key.startswith("AGENTTOWER_")}
        return subprocess.run(
            [str(Path(sys.executable).with_name("agenttower")), *words],
            env=environment | {"AGENTTOWER_HOME": str(self.tower.home)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    need("tmux")
    # A person's shell may do much when it starts, 120 of them more than a test has time for.
    monkeypatch.setenv("SHELL", "/bin/sh")
    with ChildTower() as tower:
        tower.start()
        desk = Desk(tower)
        yield desk
        desk.close()

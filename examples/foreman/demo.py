"""A pipeline of background sessions on a tower of its own, offline: issues are resolved, tested and closed.

    make demo-foreman

Issue 1 is created -> a coding worker resolves it -> `work:completed` -> a test runner tests it and closes the issue ->
`tests:completed`; that unblocks issue 2, which goes the same way.
"""

import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from adapters.cli.child_tower import ChildTower
from adapters.cli.client import command

HERE = Path(__file__).parent
ISSUES = ("1", "2")
DEADLINE_S = 60.0


def main(say: Callable[[str], None] = print) -> list[str]:
    """The ids of the issues that were tested, in order. Raises `TimeoutError`."""
    with tempfile.TemporaryDirectory(prefix="at-foreman-") as folder:
        project = Path(folder, "project")
        shutil.copytree(HERE / "project", project, ignore=shutil.ignore_patterns("issues", "__pycache__"))
        (project / "issues").mkdir()
        variables = {"AGENTTOWER_WORK_DIR": str(project), "AGENTTOWER_ISSUES": f"project={project / 'issues'}"}
        with ChildTower(node="foreman", variables=variables) as tower:
            tower.start()
            say(f"A tower of its own, its work in {project}")
            spawned = {"bundle": str(HERE), "instruction": "Lead.", "session_id": "foreman", "background": True}
            after = command(tower.place, tower.running, "session", "spawn", spawned)["position"]
            say("Session foreman declares coding-workers and test-runners. Now somebody writes two issues:")
            for issue_id in ISSUES:
                shutil.copy(HERE / "project" / "issues" / f"{issue_id}.md", project / "issues")
            tested = _follow(tower, after, say)
            say("\nWhy each of them ran:")
            for row in reversed(tower.queries.get("/v1/triggers")["items"]):
                say(f"  {row['session_name']:<18} {row['event_name']:<16} from {row['source']}")
        return tested


def _follow(tower: ChildTower, after: int, say: Callable[[str], None]) -> list[str]:
    """Until all issues are tested."""
    tested: list[str] = []
    names = {"name": ["issue:*", "work:*", "tests:*"]}
    for sent in tower.queries.server_sent("/v1/session-events/stream", names, after=after, timeout_s=DEADLINE_S):
        name, data = sent.data["name"], sent.data["data"]
        issue_id = _issue_of(data)
        say(f"  {name:<16} issue {issue_id}  {str(data.get('output') or data.get('title') or '').strip()}")
        if name.endswith(":failed"):
            sys.exit(f"{name}: {data.get('error')}")
        if name == "tests:completed":
            tested.append(issue_id)
        if len(tested) == len(ISSUES):
            break
    return tested


def _issue_of(data: dict[str, Any]) -> str:
    """The issue that an event is about: itself, or what triggered the work that ended."""
    while "trigger" in data:
        data = data["trigger"]["data"]
    return str(data["issue_id"])


if __name__ == "__main__":
    main()

"""How a command of the CLI fails: what was wrong, where, what to do. Exit code 1; usage errors (2) are Typer's."""

import json
from pathlib import Path
from typing import Any, Final


class Failure(Exception):
    """`message` says what was wrong and where, `hint` what to do; `code` is the tower's error code, if it has one."""

    def __init__(self, message: str, hint: str = "", *, code: str = "", details: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.message: Final = message
        self.hint: Final = hint
        self.code: Final = code
        self.details: Final = details or {}

    def text(self) -> str:
        """For people, on stderr: the code first, the hint on a line of its own."""
        head = f"{self.code}: {self.message}" if self.code else self.message
        return f"{head}\n{self.hint}" if self.hint else head

    def as_json(self) -> str:
        error = {"code": self.code or "failed", "message": self.message, "details": self.details}
        return json.dumps({"error": error})


def no_tower(home: Path, node: str) -> Failure:
    return Failure(
        f"no tower runs for node {node} (home {home}): start one with `agenttower up`",
        "or name the home of a tower that runs: --home DIR, or AGENTTOWER_HOME",
    )


def rejected(error: dict[str, Any]) -> Failure:
    """The failure of an outcome or an HTTP answer: `error` is {code, message, details}."""
    code = str(error.get("code", "internal_error"))
    details = error.get("details") or {}
    return Failure(str(error.get("message", "")), _HINTS.get(code, ""), code=code, details=details)


_HINTS: Final = {
    "container_not_found": "`agenttower container list` shows those that are known, `container scan` looks for others",
    "managed_layout_not_found": "`agenttower layout list` shows the layouts there are",
    "managed_pane_not_found": "`agenttower pane list` shows the panes there are",
    "managed_template_not_found": "`agenttower template list` shows the templates there are",
    "managed_launch_command_not_found": "`agenttower profile list` shows the launch profiles there are",
    "managed_session_name_conflict": "give another --session-name, or end that tmux session",
    "managed_layout_capacity_exceeded": "remove a layout first: `agenttower layout remove ID`",
    "managed_pane_concurrent_recreate": "wait until its successor is settled: `agenttower pane list`",
    "bundle_not_found": "`agenttower bundle list` shows those that are known, `bundle validate` what a file says",
    "background_not_found": "`agenttower background list` shows those that are declared",
    "execution_not_found": "`agenttower exec list` shows the last ones",
    "execution_already_ended": "`agenttower exec show ID` says how",
    "execution_not_paused": "`agenttower exec show ID` says where it stands",
    "promise_not_found": "`agenttower promise list` shows the last ones; `exec show ID` what an execution asks",
    "promise_already_settled": "`agenttower promise show ID` says with what",
    "worker_busy": "without --reject-busy it waits for its turn; `agenttower exec list` shows who is there",
    "idempotency_conflict": "give another key or id",
    "tower_busy": "ask again in a moment, with the same --idempotency-key if you gave one",
}
"""Code -> what a person at a terminal can do about it."""

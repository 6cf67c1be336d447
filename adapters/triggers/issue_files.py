"""Issues as files of a folder: one YAML file, or markdown with YAML front matter, each.

    id: 12                      the file's name without its ending, unless it is given
    title: what is wanted
    state: open                 closed, done, resolved and cancelled are over; every other word is open
    blocked_by: [7, 9]          ids of issues that come first

Further fields are told as they stand; the body is the text below the front matter, or the field `body`.
"""

import hashlib
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

import msgspec
import yaml

ENDINGS: Final = (".md", ".yaml", ".yml")
OVER: Final = frozenset({"closed", "done", "resolved", "cancelled", "canceled"})
MAX_FILE_BYTES: Final = 1024 * 1024
BODY_CHARACTERS: Final = 32 * 1024
FIELDS_BYTES: Final = 64 * 1024

_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class IssueFault(Exception):
    """A file that is no issue: says why."""


class Issue(msgspec.Struct, frozen=True):
    """`digest`: of all that stands in the file."""

    issue_id: str
    title: str
    state: str
    blocked_by: tuple[str, ...]
    file: str
    body: str
    fields: dict[str, Any]
    digest: str

    @property
    def is_over(self) -> bool:
        return self.state.lower() in OVER


class Known(msgspec.Struct, frozen=True):
    """What is kept of an issue that was told. `gone`: its file was deleted."""

    digest: str
    over: bool
    blocked: bool
    gone: bool = False
    title: str = ""
    file: str = ""


class Told(NamedTuple):
    name: str
    data: dict[str, Any]


def read(path: Path) -> Issue:
    """Raises `IssueFault`, `OSError`."""
    with path.open("rb") as file:
        content = file.read(MAX_FILE_BYTES + 1)
    if len(content) > MAX_FILE_BYTES:
        raise IssueFault(f"more than {MAX_FILE_BYTES} bytes")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise IssueFault(f"not UTF-8: {error.reason}") from error
    front, body = _parted(text) if path.suffix == ".md" else (text, None)
    try:
        loaded: Any = yaml.load(front, Loader=_LOADER)  # noqa: S506 (a safe loader)
        fields = msgspec.json.decode(msgspec.json.encode(_plain({} if loaded is None else loaded)))
    except (yaml.YAMLError, TypeError, ValueError, RecursionError) as error:
        raise IssueFault(f"not YAML: {error}") from error
    if not isinstance(fields, dict):
        raise IssueFault("lines of `field: value` are expected")
    return _issue(path.name, fields, body, hashlib.blake2b(content, digest_size=16).hexdigest())


def _issue(file: str, fields: dict[str, Any], body: str | None, digest: str) -> Issue:
    blockers: Any = fields.pop("blocked_by", None) or []
    if not isinstance(blockers, list):
        blockers = [blockers]
    if any(isinstance(each, dict | list) for each in cast(list[Any], blockers)):
        raise IssueFault("blocked_by: a list of ids is expected")
    given: Any = fields.pop("id", None)
    issue_id = Path(file).stem if given is None else str(given)
    title = str(fields.pop("title", None) or issue_id)
    state = str(fields.pop("state", None) or "open")
    text = str(fields.pop("body", None) or "") if body is None else body
    if len(msgspec.json.encode(fields)) > FIELDS_BYTES or len(issue_id) > 200 or len(title) > 1000 or len(state) > 100:
        raise IssueFault("too long fields")
    return Issue(
        issue_id=issue_id,
        title=title,
        state=state,
        blocked_by=tuple(str(each) for each in cast(list[Any], blockers)),
        file=file,
        body=text.strip()[:BODY_CHARACTERS],
        fields=fields,
        digest=digest,
    )


def _parted(text: str) -> tuple[str, str]:
    """Front matter and body; without front matter the first heading is the title."""
    lines = text.splitlines()
    if lines and lines[0].strip() == "---":
        for at, line in enumerate(lines[1:], 1):
            if line.strip() == "---":
                return "\n".join(lines[1:at]), "\n".join(lines[at + 1 :])
        raise IssueFault("the front matter has no end: a line of ---")
    heading = next((line.lstrip("# ").strip() for line in lines if line.startswith("#")), "")
    return f"title: {msgspec.json.encode(heading).decode()}" if heading else "", text


def _plain(value: Any) -> Any:
    """Keys as text, however YAML understood them."""
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list) else value


def compare(before: dict[str, Known], now: dict[str, Issue]) -> tuple[dict[str, Known], list[Told]]:
    """What to keep from now on, of those that changed, and what to tell, in the order of ids.

    A new one is `issue:created` when nothing blocks it, else `issue:blocked`, and `issue:unblocked` when the last one
    that it waits for is over: created and unblocked together are those that can be worked on. An id that nobody has
    seen blocks; one whose file was deleted does not.
    """
    over = {issue_id for issue_id, known in before.items() if known.over or known.gone}
    over = (over - now.keys()) | {issue_id for issue_id, issue in now.items() if issue.is_over}
    over |= before.keys() - now.keys()
    kept: dict[str, Known] = {}
    told: list[Told] = []
    for issue_id in sorted(now):
        issue, known = now[issue_id], before.get(issue_id)
        waits_for = [each for each in issue.blocked_by if each not in over and each != issue_id]
        after = Known(
            issue.digest, issue.is_over, bool(waits_for) and not issue.is_over, False, issue.title, issue.file
        )
        if after == known:
            continue
        kept[issue_id] = after
        name = _what(known, after)
        if name is not None:
            told.append(Told(name, _data(issue, waits_for, new=known is None or known.gone)))
    for issue_id in sorted(before.keys() - now.keys()):
        known = before[issue_id]
        if known.gone:
            continue
        kept[issue_id] = msgspec.structs.replace(known, gone=True)
        if not known.over:
            gone = {"issue_id": issue_id, "title": known.title, "state": "closed", "deleted": True}
            told.append(Told("issue:closed", gone))
    return kept, told


def _what(before: Known | None, after: Known) -> str | None:
    """The name of what happened to one; None for nothing that anybody waits for."""
    if before is None or before.gone:
        if after.over:
            return None
        return "issue:blocked" if after.blocked else "issue:created"
    if after.over != before.over:
        return "issue:closed" if after.over else "issue:updated"
    if after.blocked != before.blocked:
        return "issue:blocked" if after.blocked else "issue:unblocked"
    return "issue:updated" if after.digest != before.digest else None


def _data(issue: Issue, waits_for: list[str], *, new: bool) -> dict[str, Any]:
    return {
        "issue_id": issue.issue_id,
        "title": issue.title,
        "state": issue.state,
        "blocked_by": list(issue.blocked_by),
        "waits_for": waits_for,
        "new": new,
        "file": issue.file,
        "body": issue.body,
        "fields": issue.fields,
    }

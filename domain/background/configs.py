"""What the config of each type of trigger may hold, by field."""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, cast

from domain.background import cron
from domain.background.definition import FILE_CHANGE, ISSUE_EVENT, MANUAL, SESSION_EVENT, TIMER, WEBHOOK
from domain.sessions import emitting, telling

HOOK_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}\Z")

MIN_INTERVAL_S: Final = 1
MAX_INTERVAL_S: Final = 366 * 24 * 3600

Check = Callable[[Any], str | None]
"""What was expected instead of this value; None if it is right."""


def is_name(value: Any) -> str | None:
    """Of an event that a run may emit."""
    wrong = emitting.problem(value, None) if isinstance(value, str) else ("name", "a name such as work:completed")
    return None if wrong is None else wrong[1]


def _patterns(value: Any) -> str | None:
    texts = cast(list[Any], value) if isinstance(value, list) else []
    if not texts or not all(isinstance(each, str) for each in texts):
        return "a list of names such as work:completed, work:* or *"
    wrong = telling.wrong_patterns(cast(list[str], texts))
    return None if wrong is None else wrong[1]


def is_texts(value: Any) -> str | None:
    right = isinstance(value, list) and all(isinstance(each, str) and each for each in cast(list[Any], value))
    return None if right else "a list of texts"


def is_text(value: Any) -> str | None:
    return None if isinstance(value, str) and value else "a text"


def is_bool(value: Any) -> str | None:
    return None if isinstance(value, bool) else "true or false"


def is_whole(least: int, most: int) -> Check:
    def check(value: Any) -> str | None:
        right = isinstance(value, int) and not isinstance(value, bool) and least <= value <= most
        return None if right else f"a whole number from {least} to {most}"

    return check


def is_number(above: float, most: float) -> Check:
    def check(value: Any) -> str | None:
        right = isinstance(value, int | float) and not isinstance(value, bool) and above < value <= most
        return None if right else f"a number above {above:g} and at most {most:g}"

    return check


def is_one_of(*choices: str) -> Check:
    def check(value: Any) -> str | None:
        return None if value in choices else f"one of {', '.join(choices)}"

    return check


def _cron(value: Any) -> str | None:
    expected = "a cron expression of five fields, or six with seconds first"
    if not isinstance(value, str):
        return expected
    try:
        cron.parse(value)
    except cron.CronError as error:
        return f"{expected} ({error})"
    return None


def _zone(value: Any) -> str | None:
    try:
        cron.zone(value if isinstance(value, str) else "")
    except cron.CronError:
        return "a time zone that this machine knows, such as Europe/Berlin"
    return None


def _hook(value: Any) -> str | None:
    right = isinstance(value, str) and HOOK_NAME.match(value) is not None
    return None if right else "1 to 64 characters of A-Z a-z 0-9 _ . -"


CONFIGS: Final[Mapping[str, Mapping[str, Check]]] = {
    SESSION_EVENT: {"event_names": _patterns, "source_sessions": is_texts},
    ISSUE_EVENT: {"event_names": _patterns, "source_sessions": is_texts},
    FILE_CHANGE: {
        "path": is_text,
        "patterns": is_texts,
        "ignore": is_texts,
        "debounce_ms": is_whole(0, 600_000),
        "catch_up": is_bool,
        "watch": is_one_of("auto", "inotify", "polling"),
        "poll_seconds": is_number(0, 3600),
    },
    TIMER: {
        "interval_seconds": is_whole(MIN_INTERVAL_S, MAX_INTERVAL_S),
        "cron": _cron,
        "timezone": _zone,
        "immediate": is_bool,
        "missed": is_one_of("skip", "run_once"),
    },
    WEBHOOK: {
        "name": _hook,
        "secret_file": is_text,
        "secret_env": is_text,
        "header": is_text,
        "delivery_header": is_text,
        "event_header": is_text,
        "events": is_texts,
    },
    MANUAL: {},
}
"""Of the types that are built in. Another one says itself what is wrong with its config, when it starts."""

REQUIRED: Final[Mapping[str, tuple[str, ...]]] = {SESSION_EVENT: ("event_names",)}

ONE_OF: Final[Mapping[str, tuple[tuple[str, str], bool]]] = {
    TIMER: (("interval_seconds", "cron"), False),
    WEBHOOK: (("secret_file", "secret_env"), True),
}
"""Fields that exclude each other, and whether one of them is needed."""

DEFAULTS: Final[Mapping[str, Mapping[str, Any]]] = {ISSUE_EVENT: {"event_names": ["issue:*"]}}
"""What stands in a config that does not say it."""

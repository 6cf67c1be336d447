"""The environment and the folder of what a session starts: plain variables, and those that its plan names.

A plan holds names, never values: those are the tower's own.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from adapters.runtimes.shapes import Shape
from adapters.settings import ENV_PREFIX
from adapters.telemetry import REDACTED, is_secret_key
from handlers.session_ports import RuntimeSpec

PLAIN: Final = (
    *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "LC_*", "TZ", "TMPDIR", "XDG_*"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR"),
)
"""What any program may know; a star stands for any ending."""

SHORTEST_SECRET: Final = 6
"""Characters of a value that is not searched for in texts: it would be found everywhere."""


def environment_of(tower: Mapping[str, str], shape: Shape, spec: RuntimeSpec) -> dict[str, str]:
    """`tower`: what the tower gives away of its own environment, none of its credentials among it."""
    wanted = (*PLAIN, *shape.env)
    chosen = {name: value for name, value in tower.items() if any(_is(name, pattern) for pattern in wanted)}
    return {**chosen, **spec.env}


def _is(name: str, pattern: str) -> bool:
    return name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern


def folder_of(shape: Shape, spec: RuntimeSpec, default: str) -> str:
    """Absolute. `default`: where the session names none."""
    session = Path(default, os.path.expanduser(spec.working_dir or ""))
    return str(session / os.path.expanduser(shape.working_dir or ""))


def without_secrets(text: str, environment: Mapping[str, str]) -> str:
    """The text, with the values of secret variables replaced."""
    named = {value for name, value in environment.items() if is_secret_key(name) and not name.startswith(ENV_PREFIX)}
    for secret in sorted(named, key=len, reverse=True):
        if len(secret) < SHORTEST_SECRET:
            break
        text = text.replace(secret, REDACTED)
    return text

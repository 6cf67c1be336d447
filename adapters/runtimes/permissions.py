"""What code in a session may ask of the tower, as the plan of its bundle says: `permissions`."""

import os
from collections.abc import Mapping
from typing import Any

from handlers.effects.capabilities import Policy


def policy_of(permissions: Mapping[str, Any], folder: str) -> Policy:
    """`folder`: where relative paths begin. What is not of the right shape allows nothing."""
    files = permissions.get("files")
    named: Mapping[str, Any] = files if isinstance(files, Mapping) else {}
    spawn = permissions.get("spawn")
    return Policy(
        input=permissions.get("input", True) is True,
        emit=permissions.get("emit", True) is True,
        read_file=tuple(_real(path, folder) for path in _texts(named.get("read"))),
        write_file=tuple(_real(path, folder) for path in _texts(named.get("write"))),
        fetch=_texts(permissions.get("hosts")),
        run=_texts(permissions.get("commands")),
        spawn=True if spawn is True else _texts(spawn),
    )


def _texts(given: Any) -> tuple[str, ...]:
    return tuple(each for each in given if isinstance(each, str)) if isinstance(given, list | tuple) else ()


def _real(path: str, folder: str) -> str:
    """Its folders without a star by their real paths, as the files are looked at."""
    whole = os.path.normpath(os.path.join(folder, os.path.expanduser(path)))
    words = whole.split(os.sep)
    wild = next((at for at, word in enumerate(words) if "*" in word), len(words))
    return os.path.join(os.path.realpath(os.sep.join(words[:wild]) or os.sep), *words[wild:])

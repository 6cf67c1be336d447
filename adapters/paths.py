"""Where the tower's folders are when nobody says otherwise (XDG base directories), and what its files are called."""

import os
from pathlib import Path
from typing import Final

PREDECESSOR: Final = ".1"
"""Behind the name of a pane's log: what was written before it."""


def default_home() -> Path:
    """`$XDG_DATA_HOME/agenttower`: everything the tower keeps."""
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "agenttower"


def default_config_dir() -> Path:
    """`$XDG_CONFIG_HOME/agenttower`: `agenttower.yaml`, `templates/`, `launch_profiles/`. No tower writes there."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "agenttower"


def settings_file() -> Path:
    return default_config_dir() / "agenttower.yaml"


def absolute(path: str | os.PathLike[str]) -> Path:
    """Absolute, `~` expanded, symbolic links left alone."""
    return Path(os.path.abspath(os.path.expanduser(path)))

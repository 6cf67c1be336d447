"""The built-in templates."""

from collections.abc import Mapping
from typing import Final

from domain.messages import PaneSlot, Template

_MASTER: Final = PaneSlot(role="master", capability="orchestrator", label="m{n}")
_SLAVE: Final = PaneSlot(role="slave", capability="worker", label="s{n}")

MAX_SLOTS: Final = 64
"""Panes of a template, at most."""

BUILT_IN: Final[Mapping[str, Template]] = {
    "1m+2s": Template(name="1m+2s", panes=(_MASTER, _SLAVE, _SLAVE)),
    "2m+2s": Template(name="2m+2s", panes=(_MASTER, _MASTER, _SLAVE, _SLAVE)),
}

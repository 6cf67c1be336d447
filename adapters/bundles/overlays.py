"""The operator's additions to bundles: `overlay/NAME/bundle.yaml` under the tower's home, composed over the bundle of
that name. People may write these files themselves; `bundle overlay add` and `remove` change their includes."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from adapters.bundles.inputs import Inputs
from adapters.bundles.problems import invalid
from adapters.bundles.reading import bundle_file
from adapters.files.atomic import write_private
from domain.bundles.merging import Replace
from domain.bundles.shapes import includes_of

FILE: Final = "bundle.yaml"


def overlay_file(home: Path, name: str) -> Path:
    """Where the overlay of a bundle stands, if there is one. `name` is that of a bundle, so no path."""
    return overlay_folder(home) / name / FILE


def overlay_folder(home: Path) -> Path:
    return home / "overlay"


class FileOverlays:
    """The `Overlays` port."""

    def __init__(self, home: Path) -> None:
        self._home = home

    async def includes(self, name: str) -> tuple[str, ...]:
        return tuple(await asyncio.to_thread(self._includes, name))

    async def write(self, name: str, includes: Sequence[str]) -> None:
        await asyncio.to_thread(self._write, name, list(includes))

    def _includes(self, name: str) -> list[str]:
        file = overlay_file(self._home, name)
        if not file.exists():
            return []
        return includes_of(bundle_file(file, Inputs().read(file), top=False).given)

    def _write(self, name: str, includes: list[str]) -> None:
        file = overlay_file(self._home, name)
        given: dict[str, Any] = {"bundle": {"name": name}}
        if file.exists():
            given = dict(bundle_file(file, Inputs().read(file), top=False).given)
            if includes_of(given) == includes:
                return
        given["includes"] = includes
        try:
            text = yaml.dump(given, Dumper=_Dumper, sort_keys=False, allow_unicode=True)
        except yaml.YAMLError:
            raise invalid(file, None, "", "what YAML can hold") from None
        write_private(file, text.encode())


class _Dumper(yaml.SafeDumper):
    """Writes `!replace` as it was read."""


def _represent(dumper: _Dumper, replaced: Replace) -> yaml.Node:
    node = dumper.represent_data(replaced.value)
    node.tag = "!replace"
    return node


_Dumper.add_representer(Replace, _represent)

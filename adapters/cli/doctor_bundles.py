"""What `agenttower doctor` says of the bundles that a tower is to prepare: faults, and programs that are missing."""

import os
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

if TYPE_CHECKING:
    from adapters.settings import Settings
    from handlers.bundle_ports import PreparedBundle

GIT: Final = "git+"


class Said(NamedTuple):
    level: Literal["good", "warning"]
    said: str
    fix: str = ""


def look_at_bundles(settings: "Settings") -> Iterator[Said]:
    """Of the setting `bundles`, from files and from the repositories that were fetched before, without a network."""
    from adapters.bundles.keeping import bundle_files
    from adapters.system import SystemClock
    from handlers.bundle_ports import BundleProblem

    if not settings.bundles:
        yield Said("good", "none to prepare at the start: setting `bundles`")
        return
    if any(uri.startswith(GIT) for uri in settings.bundles) and shutil.which("git") is None:
        yield Said("warning", "git is missing, and one of them comes by it", "apt-get install git")
    files = bundle_files(settings, SystemClock())
    for uri in settings.bundles:
        if uri.startswith(GIT):
            yield Said("good", f"{uri}: fetched at the start")
            continue
        try:
            found = files.prepare_now(uri, fresh=False)
        except BundleProblem as problem:
            yield Said("warning", "; ".join(problem.faults), f"nothing is spawned from {uri} until it is corrected")
        else:
            yield from _of(found)


def _of(found: "PreparedBundle") -> Iterator[Said]:
    name = f"{found.name} {found.version}".strip()
    program = _program(found)
    if program is not None and not _is_there(program):
        fix = f"install {program}, or correct argv of its runtime"
        yield Said("warning", f"{name}: there is no program {program} on this PATH", fix)
        return
    if found.warnings:
        yield Said("warning", f"{name}: {'; '.join(found.warnings)}", "see `agenttower bundle validate`")
        return
    runtime = found.plan.runtime.get("kind", "echo")
    yield Said("good", f"{name}, runs on {program or runtime}")


def _program(found: "PreparedBundle") -> str | None:
    """Of a `command` runtime; None for what is found from a working folder."""
    runtime = found.plan.runtime
    argv = runtime.get("argv")
    if runtime.get("kind") != "command" or not isinstance(argv, list) or not argv:
        return None
    return None if "/" in str(argv[0]) and not os.path.isabs(str(argv[0])) else str(argv[0])


def _is_there(program: str) -> bool:
    return shutil.which(program) is not None

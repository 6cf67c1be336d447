"""Templates and launch profiles: the built-in ones, and over them the operator's files `templates/*.yaml` and
`launch_profiles/*.yaml`. Nothing here writes to those folders.
"""

import asyncio
import contextlib
import hashlib
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec
import structlog

from adapters.files.launch_folder import LaunchFolder, Problem
from adapters.files.launch_models import profiles_in, templates_in
from domain.layouts.templates import BUILT_IN
from domain.messages import Template
from handlers.ports import Clock, LaunchProfile, LaunchSet

READ_S: Final = 0.5
"""How long a decision waits for the disk; after that it takes what was known last."""
FIRST_READ_S: Final = 5.0
"""How long the start of a tower waits, which knows nothing yet."""

_log = structlog.get_logger(__name__)


class Catalogue(msgspec.Struct, frozen=True):
    """Everything known at one moment. The files are those of operators' things; built-in ones have none."""

    known: LaunchSet
    template_files: Mapping[str, str] = {}
    profile_files: Mapping[str, str] = {}
    template_problems: tuple[Problem, ...] = ()
    profile_problems: tuple[Problem, ...] = ()


def shell_profile() -> LaunchProfile:
    """The built-in profile `shell`: the `$SHELL` of the pane, which tmux sets, else `/bin/sh`.

    Not the tower's own: a container has other programs and other users.
    """
    return with_digest(LaunchProfile(name="shell", command=("/bin/sh", "-c", 'exec "${SHELL:-/bin/sh}"')))


def with_digest(profile: LaunchProfile) -> LaunchProfile:
    """The profile with the digest of all that it starts a pane with."""
    content = msgspec.json.encode(
        [profile.command, dict(sorted(profile.env.items())), profile.working_dir, profile.resume]
    )
    return msgspec.structs.replace(profile, digest=hashlib.blake2b(content, digest_size=16).hexdigest())


def built_in() -> LaunchSet:
    shell = shell_profile()
    return LaunchSet(templates=BUILT_IN, profiles={shell.name: shell})


class LaunchFolders:
    """Both folders under `config_dir`, blocking. One thread at a time may `look()`."""

    def __init__(self, config_dir: Path, clock: Clock) -> None:
        self._templates: LaunchFolder[Template] = LaunchFolder(config_dir / "templates", templates_in, clock)
        self._profiles: LaunchFolder[LaunchProfile] = LaunchFolder(config_dir / "launch_profiles", profiles_in, clock)
        self.built_in: Final = built_in()

    def look(self) -> Catalogue:
        """What stands there now; files that have not changed are not read again."""
        templates, profiles = self._templates.look(), self._profiles.look()
        known = LaunchSet(
            templates={**self.built_in.templates, **{name: thing for name, (thing, _) in templates.things.items()}},
            profiles={
                **self.built_in.profiles,
                **{name: with_digest(thing) for name, (thing, _) in profiles.things.items()},
            },
        )
        return Catalogue(
            known=known,
            template_files={name: file for name, (_, file) in templates.things.items()},
            profile_files={name: file for name, (_, file) in profiles.things.items()},
            template_problems=templates.problems,
            profile_problems=profiles.problems,
        )


class LaunchFiles:
    """The `Launching` port. Each call sees what was changed before it, unless the disk does not answer in time."""

    def __init__(self, config_dir: Path, clock: Clock) -> None:
        self._folders = LaunchFolders(config_dir, clock)
        self._latest = Catalogue(known=self._folders.built_in)
        self._reading: asyncio.Future[None] | None = None
        self._begun = self._done = 0
        self._late = False

    async def current(self) -> LaunchSet:
        return (await self.look()).known

    async def look(self, within_s: float = READ_S) -> Catalogue:
        # A reading that is under way may have passed what was changed before this call.
        wanted = self._begun + 1
        while self._done < wanted and not self._late:
            reading = self._read_again()
            done, _ = await asyncio.wait([reading], timeout=within_s)
            if not done and self._reading is reading:
                self._late = True
                _log.warning("the templates and launch profiles cannot be read in time", after_s=within_s)
        return self._latest

    def _read_again(self) -> asyncio.Future[None]:
        if self._reading is None:
            self._begun += 1
            self._reading = asyncio.get_running_loop().create_future()
            # Not of a pool: the end of the program waits for those, and a disk may never answer.
            threading.Thread(
                target=self._read, args=(asyncio.get_running_loop(),), name="launch files", daemon=True
            ).start()
        return self._reading

    def _read(self, loop: asyncio.AbstractEventLoop) -> None:
        """In its thread."""
        found: Catalogue | None = None
        try:
            found = self._folders.look()
        finally:
            # The tower may have ended meanwhile.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(self._take, found)

    def _take(self, found: Catalogue | None) -> None:
        reading, self._reading = self._reading, None
        self._done, self._late = self._begun, False
        if found is not None:
            before = {*self._latest.template_problems, *self._latest.profile_problems}
            self._latest = found
            for problem in (*found.template_problems, *found.profile_problems):
                if problem not in before:
                    _log.warning("a file is skipped", file=problem.file, line=problem.line, reason=problem.reason)
        if reading is not None and not reading.done():
            reading.set_result(None)

"""Templates and launch profiles that come with the tower."""

import hashlib
import os
from collections.abc import Mapping

import msgspec

from domain.layouts.templates import BUILT_IN
from domain.messages import Template
from handlers.ports import LaunchProfile


def shell_profile() -> LaunchProfile:
    """The built-in profile `shell`: `$SHELL`, else `/bin/sh`."""
    return with_digest(LaunchProfile(name="shell", command=(os.environ.get("SHELL") or "/bin/sh",)))


def with_digest(profile: LaunchProfile) -> LaunchProfile:
    """The profile with the digest of its argv, env and working directory."""
    content = msgspec.json.encode([profile.command, dict(sorted(profile.env.items())), profile.working_dir])
    return msgspec.structs.replace(profile, digest=hashlib.blake2b(content, digest_size=16).hexdigest())


class BuiltInTemplates:
    def all(self) -> Mapping[str, Template]:
        return BUILT_IN


class BuiltInProfiles:
    def __init__(self) -> None:
        shell = shell_profile()
        self._profiles = {shell.name: shell}

    def profile(self, name: str) -> LaunchProfile | None:
        return self._profiles.get(name)

    def digests(self) -> Mapping[str, str]:
        return {name: profile.digest for name, profile in self._profiles.items()}

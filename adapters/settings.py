"""Settings of a tower: flags, then environment `AGENTTOWER_*`, then `agenttower.yaml`, then the defaults below.

`load` is for programs: it reads the file and raises `SettingsError` with where each fault is and what was expected.
`Settings(home=…)` reads the environment only, never a file of the user's.
"""

import difflib
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, cast
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
)
from pydantic_core import PydanticUndefined
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from adapters.declarations import checked, fault
from adapters.paths import absolute, default_config_dir, default_home, settings_file
from domain.background.reading import FIELD

ENV_PREFIX: Final = "AGENTTOWER_"
OTHER_VARIABLES: Final = frozenset({"AGENTTOWER_CRASH_AT", "AGENTTOWER_SOCKET", "AGENTTOWER_TESTS_STRICT"})
"""Variables with our prefix that are no setting of the tower."""

SOCKET_PATH_BYTES: Final = 100
"""The kernel takes 107 bytes; tmux and the bench need some of them."""

_SECRET: Final = frozenset({"nats_url", "nats_answers_url", "database_url"})
_ADDRESS: Final = re.compile(r"(?P<host>\[[0-9a-fA-F:.]+\]|[^:\s\[\]]+):(?P<port>\d{1,5})\Z")


class SettingsError(Exception):
    """One line a fault: file and line (or variable, or flag), the key, what was expected."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems: Final = tuple(problems)


def _path(value: object) -> object:
    return absolute(value) if isinstance(value, str | Path) and str(value) else value


def _words(value: object) -> object:
    """A variable of the environment holds a list as text."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _pairs(value: object) -> object:
    """A map as text: `key=value`, with commas."""
    if not isinstance(value, str):
        return value
    pairs = [part.strip().rpartition("=") for part in value.split(",") if part.strip()]
    if any(not sign for _, sign, _ in pairs):
        raise ValueError("no map")
    return {key: folder for key, _, folder in pairs}


def _short_enough(value: Path) -> Path:
    if len(os.fsencode(value)) >= SOCKET_PATH_BYTES:
        raise ValueError("too long for a unix socket")
    return value


def _address(value: str) -> str:
    found = _ADDRESS.match(value)
    if found is None or int(found["port"]) > 65535:
        raise ValueError("not an address")
    return value


def _url(*schemes: str) -> AfterValidator:
    def check(value: str) -> str:
        for part in value.split(","):
            if urlsplit(part.strip()).scheme.partition("+")[0] not in schemes:
                raise ValueError("not such a URL")
        return value

    return AfterValidator(check)


IssuesName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
FolderPath = Annotated[Path, BeforeValidator(_path)]
SocketPath = Annotated[FolderPath, AfterValidator(_short_enough)]


def _default_database(data: dict[str, Any]) -> str:
    return f"sqlite:///{data['home']}/tower.sqlite"


def _default_tmux_socket(data: dict[str, Any]) -> Path:
    return data["home"] / "tmux.sock"


def _default_work_dir(data: dict[str, Any]) -> Path:
    return data["home"] / "work"


class CapabilitySettings(BaseModel):
    """What code in sessions that no bundle made may ask of the tower: paths, hosts (`*.example.com`, `host:port`),
    commands (`git status`, with any further arguments), bundles to spawn sessions from (or true)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    input: bool = True
    emit: bool = True
    read_file: tuple[str, ...] = ()
    write_file: tuple[str, ...] = ()
    fetch: tuple[str, ...] = ()
    run: tuple[str, ...] = ()
    spawn: bool | tuple[str, ...] = False


class Settings(BaseSettings):
    """Descriptions say what is expected; they appear in error messages and in `agenttower doctor`."""

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, env_ignore_empty=True, extra="forbid", frozen=True)

    home: FolderPath = Field(default_factory=default_home, description="a folder for everything the tower keeps")
    node: str = Field(
        default="local", pattern=r"^[A-Za-z0-9_-]{1,32}$", description="1 to 32 characters of A-Z a-z 0-9 _ -"
    )
    nats_url: Annotated[str, _url("nats", "tls", "ws", "wss")] | None = Field(
        default=None, description="a URL such as nats://user:password@host:4222 (unset: an embedded broker)"
    )
    nats_answers_url: Annotated[str, _url("nats", "tls", "ws", "wss")] | None = Field(
        default=None,
        description="the URL of a broker user who may publish _INBOX.> and tower.out.> only (unset: nats_url)",
    )
    nats_listen: str = Field(default="127.0.0.1", description="an address for the embedded broker, or address:port")
    nats_staging: Literal["memory", "disk"] = Field(
        default="memory", description="memory or disk: where the embedded broker keeps a batch until it commits it"
    )
    database_url: Annotated[str, _url("sqlite", "postgresql", "postgres")] = Field(
        default_factory=_default_database,
        description="a URL such as sqlite:////path/file or postgresql://user:password@host/name",
    )
    http: Annotated[str, AfterValidator(_address)] = Field(
        default="127.0.0.1:7700", description="address:port such as 127.0.0.1:7700 (port 0: any free one)"
    )
    tmux_socket: SocketPath = Field(
        default_factory=_default_tmux_socket,
        description=f"the path of a unix socket, shorter than {SOCKET_PATH_BYTES} bytes",
        validate_default=True,
    )
    launch_settle: float = Field(
        default=0.5, ge=0, le=25, description="seconds from 0 to 25 after which a launched command counts as alive"
    )
    restart_backoff: float = Field(
        default=1.0,
        ge=0.01,
        le=3,
        description="seconds from 0.01 to 3 before the first restart of a pane; each next one waits twice as long",
    )
    max_causation_depth: int = Field(
        default=32,
        ge=1,
        le=1000,
        description="how many runs of background sessions may lead to each other; a trigger beyond is refused",
    )
    pane_log_max_mb: int = Field(
        default=16, ge=2, le=4096, description="MiB from 2 to 4096 of a pane's log, and of the one kept before it"
    )
    pane_log_days: float = Field(
        default=14, ge=0, description="days, 0 or more, for which the logs of a removed pane are kept"
    )
    execution_output_max_mb: int = Field(
        default=64,
        ge=1,
        le=4096,
        description="MiB from 1 to 4096 of an execution's output that are kept, head and tail",
    )
    output_max_mb: int = Field(
        default=1024, ge=1, description="MiB of all executions' output that are kept, the oldest goes first"
    )
    container_cli: str | None = Field(
        default=None,
        min_length=1,
        description="docker, podman or the path of either (unset: the first that is installed)",
    )
    container_filter: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_words)] = Field(
        default=(), description="--filter values of the container program, a list or text with commas (label=bench)"
    )
    worker_python: str = Field(
        default_factory=lambda: sys.executable,
        min_length=1,
        description="a Python of 3.11 or newer that runs executions, such as a venv's",
    )
    work_dir: FolderPath = Field(
        default_factory=_default_work_dir, description="a folder in which executions run", validate_default=True
    )
    capabilities: CapabilitySettings = Field(
        default=CapabilitySettings(),
        description="what code may ask of the tower: input, emit (true or false), read_file, write_file, fetch, run, "
        "spawn",
    )
    bundles: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_words)] = Field(
        default=(),
        description="bundles to prepare before the tower is ready: paths and git URIs, a list or text with commas",
    )
    bundle_prefixes: Annotated[dict[str, FolderPath], NoDecode, BeforeValidator(_pairs)] = Field(
        default={},
        description="beginnings of bundle URIs and the folders that stand for them, a map or text such as "
        "git+https://example.org/=/srv/mirror, with commas",
    )
    background_sessions: Annotated[tuple[dict[str, Any], ...], AfterValidator(checked)] = Field(
        default=(), description="background sessions that start with the tower, a list; see docs/background.md"
    )
    issues: Annotated[dict[IssuesName, FolderPath], NoDecode, BeforeValidator(_pairs)] = Field(
        default={},
        description="issue trackers: names (A-Z a-z 0-9 _ -) and the folders of their issue files, a map or "
        "text such as bugs=/srv/bugs, with commas",
    )
    log_format: Literal["auto", "console", "json"] = Field(
        default="auto", description="auto (console on a terminal, else json), console or json"
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings

    @property
    def config_dir(self) -> Path:
        return default_config_dir()

    @property
    def http_host(self) -> str:
        """Without the brackets of an IPv6 address."""
        return self.http.rpartition(":")[0].strip("[]")

    @property
    def http_port(self) -> int:
        return int(self.http.rpartition(":")[2])


def load(flags: Mapping[str, object] | None = None) -> Settings:
    """The settings in force. `flags` holds the fields given on the command line; None values count as not given."""
    given = {key: value for key, value in (flags or {}).items() if value is not None}
    file = settings_file()
    values, lines = _read(file)
    from_file = {key: value for key, value in values.items() if not os.environ.get(ENV_PREFIX + key.upper())}
    try:
        return Settings(**cast(dict[str, Any], {**from_file, **given}))
    except ValidationError as error:
        raise SettingsError(
            [
                _problem(str(fault["loc"][0]), fault.get("input"), given, file, lines)
                for fault in error.errors()
                # A default that follows from a wrong value has none of its own.
                if fault.get("input") is not PydanticUndefined
            ]
        ) from error


def unknown_variables() -> list[str]:
    """One line for each environment variable with our prefix that is no setting."""
    known = {ENV_PREFIX + name.upper() for name in Settings.model_fields} | OTHER_VARIABLES
    unknown = sorted(name for name in os.environ if name.startswith(ENV_PREFIX) and name not in known)
    return [f"{name} is no setting{_nearest(name, known)}" for name in unknown]


def _problem(key: str, value: object, flags: Mapping[str, object], file: Path, lines: Mapping[str, int]) -> str:
    expected = Settings.model_fields[key].description
    variable = ENV_PREFIX + key.upper()
    if key in flags:
        where = f"--{key.replace('_', '-')}"
    elif os.environ.get(variable):
        where = variable
    elif key in lines:
        where = f"{file}:{lines[key]}: {key}"
    else:
        where = f"the default of {key}"
    shown = "" if key in _SECRET else f", not {str(value) if isinstance(value, Path) else value!r}"
    return f"{where}: expected {expected}{shown}"


def _nearest(name: str, known: frozenset[str] | set[str]) -> str:
    found = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"; did you mean {found[0]}?" if found else f"; known are {', '.join(sorted(known))}"


def _read(file: Path) -> tuple[dict[str, object], dict[str, int]]:
    """The values of the file and the line of each key; both empty when there is no file."""
    import yaml

    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}, {}
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError([f"{file}: cannot be read: {error}"]) from error
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark is not None else ""
        what = getattr(error, "problem", None) or str(error)
        raise SettingsError([f"{file}{line}: not YAML: {what}"]) from error
    if root is None:
        return {}, {}
    if not isinstance(root, yaml.MappingNode):
        raise SettingsError([f"{file}:{root.start_mark.line + 1}: expected lines of `setting: value`"])
    problems: list[str] = []
    lines: dict[str, int] = {}
    for key_node, value_node in root.value:
        key, line = str(key_node.value), key_node.start_mark.line + 1
        if key not in Settings.model_fields:
            problems.append(f"{file}:{line}: {key} is no setting{_nearest(key, set(Settings.model_fields))}")
        elif key in lines:
            problems.append(f"{file}:{line}: {key} stands here again, first on line {lines[key]}")
        else:
            lines[key] = line
        if key == FIELD and (wrong := fault(value_node, values[key])) is not None:
            problems.append(f"{file}:{wrong[0]}: {wrong[1]}")
    if problems:
        raise SettingsError(problems)
    return values, lines

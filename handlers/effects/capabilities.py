"""What code may ask of the tower, and whether it may: `tower.read_file`, `write_file`, `fetch`, `run`, `emit`, `spawn`.

Answers the questions of executions and of turns of Python sessions; sends `capability.record_denied` and
`session.record_emitted`. The policy of a session says what is allowed: nothing but asking people and emitting events,
unless it lists more.
"""

import asyncio
import re
from collections.abc import Callable, Mapping
from pathlib import PurePosixPath
from typing import Any, Final, NamedTuple, Protocol

import msgspec
import structlog

from domain.executions import commands as ec
from domain.sessions import emitting
from handlers.effects.ends import encodable, shortened
from handlers.effects.follow_ups import FollowUps
from handlers.execution_ports import AnswerStatus, Machine, MachineError, NotAllowed

LIMIT_S: Final = 30.0
"""How long one may take, unless the code says otherwise."""

LONGEST_S: Final = 3600.0
DENIALS: Final = 100
"""Of one attempt that are recorded; code that asks for ever fills no log."""

NAME_CHARACTERS: Final = 128
REASON_CHARACTERS: Final = 500

_WILD: Final = re.compile(r"\*")

_log = structlog.get_logger(__name__)


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """What a session may have. `read_file`, `write_file`: files, and folders with all that is in them; in a name, `*`
    stands for any characters but `/`, `**` for any. `fetch`: hosts (`api.example.com`, `*.example.com`,
    `localhost:8080`; without a port: any). `run`: commands, each with all its arguments or with the ones that it must
    begin with (`git`, `git status`). `spawn`: bundles and agents, or true for any."""

    input: bool = True
    emit: bool = True
    read_file: tuple[str, ...] = ()
    write_file: tuple[str, ...] = ()
    fetch: tuple[str, ...] = ()
    run: tuple[str, ...] = ()
    spawn: bool | tuple[str, ...] = False


class Reply(NamedTuple):
    status: AnswerStatus
    value: Any = None
    message: str = ""


class Asking(Protocol):
    """Who asks: an attempt of an execution, or a turn of a session, whose number is `attempt`. `source`: by which it is
    known, that of its output. `execution_id`: None for a turn. `denials`: of what it asked."""

    denials: int

    @property
    def session_id(self) -> str: ...

    @property
    def source(self) -> str: ...

    @property
    def execution_id(self) -> str | None: ...

    @property
    def attempt(self) -> int: ...


class Sessions(Protocol):
    """Spawns sessions for code."""

    async def spawn(self, asking: Asking, number: int, asked: Mapping[str, Any], /) -> Reply: ...


class Denied(Exception):
    """The policy does not allow it: says what."""


class Capabilities:
    """`policy`: of a session, by its id."""

    def __init__(
        self, *, machine: Machine, follow_ups: FollowUps, policy: Callable[[str], Policy], sessions: Sessions
    ) -> None:
        self._sessions = sessions
        self._machine = machine
        self._follow_ups = follow_ups
        self._policy = policy

    def may_ask(self, run: Asking, number: int) -> bool:
        """Whether people may be asked; a denial is recorded."""
        if self._policy(run.session_id).input:
            return True
        self._deny(run, number, "input", "people may not be asked")
        return False

    async def answer(self, run: Asking, number: int, fields: Mapping[str, Any]) -> Reply:
        """`number` counts what the attempt asks for. Never raises."""
        capability = str(fields.get("capability"))
        asked: dict[str, Any] = fields.get("arguments") or {}
        # A session has the time that it is given itself.
        limit_s = None if capability == "spawn" else _seconds(asked.get("timeout"))
        try:
            async with asyncio.timeout(limit_s):
                return await self._perform(run, number, capability, asked)
        except (Denied, NotAllowed) as denied:
            self._deny(run, number, capability, str(denied))
            return Reply("denied", message=f"{capability}: {denied}")
        except TimeoutError:
            return Reply("timeout", message=f"{capability}: no answer in time")
        except MachineError as error:
            return Reply("failed", message=f"{capability}: {error}")
        except Exception as error:  # noqa: BLE001 (one bad request must end neither the tower nor the execution)
            _log.exception("a capability failed", capability=capability, source=run.source)
            return Reply("failed", message=f"{capability}: {type(error).__name__}")

    async def _perform(self, run: Asking, number: int, capability: str, asked: Mapping[str, Any]) -> Reply:
        policy, machine = self._policy(run.session_id), self._machine
        match capability:
            case "emit" if policy.emit:
                return await self._emit(run, number, asked)
            case "read_file" if policy.read_file:
                return Reply("ok", await machine.read_file(str(asked["path"]), within(policy.read_file)))
            case "write_file" if policy.write_file:
                text = encodable(str(asked["text"]))
                await machine.write_file(str(asked["path"]), text, within(policy.write_file))
                return Reply("ok")
            case "fetch" if policy.fetch:
                return await self._fetch(policy, asked)
            case "run" if policy.run:
                argv = [str(each) for each in asked["argv"]]
                if not may_run(argv, policy.run):
                    raise Denied(f"{argv[0] if argv else 'no command'} is not among the commands of this session")
                return Reply("ok", msgspec.to_builtins(await machine.run(argv)))
            case "spawn" if policy.spawn:
                wanted = asked.get("agent") or asked.get("bundle")
                if policy.spawn is not True and wanted not in policy.spawn:
                    raise Denied(f"{wanted} is not among what this session may spawn")
                return await self._sessions.spawn(run, number, asked)
            case "emit" | "read_file" | "write_file" | "fetch" | "run" | "spawn":
                raise Denied("not allowed in this session")
            case _:
                return Reply("failed", message=f"the tower knows no {capability}")

    async def _fetch(self, policy: Policy, asked: Mapping[str, Any]) -> Reply:
        url = str(asked["url"])
        headers = {str(name): str(value) for name, value in (asked.get("headers") or {}).items()}
        body = None if asked.get("body") is None else encodable(str(asked["body"]))
        method = str(asked.get("method") or "GET").upper()
        fetched = await self._machine.fetch(url, method, headers, body, among(policy.fetch))
        return Reply("ok", msgspec.to_builtins(fetched))

    async def _emit(self, run: Asking, number: int, asked: Mapping[str, Any]) -> Reply:
        name, data = str(asked.get("name") or ""), asked.get("data")
        wrong = emitting.problem(name, data)
        if wrong is not None:
            return Reply("failed", message="emit: {}: {}".format(*wrong))
        request = ec.SessionRecordEmitted(
            session_id=run.session_id, execution_id=run.execution_id, name=name, data=data
        )
        step = f"emit:{run.attempt}:{number}"
        cause = run.execution_id or run.session_id
        outcome = await self._follow_ups.ask(run.source, step, request, because_of=cause)
        if outcome["status"] != "accepted":
            return Reply("failed", message=outcome["error"]["message"])
        return Reply("ok")

    def _deny(self, run: Asking, number: int, capability: str, reason: str) -> None:
        run.denials += 1
        if run.denials > DENIALS:
            return
        request = ec.CapabilityRecordDenied(
            execution_id=run.source,
            capability=shortened(capability, NAME_CHARACTERS),
            reason=shortened(reason, REASON_CHARACTERS),
            session_id=run.session_id if run.execution_id is None else None,
        )
        self._follow_ups.send(run.source, f"denied:{run.attempt}:{number}", request)


def within(folders: tuple[str, ...]) -> Callable[[str], bool]:
    """Whether a real path is one of these, or lies below one."""
    patterns = [_pattern(folder) for folder in folders if _WILD.search(folder)]
    plain = [folder for folder in folders if not _WILD.search(folder)]

    def allowed(path: str) -> bool:
        if any(PurePosixPath(path).is_relative_to(folder) for folder in plain):
            return True
        return any(pattern.fullmatch(path) for pattern in patterns)

    return allowed


def _pattern(folder: str) -> re.Pattern[str]:
    """With all that lies below; `/a/**` is `/a` itself, too."""
    stars = {"**": ".*", "*": "[^/]*"}
    whole = folder.removesuffix("/**")
    parts = re.split(r"(\*\*|\*)", whole)
    return re.compile("".join(stars.get(part, re.escape(part)) for part in parts) + "(/.*)?", re.DOTALL)


def among(hosts: tuple[str, ...]) -> Callable[[str], bool]:
    """Whether `host:port` is one of these."""

    def allowed(address: str) -> bool:
        host, _, port = address.rpartition(":")
        for each in hosts:
            wanted, _, wanted_port = each.rpartition(":") if each.rpartition(":")[2].isdigit() else (each, "", "")
            if wanted_port not in ("", port):
                continue
            if host == wanted or (wanted.startswith("*.") and host.endswith(wanted[1:])):
                return True
        return False

    return allowed


def may_run(argv: list[str], commands: tuple[str, ...]) -> bool:
    return any((words := command.split()) and argv[: len(words)] == words for command in commands)


def _seconds(asked: Any) -> float:
    wanted = asked if isinstance(asked, int | float) and not isinstance(asked, bool) else LIMIT_S
    return min(max(float(wanted), 0.0), LONGEST_S)

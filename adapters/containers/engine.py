"""The `ContainerEngine` port on the command line of docker or podman.

A scan is one `ps`, one `inspect` of all that it named, and for a user given by name, once, an `id` in the container.
"""

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import structlog

from adapters.containers.cli import Answer, ask, need_cli
from adapters.containers.inside import run_inside
from adapters.containers.inspecting import Inspected, read_inspected
from domain.containers import ContainerFacts
from handlers.ports import ContainersUnreachable

ASK_S: Final = 5.0
"""How long one call of the command line may take."""

USERS_S: Final = 2.0
"""How long all questions for users may take; who is not known by then is asked for by the next scan."""

ASKED_AT_ONCE: Final = 8

_ID: Final = re.compile(r"[0-9a-f]{64}\Z")
_log = structlog.get_logger("containers")


class CliEngine:
    """`setting`: the program, None for the first that is installed. `bench`: the tower's bench folder.

    `known` gives what the registry holds of a container: what was once asked inside of it is not asked again.
    """

    def __init__(
        self,
        *,
        setting: str | None,
        filters: Sequence[str],
        bench: Path,
        known: Callable[[str], ContainerFacts | None],
    ) -> None:
        self._setting = setting
        self._filters = [word for value in filters for word in ("--filter", value)]
        self._bench = bench
        self._known = known

    async def scan(self) -> Sequence[ContainerFacts]:
        cli = await asyncio.to_thread(need_cli, self._setting)
        listed = await self._ask(cli, "ps", "-a", "-q", "--no-trunc", *self._filters)
        if listed.exit_code != 0:
            raise ContainersUnreachable(listed.said or f"{cli} ps ended with exit code {listed.exit_code}")
        container_ids = [line for line in listed.output.decode("ascii", "replace").split() if _ID.match(line)]
        if not container_ids:
            return ()
        # One that went meanwhile makes the exit code 1; the others are printed all the same.
        answer = await self._ask(cli, "inspect", "--type", "container", *container_ids)
        bench = await asyncio.to_thread(self._bench.resolve)
        try:
            inspected = read_inspected(answer.output, bench)
        except ValueError as error:
            raise ContainersUnreachable(answer.said or str(error)) from error
        if answer.exit_code != 0:
            await self._really_gone(cli, set(container_ids) - {each.container_id for each in inspected})
        uids = await self._uids(cli, inspected)
        return tuple(_facts(each, uids.get(each.container_id)) for each in inspected)

    async def _really_gone(self, cli: str, missing: set[str]) -> None:
        """What is left out of a scan is taken for gone: a failure to inspect must not pass for that."""
        listed = await self._ask(cli, "ps", "-a", "-q", "--no-trunc", *self._filters)
        if listed.exit_code != 0 or missing & set(listed.output.decode("ascii", "replace").split()):
            raise ContainersUnreachable(f"{cli} inspect does not tell of every container: {listed.said}")

    async def _uids(self, cli: str, inspected: Sequence[Inspected]) -> Mapping[str, int]:
        """By container id, of those that are known or can be asked."""
        uids: dict[str, int] = {}
        turns = asyncio.Semaphore(ASKED_AT_ONCE)

        async def look(each: Inspected) -> None:
            async with turns:
                uid = await self._uid(cli, each)
            if uid is not None:
                uids[each.container_id] = uid

        unknown: list[Inspected] = []
        for each in inspected:
            known = self._known(each.container_id)
            if each.known_uid is not None:
                uids[each.container_id] = each.known_uid
            elif known is not None and known.user == each.user and known.uid is not None:
                uids[each.container_id] = known.uid
            elif each.running:
                unknown.append(each)
        try:
            async with asyncio.timeout(USERS_S), asyncio.TaskGroup() as group:
                for each in unknown:
                    group.create_task(look(each))
        except TimeoutError:
            _log.warning("some containers do not tell their user's id yet", containers=len(unknown))
        return uids

    async def _uid(self, cli: str, each: Inspected) -> int | None:
        words = (cli, "exec", "-i", "-u", each.user, each.container_id)
        try:
            ran = await run_inside(words, ("id", "-u"), timeout_s=ASK_S)
        except ContainersUnreachable as error:
            _log.warning("the user's id is not known", container=each.name, user=each.user, reason=str(error))
            return None
        digits = ran.output.strip()
        if ran.exit_code != 0 or not digits.isdigit():
            _log.warning("the user's id is not known", container=each.name, user=each.user, reason=ran.said)
            return None
        return int(digits)

    async def _ask(self, cli: str, *words: str) -> Answer:
        return await ask(cli, words, timeout_s=ASK_S)


def _facts(each: Inspected, uid: int | None) -> ContainerFacts:
    socket = each.tmux_socket or ("" if uid is None else f"/tmp/tmux-{uid}/default")  # noqa: S108, the user's own
    return ContainerFacts(
        container_id=each.container_id,
        name=each.name,
        image=each.image,
        running=each.running,
        uid=uid,
        user=each.user,
        tmux_socket=socket,
        bench_dir=each.bench_dir,
    )

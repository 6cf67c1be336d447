"""The runtimes of one tower, by kind: the `Runtimes` port."""

import secrets
from collections.abc import Mapping

from adapters.executing.process import WorkerSettings
from adapters.executing.sources import Source
from adapters.runtimes.command import CommandRuntime
from adapters.runtimes.echo import EchoRuntime
from adapters.runtimes.pane import PaneRuntime, Panes
from adapters.runtimes.python import MakeAbilities, PythonRuntime, Questions
from handlers.session_ports import Runtime, RuntimeFailed


class TowerRuntimes:
    """`workers`: the pool, whose workers have `settings`. `environment`: what the tower gives away of its own, none of
    its credentials among it; a session gets what is plain of it and what its plan names. What sessions start is known
    by `settings.owner`, so that what a killed tower leaves is ended when it starts again (`children.end_marked`)."""

    def __init__(
        self,
        *,
        workers: Source,
        settings: WorkerSettings,
        environment: Mapping[str, str],
        panes: Panes,
        questions: Questions,
        make_abilities: MakeAbilities,
    ) -> None:
        self._make_abilities = make_abilities
        self._workers = workers
        self._settings = settings
        self._environment = environment
        self._panes = panes
        self._questions = questions

    def make(self, kind: str) -> Runtime:
        match kind:
            case "command":
                mark = f"{self._settings.owner}:{secrets.token_hex(8)}"
                return CommandRuntime(self._environment, working_dir=self._settings.working_dir, mark=mark)
            case "python":
                return PythonRuntime(
                    self._workers, self._settings, self._environment, self._questions, self._make_abilities
                )
            case "pane":
                return PaneRuntime(self._panes)
            case "echo":
                return EchoRuntime()
            case _:
                message = f"runtime.kind: there is none called {kind}: command, python, pane or echo"
                raise RuntimeFailed("runtime_invalid", message)

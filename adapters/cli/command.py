"""The frame of every CLI command: where the tower is, who fails how, which options all of them share."""

import functools
import inspect
import typing
from collections.abc import Callable
from typing import Annotated, Any

import typer

from adapters.cli.client import Queries
from adapters.cli.client import command as send_command
from adapters.cli.failures import Failure
from adapters.cli.place import Place, Running, find

Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout, and nothing else.")]
HomeOption = Annotated[str | None, typer.Option("--home", metavar="DIR", help="The tower's folder.")]
NodeOption = Annotated[str | None, typer.Option("--node", metavar="NAME", help="The tower's name.")]


class Cli:
    """What a command works with; every part is made when it is first asked for."""

    def __init__(self, home: str | None, node: str | None) -> None:
        self.home = home
        self.node = node

    @functools.cached_property
    def place(self) -> Place:
        return find(self.home, self.node)

    @functools.cached_property
    def running(self) -> Running:
        """The running tower; `Failure` when there is none."""
        return self.place.need()

    @functools.cached_property
    def queries(self) -> Queries:
        return Queries(self.place, self.running)

    def command(
        self,
        noun: str,
        verb: str,
        data: dict[str, object],
        idempotency_key: str | None = None,
        *,
        nulls: bool = False,
    ) -> Any:
        """The outcome of an accepted command; `Failure` for a rejection. None in `data` is sent with `nulls` only."""
        return send_command(self.place, self.running, noun, verb, data, idempotency_key=idempotency_key, nulls=nulls)


def register(app: typer.Typer, name: str, **settings: Any) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make `function(cli, …options)` a command that also takes --home and --node; a failure is exit code 1."""

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        signature = inspect.signature(function)
        hints = typing.get_type_hints(function, include_extras=True)
        own = [
            parameter.replace(annotation=hints[parameter.name]) for parameter in list(signature.parameters.values())[1:]
        ]
        shared = [
            inspect.Parameter(option, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
            for option, annotation in (("home", HomeOption), ("node", NodeOption))
            if option not in hints
        ]
        context = inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)

        def run(**given: Any) -> None:
            above = given.pop("context").find_root().params
            home, node = (given.pop(key, None) or above.get(key) for key in ("home", "node"))
            with failing(as_json=bool(given.get("as_json"))):
                function(Cli(home, node), **given)

        run.__name__ = function.__name__
        run.__doc__ = function.__doc__
        run.__module__ = function.__module__
        parameters = [
            *(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own),
            *shared,
            context,
        ]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        run.__signature__ = signature.replace(parameters=parameters, return_annotation=None)
        app.command(name, **settings)(run)
        return function

    return decorate


class failing:  # noqa: N801, reads as a statement
    """Turns what a person can do something about into a message on stderr and exit code 1."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, Failure):
            typer.echo(error.as_json() if self._as_json else error.text(), err=True)
            raise typer.Exit(1) from error
        if isinstance(error, KeyboardInterrupt):
            raise typer.Exit(130) from error
        if isinstance(error, BrokenPipeError):
            raise typer.Exit(0) from error

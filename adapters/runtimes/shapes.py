"""The `runtime` map of a plan, one shape a kind. What a shape does not know is left alone."""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, TypeVar

import msgspec
from msgspec import Meta

from handlers.session_ports import RuntimeFailed

Word = Annotated[str, Meta(min_length=1, pattern=r"^[^\u0000]*$")]
EnvName = Annotated[str, Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]*\*?$")]
"""Of a variable; with a star at its end, of all that begin so."""

Seconds = Annotated[float, Meta(gt=0, le=86_400)]
Context = Literal["text", "json", "none"]

GRACE_S: Final = 5.0


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """`env`: names of variables of the tower's own environment, besides the plain ones. `working_dir`: in place of the
    session's; a relative one starts there."""

    env: tuple[EnvName, ...] = ()
    working_dir: Word | None = None


class CommandShape(Shape, frozen=True, kw_only=True):
    """`input`: whether the instruction comes on standard input or as a last argument. `context`: how what was said
    before comes with it. `grace_s`: between TERM and KILL."""

    argv: Annotated[tuple[Word, ...], Meta(min_length=1)]
    input: Literal["stdin", "argument"] = "stdin"
    context: Context = "text"
    grace_s: Annotated[float, Meta(ge=0, le=3_600)] = GRACE_S


class PythonShape(Shape, frozen=True, kw_only=True):
    """`python`: the interpreter, 3.11 or newer; `limits` as in `adapters/worker/process.py`."""

    python: Word | None = None
    limits: Mapping[Literal["address_space_bytes", "cpu_s", "open_files", "processes"], Annotated[int, Meta(gt=0)]] = {}
    grace_s: Seconds = 0.5


class PaneShape(Shape, frozen=True, kw_only=True):
    """`pane`: an id, or a label in `container`. A turn is over when something matches `sentinel`, or when the pane has
    been quiet for `idle_s`; without either, for 2 s. `interrupt`: what is typed to cancel, "" for nothing."""

    pane: Word
    container: Word = "host"
    idle_s: Seconds | None = None
    sentinel: Word | None = None
    context: Context = "none"
    interrupt: str = "\x03"


class EchoShape(Shape, frozen=True, kw_only=True):
    """`delay_s`: before each word; without it, all comes at once."""

    delay_s: Annotated[float, Meta(ge=0, le=3_600)] = 0.0
    context: Context = "none"


S = TypeVar("S", bound=Shape)


def shaped(runtime: Mapping[str, Any], shape: type[S]) -> S:
    """Raises `RuntimeFailed` runtime_invalid, which names the field and what was expected."""
    try:
        return msgspec.convert(dict(runtime), shape)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `$")
        field = "runtime" + (where.removesuffix("`") or "")
        raise RuntimeFailed("runtime_invalid", f"{field}: {what}") from None

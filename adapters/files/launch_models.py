"""What an operator's file may say of a template or a launch profile, and which line is at fault where it says more.

The descriptions are what error messages expect. No message repeats a value: it may be a secret.
"""

import difflib
import re
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator

from adapters.files.yaml_lines import Document, Fault, FaultyText, Unquoted, documents, printable
from domain.layouts.templates import MAX_SLOTS
from domain.messages import IDENTIFIER, PaneSlot, Template
from handlers.ports import LaunchProfile

MAX_FAULTS: Final = 20
"""Faults told of one file."""

_IDENTIFIER_TEXT: Final = "1 to 64 characters of A-Z a-z 0-9 _ . -"
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_ARGV: Final = "a list of words, such as [claude, --model, opus]"

ThingT = TypeVar("ThingT", Template, LaunchProfile)


def _identifier(value: str) -> str:
    if IDENTIFIER.match(value) is None:
        raise ValueError(f"expected {_IDENTIFIER_TEXT}")
    return value


def _name(value: str) -> str:
    if not value.strip() or not value.isprintable():
        raise ValueError("expected printable characters")
    return value


def _label(value: str) -> str:
    if IDENTIFIER.match(value.replace("{n}", "1")) is None:
        raise ValueError(f"expected {_IDENTIFIER_TEXT}, and {{n}} for a number")
    return value


def _argument(value: str) -> str:
    if "\0" in value:
        raise ValueError("no argument or value holds a NUL character")
    return value


def _variable(value: str) -> str:
    if _VARIABLE.match(value) is None:
        raise ValueError("expected names of variables: A-Z a-z 0-9 _, no digit first")
    return value


def _directory(value: str) -> str:
    if not value.startswith("/"):
        raise ValueError("expected an absolute path, such as /workspace")
    return _argument(value)


Identifier = Annotated[str, AfterValidator(_identifier)]
Name = Annotated[str, Field(max_length=128), AfterValidator(_name)]
Capability = Annotated[str, Field(max_length=64), AfterValidator(_name)]
Argument = Annotated[str, AfterValidator(_argument)]
Argv = Annotated[list[Argument], Field(min_length=1)]


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class PaneEntry(_Entry):
    """One line of `panes`; `count` of them."""

    role: Identifier = Field(description=_IDENTIFIER_TEXT)
    capability: Capability = Field(description="1 to 64 printable characters")
    label: Annotated[str, AfterValidator(_label)] = Field(description='a label such as lead or "s{n}"')
    launch: Identifier = Field(default="shell", description="the name of a launch profile")
    restart: Literal["never", "on_failure"] = Field(default="never", description="never or on_failure")
    count: int = Field(default=1, ge=1, le=MAX_SLOTS, description=f"a whole number from 1 to {MAX_SLOTS}")


class TemplateEntry(_Entry):
    name: Name = Field(description="1 to 128 printable characters")
    panes: list[PaneEntry] = Field(description="a list of panes")

    @field_validator("panes")
    @classmethod
    def _right_number(cls, panes: list[PaneEntry]) -> list[PaneEntry]:
        count = sum(pane.count for pane in panes)
        if not 1 <= count <= MAX_SLOTS:
            raise ValueError(f"expected 1 to {MAX_SLOTS} panes in all, not {count}")
        literal = [pane.label for pane in panes for _ in range(pane.count) if "{n}" not in pane.label]
        twice = next((label for label in literal if literal.count(label) > 1), None)
        if twice is not None:
            raise ValueError(f"the label {twice} stands for more than one pane: write {twice}{{n}}")
        return panes

    def template(self) -> Template:
        slots = tuple(
            PaneSlot(
                role=pane.role, capability=pane.capability, label=pane.label, launch=pane.launch, restart=pane.restart
            )
            for pane in self.panes
            for _ in range(pane.count)
        )
        return Template(name=self.name, panes=slots)


class ProfileEntry(_Entry):
    name: Identifier = Field(description=_IDENTIFIER_TEXT)
    command: Argv = Field(description=_ARGV)
    env: dict[Annotated[str, AfterValidator(_variable)], Argument] = Field(
        default_factory=dict, description='variables, such as {LOG_LEVEL: debug, PORT: "8080"}'
    )
    working_dir: Annotated[str, AfterValidator(_directory)] | None = Field(
        default=None, description="an absolute path, such as /workspace"
    )
    resume: Argv | None = Field(
        default=None, description='a list of words, such as [claude, --resume, "{agent_session}"]'
    )

    @field_validator("command", "resume")
    @classmethod
    def _with_a_program(cls, argv: list[str] | None) -> list[str] | None:
        if argv is not None and not argv[0]:
            raise ValueError("the first word names the program: it may not be empty")
        return argv

    def profile(self) -> LaunchProfile:
        return LaunchProfile(
            name=self.name,
            command=tuple(self.command),
            env=dict(self.env),
            working_dir=self.working_dir,
            resume=None if self.resume is None else tuple(self.resume),
        )


def templates_in(text: str) -> tuple[Template, ...]:
    """The templates of one file. Raises `FaultyText`."""
    return _things_in(text, TemplateEntry, TemplateEntry.template)


def profiles_in(text: str) -> tuple[LaunchProfile, ...]:
    """The launch profiles of one file, without their digests. Raises `FaultyText`."""
    return _things_in(text, ProfileEntry, ProfileEntry.profile)


EntryT = TypeVar("EntryT", TemplateEntry, ProfileEntry)


def _things_in(text: str, model: type[EntryT], thing: Callable[[EntryT], ThingT]) -> tuple[ThingT, ...]:
    """All of a file or nothing of it."""
    found = documents(text)
    keys = _keys(model)
    if not found:
        raise FaultyText(Fault(None, f"nothing stands in it: expected {keys}"))
    faults: list[Fault] = []
    things: dict[str, ThingT] = {}
    for document in found:
        if not isinstance(document.value, dict):
            faults.append(Fault(document.line(()), f"expected {keys}"))
            continue
        try:
            made = thing(model.model_validate(document.value))
        except ValidationError as error:
            faults += _faults(error, model, document)
            continue
        if made.name in things:
            faults.append(Fault(document.line(("name",)), f"the name {printable(made.name)} stands here again"))
        things[made.name] = made
    if faults:
        raise FaultyText(*sorted(faults, key=lambda fault: fault.line or 0)[:MAX_FAULTS])
    return tuple(things.values())


def _faults(error: ValidationError, model: type[_Entry], document: Document) -> list[Fault]:
    return [
        Fault(document.line(_place(each["loc"])), _reason(each, model))
        for each in error.errors(include_url=False, include_context=True)
    ]


def _place(loc: Sequence[str | int]) -> tuple[str | int, ...]:
    """Where in the document; pydantic names a mapping's key `[key]`."""
    return tuple(part for part in loc if part != "[key]")


def _reason(error: Any, model: type[_Entry]) -> str:
    loc: tuple[str | int, ...] = error["loc"]
    where, value = printable(_written(loc)), error["input"]
    owner = PaneEntry if model is TemplateEntry and len(loc) > 2 else model
    if error["type"] == "missing":
        return f"{where} is missing: expected {_described(owner, loc)}"
    if error["type"] == "extra_forbidden":
        return f"{where} is no key here{_nearest(_written(loc[-1:]), owner)}"
    if error["type"] == "value_error":
        return f"{where}: {error['ctx']['error']}"
    if isinstance(value, str) and loc[-1:] in (("command",), ("resume",)):
        first = printable(value.split()[0]) if value.split() else "claude"
        return f"{where}: expected a list of words, not one string: write it as [{first}, --option, value]"
    if isinstance(value, Unquoted) and error["type"] in ("string_type", "string_sub_type"):
        return f"{where}: expected text, not {value.kind}: put it in quotes"
    if error["type"] == "string_type":
        return f"{where}: expected text, not {_kind(value)}{': put it in quotes' if isinstance(value, int) else ''}"
    return f"{where}: expected {_described(owner, loc)}"


def _described(model: type[_Entry], loc: Sequence[str | int]) -> str:
    named = [part for part in loc if isinstance(part, str) and part in model.model_fields]
    if not named or (model is TemplateEntry and isinstance(loc[-1], int)):
        return _keys(PaneEntry if named else model)
    return model.model_fields[named[-1]].description or ""


def _kind(value: object) -> str:
    match value:
        case dict():
            return "a mapping"
        case list():
            return "a list"
        case int():
            return "a number"
        case Unquoted():
            return value.kind
        case _:
            return "this"


def _written(loc: Sequence[str | int]) -> str:
    """`panes[0].label`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in _place(loc))
    return text.removeprefix(".")


def _keys(model: type[_Entry]) -> str:
    return ", ".join(f"{key}: …" for key in model.model_fields)


def _nearest(key: str, model: type[_Entry]) -> str:
    known = list(model.model_fields)
    found = difflib.get_close_matches(key, known, n=1, cutoff=0.6)
    return f"; did you mean {found[0]}?" if found else f"; known are {', '.join(known)}"

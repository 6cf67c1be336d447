"""The queries for templates and launch profiles. They come from files and not from the log; for the operator only."""

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from adapters.http.answers import json_response, validation_failed
from adapters.http.benches import bench_allowed
from adapters.http.documents import responses
from adapters.http.parameters import MAX_LIMIT, NoParameters, no_doubles
from adapters.http.services import HttpServices, LaunchPage
from domain.errors import Rejection

router = APIRouter(prefix="/v1", dependencies=[no_doubles, bench_allowed], tags=["launching"])

Name = Annotated[str, Path(max_length=200)]


class NamesQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")

    limit: int = Field(50, ge=1, le=MAX_LIMIT, description="Rows of one page, at most.")
    cursor: str | None = Field(None, description="`next_cursor` of the page before; opaque.", max_length=2000)


class Slot(BaseModel):
    slot: str = Field(description="`<role>:<label>` with n from 1: the key of `launch_command_overrides`.")
    role: str
    capability: str
    label: str
    launch: str = Field(description="Name of the launch profile.")
    restart: Literal["never", "on_failure"]


class Listed(BaseModel):
    id: str
    name: str
    source: Literal["built_in", "file"]
    file: str | None = Field(description="Path on the tower's machine; null for a built-in one.")


class Template(Listed):
    """A named list of panes."""

    pane_count: int
    panes: list[Slot]


class Profile(Listed):
    """A named argv with env and working directory. Values of secret-looking names are `<redacted>`."""

    command: list[str]
    env: dict[str, str]
    working_dir: str | None
    resume: list[str] | None = Field(description="Taken in place of `command` when the agent's session id is known.")
    digest: str = Field(description="What events carry of it.")


class Problem(BaseModel):
    """A file that is skipped."""

    file: str
    line: int | None = Field(description="From 1; null where the whole file is at fault.")
    reason: str


class TemplateList(BaseModel):
    """`position` is the log's end: these do not come from the log."""

    items: list[Template]
    next_cursor: str | None
    position: int
    problems: list[Problem]


class ProfileList(BaseModel):
    """`position` is the log's end: these do not come from the log."""

    items: list[Profile]
    next_cursor: str | None
    position: int
    problems: list[Problem]


@router.get("/templates", responses=responses(TemplateList))
async def list_templates(request: Request, query: Annotated[NamesQuery, Query()]) -> Response:
    """Templates by name, the built-in ones and the operator's; and the files that are skipped."""
    services = _services(request)
    return _page(await services.launching.templates(), query, await services.last_position())


@router.get("/templates/{name:path}", responses=responses(Template, missing=True))
async def show_template(request: Request, name: Name, query: Annotated[NoParameters, Query()]) -> Response:
    """One template."""
    rows = (await _services(request).launching.templates()).rows
    found = _named(rows, name)
    if found is None:
        known = [row["id"] for row in rows]
        raise Rejection(
            "managed_template_not_found", f"no template {name!r}", template_name=name, known_templates=known
        )
    return json_response(found)


@router.get("/profiles", responses=responses(ProfileList))
async def list_profiles(request: Request, query: Annotated[NamesQuery, Query()]) -> Response:
    """Launch profiles by name, the built-in one and the operator's; and the files that are skipped."""
    services = _services(request)
    return _page(await services.launching.profiles(), query, await services.last_position())


@router.get("/profiles/{name}", responses=responses(Profile, missing=True))
async def show_profile(request: Request, name: Name, query: Annotated[NoParameters, Query()]) -> Response:
    """One launch profile."""
    rows = (await _services(request).launching.profiles()).rows
    found = _named(rows, name)
    if found is None:
        known = [row["id"] for row in rows]
        raise Rejection(
            "managed_launch_command_not_found", f"no launch profile {name!r}", profile_name=name, known_profiles=known
        )
    return json_response(found)


def _services(request: Request) -> HttpServices:
    return request.app.state.services


def _named(rows: Sequence[Mapping[str, Any]], name: str) -> Mapping[str, Any] | None:
    return next((row for row in rows if row["id"] == name), None)


def _page(listed: LaunchPage, query: NamesQuery, position: int) -> Response:
    after = "" if query.cursor is None else _read_cursor(query.cursor)
    rows = [row for row in listed.rows if row["id"] > after]
    items = rows[: query.limit]
    more = len(rows) > query.limit
    return json_response(
        {
            "items": items,
            "next_cursor": _cursor(items[-1]["id"]) if more else None,
            "position": position,
            "problems": listed.problems,
        }
    )


def _cursor(name: str) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode([name])).decode().rstrip("=")


def _read_cursor(cursor: str) -> str:
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        (name,) = msgspec.json.decode(raw, type=tuple[str])
    except (binascii.Error, ValueError, msgspec.MsgspecError) as error:
        raise validation_failed("cursor", "not a cursor of this interface") from error
    return name

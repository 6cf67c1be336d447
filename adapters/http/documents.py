"""What `/openapi.json` says beyond the routes themselves: answers, errors, the commands that can be posted."""

from typing import Any, Final

import msgspec
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel

from adapters.http import background_rows, bundle_rows, container_rows, execution_rows, rows, session_rows
from adapters.http.command_body import CommandBody
from adapters.rpc.methods import METHODS, SESSION_METHODS, Command, Method
from domain import catalogue
from domain.errors import DETAILS, http_status

TITLE: Final = "AgentTower"
API_VERSION: Final = "1.0.0"
_REF: Final = "#/components/schemas/{name}"
_JSON: Final = "application/json"

_ERRORS: Final = {
    401: "The bearer token is missing or wrong.",
    403: "Not for this caller, or not from this page.",
    404: "There is no such thing.",
    409: "The rules of the tower refuse it in its present state.",
    413: "The body is too large.",
    422: "A parameter or a field is wrong; `details` names it.",
    500: "The tower could not answer; its log says why.",
    501: "Reserved for later.",
    503: "Too much waits at the moment; try again.",
    504: "Not within the deadline.",
}


def _error(status: int) -> dict[str, Any]:
    codes = sorted(code for code in DETAILS if http_status(code) == status)
    description = f"{_ERRORS[status]} Codes: {', '.join(f'`{code}`' for code in codes)}."
    return {"description": description, "model": rows.ErrorAnswer}


def responses(model: type[BaseModel], *, missing: bool = False) -> dict[int | str, dict[str, Any]]:
    """Of a query that answers `model`; `missing`: that can also be not found."""
    errors = [401, 403, *([404] if missing else []), 422, 500, 504]
    return {200: {"description": "As asked.", "model": model}, **{status: _error(status) for status in errors}}


def _outcome_or_error(status: int) -> dict[str, Any]:
    return {**_error(status), "model": rows.Outcome | rows.ErrorAnswer}


OUTCOME_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "Accepted: its events are recorded.", "model": rows.Outcome},
    **{status: _outcome_or_error(status) for status in (403, 404, 409, 422, 500, 501, 503)},
    **{status: _error(status) for status in (401, 413, 504)},
}

STREAM_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "Server-sent events, without an end.",
        "content": {
            "text/event-stream": {
                "schema": {"type": "string"},
                "example": f"id: 1234\nevent: {rows.EVENT['type']}\ndata: "
                f"{msgspec.json.encode(rows.EVENT).decode()}\n\n",
            }
        },
    },
    **{status: _error(status) for status in (401, 403, 422, 500, 503)},
}

LOG_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "The pane's output; with `follow` it comes as it is printed, without an end.",
        "content": {"text/plain": {"schema": {"type": "string"}, "example": "$ make test\nall passed\n"}},
    },
    **{status: _error(status) for status in (401, 403, 404, 422, 500, 503, 504)},
}

OUTPUT_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "The output, as server-sent events or as text, until the execution has ended.",
        "content": {
            "text/event-stream": {
                "schema": {"type": "string"},
                "example": 'id: 57\nevent: stdout\ndata: {"text":"42\\n","attempt":1,"offset":0}\n\n'
                'event: end\ndata: {"state":"completed"}\n\n',
            },
            "text/plain": {"schema": {"type": "string"}, "example": "42\n"},
        },
    },
    **{status: _error(status) for status in (401, 403, 404, 422, 500, 503)},
}

SURFACE_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "Server-sent events, until the session can be given nothing more to do.",
        "content": {
            "text/event-stream": {
                "schema": {"type": "string"},
                "example": 'id: 91-57-1\nevent: output\ndata: {"turn":1,"offset":0,"text":"It has no tests.\\n"}\n\n',
            }
        },
    },
    204: {"description": "There is nothing behind `Last-Event-ID`, and never will be."},
    **{status: _error(status) for status in (401, 403, 404, 422, 500, 503)},
}

TOLD_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "Server-sent events, without an end.",
        "content": {
            "text/event-stream": {
                "schema": {"type": "string"},
                "example": f"id: 1234\nevent: {background_rows.TOLD['name']}\ndata: "
                f"{msgspec.json.encode(background_rows.TOLD).decode()}\n\n",
            }
        },
    },
    **{status: _error(status) for status in (401, 403, 422, 500, 503)},
}

VALUE_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "The value.", "content": {_JSON: {"schema": {}, "example": {"answer": 42}}}},
    **{status: _error(status) for status in (401, 403, 404, 422, 500, 504)},
}

TRANSCRIPT_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "What was said, as JSON or as text.",
        "model": session_rows.Transcript,
        "content": {"text/plain": {"schema": {"type": "string"}, "example": "> Look.\nIt has no tests.\n"}},
    },
    **{status: _error(status) for status in (401, 403, 404, 422, 500, 503, 504)},
}

READY_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "Everything holds.", "model": rows.Readiness},
    503: {"description": "Something does not hold: `checks` say what.", "model": rows.Readiness},
}

METRICS_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "Prometheus text.", "content": {"text/plain": {"schema": {"type": "string"}}}}
}

POSTED: Final = tuple(entry for entry in catalogue.REQUESTS if not entry.internal)
"""The commands that any door takes."""

EXAMPLES: Final[dict[str, dict[str, Any]]] = {
    "layout.create": {"container_id": "host", "template_name": "1m+2s", "tmux_session_name": "fleet"},
    "layout.remove": {"layout_id": rows.LAYOUT_ID},
    "agent.adopt": {"container_id": "host", "tmux_pane_id": "%7", "label": "reviewer", "role": "slave"},
    "agent.report": {"pane_id": rows.PANE_ID, "agent_session": "0b51e0c4-6bd1-4a0d-9c6c-5f0f6a7d9f3e"},
    "layout.restore": {"layout_id": rows.LAYOUT_ID},
    "container.scan": {},
    "pane.remove": {"pane_id": rows.PANE_ID},
    "pane.recreate": {"predecessor_pane_id": rows.PANE_ID, "idempotency_key": "again-1"},
    "pane.send": {"pane_id": rows.PANE_ID, "text": "Run the tests."},
    "pane.promote": {},
    "promise.create": {"id": "review-7", "timeout": 3600, "data": {"question": "Merge it?"}},
    "promise.resolve": {"id": "review-7", "value": "yes"},
    "promise.reject": {"id": "review-7", "value": "the branch is gone"},
    "promise.cancel": {"id": "review-7"},
    "execution.request": {"session_id": "notebook", "code": "6 * 7", "idempotency_key": "first-cell"},
    "execution.cancel": {"execution_id": "cell-1"},
    "execution.resume": {"execution_id": "cell-1"},
    "execution.answer": {"execution_id": "cell-1", "n": 1, "value": "yes"},
    "bundle.reload": {"bundle": "reviewer"},
    "bundle.overlay_add": {"bundle": "reviewer", "include": "/etc/bundles/company.yaml"},
    "bundle.overlay_remove": {"bundle": "reviewer", "include": "/etc/bundles/company.yaml"},
    "background.start": {"name": "coding-workers"},
    "background.stop": {"background_id": "bg-coding-workers-0001"},
    "trigger.fire": {"name": "coding-workers", "data": {"issue_id": "I-7"}},
    "session.spawn": {"bundle": "reviewer", "instruction": "Review the last commit.", "timeout": 600},
    "session.instruct": {"session_id": "review-1", "instruction": "Now the tests."},
    "session.cancel": {"session_id": "review-1"},
    "session.end": {"session_id": "review-1"},
    "session.emit": {"name": "work:completed", "data": {"issue_id": 7}, "session_id": "review-1"},
    "session.resume": {"session_id": "review-1", "instruction": "Go on."},
    "session.checkpoint": {"session_id": "notebook"},
    "session.restore": {"session_id": "notebook", "strategy": "smart"},
    "session.fork": {"from": "notebook", "session_id": "what-if"},
}
"""Data of each command, by name."""


def _commands() -> tuple[dict[str, Any], dict[str, Any]]:
    """The schema of a posted command, and the components that it refers to."""
    requests = [entry.request for entry in POSTED]
    (_, *data), components = msgspec.json.schema_components([CommandBody, *requests], ref_template=_REF)
    body = components.pop("CommandBody")
    one_of: list[dict[str, Any]] = []
    for entry, schema in zip(POSTED, data, strict=True):
        noun, _, verb = entry.name.partition(".")
        own = {"noun": {"const": noun}, "verb": {"const": verb}, "data": schema}
        one_of.append({**body, "title": entry.name, "properties": {**body["properties"], **own}})
    return {"oneOf": one_of}, components


_COMMAND_SCHEMA, _COMMAND_COMPONENTS = _commands()

COMMAND_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            _JSON: {
                "schema": _COMMAND_SCHEMA,
                "examples": {
                    entry.name: {
                        "value": {
                            **dict(zip(("noun", "verb"), entry.name.split("."), strict=True)),
                            "data": EXAMPLES[entry.name],
                        }
                    }
                    for entry in POSTED
                    if entry.name in EXAMPLES
                },
            }
        },
    },
    "security": [{"token": []}],
}


def command_body_of(name: str) -> dict[str, Any]:
    """Of a route of its own: the data of that command."""
    entry = catalogue.request_type(name)
    assert entry is not None
    content = {"schema": {"$ref": _REF.format(name=entry.request.__name__)}, "example": EXAMPLES[name]}
    return {
        "requestBody": {"required": name == "session.spawn", "content": {_JSON: content}},
        "security": [{"token": []}],
    }


HOOK_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "Taken: `fired` triggers, none for a delivery that was taken before (`replay`).",
        "content": {"application/json": {"example": {"fired": 1, "replay": False}}},
    },
    **{status: _error(status) for status in (401, 403, 413, 422, 503)},
}

RPC_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "As asked.", "model": rows.RpcAnswer},
    **{
        status: {**_error(status), "model": rows.RpcAnswer}
        for status in (401, 403, 404, 409, 413, 422, 500, 501, 503, 504)
    },
}


def _parameters(method: Method) -> str:
    """A line of the table that the document shows."""
    does = method.does
    what = f"`{does.noun}.{does.verb}`" if isinstance(does, Command) else "query"
    if isinstance(does, Command):
        entry = catalogue.request_type(f"{does.noun}.{does.verb}")
        assert entry is not None
        fields = (*entry.request.__struct_fields__, "command_id")
    else:
        fields = does.parameters.__struct_fields__
    names = ", ".join(f"`{field}`" for field in sorted(fields))
    if method.bench_name == method.operator_name:
        # Of sessions, which are the operator's alone; their answers may wait for what is said.
        return f"| {method.number} | {what} | `{method.operator_name}` | | {names}, `wait` |"
    return f"| {method.number} | {what} | `{method.operator_name}` | `{method.bench_name}` | {names} |"


_RPC_TEXT: Final = (
    "The predecessor's methods under their own names. The body holds the parameters; no body means none. The names of "
    "the first column are the operator's alone; a peer in a container uses the second ones, and acts on its own "
    "container only."
)

RPC_BODY: Final[dict[str, Any]] = {
    "description": "\n".join(
        (
            _RPC_TEXT,
            "",
            "| | is | operator's name | name in a container | parameters |",
            "|---|---|---|---|---|",
            *map(_parameters, (*METHODS, *SESSION_METHODS)),
        )
    ),
    "requestBody": {
        "required": False,
        "content": {
            _JSON: {"schema": {"type": "object"}, "examples": {"managed.layout.list": {"value": {"state": "ready"}}}}
        },
    },
    "security": [{"token": []}],
}


def _mend(schemas: dict[str, Any]) -> None:
    """FastAPI drops null values, those of examples too, and turns whole bounds into floats."""
    modules = (rows, container_rows, execution_rows, bundle_rows, session_rows, background_rows)
    every = {name: value for module in modules for name, value in vars(module).items()}
    for model in every.values():
        if isinstance(model, type) and issubclass(model, BaseModel) and model.__name__ in schemas:
            extra = model.model_config.get("json_schema_extra")
            if isinstance(extra, dict):
                schemas[model.__name__] |= extra
    for schema in schemas.values():
        for field in schema.get("properties", {}).values():
            for bound in {"minimum", "maximum"} & field.keys():
                field[bound] = int(field[bound])


def openapi(api: FastAPI) -> dict[str, Any]:
    """The OpenAPI 3.1 document of the routes, with the commands' own schemas and the token."""
    document = get_openapi(
        title=TITLE,
        version=API_VERSION,
        description="Queries and commands of one tower. Beyond loopback every request needs the bearer token.",
        routes=api.routes,
    )
    schemas = document["components"]["schemas"]
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    _mend(schemas)
    schemas.update(_COMMAND_COMPONENTS)
    document["components"]["schemas"] = dict(sorted(schemas.items()))
    document["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    return document

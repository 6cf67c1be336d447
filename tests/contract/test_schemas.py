"""`schemas/` is current, valid, and true: what the tower writes and takes matches it, and what it refuses does not."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator, FormatChecker

from adapters.http.documents import EXAMPLES, POSTED
from adapters.schemas.files import FOLDER, differences, write
from domain import catalogue
from domain.errors import DETAILS, Rejection
from domain.messages import HOST, Request
from handlers import wire
from tests.contract.record import SAMPLES

ROOT = FOLDER.parent
AT = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
COMMAND_ID = "01985b7e-6cf0-7a10-8d6e-2f0c6c1b7d11"


def test_the_committed_files_are_current() -> None:
    assert differences(FOLDER) == []


def test_the_command_says_what_is_not_current(tmp_path: Path) -> None:
    write(tmp_path)
    assert differences(tmp_path) == []
    (tmp_path / "outcome.json").write_text("{}")
    (tmp_path / "commands" / "layout.create.json").unlink()
    (tmp_path / "events" / "old.v1.json").write_text("{}")
    assert sorted(differences(tmp_path)) == [
        "commands/layout.create.json: missing",
        "events/old.v1.json: not generated",
        "outcome.json: not current",
    ]
    write(tmp_path)
    assert differences(tmp_path) == []
    done = subprocess.run(
        [sys.executable, "-m", "adapters.schemas", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


# --- JSON Schema ---------------------------------------------------------------------------------------------------

SCHEMAS = sorted(path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*.json") if path.name != "openapi.json")


@cache
def validator(path: str) -> Draft202012Validator:
    return Draft202012Validator(json.loads((FOLDER / path).read_text()), format_checker=FormatChecker())


@pytest.mark.parametrize("path", SCHEMAS)
def test_each_schema_is_valid_and_names_itself(path: str) -> None:
    schema = json.loads((FOLDER / path).read_text())
    Draft202012Validator.check_schema(schema)
    assert schema["title"]
    assert schema["description"]
    for example in schema.get("examples", []):
        validator(path).validate(example)


def test_every_event_and_every_command_of_the_doors_has_one() -> None:
    events = {f"events/{entry.name}.v{entry.version}.json" for entry in catalogue.EVENTS}
    commands = {f"commands/{entry.name}.json" for entry in catalogue.REQUESTS if not entry.internal}
    assert set(SCHEMAS) == events | commands | {"outcome.json"}


@pytest.mark.parametrize("name", [entry.name for entry in POSTED])
def test_an_example_of_each_command_is_taken_by_schema_and_decoder(name: str) -> None:
    payload = {"id": COMMAND_ID, "data": EXAMPLES[name], "correlationid": "one"}
    validator(f"commands/{name}.json").validate(payload)
    decode(name, payload)


def decode(name: str, payload: dict[str, Any]) -> Request:
    decoded, _ = wire.decode_payload(json.dumps(payload).encode())
    return wire.decode_request(name, decoded)


BAD_PAYLOADS: list[dict[str, Any]] = [
    {"data": EXAMPLES["layout.create"]},
    {"id": COMMAND_ID},
    {"id": COMMAND_ID, "data": {**EXAMPLES["layout.create"], "colour": "red"}},
    {"id": COMMAND_ID, "data": {**EXAMPLES["layout.create"], "template_name": 7}},
    {"id": COMMAND_ID, "data": {"container_id": HOST}},
    {"id": COMMAND_ID, "data": EXAMPLES["layout.create"], "origin": HOST},
    {"id": COMMAND_ID, "data": []},
]


@pytest.mark.parametrize("payload", BAD_PAYLOADS, ids=range(len(BAD_PAYLOADS)))
def test_what_the_decoder_refuses_the_schema_refuses(payload: dict[str, Any]) -> None:
    assert not validator("commands/layout.create.json").is_valid(payload)
    with pytest.raises(Rejection) as refused:
        decode("layout.create", payload)
    assert refused.value.code == "validation_failed"


def history() -> Iterator[dict[str, Any]]:
    """The recorded form of an event of each type."""
    for sample in sorted(SAMPLES.glob("*/*.json")):
        yield json.loads(sample.read_bytes())


def test_what_is_recorded_matches_the_schema_of_its_type() -> None:
    seen: set[str] = set()
    for event in history():
        name = event["type"].removeprefix("agenttower.")
        seen.add(name)
        problems = [error.message for error in validator(f"events/{name}.json").iter_errors(event)]
        assert problems == [], event
    missing = {f"{entry.name}.v{entry.version}" for entry in catalogue.EVENTS} - seen
    assert missing == set()


def test_an_event_of_another_type_or_without_its_data_does_not_match() -> None:
    event = next(event for event in history() if event["type"] == "agenttower.pane.created.v1")
    check = validator("events/pane.created.v1.json")
    assert check.is_valid(event)
    for change in ({"type": "agenttower.pane.removed.v1"}, {"kind": "layout"}, {"data": {}}, {"time": 7}):
        assert not check.is_valid({**event, **change}), change
    for name in ("sequence", "actor", "specversion", "data"):
        assert not check.is_valid({key: value for key, value in event.items() if key != name}), name


def test_outcomes_match_and_errors_have_exactly_the_details_of_their_code() -> None:
    check = validator("outcome.json")
    check.validate(wire.accepted(COMMAND_ID, {"layout_id": "L"}, 7, replay=False))
    for code, keys in DETAILS.items():
        details = dict.fromkeys(keys, 1)
        check.validate(wire.rejected(COMMAND_ID, code, "text", details, 7))
        assert not check.is_valid(wire.rejected(COMMAND_ID, code, "text", {**details, "more": 1}, 7))
        for key in keys:
            less = {name: value for name, value in details.items() if name != key}
            assert not check.is_valid(wire.rejected(COMMAND_ID, code, "text", less, 7))
    assert not check.is_valid(wire.rejected(COMMAND_ID, "unheard_of", "text", {}, 7))


# --- AsyncAPI ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def asyncapi() -> dict[str, Any]:
    return yaml.safe_load((FOLDER / "asyncapi.yaml").read_text())


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def resolve(document: dict[str, Any], pointer: str) -> Any:
    node: Any = document
    for part in pointer.removeprefix("#/").split("/"):
        node = node[part.replace("~1", "/").replace("~0", "~")]
    return node


def test_every_reference_of_the_asyncapi_document_leads_somewhere(asyncapi: dict[str, Any]) -> None:
    for reference in references(asyncapi):
        if reference.startswith("#/"):
            assert resolve(asyncapi, reference)
        else:
            assert (FOLDER / reference).is_file(), reference


def test_channels_declare_their_parameters_and_messages(asyncapi: dict[str, Any]) -> None:
    assert asyncapi["asyncapi"] == "3.0.0"
    assert asyncapi["info"].keys() >= {"title", "version"}
    for name, channel in asyncapi["channels"].items():
        assert channel["messages"], name
        if channel["address"] is not None:
            assert set(re.findall(r"{(\w+)}", channel["address"])) == set(channel["parameters"]), name


def test_operations_use_channels(asyncapi: dict[str, Any]) -> None:
    used: set[str] = set()
    for operation in asyncapi["operations"].values():
        assert operation["action"] in ("send", "receive")
        used.add(operation["channel"]["$ref"].removeprefix("#/channels/"))
        if "reply" in operation:
            used.add(operation["reply"]["channel"]["$ref"].removeprefix("#/channels/"))
    assert used == set(asyncapi["channels"])


def test_subjects_are_those_of_the_design(asyncapi: dict[str, Any]) -> None:
    channels = asyncapi["channels"]
    addresses = {name: channel["address"] for name, channel in channels.items()}
    assert addresses["durable.layout.create"] == "tower.cmd.{node}.{origin}.layout.create"
    assert addresses["request.pane.recreate"] == "tower.req.{node}.{origin}.pane.recreate"
    assert addresses["pane.state_changed.v1"] == "tower.evt.{node}.pane.{id}.state_changed"
    assert addresses["rpc"] == "tower.rpc.{node}.{origin}.{method}"
    assert addresses["outcomes"] == "tower.out.{node}.{origin}.{command_id}"
    assert channels["pane.state_changed.v1"]["x-stream"] == "TOWER_EVENTS_{node}"
    assert channels["outcomes"]["x-stream"] == "TOWER_OUTCOMES_{node}"
    assert "x-stream" not in channels["request.pane.recreate"]
    assert asyncapi["x-streams"]["TOWER_EVENTS_{node}"]["discard"] == "new"


# --- OpenAPI -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def openapi() -> dict[str, Any]:
    return json.loads((FOLDER / "openapi.json").read_text())


def operations(openapi: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in openapi["paths"].items():
        for method, operation in item.items():
            yield path, method, operation


def test_every_reference_of_the_openapi_document_leads_somewhere(openapi: dict[str, Any]) -> None:
    assert openapi["openapi"].startswith("3.1")
    found = set(references(openapi))
    assert found
    for reference in found:
        assert resolve(openapi, reference)
    unused = {f"#/components/schemas/{name}" for name in openapi["components"]["schemas"]} - found
    assert unused == set()


def test_operations_have_names_answers_and_their_parameters(openapi: dict[str, Any]) -> None:
    names: set[str] = set()
    for path, method, operation in operations(openapi):
        assert operation["operationId"] not in names
        names.add(operation["operationId"])
        in_path = {p["name"] for p in operation.get("parameters", []) if p["in"] == "path"}
        assert in_path == set(re.findall(r"{(\w+)}", path))
        assert "200" in operation["responses"], (path, method)
        for status, response in operation["responses"].items():
            assert response["description"]
            assert status == "204" or response["content"], (path, status)


def test_routes_of_the_design_are_there(openapi: dict[str, Any]) -> None:
    got = {path for path, method, _ in operations(openapi) if method == "get"}
    listed = {"layouts", "layouts/{layout_id}", "panes", "panes/{pane_id}", "events", "events/stream"}
    listed |= {"agents", "agents/{agent_id}", "commands/{command_id}", "projections"}
    listed |= {"containers", "containers/{container_id}", "containers/{container_id}/unmanaged-panes"}
    listed |= {"bundles", "bundles/{bundle}"}
    listed |= {"executions", "executions/{execution_id}", "promises", "promises/{promise_id}"}
    listed |= {"templates", "templates/{name}", "profiles", "profiles/{name}", "panes/{pane_id}/log"}
    listed |= {"executions/{execution_id}/output", "executions/{execution_id}/value", "sessions/{session_id}/stream"}
    listed |= {"sessions", "sessions/{session_id}", "sessions/{session_id}/transcript"}
    listed |= {"session-events/stream", "session-events/subscriptions"}
    listed |= {"background-sessions", "background-sessions/{background}", "triggers"}
    assert {f"/v1/{path}" for path in listed} | {"/healthz", "/readyz", "/metrics"} == got
    posted = {path for path, method, _ in operations(openapi) if method == "post"}
    of_sessions = {f"/v1/sessions/{{session_id}}/{verb}" for verb in ("instruct", "resume", "cancel", "end")}
    assert posted == {"/v1/commands", "/v1/rpc/{method}", "/v1/sessions", "/v1/hooks/{name}"} | of_sessions


def test_schemas_and_examples_of_the_openapi_document_are_valid(openapi: dict[str, Any]) -> None:
    checked = 0
    for name, schema in openapi["components"]["schemas"].items():
        Draft202012Validator.check_schema(schema)
        for example in schema.get("examples", []):
            whole = {"$ref": f"#/components/schemas/{name}", "components": openapi["components"]}
            Draft202012Validator(whole).validate(example)
            checked += 1
    assert checked >= 8


def test_each_command_can_be_posted_as_its_example_says(openapi: dict[str, Any]) -> None:
    body = openapi["paths"]["/v1/commands"]["post"]["requestBody"]["content"]["application/json"]
    check = Draft202012Validator({**body["schema"], "components": openapi["components"]})
    assert set(body["examples"]) == {entry.name for entry in POSTED}
    for example in body["examples"].values():
        check.validate(example["value"])
        assert not check.is_valid({**example["value"], "origin": HOST})
        assert not check.is_valid({**example["value"], "verb": "explode"})

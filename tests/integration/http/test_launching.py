"""GET /v1/templates and /v1/profiles: the operator's files as they are now, secrets redacted, what is skipped told."""

from typing import Any

import pytest

from tests.integration.http.test_documented import Document
from tests.integration.http.world import World

pytestmark = pytest.mark.asyncio(loop_scope="module")

REVIEW = 'name: review\npanes: [{role: slave, capability: code, label: "s{n}", launch: claude, count: 2}]\n'
CLAUDE = """
name: claude
command: [env, GH_TOKEN=hidden, claude, --api-key=hidden, --model=opus]
env: {FOO: bar, anthropic_api_key: hidden, A_PASSWORD: hidden}
working_dir: /workspace
resume: [claude, --resume, "{agent_session}", --secret=hidden]
"""


def write(world: World, kind: str, name: str, text: str) -> None:
    folder = world.home / "config" / kind
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)


async def test_templates(world: World) -> None:
    before = await world.get("/v1/templates")
    assert [row["id"] for row in before["items"]] == ["1m+2s", "2m+2s"]
    assert {row["source"] for row in before["items"]} == {"built_in"}
    write(world, "templates", "review.yaml", REVIEW)
    write(world, "templates", "bad.yaml", "name: bad\npanes: 3\n")
    after = await world.get("/v1/templates")
    assert [row["id"] for row in after["items"]] == ["1m+2s", "2m+2s", "review"]
    review = after["items"][-1]
    assert (review["source"], review["pane_count"]) == ("file", 2)
    assert [pane["slot"] for pane in review["panes"]] == ["slave:s1", "slave:s2"]
    assert review["file"].endswith("/templates/review.yaml")
    (problem,) = after["problems"]
    assert problem["file"].endswith("/templates/bad.yaml")
    assert (problem["line"], problem["reason"]) == (2, "panes: expected a list of panes")
    assert await world.get("/v1/templates/review") == review
    assert (await world.get("/v1/templates/1m+2s"))["pane_count"] == 3


async def test_profiles_are_redacted(world: World) -> None:
    write(world, "launch_profiles", "claude.yaml", CLAUDE)
    answer = await world.client.get("/v1/profiles")
    assert "hidden" not in answer.text
    claude, shell = answer.json()["items"]
    assert shell["id"] == "shell"
    assert claude["env"] == {"FOO": "bar", "anthropic_api_key": "<redacted>", "A_PASSWORD": "<redacted>"}
    assert claude["command"] == ["env", "GH_TOKEN=<redacted>", "claude", "--api-key=<redacted>", "--model=opus"]
    assert claude["working_dir"] == "/workspace"
    assert claude["resume"] == ["claude", "--resume", "{agent_session}", "--secret=<redacted>"]
    assert await world.get("/v1/profiles/claude") == claude


async def test_unknown_names(world: World) -> None:
    error = await world.error("/v1/templates/no/such", 404)
    assert (error["code"], error["details"]["template_name"]) == ("managed_template_not_found", "no/such")
    error = await world.error("/v1/profiles/nix", 404)
    assert (error["code"], error["details"]) == (
        "managed_launch_command_not_found",
        {"profile_name": "nix", "known_profiles": ["shell"]},
    )


async def test_pages(world: World) -> None:
    for number in range(5):
        write(world, "launch_profiles", f"{number}.yaml", f"name: p{number}\ncommand: [x]\n")
    seen: list[str] = []
    page: dict[str, Any] = await world.get("/v1/profiles", limit=2)
    while True:
        seen += [row["id"] for row in page["items"]]
        if page["next_cursor"] is None:
            break
        # One that comes before the cursor meanwhile moves nothing.
        write(world, "launch_profiles", "early.yaml", "name: a\ncommand: [x]\n")
        page = await world.get("/v1/profiles", limit=2, cursor=page["next_cursor"])
    assert seen == ["p0", "p1", "p2", "p3", "p4", "shell"]
    for wrong in ("cursor=x", "cursor=WzFd", "limit=201", "colour=red"):
        assert (await world.error(f"/v1/profiles?{wrong}", 422))["code"] == "validation_failed"


async def test_answers_are_as_documented(world: World) -> None:
    write(world, "templates", "review.yaml", REVIEW)
    write(world, "launch_profiles", "claude.yaml", CLAUDE)
    write(world, "launch_profiles", "bad.yaml", "")
    document = Document(await world.get("/openapi.json"))
    for path, real in [
        ("/v1/templates", "/v1/templates"),
        ("/v1/templates/{name}", "/v1/templates/review"),
        ("/v1/profiles", "/v1/profiles"),
        ("/v1/profiles/{name}", "/v1/profiles/claude"),
    ]:
        body = await world.get(real)
        document.check(path, 200, body)
    assert set(body) == document.fields("Profile")

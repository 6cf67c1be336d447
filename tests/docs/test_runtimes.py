"""docs/runtimes.md and the README: runtimes are such as a bundle may have, keys are those that there are."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from adapters.runtimes.context import handed_over
from adapters.runtimes.environment import PLAIN
from adapters.runtimes.shapes import CommandShape, EchoShape, PaneShape, PythonShape, Shape, shaped
from handlers.session_ports import Message, Turn

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "runtimes.md").read_text()
README = (ROOT / "README.md").read_text()
SHAPES: dict[str, type[Shape]] = {
    "command": CommandShape,
    "python": PythonShape,
    "pane": PaneShape,
    "echo": EchoShape,
}


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.M | re.S)


AGENTS = [f"runtime: {runtime}" for runtime in re.findall(r"^\|[^|]*\| `(\{kind: command.*\})` \|$", README, re.M)]


@pytest.mark.parametrize("text", [*blocks("yaml"), *AGENTS])
def test_each_example_is_a_runtime_without_a_key_too_many(text: str) -> None:
    runtime: dict[str, Any] = yaml.safe_load(text)["runtime"]
    shape = SHAPES[runtime.pop("kind")]
    shaped(runtime, shape)
    assert runtime.keys() <= set(shape.__struct_fields__)


def test_agents_are_called_in_the_readme_as_on_the_page() -> None:
    page = {tuple(yaml.safe_load(text)["runtime"].get("argv", ())[:2]) for text in blocks("yaml")}
    called = {tuple(yaml.safe_load(text)["runtime"]["argv"][:2]) for text in AGENTS}
    assert len(called) == 4
    assert called <= page


def test_every_kind_has_an_example_and_every_key_is_named() -> None:
    kinds = {yaml.safe_load(text)["runtime"]["kind"] for text in blocks("yaml")}
    assert kinds == SHAPES.keys()
    for shape in SHAPES.values():
        for key in shape.__struct_fields__:
            assert f"`{key}`" in PAGE, key
    for name in PLAIN:
        assert f"`{name}`" in PAGE, name


def test_the_text_that_a_program_gets_is_the_one_shown() -> None:
    said = (
        Message(role="system", content="You review patches."),
        Message(role="user", content="look at a.py"),
        Message(role="assistant", content="it has no tests"),
    )
    assert blocks("text") == [handed_over(Turn(turn=2, instruction="now b.py", context=said), "text") + "\n"]

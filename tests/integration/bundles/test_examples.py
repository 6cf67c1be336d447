"""examples/bundles: three bundles that compose each other."""

from pathlib import Path

from tests.integration.bundles.files import prepared

EXAMPLES = Path(__file__).parents[3] / "examples" / "bundles"


def test_the_examples_are_valid_and_compose_each_other() -> None:
    found = {name: prepared(EXAMPLES / name) for name in ("base.yaml", "house", "reviewer")}
    assert [each.warnings for each in found.values()] == [(), (), ()]
    reviewer = found["reviewer"]
    assert (reviewer.name, reviewer.version) == ("reviewer", "1.2.0")
    assert reviewer.plan.tools == (
        {"module": "tool-filesystem", "config": {"allowed": ["/workspace/**", "/tmp/review/**"]}},
        {"module": "tool-bash", "config": {"allowed": ["git diff", "git log"]}},
    )
    assert reviewer.plan.permissions == {"files": {"read": ["/workspace/**"]}, "commands": ["git", "pytest"]}
    assert reviewer.plan.runtime == {"kind": "echo"}
    assert [text.name for text in reviewer.context] == ["house:rules.md", "reviewer:checklist"]
    assert reviewer.plan.agents["reviewer:critic"]["instruction"].startswith("You read a review.")
    assert reviewer.instruction.startswith("Review the patch") and found["house"].instruction.startswith("You work")

"""The operator's overlay over a bundle: a file of their own, whose includes the tower changes."""

from pathlib import Path

import pytest

from adapters.bundles.overlays import FileOverlays, overlay_file
from handlers.bundle_ports import BundleProblem
from tests.integration.bundles.files import prepared, problem, write

HEAD = "bundle: {name: b, version: 3.0.0}\n"


def test_an_overlay_is_composed_over_the_bundle_of_its_name(tmp_path: Path) -> None:
    write(
        tmp_path, {"b.yaml": HEAD + "tools: [{module: t, config: {x: 1, y: 1}}]", "more.yaml": "hooks: [{module: h}]"}
    )
    before = prepared(tmp_path / "b.yaml", tmp_path / "home")
    overlay = "includes: ['{}']\ntools: [{{module: t, config: {{x: 2}}}}]".format(tmp_path / "more.yaml")
    write(tmp_path / "home/overlay", {"b/bundle.yaml": overlay, "other/bundle.yaml": "tools: [{module: never}]"})
    after = prepared(tmp_path / "b.yaml", tmp_path / "home")
    assert after.plan.tools == ({"module": "t", "config": {"x": 2, "y": 1}},)
    assert after.plan.hooks == ({"module": "h"},)
    assert (after.name, after.version) == ("b", "3.0.0")
    assert after.digest != before.digest
    assert str(overlay_file(tmp_path / "home", "b")) in before.looked_for, "its first appearance is a change"


def test_a_wrong_overlay_is_told_by_its_own_file(tmp_path: Path) -> None:
    write(tmp_path, {"b.yaml": HEAD})
    write(tmp_path / "home/overlay", {"b/bundle.yaml": "tools: x"})
    assert problem(tmp_path / "b.yaml", tmp_path / "home").details["file"] == str(
        tmp_path / "home/overlay/b/bundle.yaml"
    )


async def test_its_includes_are_changed_and_all_else_stays(tmp_path: Path) -> None:
    overlays = FileOverlays(tmp_path)
    assert await overlays.includes("b") == ()
    await overlays.write("b", ["/x.yaml"])
    assert await overlays.includes("b") == ("/x.yaml",)
    write(tmp_path / "overlay", {"b/bundle.yaml": "includes: [/x.yaml]\nhooks: !replace [{module: h}]\nodd: 1.5"})
    await overlays.write("b", ["/x.yaml", "/y.yaml"])
    assert (tmp_path / "overlay/b/bundle.yaml").read_text() == (
        "includes:\n- /x.yaml\n- /y.yaml\nhooks: !replace\n- module: h\nodd: 1.5\n"
    )


async def test_nothing_is_written_over_what_cannot_be_read(tmp_path: Path) -> None:
    write(tmp_path / "overlay", {"b/bundle.yaml": "includes: {"})
    with pytest.raises(BundleProblem):
        await FileOverlays(tmp_path).write("b", [])
    assert (tmp_path / "overlay/b/bundle.yaml").read_text() == "includes: {"

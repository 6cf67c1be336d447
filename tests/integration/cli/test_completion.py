"""What Tab offers: templates, ids of a running tower; quickly, and silently when there is nothing."""

import time
from pathlib import Path

from tests.integration.cli.conftest import Desk, Done, agenttower


def offered(home: Path, *words: str) -> Done:
    """What bash is given for the last word."""
    line = ["agenttower", *words]
    return agenttower(
        home,
        COMP_WORDS=" ".join(line),
        COMP_CWORD=str(len(line) - 1),
        _AGENTTOWER_COMPLETE="complete_bash",
    )


def test_commands_and_templates(short_tmp: Path) -> None:
    assert offered(short_tmp, "lay").out.split() == ["layout"]
    assert set(offered(short_tmp, "layout", "create", "--template", "").out.split()) >= {"1m+2s", "2m+2s"}
    assert offered(short_tmp, "layout", "create", "--template", "2").out.split() == ["2m+2s"]


def test_templates_of_the_operator(short_tmp: Path) -> None:
    folder = short_tmp / "config" / "agenttower" / "templates"
    folder.mkdir(parents=True)
    (folder / "file.yaml").write_text("name: review\npanes: [{role: a, capability: b, label: c}]\n")
    assert offered(short_tmp, "layout", "create", "--template", "re").out.split() == ["review"]


def test_ids_of_the_running_tower(desk: Desk) -> None:
    made = desk.layout()
    gone = desk.layout()
    desk.ok("layout", "remove", gone["layout_id"])
    layouts = offered(desk.home, "layout", "show", "").out.split()
    assert made["layout_id"][-8:] in layouts
    assert gone["layout_id"][-8:] not in layouts
    pane = made["panes"][0]["pane_id"]
    assert pane[-8:] in offered(desk.home, "pane", "remove", pane[-8:-4]).out.split()
    assert pane in offered(desk.home, "pane", "remove", pane[:20]).out.split()


def test_without_a_tower_nothing_is_offered_and_nothing_said(short_tmp: Path) -> None:
    started = time.monotonic()
    done = offered(short_tmp, "layout", "show", "")
    assert (done.out.strip(), done.err) == ("", "")
    assert time.monotonic() - started < 10


def test_a_faulty_settings_file_is_no_matter(short_tmp: Path) -> None:
    file = short_tmp / "config" / "agenttower" / "agenttower.yaml"
    file.parent.mkdir(parents=True)
    file.write_text("nonsense: 1\n")
    done = offered(short_tmp, "layout", "show", "")
    assert (done.out.strip(), done.err) == ("", "")

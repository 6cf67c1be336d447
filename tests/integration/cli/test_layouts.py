"""`agenttower layout …` on a real tower."""

from tests.integration.cli.conftest import Desk, Terminal, columns


def test_create_waits_until_all_panes_are_ready(desk: Desk) -> None:
    session = desk.session_name()
    done = desk.ok("layout", "create", "--template", "1m+2s", "--session-name", session)
    head, line, _, *table = done.out.splitlines()
    assert head.startswith("Layout ")
    assert line.startswith(f"{session} (1m+2s) on host: ready")
    rows = columns("\n".join(table))
    assert rows[0] == ["ID", "LABEL", "ROLE", "STATE", "AT", "RUNS", "TMUX", "PID"]
    assert [row[2:6] for row in rows[1:]] == [["master", "ready", "-", "shell"]] + 2 * [
        ["slave", "ready", "-", "shell"]
    ]
    assert desk.tmux("list-panes", "-t", f"={session}:", "-F", "#{pane_pid}").split() == [row[7] for row in rows[1:]]


def test_create_as_json_gives_the_result_and_the_settled_panes(desk: Desk) -> None:
    made = desk.layout()
    assert made["state"] == "ready"
    assert made["replay"] is False
    assert [pane["state"] for pane in made["panes"]] == ["ready"] * 3
    shown = desk.json("layout", "show", made["layout_id"])
    assert shown["id"] == made["layout_id"]
    assert [pane["id"] for pane in shown["panes"]] == [pane["pane_id"] for pane in made["panes"]]


def test_no_wait_gives_the_outcome_as_it_was_decided(desk: Desk) -> None:
    words = ["layout", "create", "--template", "1m+2s", "--session-name", desk.session_name(), "--no-wait"]
    made = desk.json(*words)
    assert made["state"] == "creating"
    assert desk.json("layout", "show", made["layout_id"])["id"] == made["layout_id"]


def test_the_same_idempotency_key_makes_nothing_twice(desk: Desk) -> None:
    key = desk.session_name()
    first = desk.layout(idempotency_key=key)
    again = desk.layout(idempotency_key=key)
    assert again["layout_id"] == first["layout_id"]
    assert again["replay"] is True


def test_a_rejection_is_exit_code_1_with_its_code_on_stderr(desk: Desk) -> None:
    session = desk.session_name()
    words = ["layout", "create", "--template", "1m+2s", "--session-name", session]
    desk.ok(*words)
    done = desk.run(*words)
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("managed_session_name_conflict: ")
    assert "--session-name" in done.err
    as_json = desk.run(*words, "--json")
    assert (as_json.code, as_json.out) == (1, "")
    assert '"code": "managed_session_name_conflict"' in as_json.err


def test_rejections_name_what_is_wrong(desk: Desk) -> None:
    words = ["layout", "create", "--session-name", desk.session_name()]
    assert desk.run(*words, "--template", "nix").err.startswith("managed_template_not_found: ")
    overridden = [*words, "--template", "1m+2s", "--override", "slave:s1=nix"]
    assert desk.run(*overridden).err.startswith("managed_launch_command_not_found: ")
    assert desk.run(*words, "--template", "1m+2s", "--container", "c" * 64).err.startswith("container_not_found: ")
    assert desk.run("layout", "create", "--session-name", "a b", "--template", "1m+2s").err.startswith(
        "validation_failed: "
    )


def test_working_dir(desk: Desk) -> None:
    made = desk.layout(working_dir="/usr")
    tmux_pane = desk.json("layout", "show", made["layout_id"])["panes"][0]["tmux_pane_id"]
    assert desk.tmux("display-message", "-p", "-t", tmux_pane, "#{pane_start_path}").strip() == "/usr"


def test_list_and_remove(desk: Desk) -> None:
    made = desk.layout()
    short = made["layout_id"][-8:]
    listed = {row[0]: row for row in columns(desk.ok("layout", "list").out)}
    assert listed["ID"][1:] == ["SESSION", "STATE", "READY", "TEMPLATE", "CONTAINER", "CREATED"]
    assert listed[short][2:6] == ["ready", "3", "1m+2s", "host"]
    assert desk.ok("layout", "remove", short).out == f"Layout {made['layout_id']} is removed: 3 panes ended\n"
    assert desk.ok("layout", "remove", short).out == f"Layout {made['layout_id']} is removed; it was before\n"
    page = desk.json("layout", "list", "--state", "removed")
    assert made["layout_id"] in [row["id"] for row in page["items"]]
    assert {row["state"] for row in page["items"]} == {"removed"}


def test_the_limit_says_that_there_is_more(desk: Desk) -> None:
    desk.layout()
    desk.layout()
    done = desk.ok("layout", "list", "--limit", "1")
    assert len(done.out.splitlines()) == 2
    assert "--limit" in done.err
    assert desk.json("layout", "list", "--limit", "1")["next_cursor"]


def test_a_layout_goes_by_the_beginning_or_the_end_of_its_id_or_by_its_session(desk: Desk) -> None:
    session = desk.session_name()
    made = desk.json("layout", "create", "--template", "1m+2s", "--session-name", session)
    layout_id = made["layout_id"]
    for reference in (layout_id, layout_id[:-1], layout_id[-8:], layout_id[-5:].upper(), session):
        assert desk.json("layout", "show", reference)["id"] == layout_id, reference


def test_an_ambiguous_or_unknown_reference_is_refused(desk: Desk) -> None:
    first, second = desk.layout(), desk.layout()
    done = desk.run("layout", "remove", first["layout_id"][:4])
    assert done.code == 1
    assert "stands for" in done.err
    states = [desk.json("layout", "show", made["layout_id"])["state"] for made in (first, second)]
    assert states == ["ready", "ready"]
    unknown = desk.run("layout", "show", "nowhere")
    assert (unknown.code, unknown.out) == (1, "")
    assert unknown.err.startswith("managed_layout_not_found: ")


def test_tables_fit_80_columns_of_a_real_terminal(desk: Desk, terminal: Terminal) -> None:
    session = "a-session-with-the-longest-name-that-an-operator-may-give-it-0123"[:64]
    made = desk.json("layout", "create", "--template", "2m+2s", "--session-name", session)
    listed = terminal.agenttower(desk.home, "layout", "list")
    rows = columns("\n".join(listed))
    assert rows[0] == ["ID", "SESSION", "STATE", "READY", "TEMPLATE", "CONTAINER", "CREATED"]
    row = next(row for row in rows if row[0] == made["layout_id"][-8:])
    assert row[1].endswith("…")
    assert session.startswith(row[1][:-1])
    assert row[2:6] == ["ready", "4", "2m+2s", "host"]
    assert len(rows) == len(desk.json("layout", "list")["items"]) + 1

    shown = terminal.agenttower(desk.home, "layout", "show", session)
    table = columns("\n".join(shown[shown.index("") :]))
    assert [row[1:4] for row in table[1:]] == [
        [pane["label"], pane["role"], "ready"] for pane in desk.json("layout", "show", session)["panes"]
    ]


def test_progress_is_shown_on_a_terminal_and_leaves_no_trace(desk: Desk, terminal: Terminal) -> None:
    session = desk.session_name()
    words = ("layout", "create", "--template", "1m+2s", "--session-name", session)
    lines = terminal.agenttower(desk.home, *words)
    assert lines[0].startswith("Layout ")
    assert lines[1].startswith(f"{session} (1m+2s) on host: ready")
    assert len(lines) == 7


def test_colours_are_for_terminals_only(desk: Desk, terminal: Terminal) -> None:
    made = desk.layout()
    assert "\x1b" not in desk.ok("layout", "show", made["layout_id"]).out
    terminal.tmux("new-session", "-d", "-s", "keep")
    words = ["layout", "show", made["layout_id"]]
    assert terminal.agenttower(desk.home, *words)[0].endswith(made["layout_id"])

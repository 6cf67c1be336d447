"""Sessions and panes as the `Terminal` port promises them."""

import os
import stat
from pathlib import Path

import pytest

from adapters.tmux.terminal import TmuxTerminal
from handlers.ports import SessionExists, TerminalError, TerminalGone
from tests.integration.tmux.support import Server, reported, reporter
from tests.waiting import eventually

NASTY = (
    "two words",
    "",
    "it's",
    'a "quote"',
    "$HOME ${HOME} `id` $(id)",
    "a;b",
    ";",
    "\\;",
    "line\nfeed\r\n",
    "tab\there",
    "~",
    "#{pane_id} #(id) ##",
    "{ } %begin 1 2 3",
    "-t",
    "--",
    "ünïcødé 日本 🗼",
    "\\ back\\slash\\",
    "a" * 5000,
)


async def test_arguments_and_environment_arrive_exactly(server: Server, terminal: TmuxTerminal, short_tmp: Path):
    env = {f"NASTY_{index}": text for index, text in enumerate(NASTY)}
    first = server.pane("p1", *reporter(short_tmp / "one", *NASTY), env=env)
    second = server.pane("p2", *reporter(short_tmp / "two", *reversed(NASTY)), env={"OTHER": "x y"})
    await terminal.create_session("exact", [first, second])

    arguments, environment, directory = await reported(short_tmp / "one")
    assert arguments == list(NASTY)
    assert {key: environment[key] for key in env} == env
    assert directory == str(server.home)
    arguments, environment, _ = await reported(short_tmp / "two")
    assert arguments == list(reversed(NASTY))
    assert environment["OTHER"] == "x y"
    assert not env.keys() & environment.keys(), "the first pane's environment leaked into the second"


async def test_one_word_is_a_program_and_no_shell_line(server: Server, terminal: TmuxTerminal, short_tmp: Path):
    program = short_tmp / "my $program; 'x'"
    program.write_text("#!/bin/sh\necho it ran\nexec sleep 100000\n")
    program.chmod(0o755)
    await terminal.create_session("word", [server.pane("p1", str(program))])
    await eventually(lambda: "it ran" in server.log("p1").read_text())


async def test_program_with_an_equals_sign_is_no_variable(server: Server, terminal: TmuxTerminal, short_tmp: Path):
    program = short_tmp / "a=b"
    program.write_text("#!/bin/sh\necho it ran\nexec sleep 100000\n")
    program.chmod(0o755)
    await terminal.create_session("word", [server.pane("p1", str(program))])
    await eventually(lambda: "it ran" in server.log("p1").read_text())


@pytest.mark.parametrize("name", ["plain", "with space", "it's #{pane_id} $HOME ;", "ünï"])
async def test_working_dir(server: Server, terminal: TmuxTerminal, short_tmp: Path, name: str):
    directory = short_tmp / name
    directory.mkdir()
    panes = [server.pane(f"p{n}", *reporter(short_tmp / f"r{n}"), working_dir=str(directory)) for n in (1, 2)]
    await terminal.create_session("dirs", panes)
    for n in (1, 2):
        _, _, seen = await reported(short_tmp / f"r{n}")
        assert seen == str(directory)


async def test_a_missing_working_dir_fails_that_pane_and_says_so(server: Server, terminal: TmuxTerminal):
    panes = [server.pane("bad", working_dir="/nowhere/at all"), server.pane("good")]
    await terminal.create_session("dirs", panes)
    await eventually(lambda: "/nowhere/at all" in server.log("bad").read_text())

    async def the_bad_one_alone_is_dead() -> bool:
        return {pane.pane_id: pane.dead for pane in await terminal.panes()} == {"bad": True, "good": False}

    await eventually(the_bad_one_alone_is_dead)


async def test_a_program_that_does_not_exist_leaves_its_reason_in_the_log(server: Server, terminal: TmuxTerminal):
    (made,) = await terminal.create_session("launch", [server.pane("p1", "no-such-program", "--flag")])
    assert made.pane_id == "p1"

    async def ended() -> bool:
        (pane,) = await terminal.look()
        return pane.dead and pane.exit_code == 127 and pane.signal is None

    await eventually(ended)
    await eventually(lambda: "no-such-program" in server.log("p1").read_text())


async def test_what_is_returned_is_what_a_listing_shows(server: Server, terminal: TmuxTerminal):
    made = await terminal.create_session("three", [server.pane(f"p{n}") for n in (1, 2, 3)])
    assert [pane.pane_id for pane in made] == ["p1", "p2", "p3"]
    assert [pane.title for pane in made] == [f"@MANAGED:token:p{n}" for n in (1, 2, 3)]
    assert [pane.pane_index for pane in made] == [0, 1, 2]
    assert {pane.session_name for pane in made} == {"three"}
    assert all(pane.piped and not pane.dead and pane.exit_code is None and pane.signal is None for pane in made)
    for pane in made:
        os.kill(pane.pid, 0)
    listed = await terminal.panes()
    assert [(pane.pane_id, pane.tmux_pane_id, pane.pid) for pane in listed] == [
        (pane.pane_id, pane.tmux_pane_id, pane.pid) for pane in made
    ]
    assert await terminal.sessions() == {"three"}
    assert server.tmux("display-message", "-p", "-t", "=three:", "#{window_panes} #{history_limit}") == "3 50000"


@pytest.mark.parametrize("name", ["a.b", "v1.2.3", "-x", "a-b_c", "9", "." * 5])
async def test_session_names_that_tmux_rewrites(server: Server, terminal: TmuxTerminal, name: str):
    seen = name.replace(".", "_")
    made = await terminal.create_session(name, [server.pane("p1"), server.pane("p2")])
    assert {pane.session_name for pane in made} == {seen}
    assert await terminal.sessions() == {seen}
    with pytest.raises(SessionExists):
        await terminal.create_session(name, [server.pane("p3")])
    (more,) = await terminal.add_panes(name, [server.pane("p4")])
    assert more.session_name == seen


async def test_a_name_is_never_taken_for_a_prefix_of_another(server: Server, terminal: TmuxTerminal):
    await terminal.create_session("layout-long", [server.pane("p1")])
    with pytest.raises(TerminalError, match="layout"):
        await terminal.add_panes("layout", [server.pane("p2")])
    await terminal.create_session("layout", [server.pane("p3"), server.pane("p4")])
    by_session = {pane.pane_id: pane.session_name for pane in await terminal.panes()}
    assert by_session == {"p1": "layout-long", "p3": "layout", "p4": "layout"}


async def test_a_session_of_that_name_is_there_already(server: Server, terminal: TmuxTerminal):
    server.tmux("new-session", "-d", "-s", "taken", "sleep 1000")
    limit = server.tmux("show-options", "-gv", "history-limit")
    with pytest.raises(SessionExists):
        await terminal.create_session("taken", [server.pane("p1")])
    (theirs,) = await terminal.panes()
    assert (theirs.session_name, theirs.pane_id) == ("taken", None)
    assert server.tmux("show-options", "-gv", "history-limit") == limit


async def test_nothing_runs_before_the_first_session(server: Server, terminal: TmuxTerminal):
    for question in (terminal.sessions, terminal.panes, terminal.look):
        with pytest.raises(TerminalGone):
            await question()
    assert not server.socket.exists()


@pytest.mark.parametrize(
    "title",
    [
        "@MANAGED:k:m1",
        "#{pane_id} #(touch x) #[fg=red] ##[x]",
        "%H:%M ;kill-server; \"'$HOME~",
        "日本 🗼",
        "",
        "-T",
        "} {",
    ],
)
async def test_titles_are_text(server: Server, terminal: TmuxTerminal, title: str):
    made = await terminal.create_session("titles", [server.pane("p1", title=title), server.pane("p2", title=title)])
    assert [pane.title for pane in made] == [title, title]
    await terminal.set_title(made[0].tmux_pane_id, "p1", title + "!")
    assert [pane.title for pane in await terminal.panes()] == [title + "!", title]


async def test_a_line_feed_in_a_title_stays_inside_its_field(server: Server, terminal: TmuxTerminal):
    made = await terminal.create_session("titles", [server.pane("p1", title="a\nb\x1b[0m"), server.pane("p2")])
    assert [pane.pane_id for pane in made] == ["p1", "p2"]
    assert "\n" not in made[0].title


async def test_sixty_four_panes_fit(server: Server, terminal: TmuxTerminal):
    names = [f"p{n}" for n in range(64)]
    made = await terminal.create_session("many", [server.pane(name) for name in names])
    assert [pane.pane_id for pane in made] == names
    assert {pane.window_index for pane in made} == {0}
    assert [pane.pane_index for pane in made] == list(range(64))


async def test_panes_are_added_to_a_small_window(server: Server, terminal: TmuxTerminal):
    await terminal.create_session("small", [server.pane("p0")])
    server.tmux("resize-window", "-t", "=small:", "-x", "80", "-y", "24")
    names = [f"p{n}" for n in range(1, 64)]
    made = await terminal.add_panes("small", [server.pane(name) for name in names])
    assert [pane.pane_id for pane in made] == names
    assert len(await terminal.panes()) == 64


async def test_panes_are_added_beside_ours_and_the_active_pane_stays(server: Server, terminal: TmuxTerminal):
    first, _ = await terminal.create_session("grow", [server.pane("p1"), server.pane("p2")])
    server.tmux("new-window", "-t", "=grow:", "-n", "mine", "sleep 1000")
    server.tmux("select-pane", "-t", first.tmux_pane_id)
    (third,) = await terminal.add_panes("grow", [server.pane("p3")])
    assert (third.window_index, third.pane_index) == (first.window_index, 2)
    active = server.tmux("display-message", "-p", "-t", f"=grow:{first.window_index}", "#{pane_id}")
    assert active == first.tmux_pane_id
    assert server.tmux("display-message", "-p", "-t", "=grow:", "#{window_name}") == "mine"


async def test_panes_are_added_after_ours_are_gone_but_the_session_lives(server: Server, terminal: TmuxTerminal):
    (first,) = await terminal.create_session("stay", [server.pane("p1")])
    server.tmux("new-window", "-t", "=stay:", "sleep 1000")
    await terminal.kill_pane(first.tmux_pane_id, "p1")
    (again,) = await terminal.add_panes("stay", [server.pane("p2")])
    assert again.session_name == "stay"


async def test_half_made_layouts_are_taken_away_again(server: Server, terminal: TmuxTerminal):
    await terminal.create_session("other", [server.pane("keep")])
    limit = server.tmux("show-options", "-gv", "history-limit")
    # The user's own hook breaks the sequence in its middle: the second split finds the session gone or renamed.
    server.tmux("set-hook", "-g", "after-split-window", "rename-session -t =broken: elsewhere")
    with pytest.raises(TerminalError):
        await terminal.create_session("broken", [server.pane("p1"), server.pane("p2"), server.pane("p3")])
    server.tmux("set-hook", "-gu", "after-split-window")
    assert [pane.pane_id for pane in await terminal.panes()] == ["keep"]
    assert await terminal.sessions() == {"other"}
    assert server.tmux("show-options", "-gv", "history-limit") == limit


async def test_half_added_panes_are_taken_away_again(server: Server, terminal: TmuxTerminal):
    await terminal.create_session("tiny", [server.pane("p1")])
    server.tmux("resize-window", "-t", "=tiny:", "-x", "9", "-y", "2")
    with pytest.raises(TerminalError, match="no space"):
        await terminal.add_panes("tiny", [server.pane(f"q{n}") for n in range(30)])
    assert [pane.pane_id for pane in await terminal.panes()] == ["p1"]


@pytest.mark.parametrize(
    ("lines", "afterwards"),
    [
        (20_000, "sleep 1000"),
        # A program that ends at once: tmux may drop what the kernel has not handed over yet, beyond its 4 KB buffer.
        (500, "exit 3"),
    ],
)
async def test_the_log_has_the_output_from_its_first_byte(
    server: Server, terminal: TmuxTerminal, lines: int, afterwards: str
):
    count = 12
    scripts = [f"echo first {n}; seq 1 {lines}; echo last {n}; {afterwards}" for n in range(count)]
    await terminal.create_session("logs", [server.sh(f"p{n}", script) for n, script in enumerate(scripts)])
    for n in range(count):
        await eventually(lambda n=n: f"last {n}" in server.log(f"p{n}").read_text())
        assert server.log(f"p{n}").read_text().splitlines() == [
            f"first {n}",
            *map(str, range(1, lines + 1)),
            f"last {n}",
        ]


async def test_logs_and_their_folders_are_private_and_appended_to(server: Server, terminal: TmuxTerminal):
    log = server.logs / "deep er" / "it's %H #{pane_id} $x.log"
    log.parent.mkdir(parents=True)
    log.write_text("before\n")
    other = server.logs / "new" / "dir" / "p2.log"
    await terminal.create_session(
        "logs", [server.pane("p1", "sh", "-c", "echo after; sleep 1000", log=log), server.pane("p2", log=other)]
    )
    await eventually(lambda: log.read_text().splitlines() == ["before", "after"])
    assert stat.S_IMODE(other.stat().st_mode) == 0o600
    assert stat.S_IMODE(other.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(other.parent.parent.stat().st_mode) == 0o700


async def test_a_log_that_cannot_be_written_costs_no_pane(server: Server, terminal: TmuxTerminal, short_tmp: Path):
    (short_tmp / "file").write_text("")
    impossible = short_tmp / "file" / "p1.log"
    (made,) = await terminal.create_session("logs", [server.pane("p1", log=impossible)])
    assert not made.dead
    assert not made.piped
    with pytest.raises(TerminalError, match="log cannot be written"):
        await terminal.attach_log(made.tmux_pane_id, "p1", str(impossible))


async def test_attaching_a_log_keeps_one_that_is_attached(server: Server, terminal: TmuxTerminal, short_tmp: Path):
    pane = server.pane("p1", "sh", "-c", "read line; echo got $line; read line; echo got $line; sleep 1000")
    (made,) = await terminal.create_session("logs", [pane])
    elsewhere = short_tmp / "elsewhere.log"
    await terminal.attach_log(made.tmux_pane_id, "p1", str(elsewhere))
    server.tmux("send-keys", "-t", made.tmux_pane_id, "one", "Enter")
    await eventually(lambda: "got one" in server.log("p1").read_text())
    assert elsewhere.read_text() == ""

    server.tmux("pipe-pane", "-t", made.tmux_pane_id)
    assert [pane.piped for pane in await terminal.panes()] == [False]
    await terminal.attach_log(made.tmux_pane_id, "p1", str(elsewhere))
    assert [pane.piped for pane in await terminal.panes()] == [True]
    server.tmux("send-keys", "-t", made.tmux_pane_id, "two", "Enter")
    await eventually(lambda: "got two" in elsewhere.read_text())
    assert "got two" not in server.log("p1").read_text()


async def test_what_is_done_to_a_pane_that_is_gone(server: Server, terminal: TmuxTerminal, short_tmp: Path):
    await terminal.create_session("one", [server.pane("p1")])
    with pytest.raises(TerminalError):
        await terminal.set_title("%99", "p", "x")
    with pytest.raises(TerminalError):
        await terminal.attach_log("%99", "p", str(short_tmp / "x.log"))
    await terminal.kill_pane("%99", "p1")
    assert len(await terminal.panes()) == 1


async def test_only_our_own_pane_is_killed(server: Server, terminal: TmuxTerminal):
    first, second = await terminal.create_session("kill", [server.pane("p1"), server.pane("p2")])
    await terminal.kill_pane(first.tmux_pane_id, "p2")
    assert len(await terminal.panes()) == 2
    await terminal.kill_pane(first.tmux_pane_id, "p1")
    await terminal.kill_pane(first.tmux_pane_id, "p1")
    assert [pane.pane_id for pane in await terminal.panes()] == ["p2"]
    await terminal.kill_pane(second.tmux_pane_id, "p2")
    assert await terminal.sessions() == frozenset()


@pytest.mark.parametrize(("bad", "call"), [("a b", "session"), ("a#{b}", "session"), ("", "session"), ("x,y}", "pane")])
async def test_names_that_no_operator_may_choose_are_refused(
    server: Server, terminal: TmuxTerminal, bad: str, call: str
):
    with pytest.raises(TerminalError, match="not a"):
        await terminal.create_session(bad if call == "session" else "s", [server.pane(bad if call == "pane" else "p")])

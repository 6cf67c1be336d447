"""`agenttower exec` on a real tower: what a program prints, asks and ends with, as if it ran in this terminal."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pytest

from tests.integration.cli.conftest import DEADLINE_S, Desk, Done, Terminal, columns, environment
from tests.waiting import eventually

ARGV = [sys.executable, "-m", "adapters.cli", "exec"]


def fed(desk: Desk, given: bytes, *words: str) -> Done:
    done = subprocess.run(
        [*ARGV, *words],
        env=environment(desk.home),
        input=given,
        capture_output=True,
        timeout=DEADLINE_S,
        check=False,
    )
    return Done(subprocess.CompletedProcess(ARGV, done.returncode, done.stdout.decode(), done.stderr.decode()))


@contextmanager
def going_on(desk: Desk, *words: str) -> Iterator["subprocess.Popen[bytes]"]:
    with subprocess.Popen(
        [*ARGV, *words],
        env=environment(desk.home),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def line_of(stream: IO[bytes] | None) -> str:
    assert stream is not None
    return stream.readline().decode()


def detached(desk: Desk, code: str, *words: str) -> str:
    """The id of an execution that nobody stays with."""
    return desk.ok("exec", "run", "--detach", "-c", code, *words).out.strip()


def row(desk: Desk, execution_id: str) -> dict[str, Any]:
    return desk.tower.queries.get(f"/v1/executions/{execution_id}")


async def in_state(desk: Desk, execution_id: str, state: str) -> None:
    await eventually(lambda: row(desk, execution_id)["state"] == state, f"it is {state}", timeout_s=DEADLINE_S)


class TestRunning:
    def test_prints_to_the_same_streams_and_the_value_last(self, desk: Desk) -> None:
        code = "import sys\nprint('to out')\nprint('to err', file=sys.stderr)\n{'a': 1}"
        done = desk.ok("exec", "run", "-c", code)
        assert (done.out, done.err) == ("to out\n{'a': 1}\n", "to err\n")

    def test_no_value_no_line(self, desk: Desk, tmp_path: Path) -> None:
        program = tmp_path / "program.py"
        program.write_text("import os\nos.write(1, b'half a line')\nNone\n")
        assert desk.ok("exec", "run", str(program)).out == "half a line"

    def test_code_from_standard_input_has_no_more_input(self, desk: Desk) -> None:
        done = fed(desk, b"try:\n    input()\nexcept EOFError:\n    print('no input')\n", "run", "-")
        assert (done.code, done.out) == (0, "no input\n"), done

    def test_names_of_a_session_live_on(self, desk: Desk) -> None:
        desk.ok("exec", "run", "--session", "lives", "-c", "kept = 41")
        assert desk.ok("exec", "run", "--session", "lives", "-c", "kept + 1").out == "42\n"

    def test_only_the_end_is_wanted(self, desk: Desk) -> None:
        assert desk.ok("exec", "run", "--no-follow", "-c", "print('hidden')\n7").out == "7\n"

    def test_as_json(self, desk: Desk) -> None:
        made = desk.json("exec", "run", "-c", "print('out')\n[1]")
        assert (made["state"], made["value"], made["stdout"], made["stderr"]) == ("completed", [1], "out\n", "")

    def test_nothing_runs_twice_for_a_key(self, desk: Desk) -> None:
        words = ["exec", "run", "--idempotency-key", "once", "-c", "import os\nos.urandom(8)"]
        assert desk.ok(*words).out == desk.ok(*words).out

    def test_what_is_not_code(self, desk: Desk, tmp_path: Path) -> None:
        (tmp_path / "binary").write_bytes(b"a\xff")
        for words, code, said in (
            (["run"], 2, "give one of FILE"),
            (["run", "x.py", "-c", "1"], 2, "give one of FILE"),
            (["run", str(tmp_path / "nowhere.py")], 1, "cannot be read"),
            (["run", str(tmp_path / "binary")], 1, "is not UTF-8, at byte 1"),
        ):
            done = desk.run("exec", *words)
            assert done.code == code, done
            assert said in done.err


class TestHowItEnds:
    def test_a_failure_is_shown_as_python_shows_it(self, desk: Desk) -> None:
        done = desk.run("exec", "run", "-c", "def fail():\n    raise ValueError('no good')\nfail()")
        assert (done.code, done.out) == (1, "")
        assert done.err.startswith("Traceback (most recent call last):")
        assert "    raise ValueError('no good')\n" in done.err
        assert done.err.endswith("ValueError: no good\n")

    @pytest.mark.parametrize(
        ("code", "exit_code", "said"),
        [("import sys\nsys.exit(3)", 3, ""), ("raise SystemExit('no more')", 1, "no more\n"), ("exit(0)", 0, "")],
    )
    def test_exit_codes_are_handed_on(self, desk: Desk, code: str, exit_code: int, said: str) -> None:
        done = desk.run("exec", "run", "-c", code)
        assert (done.code, done.err) == (exit_code, said)

    def test_a_time_limit(self, desk: Desk) -> None:
        done = desk.run("exec", "run", "--timeout", "0.2", "-c", "while True:\n    pass")
        assert done.code == 1
        assert "timed out" in done.err

    def test_a_worker_that_dies(self, desk: Desk) -> None:
        done = desk.run("exec", "run", "-c", "import os\nos._exit(9)")
        assert done.code == 1
        assert done.err.startswith("worker_died: ")


class TestStopping:
    async def test_interrupt_cancels_it(self, desk: Desk) -> None:
        with going_on(desk, "run", "-c", "print('begun')\nwhile True:\n    pass") as process:
            assert line_of(process.stdout) == "begun\n"
            process.send_signal(signal.SIGINT)
            said = process.stderr.read().decode() if process.stderr else ""
            assert process.wait(DEADLINE_S) == 1
        assert said.startswith("Cancelling")
        assert said.endswith("is cancelled\n")

    async def test_a_second_interrupt_leaves_it(self, desk: Desk) -> None:
        with going_on(desk, "run", "--session", "deaf", "-c", "print('begun')\nwhile True:\n    pass") as process:
            assert line_of(process.stdout) == "begun\n"
            os.kill(desk.tower.running.pid, signal.SIGSTOP)  # No end comes of the first one.
            try:
                process.send_signal(signal.SIGINT)
                assert line_of(process.stderr).startswith("Cancelling")
                process.send_signal(signal.SIGINT)
                assert process.wait(DEADLINE_S) == 130
            finally:
                os.kill(desk.tower.running.pid, signal.SIGCONT)
        (left,) = desk.json("exec", "list", "--session", "deaf")["items"]
        desk.run("exec", "cancel", left["id"])
        await in_state(desk, left["id"], "cancelled")

    async def test_whoever_goes_away_cancels_nothing(self, desk: Desk, tmp_path: Path) -> None:
        go_on = tmp_path / "go-on"
        code = (
            f"import os, time\nprint('begun')\nwhile not os.path.exists({str(go_on)!r}):\n    time.sleep(0.01)\n'done'"
        )
        with going_on(desk, "run", "--session", "left", "-c", code) as process:
            assert line_of(process.stdout) == "begun\n"
        go_on.touch()
        assert desk.ok("exec", "run", "--session", "left", "-c", "'after'").out == "'after'\n"
        found = desk.json("exec", "list", "--session", "left")["items"]
        assert [(each["state"], each["repr"]) for each in found] == [("completed", "'after'"), ("completed", "'done'")]

    async def test_cancel_by_another(self, desk: Desk) -> None:
        execution_id = detached(desk, "while True:\n    pass")
        await in_state(desk, execution_id, "running")
        done = desk.ok("exec", "cancel", execution_id[-8:])
        assert done.out == f"Execution {execution_id} is told to end\n"
        await in_state(desk, execution_id, "cancelled")
        # Again it is what it was; of one that ended otherwise it is refused.
        assert desk.run("exec", "cancel", execution_id).code == 0
        completed = desk.json("exec", "run", "-c", "1")["id"]
        refused = desk.run("exec", "cancel", completed)
        assert refused.code == 1
        assert refused.err.startswith("execution_already_ended: ")


class TestQuestions:
    def test_are_answered_from_standard_input_line_by_line(self, desk: Desk) -> None:
        code = "a = input('one? ')\nb = input()\ntry:\n    input()\nexcept EOFError:\n    print(a, b, 'end')"
        done = fed(desk, b"first\nsecond", "run", "-c", code)
        assert (done.code, done.out, done.err) == (0, "first second end\n", "one? "), done

    async def test_are_answered_by_another(self, desk: Desk) -> None:
        code = "import getpass\nname = input('name? ')\nword = getpass.getpass('word? ')\nprint(name, len(word))"
        execution_id = detached(desk, code)
        asked = await eventually(lambda: row(desk, execution_id)["input_requests"], "it asks", timeout_s=DEADLINE_S)
        assert [(each["n"], each["prompt"], each["secret"]) for each in asked] == [(1, "name? ", False)]
        assert "asks (1)" in desk.ok("exec", "show", execution_id).out
        desk.ok("exec", "input", execution_id, "Ada")
        await eventually(
            lambda: [each["n"] for each in row(desk, execution_id)["input_requests"]] == [2],
            "it asks again",
            timeout_s=DEADLINE_S,
        )
        assert fed(desk, b"hush-hush\n", "input", execution_id, "-").code == 0
        done = desk.ok("exec", "follow", execution_id)
        assert done.out == "Ada 9\n"
        events = desk.json("events", "query", "--limit", "200")
        assert "hush-hush" not in json.dumps(events)

    async def test_on_a_terminal(self, desk: Desk, terminal: Terminal) -> None:
        code = "import getpass\nname = input('name? ')\nword = getpass.getpass('word? ')\nprint(name, len(word))"
        shell = ["sh", "-c", '"$@"; echo "ended $?"; sleep 1000', "sh", *ARGV, "run", "-c", code]
        terminal.tmux("new-session", "-d", "-s", "asks", "-e", f"AGENTTOWER_HOME={desk.home}", *shell)

        def shown() -> str:
            return terminal.tmux("capture-pane", "-p", "-t", "asks:")

        await eventually(lambda: "name?" in shown(), "it asks", timeout_s=DEADLINE_S)
        terminal.tmux("send-keys", "-t", "asks:", "Ada", "Enter")
        await eventually(lambda: "word?" in shown(), "it asks for the secret", timeout_s=DEADLINE_S)
        terminal.tmux("send-keys", "-t", "asks:", "hush", "Enter")
        await eventually(lambda: "ended" in shown(), "it ends", timeout_s=DEADLINE_S)
        assert shown().rstrip("\n").split("\n") == ["name? Ada", "word?", "Ada 4", "ended 0"]


async def test_the_elapsed_time_is_shown_on_a_terminal(desk: Desk, terminal: Terminal, tmp_path: Path) -> None:
    go_on = tmp_path / "go-on"
    code = f"import os, time\nprint('begun')\nwhile not os.path.exists({str(go_on)!r}):\n    time.sleep(0.01)"
    shell = ["sh", "-c", '"$@"; echo "ended $?"; sleep 1000', "sh", *ARGV, "run", "-c", code]
    terminal.tmux("new-session", "-d", "-s", "time", "-e", f"AGENTTOWER_HOME={desk.home}", *shell)

    def shown() -> list[str]:
        return terminal.tmux("capture-pane", "-p", "-t", "time:").rstrip("\n").split("\n")

    await eventually(lambda: "running" in shown()[-1], "the time is shown", timeout_s=DEADLINE_S)
    assert shown()[0] == "begun"
    go_on.touch()
    await eventually(lambda: shown() == ["begun", "ended 0"], "nothing is left of it", timeout_s=DEADLINE_S)


async def test_staying_over_a_restart_of_the_tower(own_desk: Desk) -> None:
    code = "print('before')\nname = input('name? ')\nprint('hello', name)"
    with going_on(own_desk, "run", "--retry-safe", "-c", code) as process:
        assert line_of(process.stdout) == "before\n"
        assert process.stderr is not None
        assert process.stderr.read(6) == b"name? "
        own_desk.tower.kill()
        assert "the tower is away" in line_of(process.stderr).lower()
        own_desk.tower.start()
        assert process.stdin is not None
        process.stdin.write(b"Ada\n")
        process.stdin.close()
        assert line_of(process.stdout) == "before\n"
        assert line_of(process.stdout) == "hello Ada\n"
        assert process.wait(DEADLINE_S) == 0


def test_lists(desk: Desk) -> None:
    desk.ok("exec", "run", "--session", "listed", "-c", "x = 1\nx")
    desk.run("exec", "run", "--session", "listed", "-c", "1 / 0")
    head, failed, completed = columns(desk.ok("exec", "list", "--session", "listed").out)
    assert head == ["ID", "SESSION", "STATE", "ATTEMPT", "TOOK", "REQUESTED", "CODE"]
    assert (failed[1], failed[2], failed[-1]) == ("listed", "failed", "1 / 0")
    assert (completed[2], completed[3], completed[-1]) == ("completed", "1", "x = 1 …")
    assert len(columns(desk.ok("exec", "list", "--session", "listed", "--state", "failed").out)) == 2
    assert "ZeroDivisionError: division by zero" in desk.ok("exec", "show", failed[0]).out
    missing = desk.run("exec", "show", "nowhere")
    assert (missing.code, missing.err.split(":")[0]) == (1, "execution_not_found")


def test_a_busy_session_refuses_if_asked_to(desk: Desk, tmp_path: Path) -> None:
    go_on = tmp_path / "go-on"
    waits = f"import os, time\nwhile not os.path.exists({str(go_on)!r}):\n    time.sleep(0.01)"
    busy = detached(desk, waits, "--session", "busy")
    refused = desk.run("exec", "run", "--session", "busy", "--reject-busy", "-c", "1")
    assert (refused.code, refused.err.split(":")[0]) == (1, "worker_busy")
    go_on.touch()
    assert desk.ok("exec", "follow", busy).code == 0


async def test_a_paused_one_is_told_and_resumed(desk: Desk) -> None:
    code = "print('tries')\nraise ValueError('no')"
    data = {"code": code, "id": "pausing", "retry": {"max_attempts": 1, "then": "pause"}}
    desk.tower.queries.post("/v1/commands", {"noun": "execution", "verb": "request", "data": data})
    done = desk.run("exec", "follow", "pausing")
    assert (done.code, done.out) == (1, "tries\n")
    assert "is paused" in done.err
    assert desk.ok("exec", "resume", "pausing").out == "Execution pausing waits for its turn\n"
    await eventually(lambda: row(desk, "pausing")["attempt"] == 2, "it runs again", timeout_s=DEADLINE_S)
    await in_state(desk, "pausing", "paused")
    assert desk.ok("exec", "cancel", "pausing").out == "Execution pausing is cancelled\n"


def test_a_reader_that_goes_away_is_no_fault(desk: Desk) -> None:
    command = f"{' '.join(ARGV)} run -c 'for i in range(100000): print(i)' | head -n 1"
    done = subprocess.run(
        ["bash", "-c", f"{command}; echo ${{PIPESTATUS[0]}}"],
        env={**environment(desk.home), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("0\n0\n", "")

"""`agenttower session attach`: a session shown in a terminal, in a pane, and posted to a URL."""

import json
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from tests.integration.cli.conftest import DEADLINE_S, Desk, Terminal, environment
from tests.integration.cli.test_exec import ARGV
from tests.waiting import eventually

ECHO = {"bundle": {"name": "echoes"}, "runtime": {"kind": "echo"}}
PYTHON = {"bundle": {"name": "pythons"}, "runtime": {"kind": "python"}}


def spawned(desk: Desk, instruction: str, bundle: Any = ECHO, **options: Any) -> str:
    data = {"bundle": bundle, "instruction": instruction, **options}
    return desk.tower.queries.post("/v1/sessions?wait=0", data)["result"]["session_id"]


def ended(desk: Desk, session: str) -> None:
    desk.ok("session", "end", session)


@contextmanager
def attached(desk: Desk, *words: str) -> Iterator["subprocess.Popen[str]"]:
    argv = [*ARGV[:-1], "session", "attach", *words]
    pipe = subprocess.PIPE
    with subprocess.Popen(argv, env=environment(desk.home), stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def test_it_is_shown_from_its_beginning_to_its_end(desk: Desk) -> None:
    session = spawned(desk, "hello")
    desk.ok("session", "instruct", session, "and\nagain")
    ended(desk, session)
    shown = desk.ok("session", "attach", session)
    expected = ["echoes, from echoes", "> hello", "hello", "> and", "> again", "and", "again", "(ended)"]
    assert shown.out.splitlines() == expected


def test_as_json_each_event_has_the_id_behind_which_it_goes_on(desk: Desk) -> None:
    session = spawned(desk, "hello")
    ended(desk, session)
    told = [json.loads(line) for line in desk.ok("session", "attach", session, "--json").out.splitlines()]
    names = [each["event"] for each in told]
    assert (names[0], names[-1]) == ("spawned", "end")
    middle = names.index("output")
    rest = desk.ok("session", "attach", session, "--json", "--since", told[middle]["id"]).out.splitlines()
    assert [json.loads(line) for line in rest] == told[middle + 1 :]


def test_what_it_asks_is_answered_here(desk: Desk) -> None:
    session = spawned(desk, "print('hello', input('name? '))", PYTHON)
    with attached(desk, session) as process:
        assert process.stdin is not None and process.stderr is not None and process.stdout is not None
        assert process.stderr.read(6) == "name? "
        process.stdin.write("Ada\n")
        process.stdin.flush()
        lines = iter(process.stdout.readline, "")
        assert any(line == "hello Ada\n" for line in lines)
        ended(desk, session)
        assert process.wait(DEADLINE_S) == 0


def test_an_approval_is_given_here(desk: Desk) -> None:
    session = spawned(desk, "hello")
    data = {"kind": "approval", "prompt": "push? "}
    promise = f"session:{session}:push"
    desk.ok("promise", "create", promise, "--data", json.dumps(data))
    with attached(desk, session) as process:
        assert process.stdin is not None and process.stderr is not None
        assert process.stderr.read(15) == "push? [yes/no] "
        process.stdin.write("yes\n")
        process.stdin.flush()
        ended(desk, session)
        assert process.wait(DEADLINE_S) == 0
    assert desk.json("promise", "show", promise)["value"] == "yes"


async def test_a_pane_shows_a_session(desk: Desk, terminal: Terminal) -> None:
    session = spawned(desk, "said in a pane")
    ended(desk, session)
    lines = terminal.agenttower(desk.home, "session", "attach", session)
    assert [line for line in lines if line][-3:] == ["> said in a pane", "said in a pane", "(ended)"]


class Receiver:
    """A URL that takes events; the answers to the first ones are as given."""

    def __init__(self, *answers: int) -> None:
        self.answers, self.taken, self.keys = list(answers), list[dict[str, Any]](), list[str]()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                status = receiver.answers.pop(0) if receiver.answers else 204
                if status < 300:
                    receiver.taken.append(body)
                    receiver.keys.append(self.headers["Idempotency-Key"])
                self.send_response(status)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None: ...  # noqa: A002 (its name there)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def test_a_webhook_gets_every_event_in_order_also_over_its_own_failure(desk: Desk) -> None:
    session = spawned(desk, "hello")
    ended(desk, session)
    told = [json.loads(line) for line in desk.ok("session", "attach", session, "--json").out.splitlines()]
    with Receiver(204, 503) as receiver:
        done = desk.ok("session", "attach", session, "--webhook", receiver.url)
    assert "503" in done.err
    assert receiver.taken == [{"session_id": session, **each} for each in told]
    assert receiver.keys == [f"{session}:{each['id']}" for each in told]


def test_a_webhook_that_refuses_is_told(desk: Desk) -> None:
    session = spawned(desk, "hello")
    with Receiver(410) as receiver:
        done = desk.run("session", "attach", session, "--webhook", receiver.url)
    assert (done.code, "410" in done.err, receiver.taken) == (1, True, [])


async def test_it_goes_on_over_a_restart_of_the_tower(own_desk: Desk) -> None:
    session = spawned(own_desk, "hello")
    with attached(own_desk, session, "--json") as process:
        assert process.stdout is not None
        seen: list[str] = []
        reading = threading.Thread(target=lambda: seen.extend(iter(process.stdout.readline, "")))  # type: ignore[union-attr]
        reading.start()
        await eventually(lambda: any('"completed"' in line for line in seen), "the first turn", timeout_s=DEADLINE_S)
        own_desk.tower.kill()
        own_desk.tower.start()
        own_desk.ok("session", "instruct", session, "again")
        ended(own_desk, session)
        assert process.wait(DEADLINE_S) == 0
        reading.join()
    ids = [json.loads(line)["id"] for line in seen]
    assert len(set(ids)) == len(ids), "nothing twice"
    said = [json.loads(line)["data"]["text"] for line in seen if json.loads(line)["event"] == "output"]
    assert said == ["hello", "again"]

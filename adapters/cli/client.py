"""The CLI's two ways to a running tower: queries over HTTP, commands over the NATS request door.

With `AGENTTOWER_SOCKET` both go over HTTP on the bench socket, where no token is needed: the kernel says who asks.
Queries use the standard library's client: a command line that asks one question should not load a whole HTTP stack.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self
from urllib.parse import urlencode, urlsplit

from adapters.cli.failures import Failure, no_tower, rejected
from adapters.cli.place import NATS_FILE, TOKEN_FILE, Place, Running

if TYPE_CHECKING:
    import http.client

ANSWER_TIMEOUT_S: Final = 30.0
BLOCK_BYTES: Final = 64 * 1024
PAGE: Final = 200
"""Rows a page, the most that the tower gives."""

Row = dict[str, Any]


class Answer(NamedTuple):
    status: int
    body: Any
    """Decoded JSON, or text where the tower sent something else."""


class ServerEvent(NamedTuple):
    """One event of the log: `position` is its id."""

    position: int
    event: Row


class Sent(NamedTuple):
    """One server-sent event: its id as a number (0 without one), what stands behind `event:`, its data, its whole
    id."""

    id: int
    name: str
    data: Row
    place: str = ""


class Queries:
    """HTTP requests to one tower, over one kept connection. Close it, or use it as a context manager."""

    def __init__(self, place: Place, running: Running, *, timeout_s: float = ANSWER_TIMEOUT_S) -> None:
        self.place = place
        self.running = running
        self._timeout_s = timeout_s
        self._connection: http.client.HTTPConnection | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def ask(
        self, path: str, query: Mapping[str, object] | None = None, *, method: str = "GET", body: object = None
    ) -> Answer:
        """One request, whatever its status. Raises `Failure` when the tower does not answer."""
        import http.client

        for attempt in (1, 2):
            kept = self._connection is not None
            connection = self._connection or self._connect(self._timeout_s)
            self._connection = connection
            try:
                connection.request(method, self._target(path, query or {}), self._encoded(body), self._headers(body))
                response = connection.getresponse()
                text = response.read().decode("utf-8", "replace")
            except (OSError, http.client.HTTPException) as error:
                self.close()
                # A kept connection may have been closed by the other side meanwhile; nothing was asked then.
                if kept and attempt == 1 and isinstance(error, http.client.RemoteDisconnected | ConnectionError):
                    continue
                raise self._unanswered(error) from error
            if response.will_close:
                self.close()
            return Answer(response.status, _decoded(text, response.headers.get_content_type()))
        raise AssertionError("unreachable")

    def get(self, path: str, **query: object) -> Any:
        """The body of a successful GET. Raises `Failure` with the tower's code otherwise."""
        return self.checked(self.ask(path, query))

    def post(self, path: str, body: object) -> Any:
        return self.checked(self.ask(path, method="POST", body=body))

    def checked(self, answer: Answer) -> Any:
        if answer.status < 400:
            return answer.body
        error = answer.body.get("error") if isinstance(answer.body, dict) else None
        if isinstance(error, dict):
            raise rejected(error)
        raise Failure(f"{self.running.http} answered {answer.status}: {str(answer.body)[:200]}")

    def items(self, path: str, *, most: int | None = None, **query: object) -> Iterator[Row]:
        """Every row of a list, page by page; at most `most`."""
        cursor: str | None = None
        left = most
        while left is None or left > 0:
            page = self.get(path, limit=min(PAGE, left or PAGE), cursor=cursor, **query)
            yield from page["items"]
            left = None if left is None else left - len(page["items"])
            cursor = page.get("next_cursor")
            if not cursor:
                return

    def stream(
        self, query: Mapping[str, object] | None = None, *, after: int | None, timeout_s: float | None = None
    ) -> Iterator[ServerEvent]:
        """Events after a position (None: from now on) as they are recorded, for ever.

        Raises `TimeoutError` after `timeout_s` in all, `Failure` when the tower ends the stream.
        """
        for sent in self.server_sent("/v1/events/stream", query or {}, after=after, timeout_s=timeout_s):
            yield ServerEvent(sent.id or int(sent.data.get("position", 0)), sent.data)
        raise Failure(f"the tower at {self.running.http} ended the stream of events", "see whether it still runs")

    def server_sent(
        self,
        path: str,
        query: Mapping[str, object],
        *,
        after: int | str | None,
        timeout_s: float | None = None,
        opened: Callable[[], None] = lambda: None,
    ) -> Iterator[Sent]:
        """The server-sent events behind the id `after`, until the tower ends them. `opened` is called once it sends.

        Raises `TimeoutError` after `timeout_s` in all, `Failure` when the tower goes away or refuses.
        """
        import http.client

        from adapters.system import SystemClock

        clock = SystemClock()
        ends = None if timeout_s is None else clock.monotonic() + timeout_s
        connection = self._connect(timeout_s)
        headers = {**self._headers(None), "Accept": "text/event-stream"}
        if after is not None:
            headers["Last-Event-ID"] = str(after)
        try:
            connection.request("GET", self._target(path, query), headers=headers)
            stream = connection.sock
            response = connection.getresponse()
            if response.status != 200:
                text = response.read().decode("utf-8", "replace")
                self.checked(Answer(response.status, _decoded(text, response.headers.get_content_type())))
            opened()
            for event in _server_events(response):
                if event is not None:
                    yield event
                if ends is not None:
                    # Never 0, which would mean not to block at all.
                    stream.settimeout(max(0.001, ends - clock.monotonic()))
        except TimeoutError:
            raise
        except (OSError, http.client.HTTPException) as error:
            raise self._unanswered(error) from error
        finally:
            connection.close()

    def read(self, path: str, query: Mapping[str, object]) -> Iterator[bytes]:
        """The body of a GET as it comes, for as long as the tower sends. Raises `Failure`."""
        import http.client

        connection = self._connect(self._timeout_s)
        try:
            connection.request("GET", self._target(path, query), headers=self._headers(None))
            stream = connection.sock
            response = connection.getresponse()
            if response.status != 200:
                text = response.read().decode("utf-8", "replace")
                self.checked(Answer(response.status, _decoded(text, response.headers.get_content_type())))
            # What is followed may be silent for long.
            stream.settimeout(None)
            while block := response.read1(BLOCK_BYTES):
                yield block
        except (OSError, http.client.HTTPException) as error:
            raise self._unanswered(error) from error
        finally:
            connection.close()

    def _connect(self, timeout_s: float | None) -> "http.client.HTTPConnection":
        import http.client

        if self.place.socket is not None:
            from adapters.cli.unix_http import UnixConnection

            return UnixConnection(self.place.socket, timeout_s)
        address = urlsplit(self.running.http)
        return http.client.HTTPConnection(address.hostname or "127.0.0.1", address.port or 80, timeout=timeout_s)

    def _target(self, path: str, query: Mapping[str, object]) -> str:
        given = {key: value for key, value in query.items() if value is not None}
        return f"{path}?{urlencode(given, doseq=True)}" if given else path

    def _encoded(self, body: object) -> bytes | None:
        return None if body is None else json.dumps(body).encode()

    def _headers(self, body: object) -> dict[str, str]:
        headers = {}
        if self.place.socket is None:
            headers["Authorization"] = f"Bearer {self.place.secret(TOKEN_FILE)}"
        if body is not None:
            headers["Content-Type"] = "application/json"
        return headers

    def _unanswered(self, error: Exception) -> Failure:
        if self.place.running() is None:
            return no_tower(self.place.home, self.running.node)
        if isinstance(error, TimeoutError):
            return Failure(f"the tower at {self.running.http} did not answer within {self._timeout_s:g} s")
        return Failure(f"the tower at {self.running.http} does not answer: {error}", "`agenttower doctor` may say why")


def _decoded(text: str, content_type: str) -> Any:
    if not content_type.endswith("json"):
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text


def _server_events(response: "http.client.HTTPResponse") -> Iterator[Sent | None]:
    """The events of a `text/event-stream`; None after every other line, so that the caller can look at the time."""
    place, data, name = "", [], ""
    for raw in response:
        line = raw.decode("utf-8", "replace").rstrip("\r\n")
        if not line and data:
            yield Sent(int(place) if place.isdigit() else 0, name, json.loads("\n".join(data)), place)
            data, name = [], ""
            continue
        if line.startswith("data:"):
            data.append(line[5:].lstrip())
        elif line.startswith("event:"):
            name = line[6:].strip()
        elif line.startswith("id:"):
            place = line[3:].strip()
        yield None


def command(
    place: Place,
    running: Running,
    noun: str,
    verb: str,
    data: Mapping[str, object],
    *,
    idempotency_key: str | None = None,
    timeout_s: float = ANSWER_TIMEOUT_S,
    nulls: bool = False,
) -> Row:
    """Ask for `noun.verb` and wait for the outcome: the whole outcome when accepted, `Failure` when rejected.

    Of `data`, None stands for what is not given, unless `nulls`.
    """
    given = {key: value for key, value in data.items() if nulls or value is not None}
    if place.socket is not None:
        body = {"noun": noun, "verb": verb, "data": given}
        with Queries(place, running, timeout_s=timeout_s) as http:
            return http.post(
                # What a session says is followed, not waited for here.
                "/v1/commands?wait=0",
                body if idempotency_key is None else body | {"idempotency_key": idempotency_key},
            )
    return _command_over_nats(place, running, noun, verb, given, idempotency_key, timeout_s)


def _command_over_nats(
    place: Place,
    running: Running,
    noun: str,
    verb: str,
    given: Mapping[str, object],
    idempotency_key: str | None,
    timeout_s: float,
) -> Row:
    import asyncio

    from adapters.nats.client import AskError, CommandClient, NoTower
    from adapters.nats.connection import BrokerProblem, connect
    from adapters.system import SystemIds

    quiet_logs()
    url = place.secret(NATS_FILE)

    async def ask() -> Row:
        connection = await connect(url, name="agenttower-cli")
        try:
            client = CommandClient(connection, running.node, ids=SystemIds())
            return await client.ask(noun, verb, given, idempotency_key=idempotency_key, timeout_s=timeout_s)
        finally:
            await connection.close()

    try:
        outcome = asyncio.run(ask())
    except NoTower as error:
        raise no_tower(place.home, running.node) from error
    except (AskError, BrokerProblem) as error:
        raise Failure(str(error), "`agenttower doctor` may say why") from error
    if outcome["status"] != "accepted":
        raise rejected(outcome["error"])
    return outcome


def quiet_logs() -> None:
    """Keep the log lines of the adapters off stdout, which is for what was asked for."""
    import logging
    import sys

    import structlog

    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )

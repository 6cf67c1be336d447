"""Events posted to a URL as JSON: each until it is taken, in order."""

import json
import threading
from typing import Final
from urllib.parse import urlsplit

from adapters.cli import output
from adapters.cli.client import Sent
from adapters.cli.failures import Failure

ANSWER_S: Final = 30.0
FIRST_AGAIN_S: Final = 0.5
LONGEST_AGAIN_S: Final = 30.0

PASSING: Final = frozenset({408, 425, 429})
"""Of the answers 4xx, those after which it is worth asking again."""


class Poster:
    """One may come twice, when its answer is lost: its id, also the header `Idempotency-Key`, tells that."""

    def __init__(self, url: str, session_id: str) -> None:
        if urlsplit(url).scheme not in ("http", "https"):
            raise Failure(f"--webhook: {url} is no http or https URL")
        self._url = url
        self._session_id = session_id

    def post(self, sent: Sent) -> None:
        """Raises `Failure` for an answer that says never."""
        body = {"session_id": self._session_id, "id": sent.place, "event": sent.name, "data": sent.data}
        pause_s, failing = FIRST_AGAIN_S, False
        while (trouble := self._try(json.dumps(body).encode(), f"{self._session_id}:{sent.place}")) is not None:
            if not failing:
                output.note(f"{output.address(self._url)}: {trouble}; trying again")
                failing = True
            threading.Event().wait(pause_s)
            pause_s = min(2 * pause_s, LONGEST_AGAIN_S)

    def _try(self, body: bytes, key: str) -> str | None:
        """What went wrong; None when it is taken."""
        # Not with the module: every command of the CLI loads that.
        import urllib.error
        import urllib.request

        headers = {"Content-Type": "application/json", "Idempotency-Key": key}
        request = urllib.request.Request(self._url, body, headers)  # noqa: S310 (its scheme is looked at)
        try:
            with urllib.request.urlopen(request, timeout=ANSWER_S):  # noqa: S310
                return None
        except urllib.error.HTTPError as error:
            error.close()
            if 400 <= error.code < 500 and error.code not in PASSING:
                refused = f"{output.address(self._url)} refused an event: {error.code} {error.reason}"
                raise Failure(refused, "correct it, then go on with --since") from error
            return f"{error.code} {error.reason}"
        except OSError as error:
            return str(getattr(error, "reason", error))

"""HTTP to a server that samples: what fails for a while is asked again, what will not work is said at once.

A connection that is refused or breaks, an answer that stays out, is cut or makes no sense, a full queue: all of these
pass, and are asked again after a pause that doubles. What is asked may have been done although no answer came, so only
what may be done twice goes through here.
"""

import json
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Any, Protocol, TypeVar

import urllib3
from urllib3.exceptions import HTTPError, LocationParseError
from urllib3.util import Timeout, parse_url

from creditree.errors import ConfigError, ModelError
from creditree.text import one_line, shortened

T = TypeVar("T")
BUSY = frozenset({408, 425, 429, 502, 503, 504})
"""Answers of a server, or of what stands before it, that is full, starting or gone for a while."""
MOST_WRONG = 5
"""Answers in a row that are a server's failure, or make no sense, before it is given up."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 15.0
CONNECT_S = 10.0
MOST_BYTES = 1 << 29
MOST_SHOWN = 300
"""Bytes of an answer, and characters of a server's reason that a message has, at most."""
KEY = "VLLM_API_KEY"
"""Environment variable of the key that the server asks for; it goes into the request's header and nowhere else."""


class ServerError(ModelError):
    """A server that cannot be sampled from: it is not there, cannot do what is needed, or serves something else."""


class FailingError(ServerError):
    """A server that has answered, and each time with a failure of its own or nothing of use."""


class PassingError(Exception):
    """What may be gone when it is asked again: the reason, a clause. `wrong`: there was an answer, of no use."""

    def __init__(self, reason: str, *, wrong: bool = False) -> None:
        super().__init__(reason)
        self.wrong = wrong


class LackError(Exception):
    """What a server cannot do at all: a clause."""


class RefusedError(Exception):
    """An answer that asking again does not change. `status`: of HTTP;  the message is the server's own."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Patience:
    """`answer_s`: for one answer, from question to last byte;  `outage_s`: for a server that has failed once.

    A restarted server is up again within the latter. `first_pause_s`: between the first two attempts.
    """

    answer_s: float = 600.0
    outage_s: float = 300.0
    first_pause_s: float = FIRST_PAUSE_S


class Reviver(Protocol):
    """Who keeps a server alive; `key`: that the server asks for."""

    key: str

    def revive(self) -> bool:
        """Start the server again if it has died; return whether it had. Raises ServerError where that fails."""
        ...


class Client:
    """Asks the server at a URL; may be used by several threads at once."""

    def __init__(
        self,
        url: str,
        patience: Patience | None = None,
        connections: int = 32,
        reviver: Reviver | None = None,
    ) -> None:
        """Raise ConfigError for what is no URL of a server. `reviver`: of a server that was started here."""
        self.url = server_url(url)
        self.patience = Patience() if patience is None else patience
        self._reviver = reviver
        key = os.environ.get(KEY) if reviver is None else reviver.key
        self._headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
        self._pool = urllib3.PoolManager(maxsize=connections, retries=False)
        self._closed = threading.Event()

    def close(self) -> None:
        """End what waits for another attempt, and the connections that are idle."""
        self._closed.set()
        self._pool.clear()

    def get(self, path: str, read: Callable[[Any], T]) -> T:
        """Return what `read` makes of the JSON at a path, as `persist` asks for it."""
        return self.persist(lambda: read(_json(self.once("GET", path))))

    def post(self, path: str, body: Mapping[str, Any], read: Callable[[Any], T]) -> T:
        """Return what `read` makes of the JSON that is answered to a body, as `persist` asks for it."""
        return self.persist(lambda: read(_json(self.once("POST", path, body))))

    def persist(self, attempt: Callable[[], T]) -> T:
        """Return what an attempt returns, made again for as long as it raises PassingError.

        Raises ServerError where no answer has come for `Patience.outage_s`, `MOST_WRONG` in a row were of no use, or
        the server lacks what is needed.
        """
        since: float | None = None  # when it failed first
        pause, wrong = self.patience.first_pause_s, 0
        while True:
            try:
                return attempt()
            except LackError as error:
                raise ServerError(
                    f"the server at {self.url} {error}; take vLLM, or another server of its protocol."
                ) from None
            except PassingError as error:
                if self._reviver is not None and self._reviver.revive():
                    since, wrong, pause = None, 0, self.patience.first_pause_s
                    continue
                wrong = wrong + 1 if error.wrong else 0
                since = monotonic() if since is None else since
                waited = monotonic() - since
                if wrong >= MOST_WRONG or waited + pause > self.patience.outage_s:
                    how = f"{wrong} times in a row" if wrong >= MOST_WRONG else f"for {waited:.0f} s"
                    kind = FailingError if wrong >= MOST_WRONG else ServerError
                    raise kind(
                        f"the server at {self.url} {error}, {how}; look at its log, start it again, and repeat or "
                        "`resume`: nothing of what it failed at was used."
                    ) from None
            if self._closed.wait(pause):
                raise ServerError(f"the server at {self.url} is not asked any more.")
            pause = min(2 * pause, LONGEST_PAUSE_S)

    def once(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, within_s: float | None = None
    ) -> bytes:
        """Return what one question is answered. Raises PassingError, or RefusedError with the server's reason.

        Raises ServerError where the server asks for a key.

        `within_s`: a shorter time for the answer.
        """
        limit = self.patience.answer_s if within_s is None else min(within_s, self.patience.answer_s)
        deadline = monotonic() + limit
        data = None if body is None else json.dumps(body).encode()
        try:
            response = self._pool.request(
                method,
                self.url + path,
                body=data,
                headers=self._headers,
                timeout=Timeout(connect=min(CONNECT_S, limit), read=limit),
                preload_content=False,
                redirect=False,
            )
            answer = _body(response, deadline)
        except HTTPError as error:
            raise PassingError(_reason(error)) from None
        status = int(response.status)
        if status in (401, 403):
            raise ServerError(
                f"the server at {self.url} asks for a key (HTTP {status}: {_message(answer)}); put it into the "
                f"environment variable {KEY}."
            )
        if status in BUSY:
            raise PassingError(f"is busy or away (HTTP {status}: {_message(answer)})")
        if status >= 500:
            raise PassingError(f"fails (HTTP {status}: {_message(answer)})", wrong=True)
        if status >= 300:
            raise RefusedError(status, _message(answer))
        return answer


def server_url(url: str) -> str:
    """Return a server's URL without its path of the protocol. Raises ConfigError for what is none."""
    try:
        parsed = parse_url(url)
    except LocationParseError:
        parsed = None
    if parsed is not None and parsed.auth:
        raise ConfigError(f"engine.url holds a password, which would be kept with the run; put the key into {KEY}.")
    if parsed is None or parsed.scheme not in ("http", "https") or not parsed.host or parsed.query or parsed.fragment:
        raise ConfigError(f"engine.url is '{shortened(url)}', which is no server's; set one as http://127.0.0.1:8000.")
    return url.rstrip("/").removesuffix("/v1")


def _body(response: urllib3.BaseHTTPResponse, deadline: float) -> bytes:
    """Read an answer to its end. Raises PassingError where it comes too slowly or is endless, HTTPError where cut."""
    parts, size = [], 0
    try:
        for part in response.stream(1 << 16):
            parts.append(part)
            size += len(part)
            if monotonic() > deadline:
                raise PassingError("sends its answers too slowly")
            if size > MOST_BYTES:
                raise PassingError(f"sends an answer of more than {MOST_BYTES >> 20} MiB", wrong=True)
    except (PassingError, HTTPError):
        response.close()  # what is left of it must not be taken for the next answer
        raise
    response.release_conn()
    return b"".join(parts)


def _json(answer: bytes) -> Any:
    try:
        return json.loads(answer)
    except (ValueError, RecursionError):
        raise PassingError("sends answers that are no JSON", wrong=True) from None


def _message(answer: bytes) -> str:
    """Return a server's reason in one line: of the usual forms of JSON, else its first words."""
    text = answer.decode(errors="replace")
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        said = text
    for name in ("error", "message", "detail"):
        said = said.get(name, said) if isinstance(said, dict) else said
    words = said if isinstance(said, str) else json.dumps(said)
    return one_line(words, MOST_SHOWN).rstrip(".") or "without a reason"


def _reason(error: HTTPError) -> str:
    kind = type(error).__name__
    if "Timeout" in kind:
        return "does not answer in time"
    if kind in ("NewConnectionError", "NameResolutionError"):
        return "cannot be reached"
    return f"breaks off its answers ({kind})"

"""One form posted until it is answered: connections, token, timeouts, retries. Threads may share it."""

from __future__ import annotations

import ipaddress
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3

from whisper_client.errors import BadArgument, ClientError, NoServer, ServerTimeout, ServerUnreachable
from whisper_client.form import Form
from whisper_client.retry import CONNECTION, TIMEOUT, RetryPolicy, parse_retry_after, retry_cause

CONNECT_TIMEOUT_S = 10.0
GET_TIMEOUT_S = 30.0  # a TorchServe description waits for its turn
CHUNK_BYTES = 65_536
READ_TIMEOUTS = (requests.exceptions.ReadTimeout, urllib3.exceptions.ReadTimeoutError)
NO_CONNECTION = (urllib3.exceptions.NewConnectionError, urllib3.exceptions.ConnectTimeoutError)


class BearerToken(requests.auth.AuthBase):
    """Sets the token; given even without one, else requests would look for a login in ~/.netrc."""

    def __init__(self, token: str | None) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._token:  # "Bearer" exactly so: TorchServe refuses "bearer"
            request.headers["Authorization"] = f"Bearer {self._token}"
        return request


@dataclass(frozen=True, slots=True)
class Answer:
    """The last try's response. `body` is complete, or None for a stream that is still open."""

    response: requests.Response
    body: bytes | None
    causes: tuple[str, ...]  # why the tries before it failed
    seconds: float  # from the first byte sent to the answer, waits included

    @property
    def tries(self) -> int:
        return len(self.causes) + 1

    @property
    def content_type(self) -> str:
        return self.response.headers.get("Content-Type", "")


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What one try came to: `cause` is None where `result` is to be taken as it is."""

    cause: str | None
    result: Answer | ClientError
    final: bool = False  # another try cannot help
    retry_after_s: float | None = None


class Transport:
    """Posts forms to one address. `sleep` and `rng` are there for tests."""

    def __init__(
        self,
        url: str,
        token: str | None = None,
        *,
        timeout_s: float,
        policy: RetryPolicy,
        sleep: Callable[[float], None] = time.sleep,
        rng: random.Random | None = None,
    ) -> None:
        self.url = checked_url(url)
        self._auth = BearerToken(checked_token(token))
        self._timeout_s = timeout_s
        self._policy = policy
        self._sleep = sleep
        self._rng = rng or random.Random()
        self._local = threading.local()  # one session a thread: sessions share cookies and are not locked
        self._sessions: list[requests.Session] = []
        self._lock = threading.Lock()
        self._reached = False  # whether this address has ever taken a connection

    def post(self, form: Form, *, stream: bool = False, idempotency_key: str | None = None) -> Answer:
        """The server's answer, whatever its status; raises ServerUnreachable or ServerTimeout.

        With `stream` a good answer is returned once its headers have arrived. Each try has the same key.
        """
        headers = {"Content-Type": form.content_type}
        if idempotency_key is not None:
            headers["Idempotency-Key"] = idempotency_key
        causes: list[str] = []
        started = time.perf_counter()
        while True:
            outcome = self._try(form, headers, stream, tuple(causes), started)
            if outcome.cause is None:
                return _given(outcome)
            causes.append(outcome.cause)
            wait_s = self._policy.wait_s(causes, outcome.retry_after_s, self._rng.random())
            if wait_s is None or outcome.final:
                return _given(outcome)
            self._sleep(wait_s)

    def get_json(self, url: str) -> Any:
        """What `url` answers as JSON, sent once with the same token; None if there is no such answer."""
        try:
            response = self._session().get(url, timeout=GET_TIMEOUT_S, allow_redirects=False)
            return response.json() if response.ok else None
        except (requests.RequestException, OSError):
            return None

    def close(self) -> None:
        """Closes the connections of every thread."""
        with self._lock:
            sessions, self._sessions = self._sessions, []
        for session in sessions:
            session.close()

    def _try(
        self, form: Form, headers: dict[str, str], stream: bool, causes: tuple[str, ...], started: float
    ) -> _Outcome:
        """One request sent; `causes` are those of the tries before it."""
        try:
            response, body = self._send(form, headers, stream)
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            return self._failed(error, causes)
        answer = Answer(response, body, causes, time.perf_counter() - started)
        cause = None if body is None else retry_cause(response.status_code, body)
        header = response.headers.get("Retry-After")
        return _Outcome(cause, answer, retry_after_s=parse_retry_after(header, datetime.now(UTC)))

    def _send(
        self, form: Form, headers: dict[str, str], stream: bool
    ) -> tuple[requests.Response, bytes | None]:
        response = self._session().post(
            self.url,
            # a file, not bytes: bytes go out in one sendall, and all of it must fit the connect timeout
            data=BytesIO(form.body),
            headers=headers,
            timeout=(min(CONNECT_TIMEOUT_S, self._timeout_s), self._timeout_s),
            stream=True,
            allow_redirects=False,  # a redirected POST arrives as a GET without its form
        )
        self._reached = True
        if stream and response.status_code < 400:
            return response, None
        return response, response.content

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            session = requests.Session()
            session.auth = self._auth
            session.headers["User-Agent"] = "whisper-client"
            if is_loopback(self.url):
                session.trust_env = False  # HTTP_PROXY is not meant for this machine's own server
            self._local.session = session
            with self._lock:
                self._sessions.append(session)
        return session

    def _failed(self, error: Exception, causes: tuple[str, ...]) -> _Outcome:
        """The outcome of a try that got no answer, with the error to raise if it stays the last."""
        tries = len(causes) + 1
        sent = f" after {tries} tries" if tries > 1 else ""
        if _holds(error, *READ_TIMEOUTS):
            message = (
                f"no answer from {self.url} within {self._timeout_s:g} s{sent}: give a longer --timeout"
                " or send a shorter file"
            )
            late = ServerTimeout(message, tries=tries, causes=(*causes, TIMEOUT))
            return _Outcome(TIMEOUT, late)
        final = False
        kind: type[ServerUnreachable] = NoServer
        if _holds(error, requests.exceptions.SSLError):
            message = f"no secure connection to {self.url}: {list(_chain(error))[-1]}"
            final = True  # a certificate does not heal by itself
        elif _holds(error, *NO_CONNECTION):
            message = no_server_message(self.url) + sent
            final = not self._reached  # there is no server; one that has answered before is restarting
        else:
            self._reached, kind = True, ServerUnreachable
            message = (
                f"the connection to {self.url} broke{sent}: see the server's log (logs/), and whether the"
                " file is above the server's size limit"
            )
        unreachable = kind(message, tries=tries, causes=(*causes, CONNECTION))
        return _Outcome(CONNECTION, unreachable, final=final)


def _given(outcome: _Outcome) -> Answer:
    """The outcome's answer; raises its error if there is none."""
    if isinstance(outcome.result, ClientError):
        raise outcome.result
    return outcome.result


def read_chunks(response: requests.Response) -> Iterator[bytes]:
    """The body as it arrives, each piece without waiting for the next; closes the response."""
    with response:
        while chunk := response.raw.read1(CHUNK_BYTES, decode_content=True):
            yield chunk


def no_server_message(url: str) -> str:
    return f"no server at {url}: start one with ./serve.sh, or give another address with --url"


def checked_url(url: str) -> str:
    """`url` if a request can go there; raises BadArgument."""
    try:
        parts = urlsplit(url)
        port_ok = parts.port is None or parts.port > 0
    except ValueError:
        parts, port_ok = urlsplit(""), False
    if parts.username or parts.password:
        raise BadArgument("the address holds a login: put the token into WHISPER_TOKEN and leave it out")
    if parts.scheme not in ("http", "https") or not parts.hostname or not port_ok:
        raise BadArgument(f"{url!r} is no address: write it as http://127.0.0.1:8080/predictions/whisper")
    return url


def checked_token(token: str | None) -> str | None:
    """The token without surrounding space, None if empty; raises BadArgument without quoting it."""
    token = (token or "").strip()
    if not token:
        return None
    if not token.isascii() or not token.isprintable() or " " in token:
        raise BadArgument("the token holds a space or a character that HTTP cannot carry: copy it again")
    return token


def is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and those it wraps: requests and urllib3 keep them in args, `reason` or the cause."""
    queue = [error]
    seen: set[int] = set()
    while queue:
        current = queue.pop(0)
        if id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        inner = [*current.args, getattr(current, "reason", None), current.__cause__]
        queue.extend(item for item in inner if isinstance(item, BaseException))


def _holds(error: BaseException, *kinds: type[BaseException]) -> bool:
    return any(isinstance(item, kinds) for item in _chain(error))

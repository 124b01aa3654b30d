"""JSON over HTTP that cannot hang: a deadline for the whole exchange, a cap on the answer, bounded
retries with backoff (fault 64).

Standard library only. A socket's own timeout begins anew with every byte, so a timer closes the
connection when the time is up, whether headers, chunks or the body are read or the question is
still being sent. Connecting has as long again. Leaves out streaming, proxies, and a limit on the
resolver's own patience. The key goes into a header and nowhere else: not into a message, a log or
an error (fault 62).
"""

import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

from dualipo.errors import ConfigError
from dualipo.tracking import redact

MAX_ANSWER_BYTES = 64 << 20
MAX_WAIT = 30.0  # seconds between two tries
SHOWN_CHARACTERS = 200

Trouble = Literal["unreachable", "slow", "refused", "broken", "not JSON"]


@dataclass(frozen=True)
class Failure:
    """Why there is no answer after the last try; `status` where the server gave one."""

    trouble: Trouble
    detail: str
    status: int | None = None


@dataclass(frozen=True)
class Endpoint:
    """Where to ask. `timeout` seconds are for one try from the first byte sent to the last read.

    `settings_name` is the group of settings that this comes from, for errors.
    """

    base_url: str
    api_key: str | None
    timeout: float
    max_retries: int
    settings_name: str

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.base_url)
            usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:  # a port or a bracket that is none
            usable = False
        if not usable:
            raise ConfigError(
                f"{redact(self.base_url)}: no HTTP address. Give {self.settings_name}.base_url as "
                "http://HOST:PORT/v1."
            )
        if parts.username or parts.password:
            raise ConfigError(
                f"{self.settings_name}.base_url: holds a user or password, which would be written "
                "into the run. Put the key into the environment, see "
                f"{self.settings_name}.api_key_env."
            )

    def post(
        self,
        path: str,
        body: dict[str, Any],
        *,
        sleep: Callable[[float], None] = time.sleep,
    ) -> dict[str, Any] | Failure:
        """Ask until there is an answer, a refusal that no repetition mends, or no try left."""
        encoded = json.dumps(body).encode()
        outcome: dict[str, Any] | Failure = Failure("unreachable", "not asked")
        for again in range(self.max_retries + 1):
            if again:
                sleep(min(MAX_WAIT, 0.5 * 2 ** (again - 1)))
            outcome = self._try(path, encoded)
            if not isinstance(outcome, Failure) or outcome.trouble == "refused":
                break
        return outcome

    def _try(self, path: str, encoded: bytes) -> dict[str, Any] | Failure:
        connection = self._connection()
        if failure := self._connect(connection):
            connection.close()
            return failure
        with _deadline(connection, seconds=self.timeout) as passed:
            outcome = self._exchange(connection, path, encoded)
        # What was cut off may look whole, or broken.
        slow = Failure("slow", f"no whole answer in {self.timeout:g} s")
        return slow if passed.is_set() else outcome

    def _connect(self, connection: http.client.HTTPConnection) -> Failure | None:
        try:
            connection.connect()
        except TimeoutError:
            return Failure("slow", f"no connection in {self.timeout:g} s")
        except ConnectionRefusedError as refusal:
            return Failure("unreachable", refusal.strerror or "connection refused")
        except (OSError, UnicodeError) as broken:  # a name may not even be one
            return Failure("unreachable", f"{type(broken).__name__}: {broken}")
        return None

    def _exchange(
        self, connection: http.client.HTTPConnection, path: str, encoded: bytes
    ) -> dict[str, Any] | Failure:
        try:
            connection.request("POST", self._path(path), encoded, self._headers())
            answer = connection.getresponse()
            return _decoded(answer.status, _read(answer))
        except TimeoutError:
            return Failure("slow", f"nothing for {self.timeout:g} s")
        except (OSError, http.client.HTTPException) as broken:
            return Failure("broken", f"{type(broken).__name__}: {broken}")

    def _connection(self) -> http.client.HTTPConnection:
        parts = urlsplit(self.base_url)
        assert parts.hostname
        if parts.scheme == "https":
            return http.client.HTTPSConnection(parts.hostname, parts.port, timeout=self.timeout)
        return http.client.HTTPConnection(parts.hostname, parts.port, timeout=self.timeout)

    def _path(self, path: str) -> str:
        return urlsplit(self.base_url).path.rstrip("/") + path

    def _headers(self) -> dict[str, str]:
        key = {"Authorization": f"Bearer {self.api_key}"} if self.api_key else {}
        return {"Content-Type": "application/json", **key}


@contextmanager
def _deadline(
    connection: http.client.HTTPConnection, *, seconds: float
) -> Iterator[threading.Event]:
    """End what is under way on a connection after so many seconds, and close it in any case.

    Yields whether the time has passed.
    """
    opened, passed = connection.sock, threading.Event()

    def end() -> None:
        passed.set()
        with suppress(OSError):  # closed already
            # Not TLS's own `shutdown`, which would wait for the other side's word.
            socket.socket.shutdown(opened, socket.SHUT_RDWR)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield passed
    finally:
        timer.cancel()
        timer.join()
        connection.close()


def _read(answer: http.client.HTTPResponse) -> bytes:
    """All of the answer, as far as the cap."""
    parts: list[bytes] = []
    size = 0
    while True:
        part = answer.read1(1 << 16)
        if not part:
            break
        parts.append(part)
        size += len(part)
        if size > MAX_ANSWER_BYTES:
            raise http.client.HTTPException(f"the answer exceeds {MAX_ANSWER_BYTES} bytes")
    if answer.length:  # closed before the length that it declared
        raise http.client.IncompleteRead(b"".join(parts), answer.length)
    return b"".join(parts)


def _decoded(status: int, text: bytes) -> dict[str, Any] | Failure:
    shown = str(redact(text[:SHOWN_CHARACTERS].decode("utf-8", "replace")))
    if status == 429 or status >= 500:
        return Failure("broken", f"HTTP {status}: {shown}", status)
    if status >= 300:
        return Failure("refused", f"HTTP {status}: {shown}", status)
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return Failure("not JSON", shown, status)
    return found if isinstance(found, dict) else Failure("not JSON", shown, status)

"""JSON over HTTP that cannot hang: a deadline for the whole exchange, a cap on the answer, bounded
retries with backoff (fault 64).

Standard library only. Leaves out streaming and proxies. The key goes into a header and nowhere
else: not into a message, a log or an error (fault 62).
"""

import http.client
import json
import time
from collections.abc import Callable
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
    """Where to ask. `timeout` seconds are for one try from the first byte sent to the last read."""

    base_url: str
    api_key: str | None
    timeout: float
    max_retries: int

    def __post_init__(self) -> None:
        parts = urlsplit(self.base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(
                f"{redact(self.base_url)}: no HTTP address. Give critic.server.base_url as "
                "http://HOST:PORT/v1."
            )
        if parts.username or parts.password:
            raise ConfigError(
                "critic.server.base_url: holds a user or password, which would be written into "
                "the run. Put the key into the environment, see critic.server.api_key_env."
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
        deadline = time.monotonic() + self.timeout
        connection = self._connection()
        try:
            connection.request("POST", self._path(path), encoded, self._headers())
            answer = connection.getresponse()
            text = _read(connection, answer, deadline)
        except TimeoutError:
            return Failure("slow", f"no whole answer in {self.timeout:g} s")
        except ConnectionRefusedError as refusal:
            return Failure("unreachable", refusal.strerror or "connection refused")
        except (OSError, http.client.HTTPException) as broken:
            kind = "unreachable" if connection.sock is None else "broken"
            return Failure(kind, f"{type(broken).__name__}: {broken}")  # type: ignore[arg-type]
        finally:
            connection.close()
        return _decoded(answer.status, text)

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


def _read(
    connection: http.client.HTTPConnection, answer: http.client.HTTPResponse, deadline: float
) -> bytes:
    """All of the answer before the deadline, however slowly it drips."""
    parts: list[bytes] = []
    size = 0
    while True:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        if connection.sock is not None:
            connection.sock.settimeout(left)
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

"""JSON over HTTP that cannot hang, on httpx: deadlines, a cap, bounded retries (fault 64).

httpx limits the wait for each piece of an answer, so a server that sends a byte now and then could
hold it for ever. Here one exchange is a coroutine under `asyncio.timeout`, which ends it wherever
it waits: while it connects, sends, or reads a header, a chunk's size or the body. The coroutines
run on one event loop in a background thread, so that `post` can be called from any thread, also
where a notebook runs a loop of its own, and so that connections are used again.

Leaves out streaming, proxies, compressed answers and redirects, which count as refusals. The key
goes into a header and nowhere else: not into a message, a log or an error (fault 62).
"""

import asyncio
import functools
import json
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import httpx

from dualipo.errors import ConfigError
from dualipo.tracking import redact

MAX_ANSWER_BYTES = 64 << 20
MAX_WAIT = 30.0  # seconds between two tries
MAX_IDLE = 2.0  # seconds that a connection is kept; servers close theirs after five or more
SHOWN_CHARACTERS = 200

Trouble = Literal["unreachable", "slow", "refused", "broken", "not JSON"]


@dataclass(frozen=True)
class Failure:
    """The reason why the last try gave no answer; `status` is set where the server sent one."""

    trouble: Trouble
    detail: str
    status: int | None = None


Answer = dict[str, Any] | Failure


@dataclass(frozen=True)
class Endpoint:
    """An address that is asked; `timeout` seconds are for one whole try, connecting included.

    `settings_name` is the group of settings that this comes from, for errors.
    """

    base_url: str
    api_key: str | None
    timeout: float
    max_retries: int
    settings_name: str

    def __post_init__(self) -> None:
        try:
            url = httpx.URL(self.base_url)
            usable = url.scheme in ("http", "https") and bool(url.host) and url.port != 0
        except (httpx.InvalidURL, ValueError):
            usable = False
        if not usable or (url.port or 1) > 65535:
            raise ConfigError(
                f"{redact(self.base_url)}: no HTTP address. Give {self.settings_name}.base_url as "
                "http://HOST:PORT/v1."
            )
        if url.userinfo:
            raise ConfigError(
                f"{self.settings_name}.base_url: holds a user or password, which would be written "
                "into the run. Put the key into the environment, see "
                f"{self.settings_name}.api_key_env."
            )
        if self.api_key and not (self.api_key.isascii() and self.api_key.isprintable()):
            raise ConfigError(
                "the server's key: holds a line's end or another character that no header can. "
                f"Set the variable that {self.settings_name}.api_key_env names again."
            )

    def post(
        self,
        path: str,
        body: dict[str, Any],
        *,
        sleep: Callable[[float], None] = time.sleep,
    ) -> Answer:
        """Ask until there is an answer, a refusal that repetition cannot mend, or no try left."""
        base = httpx.URL(self.base_url)
        url = base.copy_with(path=base.path.rstrip("/") + path)
        outcome: Answer = Failure("unreachable", "not asked")
        for again in range(self.max_retries + 1):
            if again:
                sleep(min(MAX_WAIT, 0.5 * 2 ** (again - 1)))
            exchange = self._exchange(url, json.dumps(body).encode())
            outcome = asyncio.run_coroutine_threadsafe(exchange, _loop()).result()
            if not isinstance(outcome, Failure) or outcome.trouble == "refused":
                break
        return outcome

    async def _exchange(self, url: httpx.URL, body: bytes) -> Answer:
        try:
            async with (
                asyncio.timeout(self.timeout),
                self._client.stream("POST", url, content=body) as answer,
            ):
                text = bytearray()
                async for part in answer.aiter_raw():
                    text += part
                    if len(text) > MAX_ANSWER_BYTES:
                        return Failure("broken", f"the answer exceeds {MAX_ANSWER_BYTES} bytes")
                return _decoded(answer.status_code, bytes(text))
        except TimeoutError:
            return Failure("slow", f"no whole answer in {self.timeout:g} s")
        except (httpx.ConnectError, UnicodeError) as error:  # a host's name may not even be one
            return Failure("unreachable", _cause(error))
        except httpx.HTTPError as error:
            return Failure("broken", _cause(error))

    @functools.cached_property
    def _client(self) -> httpx.AsyncClient:
        headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
        if self.api_key:
            headers["Authorization"] = f"Bearer {self.api_key}"
        return httpx.AsyncClient(
            headers=headers,
            timeout=None,  # `asyncio.timeout` is the only clock
            limits=httpx.Limits(keepalive_expiry=MAX_IDLE),
            trust_env=False,
            verify=ssl.create_default_context(),  # the machine's own authorities
        )


@functools.cache
def _loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="http", daemon=True).start()
    return loop


def _cause(error: BaseException) -> str:
    """Return the system's own words, which lie beneath httpx's and anyio's."""
    while deeper := error.__cause__ or error.__context__:
        error = deeper
    return str(redact(f"{type(error).__name__}: {error}"))


def _decoded(status: int, text: bytes) -> Answer:
    shown = str(redact(text[:SHOWN_CHARACTERS].decode("utf-8", "replace")))
    if status == 429 or status >= 500:
        return Failure("broken", f"HTTP {status}: {shown}", status)
    if status >= 300:
        return Failure("refused", f"HTTP {status}: {shown}", status)
    try:
        answer = json.loads(text)
    except (ValueError, RecursionError):
        return Failure("not JSON", shown, status)
    return answer if isinstance(answer, dict) else Failure("not JSON", shown, status)

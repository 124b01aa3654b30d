"""JSON over HTTP that cannot hang, on httpx: deadlines, a cap, bounded retries (fault 64).

httpx limits the wait for each piece of an answer, so a server that sends a byte now and then could
hold it for ever. Here one exchange is a coroutine under `asyncio.timeout`, which ends it wherever
it waits: while it connects, sends, or reads a header, a chunk's size or the body. The coroutines
run on one event loop in a background thread, so that `post` can be called from any thread, also
where a notebook runs a loop of its own, and so that connections are used again.

Leaves out streaming, proxies, compressed answers and redirects, which count as refusals. The key
comes from the environment, goes into a header, and stands in no message, log or error (fault 62).
"""

import asyncio
import functools
import json
import os
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

import httpx

from dualipo import text_files
from dualipo.config import Server
from dualipo.errors import ConfigError, DualipoError, StageError
from dualipo.redaction import redact
from dualipo.servers.pool import Pool

MAX_ANSWER_BYTES = 64 << 20
MAX_WAIT = 30.0  # seconds between two tries
MAX_KNOCK = 5.0  # seconds for the answer that only tells that a server is there
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


class Endpoint:
    """A server that is asked; `settings.timeout` is for one whole try, connecting included.

    `settings_name` is the group that the settings come from, for errors; None where they come from
    the options of a command. `others` are further addresses that serve the same model.
    """

    def __init__(
        self, settings: Server, *, settings_name: str | None, others: Sequence[str] = ()
    ) -> None:
        self.settings = settings
        self._settings_name = settings_name
        bases = [_base_url(text, settings_name) for text in (settings.base_url, *others)]
        self._pool = Pool(bases, is_up=self._is_up)
        self._loop = _background_loop()  # one for all calls, whichever thread makes them
        self._key = os.environ.get(settings.api_key_env)
        if self._key and not (self._key.isascii() and self._key.isprintable()):
            raise ConfigError(
                f"{settings.api_key_env}: holds a line's end or another character that no header "
                "can. Set it again, or name another variable in "
                f"{_named('api_key_env', settings_name)}."
            )

    def post_all(
        self, path: str, bodies: Sequence[dict[str, Any]], *, task: str, remedy: str
    ) -> list[Answer]:
        """Send all bodies, several at a time, and return the answers in the same order.

        A server that is gone or refuses ends the stage, because repetition cannot mend that; `task`
        and `remedy` complete the error.
        """
        with ThreadPoolExecutor(self.settings.max_concurrency) as pool:
            answers = list(pool.map(functools.partial(self.post, path), bodies))
        for answer in answers:
            if isinstance(answer, Failure):
                self._stop_if_hopeless(answer, task=task, remedy=remedy)
        return answers

    def post(
        self,
        path: str,
        body: dict[str, Any],
        *,
        sleep: Callable[[float], None] = time.sleep,
    ) -> Answer:
        """Ask until there is an answer, a refusal that repetition cannot mend, or no try left.

        Further addresses are tried at once; a wait comes before an address is asked again.
        """
        outcome: Answer = Failure("unreachable", "not asked")
        num = len(self._pool.addresses)
        for again in range(self.settings.max_retries + num):
            if again >= num:
                sleep(min(MAX_WAIT, 0.5 * 2 ** (again - num)))
            with self._pool.taken() as number:
                url = _below(self._pool.addresses[number], path)
                exchange = self._exchange(url, json.dumps(body).encode())
                outcome = asyncio.run_coroutine_threadsafe(exchange, self._loop).result()
            if not isinstance(outcome, Failure) or outcome.trouble == "refused":
                break
            self._pool.rest(number)
        return outcome

    def refusals(self, model: str, *, setting: str) -> Iterator[DualipoError]:
        """Yield why the server cannot serve `model`, which `setting` names; asked once, briefly.

        A server that lists no models is taken to know it. Every address is asked.
        """
        for base in self._pool.addresses:
            yield from self._refusals_of(base, model, setting)

    def listed(self) -> Answer:
        """Return the list of models of the first address, or why there is none; asked briefly."""
        return self._listed(self._pool.addresses[0])

    def _refusals_of(self, base: httpx.URL, model: str, setting: str) -> Iterator[DualipoError]:
        answer = self._listed(base)
        server = f"server {redact(str(base))}"
        if isinstance(answer, Failure):
            if answer.status in (401, 403):
                yield StageError(
                    f"{server}: it refuses this key ({answer.detail}). Set "
                    f"{self.settings.api_key_env} in the environment."
                )
            elif answer.status is None:
                yield StageError(
                    f"{server}: cannot be reached ({answer.detail}). Start it, or give "
                    f"{_named('base_url', self._settings_name)} its address."
                )
            return
        listed = answer.get("data")
        names = [row.get("id") for row in listed] if isinstance(listed, list) else []
        if names and model not in names:
            yield StageError(
                f"{server}: it serves {', '.join(map(repr, names[:5]))}, not {model!r}. Set "
                f"{setting} to one of them, or serve the model."
            )

    def _listed(self, base: httpx.URL) -> Answer:
        """Return the list of models that an address serves."""
        seconds = min(self.settings.timeout, MAX_KNOCK)
        asked = self._exchange(_below(base, "/models"), None, seconds=seconds)
        return asyncio.run_coroutine_threadsafe(asked, self._loop).result()

    def _is_up(self, base: httpx.URL) -> bool:
        """Tell whether an address answers at all."""
        answer = self._listed(base)
        return not isinstance(answer, Failure) or answer.trouble == "refused"

    async def _exchange(
        self, url: httpx.URL, body: bytes | None, *, seconds: float | None = None
    ) -> Answer:
        """Send a body, or ask for a page where there is none; return the answer."""
        seconds = seconds or self.settings.timeout
        try:
            async with (
                asyncio.timeout(seconds),
                self._client.stream("POST" if body else "GET", url, content=body) as answer,
            ):
                text = bytearray()
                async for part in answer.aiter_raw():
                    text += part
                    if len(text) > MAX_ANSWER_BYTES:
                        return Failure("broken", f"the answer exceeds {MAX_ANSWER_BYTES} bytes")
                return decoded(answer.status_code, bytes(text))
        except TimeoutError:
            return Failure("slow", f"no whole answer in {seconds:g} s")
        except (httpx.ConnectError, UnicodeError) as error:  # a host's name may not even be one
            return Failure("unreachable", _cause(error))
        except httpx.HTTPError as error:
            return Failure("broken", _cause(error))

    @functools.cached_property
    def _client(self) -> httpx.AsyncClient:
        headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        return httpx.AsyncClient(
            headers=headers,
            timeout=None,  # `asyncio.timeout` is the only clock
            limits=httpx.Limits(keepalive_expiry=MAX_IDLE),
            trust_env=False,
            verify=ssl.create_default_context(),  # the machine's own authorities
        )

    def _stop_if_hopeless(self, failure: Failure, *, task: str, remedy: str) -> None:
        server = f"server {', '.join(redact(str(base)) for base in self._pool.addresses)}"
        if failure.trouble == "unreachable":
            raise StageError(
                f"{server}: cannot be reached ({failure.detail}). Start it, and repeat the "
                "command: nothing is lost."
            )
        if failure.trouble == "refused":
            if failure.status in (401, 403):
                remedy = f"Set {self.settings.api_key_env} in the environment."
            raise StageError(f"{server}: refuses to {task} ({failure.detail}). {remedy}")


def _below(base: httpx.URL, path: str) -> httpx.URL:
    """Return the address of a path below a server's base."""
    return base.copy_with(path=base.path.rstrip("/") + path)


def _named(key: str, settings_name: str | None) -> str:
    """Return how a user names a setting: as a key of the recipe, or as an option."""
    return f"{settings_name}.{key}" if settings_name else f"--{key.replace('_', '-')}"


def _base_url(text: str, settings_name: str | None) -> httpx.URL:
    """Read an HTTP address; refuse one that is none. The settings let no user or password in."""
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL:
        url = httpx.URL("")
    port = 80 if url.port is None else url.port
    if url.scheme not in ("http", "https") or not url.host or not 0 < port < 65536:
        raise ConfigError(
            f"{redact(text)}: no HTTP address. Give {_named('base_url', settings_name)} as "
            "http://HOST:PORT/v1."
        )
    return url


@functools.cache
def _background_loop() -> asyncio.AbstractEventLoop:
    """Start an event loop in a thread that ends with the process; later calls return the same."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="http", daemon=True).start()
    return loop


# A fork has no threads but its own: on its parent's loop, it would wait for ever.
os.register_at_fork(after_in_child=_background_loop.cache_clear)


def _cause(error: BaseException) -> str:
    """Return the system's own words, which lie beneath httpx's and anyio's."""
    while deeper := error.__cause__ or error.__context__:
        error = deeper
    return str(redact(f"{type(error).__name__}: {error}"))


def decoded(status: int, text: bytes) -> Answer:
    """Return the object that a server answered, or what is wrong with the answer."""
    shown = str(redact(text[:SHOWN_CHARACTERS].decode("utf-8", "replace")))
    if status == 429 or status >= 500:
        return Failure("broken", f"HTTP {status}: {shown}", status)
    if status >= 300:
        return Failure("refused", f"HTTP {status}: {shown}", status)
    try:
        answer = text_files.json_value(text.decode())
    except ValueError:
        return Failure("not JSON", shown, status)
    return answer if isinstance(answer, dict) else Failure("not JSON", shown, status)
